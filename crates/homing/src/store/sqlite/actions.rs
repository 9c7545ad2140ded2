//! What people have done.

use rusqlite::params;

use super::columns::{above, count, limit, maybe_text, text};
use super::fault::Result;
use super::tx::Tx;
use crate::limits;
use crate::store::read::actions::{ActionFilter, ActionView, NewAction};

by_name! {
    columns at {
        number,
        time,
        who,
        verb,
        target,
        result,
    }
}

/// The oldest have the lowest numbers: those beyond their age are few, as each action forgets some.
const FORGET: &str = "DELETE FROM actions WHERE time < ?1
  AND number IN (SELECT number FROM actions ORDER BY number LIMIT ?2)";

const ACTIONS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM actions WHERE number < ?1 AND (?2 IS NULL OR who = ?2) AND (?3 IS NULL OR target = ?3)
  ORDER BY number DESC LIMIT ?4"
);

impl Tx<'_> {
    /// Keeps that somebody is about to do something, and forgets what is old.
    pub(super) fn begin_action(&mut self, action: &NewAction) -> Result<u64> {
        let NewAction { who, verb, target } = action;
        let old = self.now.before(limits::ACTIONS_KEPT);
        self.sql(FORGET)?.execute(params![old, limit(limits::ACTIONS_FORGOTTEN)])?;
        let mut write = self.sql(
            "INSERT INTO actions (time, who, verb, target) VALUES (?1, ?2, ?3, ?4) RETURNING number",
        )?;
        Ok(write.query_row(params![self.now, who, verb, target], |row| count(row, 0))?)
    }

    pub(super) fn end_action(&mut self, number: u64, result: &str) -> Result<()> {
        let mut write = self.sql("UPDATE actions SET result = ?2 WHERE number = ?1")?;
        write.execute(params![above(number), result])?;
        Ok(())
    }

    pub(super) fn actions(&self, filter: &ActionFilter) -> Result<Vec<ActionView>> {
        let mut read = self.sql(ACTIONS)?;
        let before = above(filter.before.unwrap_or(u64::MAX));
        let values = params![before, filter.who, filter.target, limit(filter.rows())];
        let found = read.query_map(values, |row| {
            Ok(ActionView {
                number: count(row, at::number)?,
                time: row.get(at::time)?,
                who: text(row, at::who)?,
                verb: text(row, at::verb)?,
                target: text(row, at::target)?,
                result: maybe_text(row, at::result)?,
            })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}
