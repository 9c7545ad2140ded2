//! The rows of all tasks, and which of them need looking at.
//!
//! Upkeep and claims look at every row there is, but for those that can have nothing for them: ended
//! ones, and parked ones that no instant wakes. Without this a tree that is 10,000 deep would take a
//! time that grows with the square of its depth. Whoever may have changed a row has made it one to look
//! at; [`settle`](Rows::settle) takes out those that have come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use super::Task;
use crate::core::id::{TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;

#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    all: BTreeMap<TaskId, Task>,
    /// Every row that is not at rest, and some that are.
    awake: BTreeSet<TaskId>,
}

impl Rows {
    pub(super) fn insert(&mut self, id: TaskId, row: Task) {
        self.awake.insert(id);
        self.all.insert(id, row);
    }

    pub(super) fn get_mut(&mut self, id: &TaskId) -> Option<&mut Task> {
        self.awake.insert(*id);
        self.all.get_mut(id)
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&TaskId, &mut Task) -> bool) {
        self.all.retain(keep);
    }

    /// The rows to look at, in the order of their ids.
    pub(super) fn awake(&self) -> impl Iterator<Item = (&TaskId, &Task)> {
        self.awake.iter().filter_map(|id| self.all.get_key_value(id))
    }

    /// Forgets to look at the rows that are at rest.
    pub(super) fn settle(&mut self) {
        let (all, awake) = (&self.all, &mut self.awake);
        awake.retain(|id| all.get(id).is_some_and(|row| !row.is_at_rest()));
    }
}

impl Deref for Rows {
    type Target = BTreeMap<TaskId, Task>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Task {
    /// The parking whose future a worker may go on with. A claim by another worker ends the right of a
    /// future, as that worker's replay may record more than the future knows; a claim by the same worker
    /// does not, because the reply to it may be lost and the task handed out again.
    pub(super) fn parked_by(&self, worker: WorkerId) -> Option<Token> {
        self.parked.filter(|parked| parked.worker == worker)
    }

    /// The instant at which the task must be looked at without a claim.
    pub(super) fn timer(&self) -> Option<Time> {
        if self.state.is_ended() {
            return None;
        }
        let expires = self.expires.filter(|_| self.started.is_none());
        let wake =
            crate::core::wait::earliest(&self.waits).filter(|_| self.state == State::Waiting);
        [expires, self.deadline, wake].into_iter().flatten().min()
    }

    fn is_at_rest(&self) -> bool {
        self.state.is_ended() || (self.state == State::Waiting && self.timer().is_none())
    }
}
