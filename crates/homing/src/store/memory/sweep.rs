//! Upkeep: dead workers, due instants, cancellations on their way down.

use super::{Data, stored};
use crate::core::failure::{Failure, Reason};
use crate::core::id::{TaskId, WorkerId};
use crate::core::log;
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::events::Swept;

impl super::Worker {
    /// Whether its lease has run out.
    pub(super) fn is_dead(&self, now: Time) -> bool {
        self.killed || self.heartbeat.after(self.told.lease) < now
    }
}

impl Data {
    pub(super) fn sweep(&mut self, max_crashes: u32, now: Time) -> bool {
        self.reclaim_dead_workers(max_crashes, now);
        self.fire_timers(now);
        self.cascade(now)
    }

    /// Gives up workers whose lease has run out, and takes back what they held.
    fn reclaim_dead_workers(&mut self, max_crashes: u32, now: Time) {
        let dead: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.is_dead(now))
            .map(|(id, _)| *id)
            .collect();
        for worker in dead {
            let Some(gone) = self.workers.remove(&worker) else { continue };
            self.notices.remove(&worker);
            for task in self.held_by(worker) {
                self.crash(task, &gone.told.name, max_crashes, now);
            }
        }
    }

    pub(super) fn held_by(&mut self, worker: WorkerId) -> Vec<TaskId> {
        self.tasks.settle();
        self.tasks.running(worker).collect()
    }

    fn crash(&mut self, task: TaskId, name: &str, max_crashes: u32, now: Time) {
        let Some(row) = self.tasks.get_mut(&task) else { return };
        let Some(token) = row.token.take() else { return };
        if token.is_ahead() {
            // Nobody knows whether it had begun. The next worker that takes it begins it at once.
            row.at_once = true;
            return self.release(task, now.before(limits::RESUMED_AGE), |_| {});
        }
        row.crashes += 1;
        let (kind, attempt, crashes) = (row.kind.clone(), row.attempt, row.crashes);
        let worker = Some(token.worker);
        self.swept.push(Swept::TakenBack { id: task, kind, attempt, crashes, worker });
        self.write_line(task, log::crashed(attempt, token, name, now));
        if crashes < max_crashes {
            self.release(task, now.before(limits::RESUMED_AGE), |_| {});
            return;
        }
        self.fail(task, Reason::Crashed, &crate::core::state::crashed_text(crashes), now);
    }

    /// Acts on every instant that has come.
    fn fire_timers(&mut self, now: Time) {
        self.tasks.settle();
        let due = |row: &super::Task| row.timer().is_some_and(|time| time <= now);
        let mut fired: Vec<TaskId> = self.tasks.fired(now).collect();
        fired.sort_unstable();
        for task in fired {
            // An end further up may have reached it meanwhile.
            if !due(&self.tasks[&task]) {
                continue;
            }
            if !self.end_if_overdue(task, now) {
                self.wake_if_satisfied(task, now);
            }
        }
    }

    /// Ends a task that is past its expiry or its deadline.
    pub(super) fn end_if_overdue(&mut self, task: TaskId, now: Time) -> bool {
        if !self.is_overdue(task, now) {
            return false;
        }
        let row = &self.tasks[&task];
        let late = row.deadline.is_some_and(|time| time <= now);
        let reason = if late { Reason::Deadline } else { Reason::Expired };
        self.fail(task, reason, crate::core::state::overdue_text(reason), now)
    }

    /// Ends a task for a reason that is none of its body's.
    fn fail(&mut self, task: TaskId, reason: Reason, text: &str, now: Time) -> bool {
        let open = self.tasks.get(&task).filter(|row| !row.state.is_ended());
        let Some(row) = open else { return false };
        let failure = Failure::new(&row.kind, task, row.attempt, reason, text);
        self.write_line(task, log::ended(&failure, now));
        let failed = self.finish(task, State::Failed, stored(&failure), None, now);
        self.swept.extend(failed.then_some(Swept::Failed(failure)));
        failed
    }

    pub(super) fn is_overdue(&self, task: TaskId, now: Time) -> bool {
        let Some(row) = self.tasks.get(&task).filter(|row| !row.state.is_ended()) else {
            return false;
        };
        let expired = row.expiry().is_some_and(|time| time <= now);
        expired || row.deadline.is_some_and(|time| time <= now)
    }

    /// Cancels up to [`limits::CASCADE`] children, top down. `true` if there are more.
    pub(super) fn cascade(&mut self, now: Time) -> bool {
        let mut left = limits::CASCADE;
        while let Some((number, cascade)) = self.cascades.first_key_value() {
            let (number, cascade) = (*number, *cascade);
            let mut open = self.children_of(cascade.task, cascade.set);
            open.retain(|(id, number)| {
                id.local.origin(*number) < cascade.below && !self.tasks[id].state.is_ended()
            });
            let some = open.len().min(left);
            for (id, _) in open.drain(..some) {
                self.cancel_as(id, cascade.by, now);
            }
            left -= some;
            if !open.is_empty() {
                return true;
            }
            self.cascades.remove(&number);
        }
        false
    }
}
