//! What this program would do with the open tasks of a store, found by replaying them without a claim.

use std::any::Any;
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;

use super::WorkerBuilder;
use super::outcome::undecodable;
use crate::body::context::{self, Context, Halt, Needs};
use crate::core::id::{TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::error::{Error, StartError, discard, panic_text, shown};
use crate::limits;
use crate::store::read::{JobFilter, Status, TaskView};
use crate::store::{self, Claimed, Event, Policy, Store};
use crate::task::{Definition, Input, States};

/// How long the replay of one task may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a program would do with a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Its body replays what is recorded, up to the wait that it is parked at and without running a step. What it
    /// does behind that no dry run can see.
    GoesOn,
    /// It would stand still.
    StandsStill {
        /// At which place, what was expected and what came.
        reason: String,
    },
    /// Its body would fail.
    Fails {
        /// The error.
        message: String,
    },
    /// Its body waits for something outside of steps, or the store for something else, for more than 10 seconds.
    Undecided,
}

/// A task that was replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// The task.
    pub task: TaskId,
    /// Its kind.
    pub kind: String,
    /// What the program would do with it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl WorkerBuilder {
    /// Replays every open task of the registered kinds that no worker runs, and tells what this program would do
    /// with each: to be asked of a release before it is deployed. Starts no worker and changes nothing in the
    /// store. Returns how many tasks were replayed.
    ///
    /// A replay ends where the body reaches something that is not recorded, at the latest at the wait that the task
    /// is parked at. What the body does after that depends on an answer that is not there yet: if it no longer reaches
    /// a recorded step or spawn, that shows only when it returns. Of a task that has not begun the arguments are
    /// checked, and the body up to its first verb. The work of steps is not done; code outside of steps runs, as in any
    /// replay. A long record is read whole.
    ///
    /// # Errors
    /// As [`start`](Self::start); the store fails.
    pub async fn verify(self, mut each: impl FnMut(Verified)) -> Result<u64, StartError> {
        let definitions = self.check()?;
        let stage = Stage { store: self.store, definitions, states: Arc::new(self.states) };
        let mut count = 0;
        for status in [Status::InProgress, Status::Stalled] {
            let mut filter = JobFilter { status: Some(status), ..JobFilter::default() };
            loop {
                let page = stage.store.jobs(filter.clone()).await?;
                let Some(last) = page.last() else { break };
                filter.after = Some((last.created, last.id));
                for job in &page {
                    let mut open = vec![(job.id.root(), 0)];
                    while let Some((task, depth)) = open.pop() {
                        let Some(view) = stage.store.task(task).await? else { continue };
                        let below = stage.open_children(task).await?.into_iter();
                        open.extend(below.map(|child| (child, depth + 1)));
                        if let Some(verdict) = stage.replay(&view, depth).await? {
                            count += 1;
                            each(Verified { task, kind: view.kind, verdict });
                        }
                    }
                }
            }
        }
        Ok(count)
    }
}

/// What a replay needs.
struct Stage {
    store: Arc<dyn Store>,
    definitions: HashMap<&'static str, Definition>,
    states: Arc<States>,
}

type Body = Pin<Box<dyn Future<Output = Result<String, Error>> + Send>>;

enum End {
    Returned(Result<String, Error>),
    Panicked(Box<dyn Any + Send>),
    Halted(Halt),
    /// The body says or waits for something new.
    Beyond,
}

impl Stage {
    async fn open_children(&self, task: TaskId) -> Result<Vec<TaskId>, store::Error> {
        let mut open = Vec::new();
        let mut after = None;
        while let Some(row) = self.store.sets(task, after, 1).await?.pop() {
            after = Some(row.set);
            let mut from = 0;
            loop {
                let page = self.store.children(task, row.set, from, limits::PAGE).await?;
                let Some(last) = page.last() else { break };
                from = last.number + 1;
                let still = page.iter().filter(|child| !child.state.is_ended());
                open.extend(still.map(|child| TaskId { job: task.job, local: child.local }));
            }
        }
        Ok(open)
    }

