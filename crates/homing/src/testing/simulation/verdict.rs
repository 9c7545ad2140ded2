//! After a run: whether what the bodies saw and what the store has are one story.
//!
//! Everything has ended, so every child's end, its order and its value are known for good. From these
//! the model tells what each wait had to answer, and how each task had to end.

use std::collections::{BTreeMap, BTreeSet};

use super::Out;
use super::family::{Family, Told};
use super::ledger::{Book, Ledger, Observation, Returned, Spot};
use super::line::now;
use super::plan::Limits;
use crate::core::id::{JobId, TaskId};
use crate::core::policy::FailurePolicy;
use crate::core::time::Time;
use crate::error::{Failure, Reason};
use crate::store::{CancelledBy, Store};
use crate::{TaskState, TaskView, limits};

/// How a task ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) state: TaskState,
    /// Its number among the ended children of its set.
    number: u64,
    by: Option<CancelledBy>,
    token: Option<u64>,
    parent: Option<TaskId>,
}

impl Ended {
    fn is_aborted(&self) -> bool {
        self.by.is_some_and(CancelledBy::is_parent)
    }

    fn is_lost(&self) -> bool {
        self.state != TaskState::Succeeded && !self.is_aborted()
    }

    /// What a wait has to tell of it.
    fn told(&self, child: TaskId) -> Told {
        match self.token {
            Some(token) => Told::Value(child, token),
            None if self.is_aborted() => Told::Aborted(child),
            None => Told::Failed(child),
        }
    }
}

/// Judges a run by its ledger and its store; faults go into the ledger.
pub(super) fn judge(store: &dyn Store, ledger: &Ledger) {
    let mut ends = Ends { store, known: BTreeMap::new() };
    let mut observations: Vec<_> = ledger.book().observations.clone().into_iter().collect();
    for (spot, seen) in &mut observations {
        ends.forget_unsaid(spot.0, &mut seen.family);
        if let Err(text) = ends.observation(seen) {
            ledger.fault(format!(
                "{spot:?}, {}: {text}; it was told {:?} of {:?}",
                seen.verb, seen.told, seen.family
            ));
        }
    }
    if let Err(text) = ends.links(&ledger.book()) {
        ledger.fault(text);
    }
    let begun = ledger.book().begun.clone();
    for task in &begun {
        let judged = ends.task(*task, &ledger.book());
        if let Err(text) = judged {
            ledger.fault(format!("{task}: {text}"));
        }
        if let Some(token) = ends.of(*task).ok().and_then(|end| end.token) {
            ledger.saw_value(*task, token);
        }
    }
    let detached: Vec<(Spot, JobId)> = ledger.book().detached.clone().into_iter().collect();
    for (spot, job) in detached {
        // What a body detached and nobody committed before it failed for good never was.
        let succeeded = ends.of(spot.0).is_ok_and(|end| end.state == TaskState::Succeeded);
        if succeeded && ends.of(job.root()).is_err() {
            ledger.fault(format!("{spot:?} detached {job}, which the store does not know"));
        }
    }
}

struct Ends<'s> {
    store: &'s dyn Store,
    known: BTreeMap<TaskId, Ended>,
}

type Judged = Result<(), String>;

