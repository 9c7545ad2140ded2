//! Log lines of a body: each said once, however often the body is replayed.
//!
//! A line before the end of the record was committed with or before what follows it there, so a replay
//! drops it. A line beyond the end is named by its branch, the operations before it, its number since
//! then and the attempt: a replay of the same attempt names it alike and the store keeps one. In a
//! branch beside others "before the end" shows only at the branch's next operation; until then its
//! lines are held back.
//!
//! A line cannot wait for room, as a spawn does: it is said by plain code. Of lines that are not committed a
//! task has a bounded number; those beyond are dropped, and a line in their place counts them.

use super::{Context, Inner, current};
use crate::core::log::Level;
use crate::error::bounded;
use crate::limits;
use crate::store::{Event, LogLine};

/// A line whose fate shows at the branch's next operation.
pub(crate) type Deferred = LogLine;

/// How many lines, and their bytes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lines {
    pub(super) count: usize,
    bytes: usize,
}

impl Lines {
    fn add(&mut self, line: &LogLine) {
        self.count += 1;
        self.bytes += size(line);
    }

    fn remove(&mut self, lines: Self) {
        self.count -= lines.count;
        self.bytes -= lines.bytes;
    }
}

fn size(line: &LogLine) -> usize {
    line.key.len() + line.message.len()
}

/// Lines that are not committed.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// All of them, those too whose fate shows later.
    all: Lines,
    /// Those not yet handed over.
    fresh: Lines,
    /// The first line that was dropped, and how many.
    dropped: Option<(LogLine, u64)>,
}

impl Backlog {
    /// Takes in a line, or counts it as dropped.
    fn admit(&mut self, line: LogLine) -> Option<LogLine> {
        let bytes = self.all.bytes + size(&line);
        if self.all.count < limits::UNFLUSHED_LINES && bytes <= limits::UNFLUSHED_LINE_BYTES {
            self.all.add(&line);
            return Some(line);
        }
        match &mut self.dropped {
            Some((_, count)) => *count += 1,
            None => self.dropped = Some((line, 1)),
        }
        None
    }

    /// What goes with the unit that is taken.
    pub(super) fn hand_over(&mut self) -> Lines {
        std::mem::take(&mut self.fresh)
    }

    pub(super) fn commit(&mut self, lines: Lines) {
        self.all.remove(lines);
    }
}

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
        let replaying = inner.is_replaying();
        if replaying && inner.branches.is_main() {
            return;
        }
        let Some(line) = inner.backlog.admit(line) else { return };
        if replaying {
            inner.branches.current().deferred.push(line);
        } else {
            inner.tell_dropped_lines();
            inner.push_line(line);
        }
    }
}

impl Inner {
    /// The current branch did something that was in the record (or not): its lines before were said
    /// then (or are new).
    pub(super) fn settle_lines(&mut self, replayed: bool) {
        for line in std::mem::take(&mut self.branches.current().deferred) {
            if replayed {
                self.backlog.all.remove(Lines { count: 1, bytes: size(&line) });
            } else {
                self.push_line(line);
            }
        }
    }

    fn push_line(&mut self, line: LogLine) {
        self.backlog.fresh.add(&line);
        self.push(Event::Log(line));
    }

    /// Says how many lines were dropped, now that others go out again.
    pub(super) fn tell_dropped_lines(&mut self) {
        let Some((first, count)) = self.backlog.dropped.take() else { return };
        let message = format!(
            "{count} lines were dropped here: the body said them faster than they could be stored"
        );
        let line = LogLine { level: Level::Warn, message, ..first };
        self.backlog.all.add(&line);
        self.push_line(line);
    }
}

/// Says a line in the task that calls; outside a task it is dropped.
pub(crate) fn say(level: Level, message: &str) {
    if let Ok(context) = current("log!") {
        context.say(level, message);
    }
}

#[cfg(test)]
mod tests {
    use super::{Backlog, Level, limits};
    use crate::core::time::Time;
    use crate::store::LogLine;

    #[test]
    fn lines_beyond_the_limit_are_counted_until_there_is_room() {
        let line = |n: usize| {
            let (level, message) = (Level::Info, String::new());
            LogLine { key: n.to_string(), time: Time(0), level, message }
        };
        let mut backlog = Backlog::default();
        for n in 0..limits::UNFLUSHED_LINES {
            let line = backlog.admit(line(n)).unwrap();
            backlog.fresh.add(&line);
        }
        let unit = backlog.hand_over();
        for n in 0..5 {
            assert_eq!(backlog.admit(line(n)), None, "handed over is not committed");
        }
        let dropped = backlog.dropped.take().map(|(first, count)| (first.key, count));
        assert_eq!(dropped, Some(("0".to_owned(), 5)));
        backlog.commit(unit);
        assert_eq!((backlog.all.count, backlog.all.bytes), (0, 0));
        assert!(backlog.admit(line(5)).is_some());
    }
}