    /// `None` if the task runs, has ended or is of a kind that this program does not have.
    async fn replay(&self, view: &TaskView, depth: u32) -> Result<Option<Verdict>, store::Error> {
        if !matches!(view.state, State::Pending | State::Waiting) {
            return Ok(None);
        }
        let Some(definition) = self.definitions.get(view.kind.as_str()) else { return Ok(None) };
        let claimed = Claimed {
            task: view.id,
            parent: view.parent.map(|parent| parent.local),
            set: view.set,
            depth,
            token: Token::at_once(WorkerId::fresh(), 0),
            kind: view.kind.clone(),
            arguments: String::new(),
            queue: view.queue.clone(),
            priority: view.priority,
            due: view.due,
            not_after: None,
            // What a body adds to its set is new, and nothing here says whether it may.
            policy: Policy { grows: true, ..Policy::default() },
            attempt: view.attempt,
            failures: view.failures,
            crashes: view.crashes,
            stalls: view.stalls,
            records: self.records(view.id).await?,
            spawned: self.spawned(view.id).await?,
            answers: Vec::new(),
            parked: None,
        };
        let context = Arc::new(Context::rehearsing(&claimed, Arc::clone(&self.store)));
        let input = Input::new(&view.arguments, Arc::clone(&self.states));
        let run = definition.run;
        let body = Box::pin(crate::body::closing::run(Arc::clone(&context), move || run(input)));
        let end = tokio::time::timeout(PATIENCE, play(&context, body)).await;
        Ok(Some(end.map_or(Verdict::Undecided, verdict)))
    }

    /// How many children the task's own body has spawned.
    async fn spawned(&self, task: TaskId) -> Result<u64, store::Error> {
        let (mut spawned, mut after) = (0, None);
        loop {
            let page = self.store.sets(task, after, limits::PAGE).await?;
            let Some(last) = page.last() else { return Ok(spawned) };
            after = Some(last.set);
            spawned += page.iter().map(|row| row.counts.own()).sum::<u64>();
        }
    }

    /// The number of the last entry of a record.
    async fn records(&self, task: TaskId) -> Result<u64, store::Error> {
        let mut last = 0;
        loop {
            let page = self.store.record(task, last, limits::PAGE).await?;
            match page.last() {
                Some((seq, ..)) => last = *seq,
                None => return Ok(last),
            }
        }
    }
}

/// Polls a body as a worker does, without one that would commit what it says.
async fn play(context: &Arc<Context>, mut body: Body) -> End {
    let mut requests = Vec::new();
    let end = poll_fn(|cx| {
        loop {
            requests.retain_mut(|request: &mut Pin<Box<dyn Future<Output = ()> + Send>>| {
                request.as_mut().poll(cx).is_pending()
            });
            let polled = catch_unwind(AssertUnwindSafe(|| {
                context::scope(context, || body.as_mut().poll(cx))
            }));
            if let Some(halt) = context.lock().halt.take() {
                return Poll::Ready(End::Halted(halt));
            }
            match polled {
                Ok(Poll::Ready(result)) => return Poll::Ready(End::Returned(result)),
                Err(panic) => return Poll::Ready(End::Panicked(panic)),
                Ok(Poll::Pending) => {}
            }
            let said = context.take_events().is_some_and(|(events, _)| {
                let is_new =
                    |event: &Event| !matches!(event, Event::Log(_) | Event::Progress { .. });
                events.iter().any(is_new)
            });
            if said {
                return Poll::Ready(End::Beyond);
            }
            let new = context.take_requests();
            let asks = !new.is_empty();
            requests.extend(new);
            match context.needs() {
                Needs::Poll => {}
                _ if asks => {}
                Needs::Waits => return Poll::Ready(End::Beyond),
                // A commit, which never comes.
                Needs::Worker if requests.is_empty() => return Poll::Ready(End::Beyond),
                Needs::Worker | Needs::Steps | Needs::Plain => return Poll::Pending,
            }
        }
    });
    let end = end.await;
    discard(body);
    end
}

fn verdict(end: End) -> Verdict {
    match end {
        End::Returned(Ok(_)) | End::Beyond | End::Halted(Halt::Rehearsed | Halt::Lost) => {
            Verdict::GoesOn
        }
        End::Returned(Err(error)) => {
            let verdict = match undecodable(&error) {
                Some(reason) => Verdict::StandsStill { reason },
                None => Verdict::Fails { message: shown(&error) },
            };
            discard(error);
            verdict
        }
        End::Panicked(panic) => Verdict::Fails { message: panic_text(panic) },
        End::Halted(Halt::Drift(reason)) => Verdict::StandsStill { reason },
        End::Halted(Halt::Store(error)) => Verdict::StandsStill { reason: error.to_string() },
        End::Halted(Halt::Misuse(misuse)) => Verdict::Fails { message: misuse.to_string() },
    }
}
