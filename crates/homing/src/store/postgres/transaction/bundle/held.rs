//! What this process remembers of bundles.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::id::{Map, Set, TaskId, WorkerId};
use crate::store::{Event, Unit};

/// Tasks that this process has claimed in bundles and that have done nothing but record since, by their
/// workers: their rows need not be looked for. Whoever else takes one of them away tells its worker.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct BundledTasks(Mutex<Map<WorkerId, Set<TaskId>>>);

impl BundledTasks {
    fn known(&self) -> MutexGuard<'_, Map<WorkerId, Set<TaskId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::store::postgres) fn add(&self, worker: WorkerId, tasks: Vec<TaskId>) {
        if !tasks.is_empty() {
            self.known().entry(worker).or_default().extend(tasks);
        }
    }

    pub(in crate::store::postgres) fn forget(
        &self,
        worker: WorkerId,
        tasks: impl IntoIterator<Item = TaskId>,
    ) {
        let mut tasks = tasks.into_iter().peekable();
        if tasks.peek().is_none() {
            return;
        }
        if let Some(held) = self.known().get_mut(&worker) {
            tasks.for_each(|task| _ = held.remove(&task));
        }
    }

    pub(in crate::store::postgres) fn leave(&self, worker: WorkerId) {
        self.known().remove(&worker);
    }

    /// Those of units that are in bundles and stay there, as far as is known, and whether others are in bundles that leave
    /// them. Of a task that goes on to do more than to record it is no longer so.
    pub(in crate::store::postgres) fn of(&self, units: &[&Unit]) -> (Set<TaskId>, bool) {
        let mut known = self.known();
        let (mut of, mut some_leave) = (Set::default(), false);
        for unit in units {
            let Some(held) = known.get_mut(&unit.token.worker) else { continue };
            let records = |event: &Event| matches!(event, Event::Record { .. });
            let here = if unit.events.iter().all(records) {
                held.contains(&unit.task)
            } else {
                held.remove(&unit.task)
            };
            if here && stays(unit) {
                of.insert(unit.task);
            } else {
                some_leave |= here;
            }
        }
        (of, some_leave)
    }
}

/// Whether a unit leaves its task in its bundle, or in no row at all.
pub(in crate::store::postgres) fn stays(unit: &Unit) -> bool {
    unit.events.iter().all(|event| matches!(event, Event::Record { .. } | Event::End(_)))
}