impl Ends<'_> {
    fn of(&mut self, task: TaskId) -> Result<Ended, String> {
        if let Some(known) = self.known.get(&task) {
            return Ok(known.clone());
        }
        let view = now(self.store.task(task)).map_err(|error| error.to_string())?;
        let view = view.ok_or(format!("{task} is not in the store"))?;
        if !view.state.is_ended() {
            return Err(format!("{task} has not ended: it is {}", view.state));
        }
        let (mut number, mut by) = (0, None);
        if let Some(parent) = view.parent {
            let child =
                now(self.store.child(parent, task.local)).map_err(|error| error.to_string())?;
            let child = child.ok_or(format!("{task} is no child of its parent"))?;
            (number, by) = (child.end.unwrap_or(0), child.cancelled_by);
        }
        let value: Option<Out> =
            view.value.as_deref().and_then(|text| serde_json::from_str(text).ok());
        // A combinator's value is that of a task below it.
        let own = |out: &Out| out.task == task || is_combinator(&view);
        let token = value.filter(own).map(|out| out.token);
        if token.is_some() != (view.state == TaskState::Succeeded) {
            return Err(format!("{task} is {} with the value {:?}", view.state, view.value));
        }
        let ended = Ended { state: view.state, number, by, token, parent: view.parent };
        self.known.insert(task, ended.clone());
        Ok(ended)
    }

    /// Of a task that did not succeed the last words may have been refused: children that it spawned there never were,
    /// and had not ended before any of its waits.
    fn forget_unsaid(&mut self, task: TaskId, family: &mut Family) {
        if self.of(task).is_ok_and(|end| end.state == TaskState::Succeeded) {
            return;
        }
        let is_there = |child: &TaskId| !matches!(now(self.store.task(*child)), Ok(None));
        family.children.retain(is_there);
    }

    /// What the members of a growing set had added by its end, in that order, as far as it goes back to the
    /// children it had.
    fn added(&mut self, family: &Family) -> Result<Vec<TaskId>, String> {
        let Some(first) = family.children.first().filter(|_| family.growing) else {
            return Ok(Vec::new());
        };
        let (job, view) = (first.job, now(self.store.task(*first)));
        let view = view.ok().flatten().ok_or(format!("{first} is not in the store"))?;
        let Some((parent, (set, _))) = view.parent.zip(view.set) else { return Ok(Vec::new()) };
        let all = now(self.store.children(parent, set, limits::CHILDREN, 1_000));
        let mut all = all.map_err(|error| error.to_string())?;
        all.retain(|child| (child.local.origin(child.number) as usize) < family.children.len());
        Ok(all.into_iter().map(|child| TaskId { job, local: child.local }).collect())
    }

    /// All members of a set.
    fn members(&mut self, family: &Family) -> Result<Vec<TaskId>, String> {
        let added = self.added(family)?;
        Ok(family.children.iter().copied().chain(added).collect())
    }

    /// Those that were not given out.
    fn left(&mut self, family: &Family) -> Result<Vec<TaskId>, String> {
        let mut members = self.members(family)?;
        members.retain(|child| !family.given.contains(child));
        Ok(members)
    }

    /// The children of a set that were not given out, in the order they ended.
    fn in_order(&mut self, family: &Family) -> Result<Vec<(TaskId, Ended)>, String> {
        let mut left = Vec::new();
        for child in self.left(family)? {
            left.push((child, self.of(child)?));
        }
        left.sort_by_key(|(_, end)| end.number);
        Ok(left)
    }

    /// The loss that was one too many, if there was one.
    fn breaking(&mut self, family: &Family) -> Result<Option<TaskId>, String> {
        let mut given_lost = 0;
        for child in &family.given {
            given_lost += u64::from(self.of(*child)?.is_lost());
        }
        let members = self.members(family)?.len();
        let allowed = match family.policy {
            FailurePolicy::FailFast => 0,
            FailurePolicy::Tolerate { failures } => failures,
            FailurePolicy::ToleratePercent { percent } => {
                (members as f64 * percent / 100.0).floor() as u64
            }
            FailurePolicy::Require { successes } => {
                (members as u64).saturating_sub(successes).saturating_sub(given_lost)
            }
        };
        let left = self.in_order(family)?;
        let mut lost = left.into_iter().filter(|(_, end)| end.is_lost());
        Ok(lost.nth(allowed as usize).map(|(child, _)| child))
    }

    /// Whether a set that requires successes has too few.
    fn too_few(&mut self, family: &Family) -> Result<bool, String> {
        let FailurePolicy::Require { successes } = family.policy else { return Ok(false) };
        let mut count = 0;
        for child in self.members(family)? {
            count += u64::from(self.of(child)?.state == TaskState::Succeeded);
        }
        Ok(count < successes)
    }

    fn observation(&mut self, seen: &Observation) -> Judged {
        let family = &seen.family;
        match seen.verb {
            "await" | "job" => {
                let child = seen.child.ok_or("a handle without a child")?;
                same(&self.of(child)?.told(child), &seen.told)
            }
            "join_next" => match self.in_order(family)?.first() {
                Some((child, end)) => same(&end.told(*child), &seen.told),
                None => same(&Told::Nothing, &seen.told),
            },
            "join_settled" => {
                let mut all = Vec::new();
                for child in self.left(family)? {
                    all.push(self.of(child)?.told(child));
                }
                same(&Told::Many(all), &seen.told)
            }
            "join_all" => self.join_all(seen),
            "join_first" | "join_some" => self.join_some(seen),
            _ => Ok(()),
        }
    }

    fn join_all(&mut self, seen: &Observation) -> Judged {
        let family = &seen.family;
        if let Some(child) = self.breaking(family)? {
            return same(&Told::Failed(child), &seen.told);
        }
        if self.too_few(family)? {
            return same(&Told::TooFew, &seen.told);
        }
        let mut all = Vec::new();
        for child in self.left(family)? {
            let told = self.of(child)?.told(child);
            all.extend(matches!(told, Told::Value(..)).then_some(told));
        }
        same(&Told::Many(all), &seen.told)
    }

    fn join_some(&mut self, seen: &Observation) -> Judged {
        if seen.count == 0 {
            // Nothing is waited for: the children need not be stored yet, nor ever, should the unit be refused.
            return same(&Told::Many(Vec::new()), &seen.told);
        }
        if !seen.family.growing && seen.family.left().count() < seen.count {
            // Nor is anything waited for here.
            return same(&Told::TooFew, &seen.told);
        }
        let left = self.in_order(&seen.family)?;
        let succeeded = left.iter().filter(|(_, end)| end.token.is_some());
        let values: Vec<_> =
            succeeded.take(seen.count).map(|(child, end)| end.told(*child)).collect();
        let out_of_reach = left.iter().filter(|(_, end)| end.token.is_none()).count();
        match &seen.told {
            Told::Value(..) => same(&Told::Many(values), &Told::Many(vec![seen.told.clone()])),
            Told::Many(_) => same(&Told::Many(values), &seen.told),
            Told::Failed(child) => {
                let end = self.of(*child)?;
                let right = end.is_lost() && seen.count == 1;
                if right { Ok(()) } else { Err(format!("{child} is {end:?}")) }
            }
            Told::TooFew if left.len() < seen.count => Ok(()),
            Told::TooFew if left.len() - out_of_reach < seen.count => Ok(()),
            other => Err(format!("{other:?} though {} of {} succeeded", values.len(), left.len())),
        }
    }

    /// Whether a task ended as its bodies did.
    fn task(&mut self, task: TaskId, book: &Book) -> Judged {
        let end = self.of(task)?;
        let returned = book.returned.get(&task);
        match end.state {
            TaskState::Succeeded => {
                let run = returned.into_iter().flatten().find(|run| Some(run.token) == end.token);
                let run = run.ok_or(format!("its value {:?} was returned by no run", end.token))?;
                if run.wrong {
                    return Err("it succeeded though it has left out a child".to_owned());
                }
                if book.failed.contains_key(&task) {
                    return Err(format!("it succeeded though {:?}", book.failed.get(&task)));
                }
                match self.broken(run)? {
                    Some(child) => Err(format!("it succeeded though its child {child} was lost")),
                    None => self.lines(task, run),
                }
            }
            TaskState::Failed if book.failed.contains_key(&task) || book.unfit.contains(&task) => {
                Ok(())
            }
            TaskState::Failed => {
                for run in returned.into_iter().flatten() {
                    // Children of a run whose last words were refused never were.
                    if matches!(self.broken(run), Ok(Some(_))) {
                        return Ok(());
                    }
                }
                let view = now(self.store.task(task)).ok().flatten();
                let view = view.ok_or("it is not in the store")?;
                let failure = view.failure.clone().ok_or("it failed without a failure")?;
                if is_due(task, &view, &failure, book) {
                    return Ok(());
                }
                Err(format!("it failed for no reason: {failure:?}"))
            }
            _ => self.cancelled(task, &end, book),
        }
    }

    fn cancelled(&mut self, task: TaskId, end: &Ended, book: &Book) -> Judged {
        let parent = end.parent.map(|parent| self.of(parent)).transpose()?;
        // What a member has added is aborted with the child that it goes back to.
        let meant = self.origin(task)?;
        let right = match end.by {
            Some(CancelledBy::Abort) => book.aborted.contains(&meant),
            Some(CancelledBy::Policy) => {
                book.given_up.contains(&meant) || self.is_below_combinator(end)
            }
            Some(CancelledBy::Parent) => {
                parent.is_some_and(|parent| parent.state != TaskState::Succeeded)
            }
            Some(CancelledBy::User) | None => book.cancelled.contains(&task),
        };
        if right { Ok(()) } else { Err(format!("it was cancelled by {:?}, for no reason", end.by)) }
    }

    /// The child of its parent's body that a task goes back to: itself, unless a member has added it.
    fn origin(&self, task: TaskId) -> Result<TaskId, String> {
        let view = now(self.store.task(task)).map_err(|error| error.to_string())?;
        let born = view.and_then(|view| view.parent.zip(view.set));
        let Some((parent, (set, number))) = born.filter(|(_, (_, n))| *n >= limits::CHILDREN)
        else {
            return Ok(task);
        };
        let page = now(self.store.children(parent, set, task.local.origin(number), 1));
        let first = page.map_err(|error| error.to_string())?.into_iter().next();
        first
            .map(|child| TaskId { local: child.local, ..task })
            .ok_or(format!("{task} goes back to no child"))
    }

    /// Whether its parent is a combinator, which gives up the rest of a group by itself.
    fn is_below_combinator(&self, end: &Ended) -> bool {
        let view = end.parent.and_then(|parent| now(self.store.task(parent)).ok().flatten());
        view.is_some_and(|view| is_combinator(&view))
    }

    /// Each call with something that follows it is followed by one job, that of its end. A retry of the job
    /// leaves what has followed before.
    fn links(&mut self, book: &Book) -> Judged {
        for (label, link) in &book.links {
            // Its unit may have been refused, and a retry may have taken it away.
            if !now(self.store.task(*link)).is_ok_and(|view| view.is_some()) {
                continue;
            }
            let count = |of: &BTreeMap<String, _>| of.get(label).map_or(0, BTreeSet::len);
            let (went, fell) = (count(&book.went), count(&book.fell));
            let succeeded = self.of(*link)?.state == TaskState::Succeeded;
            let exact = (went, fell) == (usize::from(succeeded), usize::from(!succeeded));
            let enough = if succeeded { went >= 1 } else { fell >= 1 };
            if !(exact || enough && book.retried.contains(&link.job)) {
                let text = "success and failure were followed";
                return Err(format!("{label}, succeeded {succeeded}: {text} {went} and {fell}"));
            }
        }
        Ok(())
    }

    /// The child whose loss a set left open does not bear.
    fn broken(&mut self, run: &Returned) -> Result<Option<TaskId>, String> {
        for family in &run.open {
            if let Some(child) = self.breaking(family)? {
                return Ok(Some(child));
            }
            if !self.left(family)?.is_empty() && self.too_few(family)? {
                return Ok(family.children.first().copied());
            }
        }
        Ok(None)
    }

    /// Every line that the last run said is in the log.
    fn lines(&self, task: TaskId, run: &Returned) -> Judged {
        if run.lines.is_empty() {
            return Ok(());
        }
        let log = now(self.store.log(task.job, 0, 10_000)).map_err(|error| error.to_string())?;
        let missing = run.lines.iter().find(|line| !log.iter().any(|own| own.message == **line));
        missing.map_or(Ok(()), |line| Err(format!("the line `{line}` is not in the log")))
    }
}

fn is_combinator(view: &TaskView) -> bool {
    view.kind.starts_with("homing.")
}

/// Whether a task's time was up, or its retries.
fn is_due(task: TaskId, view: &TaskView, failure: &Failure, book: &Book) -> bool {
    let ended = view.ended.unwrap_or(view.created);
    let past = |end: Option<Time>| end.is_some_and(|end| ended >= end);
    let strikes = book.strikes.get(&task).copied().unwrap_or(0);
    let under = |limits: &Limits| match failure.reason {
        Reason::Deadline => limits.deadline.is_some() && past(view.deadline),
        // One that was fetched ahead may have begun, and its worker died before it could say so.
        Reason::Expired => limits.expires.is_some() && past(view.expires) && view.started.is_none(),
        Reason::Timeout => limits.timeout.is_some(),
        // Its stretches that were too long are failures that no body has told of.
        Reason::Error | Reason::Panic => limits
            .retries
            .is_some_and(|retries| strikes > retries || (limits.timeout.is_some() && strikes > 0)),
        _ => false,
    };
    book.limits.get(&task).is_some_and(|all| all.iter().any(under))
}

fn same(right: &Told, told: &Told) -> Judged {
    if right == told { Ok(()) } else { Err(format!("the model says {right:?}")) }
}
