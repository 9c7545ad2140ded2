//! A job's log on the screen: a window of it in memory, the newest lines first of all.

use std::collections::VecDeque;

use homing::JobId;
use homing::log::Line;

use super::scroll::Move;

/// Lines in memory.
const KEPT: usize = 2_000;
/// Lines read at a time, going back.
pub(crate) const BACK: u64 = 500;

/// Which lines to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The last ones.
    Newest,
    /// Those after a number.
    After(u64),
    /// Those before a number.
    Before(u64),
}

/// The log of one job.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) id: JobId,
    pub(crate) title: String,
    lines: VecDeque<Line>,
    part: Option<Part>,
    /// The end of what is in sight, unless it follows the log.
    end: Option<usize>,
    /// Lines in sight when it was last drawn.
    pub(crate) shown: usize,
    /// Whether it has been read.
    pub(crate) known: bool,
}

impl Log {
    /// The log of a job, at its end.
    pub(crate) fn of(id: JobId, title: String) -> Self {
        let (lines, part, end) = (VecDeque::new(), Some(Part::Newest), None);
        Self { id, title, lines, part, end, shown: 0, known: false }
    }

    /// What to read; nothing while somebody reads what is there.
    pub(crate) fn wanted(&self) -> Option<Part> {
        self.part
    }

    /// Takes in what was read.
    pub(crate) fn take(&mut self, part: Part, lines: Vec<Line>) {
        if Some(part) != self.part {
            return;
        }
        self.known = true;
        let (full, none) = (lines.len() >= homing::limits::PAGE, lines.is_empty());
        let at_end = self.end.is_none_or(|end| end == self.lines.len());
        match part {
            Part::Newest => self.lines = lines.into(),
            Part::After(_) => self.lines.extend(lines),
            Part::Before(number) => self.prepend(lines, number),
        }
        if at_end {
            let surplus = self.lines.len().saturating_sub(KEPT);
            self.lines.drain(..surplus);
            self.end = self.end.map(|end| end.saturating_sub(surplus)).filter(|_| !none);
        }
        // A log that grows faster than it is read is followed at its end.
        let behind = full && self.end.is_none() && part != Part::Newest;
        self.part = if behind { Some(Part::Newest) } else { self.newer() };
    }

    fn prepend(&mut self, lines: Vec<Line>, number: u64) {
        let earlier: Vec<Line> = lines.into_iter().filter(|line| line.number < number).collect();
        self.end = self.end.map(|end| end + earlier.len());
        for line in earlier.into_iter().rev() {
            self.lines.push_front(line);
        }
        self.lines.truncate(KEPT);
        self.end = self.end.map(|end| end.min(self.lines.len()));
    }

    fn newer(&self) -> Option<Part> {
        let full = self.end.is_some() && self.lines.len() >= KEPT;
        let last = self.lines.back().map_or(0, |line| line.number);
        (!full).then_some(Part::After(last))
    }

    /// The lines, and the end of those in sight.
    pub(crate) fn sight(&self) -> (&VecDeque<Line>, usize) {
        (&self.lines, self.end.unwrap_or(self.lines.len()).min(self.lines.len()))
    }

    /// Whether it follows the log.
    pub(crate) fn follows(&self) -> bool {
        self.end.is_none()
    }

    /// Moves what is in sight. Whether something must be read.
    pub(crate) fn go(&mut self, to: Move) -> bool {
        let (len, page) = (self.lines.len(), self.shown.saturating_sub(1).max(1));
        let end = self.end.unwrap_or(len);
        let end = match to {
            Move::Up => end.saturating_sub(1),
            Move::PageUp => end.saturating_sub(page),
            Move::First => 0,
            Move::Down => end + 1,
            Move::PageDown => end + page,
            Move::Last => return self.follow(),
        };
        let lowest = self.shown.min(len);
        if end < lowest || (to == Move::First && len > 0) {
            self.end = Some(lowest);
            let first = self.lines.front().map_or(0, |line| line.number);
            self.part = if first > 1 { Some(Part::Before(first)) } else { self.newer() };
            return first > 1;
        }
        if end > len {
            // The window may end before the log does, after a long way back.
            let last = self.lines.back().map_or(0, |line| line.number);
            (self.end, self.part) = (Some(len), Some(Part::After(last)));
            return true;
        }
        self.end = Some(end);
        false
    }

    fn follow(&mut self) -> bool {
        (self.end, self.part) = (None, Some(Part::Newest));
        true
    }
}
