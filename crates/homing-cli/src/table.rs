//! Columns for people: as wide as their widest cell, two spaces apart, the last one ragged.

use anstyle::Style;

use crate::style;

/// A cell and its style; the style takes no room.
pub(crate) type Cell = (String, Style);

/// A plain cell.
pub(crate) fn plain(text: impl std::fmt::Display) -> Cell {
    // As it will be printed, so that its width is known.
    (crate::words::line(&text.to_string(), usize::MAX), Style::new())
}

/// Rows under their headings.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    /// Columns whose cells stand to the right.
    numbers: &'static [usize],
}

impl Table {
    /// A table with headings; the columns of numbers are aligned to the right.
    pub(crate) fn new(headings: &[&str], numbers: &'static [usize]) -> Self {
        let headings = headings.iter().map(|text| ((*text).to_owned(), style::BOLD));
        Self { rows: vec![headings.collect()], numbers }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let wide = |(text, _): &Cell| text.chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(wide).max().unwrap_or(0))
            .collect();
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                let (text, style) = cell;
                let room = " ".repeat(widths.get(at).copied().unwrap_or(0) - wide(cell));
                let (before, after) = if self.numbers.contains(&at) {
                    (room, String::new())
                } else {
                    (String::new(), room)
                };
                let after = if at + 1 == row.len() { "" } else { &after };
                let gap = if at == 0 { "" } else { "  " };
                let text = style::paint(*style, text);
                line.extend([gap, before.as_str(), text.as_str(), after]);
            }
            line.trim_end().to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "N", "STATE"], &[1]);
        table.row(vec![plain("a"), plain(12_345), ("late".to_owned(), style::BAD)]);
        table.row(vec![plain("bücher"), plain(1), plain("")]);
        let lines = table.lines().map(|line| crate::words::printed(&line));
        let lines = lines.map(|line| anstream::adapter::strip_str(&line).to_string());
        let expected = ["NAME        N  STATE", "a       12345  late", "bücher      1"];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }
}
