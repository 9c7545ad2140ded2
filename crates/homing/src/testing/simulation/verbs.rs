//! The statements beside waits and steps: children with options, combinators, signals to children, and a
//! body that drifts.
//!
//! What a combinator brings is the value of a task below it. The model knows the combinator's own task
//! only: [`Scope::own`] finds it from any task below.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::body::{Scope, Stopped, gate, misuse, pick, ran};
use super::ledger::Spot;
use super::plan::{Ending, LONGEST, Limits, Program, Shape, Statement, Wait};
use super::{Out, after, fell, sim, total, went};
use crate::task::Kind;
use crate::task::call::Call;
use crate::{Error, Misuse, TaskId};

/// How much later than its soft timeout a body may be told of it, in milliseconds: one turn of a timer.
const TOLD_LATE: u64 = 5;

impl Scope<'_> {
    pub(super) async fn spawn(
        &mut self,
        set: Option<usize>,
        (at, limits): (bool, Limits),
        child: &Program,
        spot: &Spot,
    ) -> Result<(), Stopped> {
        let mut call = limited(sim(child.clone()), limits);
        if at {
            call = call.at(spot.1.clone());
        }
        let child = self.send(set, call, spot).await?;
        self.ledger().book().limits.entry(child).or_default().push(limits);
        Ok(())
    }

    async fn send<K: Kind<Output = Out>>(
        &mut self,
        set: Option<usize>,
        call: Call<K>,
        spot: &Spot,
    ) -> Result<TaskId, Stopped> {
        let set = set.filter(|_| !self.sets.is_empty()).map(|n| n % self.sets.len());
        let (handle, family) = match set {
            Some(n) => {
                let (set, family) = &mut self.sets[n];
                (set.spawn(call).await.map_err(misuse)?, *family)
            }
            None => (crate::spawn(call).await.map_err(misuse)?, 0),
        };
        let child = handle.id();
        self.saw(spot, &format!("the child {child}"));
        self.families[family].children.push(child);
        self.handles.push((Some(handle), family, child));
        Ok(child)
    }

    /// Spawns in the first run, and leaves the child out in every other: where the store has it by then, all
    /// that this run does until it is stopped is wrong.
    pub(super) async fn fewer(
        &mut self,
        set: usize,
        child: &Program,
        spot: &Spot,
    ) -> Result<(), Stopped> {
        let before = self.ledger().book().left_out.get(spot).copied();
        let Some(left_out) = before else {
            // Longer than any other, so that no other child is the same call and can take its place.
            let mut child = child.clone();
            child.body.push(Statement::Wait(Wait::Sleep(LONGEST), Ending::default()));
            let child = self.send(Some(set), sim(child), spot).await?;
            self.ledger().book().left_out.insert(spot.clone(), Some(child));
            return Ok(());
        };
        match left_out {
            Some(child) if self.run.site.line.knows(child) => {
                self.ledger().note(|| format!("{} leaves out {child}", spot.0));
                self.ledger().book().drifting.insert(spot.0);
                self.run.wrong.store(true, Ordering::SeqCst);
            }
            // The unit that spawned it was refused or lost. From now on the id may be that of the next child.
            Some(_) => {
                self.ledger().unsaid_from(spot);
                self.ledger().book().left_out.insert(spot.clone(), None);
            }
            None => {}
        }
        Ok(())
    }

    pub(super) async fn canvas(
        &mut self,
        set: Option<usize>,
        shape: Shape,
        calls: &[Program],
        spot: &Spot,
    ) -> Result<(), Stopped> {
        let label = format!("{} {}", spot.0, spot.1);
        let Some((last, before)) = calls.split_last() else { return Ok(()) };
        let members = || before.iter().map(|program| sim(program.clone()));
        let child = match shape {
            Shape::Chain => {
                let first = crate::chain(sim(last.clone()));
                let next = |chain: crate::ChainBuilder<Out>, program: &Program| {
                    chain.then(after::with(program.clone()))
                };
                let call = before.iter().fold(first, next).call();
                self.send(set, call, spot).await?
            }
            Shape::Chord => {
                let call = crate::chord(members(), total::with(last.clone()));
                self.send(set, call, spot).await?
            }
            Shape::Group => {
                let call = crate::chain(crate::group(members()));
                let call = call.then(total::with(last.clone())).call();
                self.send(set, call, spot).await?
            }
            Shape::Link => {
                let call = sim(last.clone()).on_success(went::with(label.clone()));
                let call = call.on_failure(fell::with(label.clone()));
                let child = self.send(set, call, spot).await?;
                self.ledger().book().links.insert(label, child);
                child
            }
        };
        self.ledger().book().canvas.insert(child);
        Ok(())
    }

    /// Adds to the set that the task is in, if that grows: the same in every run.
    pub(super) async fn sibling(
        &self,
        at: bool,
        sibling: &Program,
        spot: &Spot,
    ) -> Result<(), Stopped> {
        let call = sim(sibling.clone());
        let call = if at { call.at(spot.1.clone()) } else { call };
        match crate::spawn_sibling(call).await {
            Ok(added) => self.saw(spot, &format!("the sibling {added}")),
            Err(Misuse::NoSiblings | Misuse::NoGrowingSet) => self.saw(spot, "no growing set"),
            Err(other) => return Err(misuse(other)),
        }
        Ok(())
    }

    pub(super) async fn replace(&self, child: &Program, spot: &Spot) -> Result<(), Stopped> {
        let out = crate::replace(sim(child.clone())).await.map_err(|error| (error, true))?;
        self.ledger().saw_value(out.task, out.token);
        self.saw(spot, &format!("the value {} of {}", out.token, out.task));
        Ok(())
    }

    pub(super) async fn tell(&self, n: usize, spot: &Spot) -> Result<(), Stopped> {
        let Some((Some(handle), _, child)) = pick(&self.handles, n) else { return Ok(()) };
        let value = self.ledger().says(spot, *child);
        handle.signal("signal 2", &value).await.map_err(misuse)
    }

    pub(super) async fn overdue(&self, takes: u64, spot: &Spot) -> Result<(), Stopped> {
        let (site, number) = (&self.run.site, self.run.number);
        let limits = site.ledger.book().limits.get(&spot.0).cloned();
        let limits = limits.unwrap_or_else(|| vec![Limits::default()]);
        let work = || async {
            let token = crate::overdue()?;
            let begun = tokio::time::Instant::now();
            let work = tokio::time::sleep(Duration::from_millis(takes));
            let told = token.run_until_cancelled(work).await.is_none();
            let took = begun.elapsed().as_millis();
            let fits = |limits: &Limits| match limits.soft_timeout {
                Some(soft) => took <= u128::from(soft + TOLD_LATE),
                None => !told,
            };
            if !limits.iter().any(fits) {
                let text = format!("{spot:?} is told {told} after {took} ms under {limits:?}");
                site.ledger.fault(text);
            }
            gate(site).await;
            ran(site, number, spot);
            Ok::<_, Error>(site.ledger.token())
        };
        let token = crate::step("step", work).await.map_err(|error| (error.into(), false))?;
        self.saw_step(spot, token);
        Ok(())
    }

    /// The child of this body that a task is, or is below.
    pub(super) fn own(&self, task: TaskId) -> TaskId {
        let mut at = task;
        loop {
            if self.ledger().book().canvas.contains(&at) {
                return at;
            }
            match self.run.site.line.parent(at) {
                Some(parent) if parent != self.run.task => at = parent,
                _ => return task,
            }
        }
    }
}

fn limited(call: Call<sim>, limits: Limits) -> Call<sim> {
    let ms = Duration::from_millis;
    let call = limits.deadline.map_or(call.clone(), |time| call.deadline(ms(time)));
    let call = limits.expires.map_or(call.clone(), |time| call.expires(ms(time)));
    let call = limits.timeout.map_or(call.clone(), |time| call.timeout(ms(time)));
    let call = limits.soft_timeout.map_or(call.clone(), |time| call.soft_timeout(ms(time)));
    let call = limits.retries.map_or(call.clone(), |retries| call.retries(retries));
    limits.priority.map_or(call.clone(), |priority| call.priority(priority))
}
