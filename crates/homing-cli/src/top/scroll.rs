//! A list that is longer than the screen: which row is selected, and which rows are in sight.

use std::ops::Range;

/// Where a list stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scroll {
    /// The selected row.
    pub(crate) selected: usize,
    /// The first row in sight.
    top: usize,
    /// Rows in sight when it was last drawn.
    height: usize,
}

/// A move of the selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

impl Scroll {
    /// Moves the selection in a list of so many rows. `false` if it stood at that end already.
    pub(crate) fn go(&mut self, to: Move, len: usize) -> bool {
        let (before, page) = (self.selected, self.height.saturating_sub(1).max(1));
        let last = len.saturating_sub(1);
        self.selected = match to {
            Move::Up => before.saturating_sub(1),
            Move::Down => before + 1,
            Move::PageUp => before.saturating_sub(page),
            Move::PageDown => before + page,
            Move::First => 0,
            Move::Last => last,
        }
        .min(last);
        self.selected != before
    }

    /// Fits the list into so many rows of the screen, the selected one among them; returns those in
    /// sight.
    pub(crate) fn fit(&mut self, height: usize, len: usize) -> Range<usize> {
        self.height = height;
        self.selected = self.selected.min(len.saturating_sub(1));
        let lowest = (self.selected + 1).saturating_sub(height);
        self.top =
            self.top.clamp(lowest, self.selected.max(lowest)).min(len.saturating_sub(height));
        self.sight(len)
    }

    /// The rows in sight when it was last drawn.
    pub(crate) fn sight(&self, len: usize) -> Range<usize> {
        self.top.min(len)..(self.top + self.height).min(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_stays_in_sight() {
        let mut scroll = Scroll::default();
        assert_eq!(scroll.fit(3, 10), 0..3);
        assert!(!scroll.go(Move::Up, 10));
        assert!(scroll.go(Move::PageDown, 10) && scroll.go(Move::Down, 10));
        assert_eq!((scroll.selected, scroll.fit(3, 10)), (3, 1..4));
        assert!(scroll.go(Move::Last, 10));
        assert_eq!(scroll.fit(3, 10), 7..10);
        assert!(!scroll.go(Move::Down, 10));
        // The list has shrunk; what is left fills the screen.
        assert_eq!((scroll.fit(3, 4), scroll.selected), (1..4, 3));
        assert_eq!(scroll.fit(3, 0), 0..0);
    }
}
