//! The limit on the lines that a task writes into its job's log.

use std::borrow::Cow;

use crate::core::id::TaskId;
use crate::core::log::Level;
use crate::limits;
use crate::store::LogLine;
use crate::store::rules::Ledger;

/// The key of the line that counts the dropped; no key of a body's line begins like this.
const DROPPED: &str = "\u{1}";

/// Writes a line that was not written before. Beyond the limit it is only counted, and one line says how many were.
pub(crate) fn say<'e, L: Ledger<'e>>(
    ledger: &mut L,
    id: TaskId,
    line: Cow<'e, LogLine>,
) -> Result<(), L::Error> {
    let Some(row) = ledger.row(id) else { return Ok(()) };
    if row.lines < limits::LOG_LINES {
        let new = ledger.write_line(id, line)?;
        if new && let Some(row) = ledger.change(id) {
            row.lines += 1;
        }
        return Ok(());
    }
    let time = line.time;
    let key = match line {
        Cow::Borrowed(line) => Cow::Borrowed(line.key.as_str()),
        Cow::Owned(line) => Cow::Owned(line.key),
    };
    if !ledger.count_line(id, key)? {
        return Ok(());
    }
    let Some(row) = ledger.change(id) else { return Ok(()) };
    row.dropped += 1;
    let dropped = row.dropped;
    let message = format!("{dropped} more lines of this task were dropped");
    let line = LogLine { key: DROPPED.to_owned(), time, level: Level::Warn, message };
    if dropped == 1 {
        ledger.write_line(id, Cow::Owned(line)).map(drop)
    } else {
        ledger.rewrite_line(id, line)
    }
}
