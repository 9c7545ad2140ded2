//! The children of a set, in the order of their numbers.
//!
//! Numbered children are a range of the table's key; those with a place of their own are found through
//! a small index. Two ordered lists are merged into one, page by page.

use rusqlite::{Row, params};

use super::columns::limit;
use super::fault::Result;
use super::tx::Tx;
use crate::core::id::{Local, TaskId};
use crate::core::state::State;

/// Children looked at at once.
pub(super) const STATES: usize = 1000;

/// A child's place in the order of its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    pub(super) number: u32,
    pub(super) local: Local,
}

by_name! {
    /// A child's place, which stands before whatever else is read of it.
    place at {
        number,
        local,
    }
}

pub(super) use place;

/// Where what else is read of a child begins.
pub(super) const BEHIND_PLACE: usize = at::COUNT;

impl Cursor {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { number: row.get(at::number)?, local: row.get(at::local)? })
    }
}

/// The places of numbered children, and more columns of them.
macro_rules! numbered {
    ($columns:expr) => {
        concat!(
            "SELECT ",
            $crate::store::sqlite::children::place!(),
            ", ",
            $columns,
            " FROM tasks WHERE job = ?1 AND local >= ?2 AND local <= ?3 AND placed IS NULL
              ORDER BY local LIMIT ?4"
        )
    };
}

/// The places of placed children, and more columns of them.
macro_rules! placed {
    ($columns:expr) => {
        concat!(
            "SELECT ",
            $crate::store::sqlite::children::place!(),
            ", ",
            $columns,
            " FROM tasks INDEXED BY placed
              WHERE job = ?1 AND \"set\" = ?2 AND placed = 1 AND number >= ?3
              ORDER BY number, local LIMIT ?4"
        )
    };
}

pub(super) use {numbered, placed};

impl Tx<'_> {
    /// One page of a set's children, from a number on, and what a closure makes of their rows.
    pub(super) fn merged<T>(
        &self,
        (task, set): (TaskId, Local),
        (from, rows): (u32, usize),
        (numbered, placed): (&str, &str),
        read: impl Fn(Cursor, &Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<(Cursor, T)>> {
        let mut page = Vec::new();
        let (first, last) = (set.numbered(from), set.numbered(u32::MAX));
        let mut find = self.sql(numbered)?;
        let mut found = find.query(params![task.job, first, last, limit(rows)])?;
        while let Some(row) = found.next()? {
            let place = Cursor::of(row)?;
            page.push((place, read(place, row)?));
        }
        let mut find = self.sql(placed)?;
        let mut found = find.query(params![task.job, set, from, limit(rows)])?;
        let ordered = page.len();
        while let Some(row) = found.next()? {
            let place = Cursor::of(row)?;
            page.push((place, read(place, row)?));
        }
        if page.len() > ordered {
            page.sort_by_key(|(cursor, _)| *cursor);
            page.truncate(rows);
        }
        Ok(page)
    }

    /// The states of a set's children after one of them, and whether these are the last.
    pub(super) fn states_after(
        &self,
        task: TaskId,
        set: Local,
        after: Option<Cursor>,
    ) -> Result<(Vec<(Cursor, State)>, bool)> {
        let from = after.map_or(0, |after| after.number);
        let sql = (numbered!("state"), placed!("state"));
        let mut page =
            self.merged((task, set), (from, STATES), sql, |_, row| row.get(BEHIND_PLACE))?;
        let last = page.len() < STATES;
        page.retain(|(cursor, _)| after.is_none_or(|after| *cursor > after));
        Ok((page, last))
    }
}
