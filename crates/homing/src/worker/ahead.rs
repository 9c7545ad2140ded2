//! What the worker has fetched ahead of its slots, in the order in which it begins.
//!
//! A worker whose tasks are short would stand idle for the time of an exchange each time its slots get free. So it
//! claims more than it has slots for: as many as slots got free during the last exchange, twice as many
//! if it ran dry, and none unless the store had more than was asked for. A task that held its slot for
//! [`limits::SHORT`] or longer counts as none. So with long tasks nothing is fetched ahead.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::id::{Map, TaskId, Token};
use crate::core::time::Time;
use crate::limits;
use crate::store::Claimed;

/// The order of claims: priority, then due time.
type Turn = (Reverse<i16>, Time, TaskId);

/// Claimed tasks that wait for a slot.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// With the instant at which each was fetched. In boxes: what a task brings is some hundred bytes, and a map of them moves
    /// its neighbours.
    queue: BTreeMap<Turn, (Box<Claimed>, Time)>,
    turns: Map<TaskId, Turn>,
    /// How many may wait here.
    target: usize,
    /// How large the arguments of a task were at the mean, in the last reply that brought any: in bytes.
    weight: usize,
    /// Whether the store had as many tasks as were asked for, when last it was asked.
    more: bool,
}

impl Ahead {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds a task that is not here.
    pub(super) fn put(&mut self, claimed: Claimed, now: Time) {
        let turn = (Reverse(claimed.priority), claimed.due, claimed.task);
        self.turns.insert(claimed.task, turn);
        self.queue.insert(turn, (Box::new(claimed), now));
    }

    /// The task whose turn it is.
    pub(super) fn next(&mut self) -> Option<Claimed> {
        let (_, (claimed, _)) = self.queue.pop_first()?;
        self.turns.remove(&claimed.task);
        Some(*claimed)
    }

    /// Forgets a task that somebody else has ended.
    pub(super) fn cancel(&mut self, task: TaskId, token: Token) {
        let own = self.turns.get(&task).and_then(|turn| self.queue.get(turn));
        if own.is_some_and(|(claimed, _)| claimed.token == token) {
            self.remove(task);
        }
    }

    /// Forgets a task: the store has forgotten that it gave it.
    pub(super) fn remove(&mut self, task: TaskId) {
        if let Some(turn) = self.turns.remove(&task) {
            self.queue.remove(&turn);
        }
    }

