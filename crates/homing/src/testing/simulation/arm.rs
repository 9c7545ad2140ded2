//! Waits of any kind under one type, so that a program can put any two into one `select!`.

use std::time::Duration;

use super::Out;
use super::body::Scope;
use super::family::Told;
use super::plan::Wait;
use crate::body::handle::Joined;
use crate::body::job_wait::JobEnd;
use crate::body::join_set::{JoinAll, JoinNext, JoinNextWithId, JoinSettled, JoinSome};
use crate::body::verbs::{Signal, Sleep};
use crate::body::waiting::{Arm, Selectable, Waiting, Winner};
use crate::core::id::JobId;
use crate::error::JoinError;
use crate::{JoinSet, Misuse, TaskId};

/// A wait, and the set or handle it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) wait: Wait,
    pub(super) set: Option<usize>,
    pub(super) handle: Option<usize>,
    pub(super) job: Option<JobId>,
}

impl Target {
    /// Its verb, and how many successes it asks for.
    pub(super) fn verb(self) -> (&'static str, usize) {
        match self.wait {
            Wait::Handle(_) | Wait::Taken(_) => ("await", 1),
            Wait::Next(_) | Wait::NextId(_) => ("join_next", 1),
            Wait::All(_) => ("join_all", 0),
            Wait::Settled(_) => ("join_settled", 0),
            Wait::First(_) => ("join_first", 1),
            Wait::Some(_, count) => ("join_some", count),
            Wait::Signal(_) => ("signal", 0),
            Wait::Sleep(_) => ("sleep", 0),
            Wait::Job(_) => ("job", 1),
        }
    }
}

/// What a wait told, the error if it was one, and the id that it told beside it.
pub(super) type Answered = (Told, Option<JoinError>, Option<TaskId>);

