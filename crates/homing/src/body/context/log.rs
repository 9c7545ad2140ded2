//! Log lines of a body: each said once, however often the body is replayed.
//!
//! A line before the end of the record was committed with or before what follows it there, so a replay
//! drops it. A line beyond the end is named by its branch, the operations before it, its number since
//! then and the attempt: a replay of the same attempt names it alike and the store keeps one. In a
//! branch beside others "before the end" shows only at the branch's next operation; until then its
//! lines are held back.

use super::{Context, Inner, current};
use crate::core::log::Level;
use crate::error::bounded;
use crate::store::{Event, LogLine};

/// A line whose fate shows at the branch's next operation.
pub(crate) type Deferred = LogLine;

impl Context {
    /// Says a line, unless it is a repetition.
    pub(crate) fn say(&self, level: Level, message: &str) {
        let time = self.now();
        let mut inner = self.lock();
        let prefix = inner.branches.prefix().to_owned();
        let branch = inner.branches.current();
        branch.lines += 1;
        let key = format!("{prefix}{}.{}.{}", branch.operations, branch.lines, self.attempt);
        let line = LogLine { key, time, level, message: bounded(message) };
        if !inner.is_replaying() {
            inner.push(Event::Log(line));
        } else if !inner.branches.is_main() {
            inner.branches.current().deferred.push(line);
        }
    }
}

impl Inner {
    /// The current branch did something that was in the record (or not): its lines before were said
    /// then (or are new).
    pub(super) fn settle_lines(&mut self, replayed: bool) {
        let lines = std::mem::take(&mut self.branches.current().deferred);
        if !replayed {
            for line in lines {
                self.push(Event::Log(line));
            }
        }
    }
}

/// Says a line in the task that calls; outside a task it is dropped.
pub(crate) fn say(level: Level, message: &str) {
    if let Ok(context) = current("log!") {
        context.say(level, message);
    }
}
