//! What people have done.

use super::Data;
use crate::core::time::Time;
use crate::limits;
use crate::store::read::actions::{ActionFilter, ActionView, NewAction};

impl Data {
    /// Keeps that somebody is about to do something, and forgets what is old.
    pub(super) fn begin_action(&mut self, action: NewAction, now: Time) -> u64 {
        let old = now.before(limits::ACTIONS_KEPT);
        self.actions.retain(|_, action| action.time >= old);
        self.last_action += 1;
        let (number, NewAction { who, verb, target }) = (self.last_action, action);
        let verb = verb.to_owned();
        let action = ActionView { number, time: now, who, verb, target, result: None };
        self.actions.insert(number, action);
        number
    }

    pub(super) fn end_action(&mut self, number: u64, result: String) {
        if let Some(action) = self.actions.get_mut(&number) {
            action.result = Some(result);
        }
    }

    pub(super) fn actions(&self, filter: &ActionFilter) -> Vec<ActionView> {
        let wanted = self.actions.values().rev().filter(|action| filter.admits(action));
        wanted.take(filter.rows()).cloned().collect()
    }
}