/// A wait of any kind.
pub(super) enum Armed<'s> {
    Handle(Waiting<'static, Joined<Out>>),
    Next(Waiting<'s, JoinNext<'s, Out>>),
    NextId(Waiting<'s, JoinNextWithId<'s, Out>>),
    All(Waiting<'s, JoinAll<'s, Out>>),
    Settled(Waiting<'s, JoinSettled<'s, Out>>),
    First(Waiting<'s, JoinSome<'s, Out, Out>>),
    Some(Waiting<'s, JoinSome<'s, Out, Vec<Out>>>),
    Signal(Waiting<'static, Signal<u64>>),
    Sleep(Waiting<'static, Sleep>),
    Job(Waiting<'static, JobEnd<Out>>),
}

impl<'s> Armed<'s> {
    /// Waits for one thing by itself.
    pub(super) async fn alone(
        scope: &'s mut Scope<'_>,
        target: Target,
        timeout: Option<u64>,
    ) -> Answered {
        if let (Wait::Taken(_), Some(handle), None) = (target.wait, target.handle, timeout)
            && let Some(handle) = scope.handles[handle].0.take()
        {
            return one(handle.await);
        }
        match Self::two(scope, target, None, timeout).0 {
            Self::Handle(wait) => one(wait.await),
            Self::Next(wait) => next(wait.await),
            Self::NextId(wait) => next_id(wait.await),
            Self::All(wait) => all(wait.await),
            Self::Settled(wait) => settled(wait.await),
            Self::First(wait) => one(wait.await),
            Self::Some(wait) => all(wait.await),
            Self::Signal(wait) => signal(wait.await),
            Self::Sleep(wait) => slept(wait.await),
            Self::Job(wait) => one(wait.await),
        }
    }

    /// One wait or two, of different sets if both are about sets.
    pub(super) fn two(
        scope: &'s mut Scope<'_>,
        first: Target,
        second: Option<Target>,
        timeout: Option<u64>,
    ) -> (Self, Option<Self>) {
        let handles = &scope.handles;
        let handle = |target: Target| {
            let handle = target.handle.and_then(|handle| handles[handle].0.as_ref());
            handle.map(Selectable::waiting)
        };
        let (own, others) = (handle(first), second.map(handle));
        let mut sets: Vec<Option<&'s mut JoinSet<Out>>> =
            scope.sets.iter_mut().map(|(set, _)| Some(set)).collect();
        let mut set = |target: Target| target.set.and_then(|set| sets[set].take());
        let a = Self::new(first, own, set(first), timeout);
        let b = second.map(|second| Self::new(second, others.flatten(), set(second), None));
        (a, b)
    }

    fn new(
        target: Target,
        handle: Option<Waiting<'static, Joined<Out>>>,
        set: Option<&'s mut JoinSet<Out>>,
        timeout: Option<u64>,
    ) -> Self {
        let after = timeout.map(Duration::from_millis);
        macro_rules! timed {
            ($wait:expr) => {{
                let wait = $wait;
                match after {
                    Some(after) => wait.timeout(after),
                    None => wait,
                }
            }};
        }
        match (target.wait, handle, set) {
            (_, Some(handle), _) => Self::Handle(timed!(handle)),
            (Wait::Job(_), ..) if let Some(job) = target.job => Self::Job(timed!(crate::job(job))),
            (Wait::NextId(_), _, Some(set)) => Self::NextId(timed!(set.join_next_with_id())),
            (Wait::Next(_), _, Some(set)) => Self::Next(timed!(set.join_next())),
            (Wait::All(_), _, Some(set)) => Self::All(timed!(set.join_all())),
            (Wait::Settled(_), _, Some(set)) => Self::Settled(timed!(set.join_settled())),
            (Wait::First(_), _, Some(set)) => Self::First(timed!(set.join_first())),
            (Wait::Some(_, count), _, Some(set)) => Self::Some(timed!(set.join_some(count))),
            (Wait::Signal(name), ..) => {
                Self::Signal(timed!(crate::signal(&format!("signal {name}"))))
            }
            (Wait::Sleep(ms), ..) => Self::Sleep(crate::sleep(Duration::from_millis(ms))),
            (other, ..) => unreachable!("{other:?} has nothing to wait for"),
        }
    }

    /// The wait as an arm of a `select!`.
    pub(super) fn arm(&mut self) -> &mut dyn Arm {
        match self {
            Self::Handle(wait) => wait,
            Self::Next(wait) => wait,
            Self::NextId(wait) => wait,
            Self::All(wait) => wait,
            Self::Settled(wait) => wait,
            Self::First(wait) => wait,
            Self::Some(wait) => wait,
            Self::Signal(wait) => wait,
            Self::Sleep(wait) => wait,
            Self::Job(wait) => wait,
        }
    }

    /// What it tells if it won.
    pub(super) async fn settle(self, winner: Winner) -> Answered {
        match self {
            Self::Handle(wait) => one(winner.settle(wait).await),
            Self::Next(wait) => next(winner.settle(wait).await),
            Self::NextId(wait) => next_id(winner.settle(wait).await),
            Self::All(wait) => all(winner.settle(wait).await),
            Self::Settled(wait) => settled(winner.settle(wait).await),
            Self::First(wait) => one(winner.settle(wait).await),
            Self::Some(wait) => all(winner.settle(wait).await),
            Self::Signal(wait) => signal(winner.settle(wait).await),
            Self::Sleep(wait) => slept(winner.settle(wait).await),
            Self::Job(wait) => one(winner.settle(wait).await),
        }
    }
}

fn one(result: Result<Out, JoinError>) -> Answered {
    (Told::of(&result), result.err(), None)
}

fn next(result: Option<Result<Out, JoinError>>) -> Answered {
    result.map_or((Told::Nothing, None, None), one)
}

fn next_id(result: Option<Result<(TaskId, Out), JoinError>>) -> Answered {
    match result {
        Some(Ok((id, out))) => (Told::of(&Ok(out)), None, Some(id)),
        other => next(other.map(|result| result.map(|(_, out)| out))),
    }
}

fn all(result: Result<Vec<Out>, JoinError>) -> Answered {
    match result {
        Ok(all) => {
            let all = all.into_iter().map(|out| Told::Value(out.task, out.token));
            (Told::Many(all.collect()), None, None)
        }
        Err(error) => (Told::error(&error), Some(error), None),
    }
}

fn settled(result: Result<Vec<Result<Out, JoinError>>, JoinError>) -> Answered {
    match result {
        Ok(all) => (Told::Many(all.iter().map(Told::of).collect()), None, None),
        Err(error) => (Told::error(&error), Some(error), None),
    }
}

fn signal(result: Result<u64, JoinError>) -> Answered {
    match result {
        Ok(value) => (Told::Signal(value), None, None),
        Err(error) => (Told::error(&error), Some(error), None),
    }
}

fn slept(result: Result<(), Misuse>) -> Answered {
    match result {
        Ok(()) => (Told::Slept, None, None),
        Err(misuse) => (Told::Strange(misuse.to_string()), None, None),
    }
}
