//! What units need of this store alone: a way out of a bundle, and jobs of their own.

use crate::store::postgres::transaction::bundle;
use crate::store::postgres::transaction::task::{Newborn, Task};
use crate::store::postgres::transaction::tx::{LockedTask, Tx};
use crate::store::{NewJob, Unit};

impl<'e> Tx<'e> {
    /// A task gets a row of its own before it does anything but record and end: its row is what its
    /// children's ends, its waits and its words hold on to.
    pub(super) fn leave_bundle(&mut self, unit: &Unit) {
        let bundled = self.rows.get(&unit.task).is_some_and(|known| known.bundle.is_some());
        if bundled && !bundle::stays(unit) {
            // Marked as moved.
            let _ = self.change_task(unit.task);
        }
    }

    /// Whether a job to be is new.
    pub(in crate::store::postgres) fn submit(&mut self, job: &'e NewJob) -> bool {
        if !self.roots.insert(job.id) {
            return false;
        }
        if let Some(key) = &job.key {
            if self.holders.contains_key(key) {
                self.roots.remove(&job.id);
                return false;
            }
            self.holders.insert(key.clone(), job.id);
        }
        let id = job.id.root();
        self.newborns.push(Newborn { id, birth: None, new: &job.task, job: Some(job) });
        let mut task = Task::born(id, &job.task, None, self.now);
        task.key.clone_from(&job.key);
        self.rows.insert(id, LockedTask::newborn(task));
        self.keys.extend(job.key.as_deref().map(|key| (key, job.id)));
        true
    }
}
