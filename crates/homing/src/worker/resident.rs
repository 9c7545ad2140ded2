//! Parked futures kept in memory: a cache, bounded by count and age.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::inbox::{DriverInbox, DriverMessage};
use crate::clock::Clock;
use crate::core::id::{TaskId, Token};
use crate::core::time::Time;

#[derive(Debug)]
pub(super) struct Residents {
    /// The store's, so that a test can turn it.
    clock: Clock,
    by_task: HashMap<TaskId, Resident>,
    /// By age: the oldest is evicted first.
    by_age: BTreeMap<u64, TaskId>,
    counter: u64,
}

#[derive(Debug)]
struct Resident {
    parked: Token,
    inbox: Arc<DriverInbox>,
    number: u64,
    since: Time,
}

impl Residents {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, by_task: HashMap::new(), by_age: BTreeMap::new(), counter: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.by_task.len()
    }

    /// Keeps a parked future; an older one of the same task, and the oldest beyond `most`, are dropped.
    pub(super) fn keep(
        &mut self,
        task: TaskId,
        parked: Token,
        inbox: Arc<DriverInbox>,
        most: usize,
    ) {
        self.evict(task);
        self.counter += 1;
        let number = self.counter;
        self.by_task.insert(task, Resident { parked, inbox, number, since: self.clock.now() });
        self.by_age.insert(number, task);
        while self.by_task.len() > most {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.evict(oldest);
        }
    }

    /// The mailbox of the future that was parked under a token; any other future of the task is stale.
    pub(super) fn resume(
        &mut self,
        task: TaskId,
        parked: Option<Token>,
    ) -> Option<Arc<DriverInbox>> {
        let resident = self.by_task.remove(&task)?;
        self.by_age.remove(&resident.number);
        if Some(resident.parked) == parked {
            return Some(resident.inbox);
        }
        resident.inbox.put(DriverMessage::Dropped);
        None
    }

    fn evict(&mut self, task: TaskId) {
        if let Some(resident) = self.by_task.remove(&task) {
            self.by_age.remove(&resident.number);
            resident.inbox.put(DriverMessage::Dropped);
        }
    }

    /// Drops what has been parked for longer than `age`.
    pub(super) fn evict_older(&mut self, age: Duration) {
        if self.by_age.is_empty() {
            return;
        }
        let now = self.clock.now();
        while let Some((_, task)) = self.by_age.first_key_value() {
            let task = *task;
            if self.by_task.get(&task).is_some_and(|resident| now.since(resident.since) < age) {
                return;
            }
            self.by_age.pop_first();
            self.evict(task);
        }
    }

    pub(super) fn clear(&mut self) {
        for (_, resident) in self.by_task.drain() {
            resident.inbox.put(DriverMessage::Dropped);
        }
        self.by_age.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;
    use crate::core::id::{JobId, WorkerId};

    #[test]
    fn so_many_are_kept_and_the_oldest_go_first() {
        let mut residents = Residents::new(Clock::Manual(ManualClock::default()));
        let token = Token::at_once(WorkerId::fresh(), 1);
        let task = |name| JobId::named(name).root();
        for name in ["a", "b", "a", "c"] {
            residents.keep(task(name), token, Arc::default(), 2);
        }
        assert_eq!((residents.len(), residents.by_age.len()), (2, 2));
        let kept = ["a", "b", "c"].map(|name| residents.resume(task(name), Some(token)).is_some());
        assert_eq!(kept, [true, false, true], "`a` was parked again after `b`");
    }
}
