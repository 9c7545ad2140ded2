//! The waits of a program: what each is about, what it told, and what the model says of that.

use std::sync::atomic::Ordering;

use super::arm::{Armed, Target};
use super::body::{Scope, Stopped, pick};
use super::family::{Family, Told};
use super::ledger::{Observation, Spot};
use super::plan::{Ending, Wait};
use crate::body::waiting::race;
use crate::error::JoinError;
use crate::{JobId, Result, TaskId};

impl Scope<'_> {
    /// What a wait is about, if there is such a thing.
    pub(super) fn target(&self, wait: Wait) -> Option<Target> {
        let set = |n: usize| (!self.sets.is_empty()).then(|| n % self.sets.len());
        let handle = |n: usize| {
            let n = (!self.handles.is_empty()).then(|| n % self.handles.len())?;
            self.handles[n].0.as_ref().map(|_| n)
        };
        Some(match wait {
            Wait::Handle(n) | Wait::Taken(n) => {
                Target { wait, set: None, handle: Some(handle(n)?), job: None }
            }
            Wait::Job(n) => {
                let job = *pick(&self.jobs, n)?;
                Target { wait, set: None, handle: None, job: Some(job) }
            }
            Wait::Next(n)
            | Wait::NextId(n)
            | Wait::All(n)
            | Wait::Settled(n)
            | Wait::First(n)
            | Wait::Some(n, _) => Target { wait, set: Some(set(n)?), handle: None, job: None },
            Wait::Signal(_) | Wait::Sleep(_) => Target { wait, set: None, handle: None, job: None },
        })
    }

    fn announce(&self, wait: Wait) {
        if let Wait::Signal(name) = wait {
            self.ledger().book().wanted.insert((self.run.task, name));
        }
    }

    pub(super) async fn wait(
        &mut self,
        target: Target,
        ending: Ending,
        spot: Spot,
    ) -> Result<(), Stopped> {
        self.announce(target.wait);
        let (told, error, id) = Armed::alone(self, target, ending.timeout).await;
        self.answered(target, (told, id), &spot, 0);
        stop(error, ending)
    }

    pub(super) async fn select(
        &mut self,
        first: Wait,
        second: Wait,
        ending: Ending,
        spot: Spot,
    ) -> Result<(), Stopped> {
        let targets: Vec<Target> =
            [first, second].into_iter().filter_map(|wait| self.target(wait)).collect();
        let both =
            targets.len() == 2 && (targets[0].set.is_none() || targets[0].set != targets[1].set);
        let Some(first) = targets.first().copied() else { return Ok(()) };
        self.announce(first.wait);
        let second = both.then(|| targets[1]);
        if let Some(second) = second {
            self.announce(second.wait);
        }
        let (mut a, mut b) = Armed::two(self, first, second, ending.timeout);
        // This is what `select!` expands to.
        let winner = match &mut b {
            Some(b) => race(&mut [a.arm(), b.arm()]).await,
            None => race(&mut [a.arm()]).await,
        };
        let index = winner.index;
        let won = match b {
            Some(b) if index == 1 => b,
            _ => a,
        };
        let (told, error, id) = won.settle(winner).await;
        let target = if index == 0 { first } else { targets[1] };
        self.answered(target, (told, id), &spot, index);
        stop(error, ending)
    }

    /// Holds an answer against the model, and changes the model.
    fn answered(
        &mut self,
        target: Target,
        (told, id): (Told, Option<TaskId>),
        spot: &Spot,
        index: usize,
    ) {
        for (child, token) in told.values() {
            self.ledger().saw_value(child, token);
        }
        let told = &match target.job {
            Some(_) => told,
            None => told.renamed(&|task| self.own(task)),
        };
        if id.is_some() && id != told.child() {
            self.ledger().fault(format!("{spot:?} is told of {id:?} and {told:?}"));
        }
        self.saw(spot, &format!("arm {index}: {told:?}"));
        match told {
            Told::Strange(text) => self.ledger().fault(format!("{spot:?} is told: {text}")),
            Told::Signal(value) => self.ledger().saw_signal(spot, *value),
            _ => {}
        }
        let wrong = self.run.wrong.load(Ordering::SeqCst);
        let child = match (target.handle, target.job) {
            (Some(handle), _) => Some(self.handles[handle].2),
            (None, job) => job.map(JobId::root),
        };
        // The family of single children, where it is about a job: that has none.
        let family = match (target.set, target.handle, target.job) {
            (Some(set), ..) => self.sets[set].1,
            (_, Some(handle), _) => self.handles[handle].1,
            (None, None, Some(_)) => 0,
            (None, None, None) => return,
        };
        if wrong && target.set.is_some() && !self.families[family].growing {
            let own = &self.families[family].children;
            let others: Vec<_> =
                told.children().into_iter().filter(|child| !own.contains(child)).collect();
            if !others.is_empty() {
                self.ledger().fault(format!("{spot:?} is told of {others:?}, whom it left out"));
            }
        }
        if *told != Told::TimedOut {
            let (verb, count) = target.verb();
            let seen = Observation {
                verb,
                count,
                family: self.families[family].clone(),
                child,
                told: told.clone(),
            };
            if !wrong {
                self.ledger().book().observations.entry(spot.clone()).or_insert(seen);
            }
            self.take(target, family, told, spot);
        }
        if matches!(target.wait, Wait::Taken(_))
            && let Some(handle) = target.handle
        {
            self.handles[handle].0 = None;
        }
    }

    fn take(&mut self, target: Target, family: usize, told: &Told, spot: &Spot) {
        let model = &mut self.families[family];
        match target.wait {
            Wait::Handle(_) | Wait::Taken(_) => {
                if let Some(child) = told.child() {
                    model.give(child);
                }
            }
            Wait::Next(_) | Wait::NextId(_) => {
                let right = match told.child() {
                    Some(child) => model.give(child),
                    None => model.left().next().is_none(),
                };
                if !right {
                    self.run.site.ledger.fault(format!("{spot:?} gave out {told:?} of {model:?}"));
                }
            }
            Wait::All(_) | Wait::Settled(_) | Wait::First(_) | Wait::Some(..) => {
                let aborts = match target.wait {
                    Wait::Settled(_) => false,
                    Wait::All(_) => matches!(told, Told::Failed(_)),
                    _ => true,
                };
                if aborts {
                    self.run.site.ledger.book().given_up.extend(&model.children);
                }
                model.dealt = true;
                let fresh = Family::new(model.policy, model.growing);
                if let Some(set) = target.set {
                    self.sets[set].1 = self.families.len();
                    self.families.push(fresh);
                }
            }
            Wait::Signal(_) | Wait::Sleep(_) | Wait::Job(_) => {}
        }
    }
}

fn stop(error: Option<JoinError>, ending: Ending) -> Result<(), Stopped> {
    match error {
        Some(error) if ending.passed_on => Err((error.into(), true)),
        _ => Ok(()),
    }
}
