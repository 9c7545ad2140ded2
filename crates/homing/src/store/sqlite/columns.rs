//! How ids, instants and codes are written in columns and read from them.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, RowIndex};

use crate::core::fingerprint::Fingerprint;
use crate::core::id::{JobId, Local, TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::store::CancelledBy;

fn blob(bytes: &[u8; 16]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Blob(bytes))
}

impl ToSql for JobId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(blob(self.as_bytes()))
    }
}

impl FromSql for JobId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(Self::from_bytes)
    }
}

impl ToSql for Local {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(blob(&self.0))
    }
}

impl FromSql for Local {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(Self)
    }
}

impl ToSql for Fingerprint {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(blob(&self.0))
    }
}

impl FromSql for Fingerprint {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(Self)
    }
}

impl ToSql for WorkerId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(blob(self.as_bytes()))
    }
}

impl FromSql for WorkerId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(Self::from_bytes)
    }
}

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

impl ToSql for State {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let code = i64::column_result(value)?;
        Self::from_code(code).ok_or(FromSqlError::OutOfRange(code))
    }
}

impl ToSql for CancelledBy {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for CancelledBy {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let code = i64::column_result(value)?;
        Self::from_code(code).ok_or(FromSqlError::OutOfRange(code))
    }
}

/// A counter in a column of i64.
pub(super) fn count<I: RowIndex>(row: &Row<'_>, column: I) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|n| n as u64)
}

/// A token in two columns: the worker and the claim.
pub(super) fn token(
    row: &Row<'_>,
    (worker, claim): (usize, usize),
) -> rusqlite::Result<Option<Token>> {
    let Some(worker) = row.get(worker)? else { return Ok(None) };
    Ok(Some(Token { worker, claim: count(row, claim)? }))
}

/// What a body told of its progress, in two columns.
pub(super) fn progress(
    row: &Row<'_>,
    (done, total): (usize, usize),
) -> rusqlite::Result<Option<(u64, u64)>> {
    let Some(done) = row.get::<_, Option<i64>>(done)? else { return Ok(None) };
    Ok(Some((done as u64, count(row, total)?)))
}

/// A task's id in two columns, the second after the first.
pub(super) fn task_id(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskId> {
    Ok(TaskId { job: row.get(column)?, local: row.get(column + 1)? })
}

/// A text, also where a byte of it was changed: a damaged name or reason is to be shown, and must not keep
/// its task from being cancelled.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    match row.get_ref(column)? {
        ValueRef::Text(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        _ => row.get(column),
    }
}

/// The same, of one that may be absent.
pub(super) fn maybe_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => text(row, column).map(Some),
    }
}

/// A number of rows as `LIMIT` takes it.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A lower bound that is not part of the range.
pub(super) fn above(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Updates columns: each stands once, by its name, with its value. What is left of the text, and the values for
/// it, follows.
macro_rules! update {
    (|$sql:ident| $statement:expr, $before:literal, {
        $first:ident = $value:expr, $($column:ident = $more:expr,)*
    }, $after:literal, [$($key:expr),+]) => {{
        static TEXT: &str = concat!(
            $before, "\"", stringify!($first), "\" = ?" $(, ", \"", stringify!($column), "\" = ?")*, $after
        );
        let $sql = TEXT;
        $statement.execute(rusqlite::params![$value, $($more,)* $($key),+])
    }};
}

/// Inserts a row: each column stands once, by its name, with its value. Columns with values that are always the
/// same are named by the text between, and have them by the text at the end.
macro_rules! insert {
    (|$sql:ident| $statement:expr, $before:literal, {
        $first:ident = $value:expr, $($column:ident = $more:expr,)*
    }, $between:literal, $after:literal) => {{
        static TEXT: &str = concat!(
            $before, "\"", stringify!($first), "\"" $(, ", \"", stringify!($column), "\"")*, $between,
            "?" $(, insert!(@value $column))*, $after
        );
        let $sql = TEXT;
        $statement.execute(rusqlite::params![$value, $($more),*])
    }};
    (@value $column:ident) => { ", ?" };
}

pub(super) use {insert, update};