    /// Since when the task that has waited longest does.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.queue.values().map(|(_, since)| *since).min()
    }

    /// Takes out what has waited for so long.
    pub(super) fn older_than(&mut self, age: Duration, now: Time) -> Vec<Claimed> {
        if self.oldest().is_none_or(|oldest| oldest.after(age) > now) {
            return Vec::new();
        }
        // The worker has fallen behind: it fetches no more before slots get free again.
        self.target = 0;
        let old = self.queue.extract_if(.., |_, (_, since)| since.after(age) <= now);
        let old: Vec<Claimed> = old.map(|(_, (claimed, _))| *claimed).collect();
        for claimed in &old {
            self.turns.remove(&claimed.task);
        }
        old
    }

    pub(super) fn take_all(&mut self) -> Vec<Claimed> {
        self.turns.clear();
        std::mem::take(&mut self.queue).into_values().map(|(claimed, _)| *claimed).collect()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many tasks to ask for beside those that begin at once, with so many slots free. `None`: fetch nothing
    /// ahead.
    pub(super) fn wanted(&self, free: usize) -> Option<usize> {
        let most = limits::EXCHANGE_BYTES / self.weight.max(1);
        let target = self.target.min(most);
        let wanted = || (free + target).min(limits::CLAIM).saturating_sub(self.len());
        (target > 0).then(wanted)
    }

    /// How large the tasks are that a reply has brought: what waits here is bounded in bytes, too.
    pub(super) fn weigh(&mut self, claimed: &[Claimed]) {
        let bytes: usize = claimed.iter().map(|claimed| claimed.arguments.len()).sum();
        self.weight = bytes.checked_div(claimed.len()).unwrap_or(self.weight);
    }

    /// An exchange is over: whether the store has more than was asked for, if it was asked for any; `turned` slots
    /// got free meanwhile, and `idle` are free now.
    pub(super) fn learn(&mut self, more: Option<bool>, turned: usize, idle: usize) {
        self.more = more.unwrap_or(self.more);
        let is_dry = self.is_empty() && idle > 0;
        let target = if is_dry { turned.saturating_mul(2) } else { turned };
        self.target = if self.more { target.min(limits::CLAIM) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::WorkerId;

    fn claimed(name: &str, priority: i16, due: i64) -> Claimed {
        let token = Token::ahead(WorkerId::fresh(), 1);
        Claimed { priority, due: Time(due), ..Claimed::first(name, token) }
    }

    fn rest(ahead: &mut Ahead) -> Vec<String> {
        std::iter::from_fn(|| ahead.next()).map(|claimed| claimed.kind).collect()
    }

    #[test]
    fn tasks_begin_in_turn() {
        let mut ahead = Ahead::default();
        let tasks = [("late", 0, 9), ("low", -1, 1), ("early", 0, 2), ("high", 5, 8)];
        for (name, priority, due) in tasks {
            ahead.put(claimed(name, priority, due), Time(0));
        }
        assert_eq!(rest(&mut ahead), ["high", "early", "late", "low"]);
    }

    #[test]
    fn a_task_is_here_once_under_its_last_claim() {
        let mut ahead = Ahead::default();
        let (first, second) = (claimed("a", 0, 1), claimed("a", 0, 2));
        ahead.put(first.clone(), Time(0));
        ahead.remove(second.task);
        ahead.put(second.clone(), Time(0));
        ahead.cancel(first.task, first.token);
        assert_eq!(ahead.len(), 1);
        ahead.cancel(second.task, second.token);
        assert!(ahead.is_empty());
    }

    #[test]
    fn what_waits_for_too_long_is_taken_out() {
        let mut ahead = Ahead { target: 5, ..Ahead::default() };
        ahead.put(claimed("old", 0, 1), Time(100));
        ahead.put(claimed("new", 9, 1), Time(200));
        let age = Duration::from_micros(50);
        assert!(ahead.older_than(age, Time(149)).is_empty());
        assert_eq!(ahead.wanted(0), Some(3));
        let old = ahead.older_than(age, Time(150));
        assert_eq!(old.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), ["old"]);
        assert_eq!((ahead.oldest(), ahead.wanted(0)), (Some(Time(200)), None));
        assert_eq!(rest(&mut ahead), ["new"]);
    }

    /// Large arguments are fetched ahead as far as an exchange may be large.
    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let mut ahead = Ahead { target: 500, ..Ahead::default() };
        ahead.weigh(&[]);
        assert_eq!(ahead.wanted(3), Some(503));
        let large = |bytes| Claimed { arguments: "x".repeat(bytes), ..claimed("a", 0, 0) };
        ahead.weigh(&[large(limits::EXCHANGE_BYTES / 10), large(0)]);
        assert_eq!(ahead.wanted(3), Some(23));
        ahead.weigh(&[]);
        assert_eq!(ahead.wanted(3), Some(23), "as before");
        ahead.weigh(&[large(limits::EXCHANGE_BYTES + 1)]);
        assert_eq!(ahead.wanted(3), None);
    }

    /// As many as get free, twice as many if that was too few, none if the store has no more.
    #[test]
    fn it_fetches_what_the_next_exchange_needs() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.wanted(64), None);
        ahead.learn(Some(true), 0, 0);
        assert_eq!(ahead.wanted(0), None, "no slot got free");
        ahead.learn(None, 40, 30);
        assert_eq!(ahead.wanted(10), Some(90), "it ran dry");
        ahead.learn(Some(true), 40, 0);
        assert_eq!(ahead.wanted(0), Some(40), "the last slot has just been taken");
        ahead.put(claimed("a", 0, 0), Time(0));
        ahead.learn(Some(true), 40, 0);
        assert_eq!(ahead.wanted(10), Some(49));
        ahead.learn(Some(true), 40, 3);
        assert_eq!(ahead.wanted(10), Some(49), "what is here has not run dry");
        ahead.learn(Some(true), 5_000, 0);
        assert_eq!(ahead.wanted(10), Some(limits::CLAIM - 1));
        ahead.learn(Some(false), 40, 0);
        assert_eq!(ahead.wanted(10), None, "the store has no more");
        ahead.clear();
        assert!(ahead.next().is_none(), "under an id that is given up nothing begins");
    }
}
