//! How ids, instants and codes are written in columns and read from them.

use std::error::Error as StdError;

use bytes::{BufMut, BytesMut};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::core::fingerprint::Fingerprint;
use crate::core::id::{JobId, Local, TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::SetCounts;
use crate::store::CancelledBy;
use crate::store::postgres::link::fault::Result;

type Coded<T> = std::result::Result<T, Box<dyn StdError + Sync + Send>>;

/// Sixteen bytes in a column of type `uuid`: half the size of text, and in the order of the bytes.
macro_rules! sixteen_bytes {
    ($type:ty, $id:ident => $bytes:expr, $from:expr) => {
        impl ToSql for $type {
            fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Coded<IsNull> {
                let $id = self;
                out.put_slice($bytes);
                Ok(IsNull::No)
            }
            accepts!(UUID);
            to_sql_checked!();
        }

        impl FromSql<'_> for $type {
            fn from_sql(_: &Type, raw: &[u8]) -> Coded<Self> {
                Ok($from(raw.try_into()?))
            }
            accepts!(UUID);
        }
    };
}

sixteen_bytes!(JobId, id => id.as_bytes(), JobId::from_bytes);
sixteen_bytes!(WorkerId, id => id.as_bytes(), WorkerId::from_bytes);
sixteen_bytes!(Local, id => &id.0, Local);

/// The hash of a call's arguments, which is no UUID and as long as one.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::postgres) struct Hash(pub(in crate::store::postgres) [u8; 16]);

sixteen_bytes!(Fingerprint, print => &print.0, Fingerprint);
sixteen_bytes!(Hash, hash => &hash.0, Hash);

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Coded<IsNull> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }
    accepts!(INT8);
    to_sql_checked!();
}

impl FromSql<'_> for Time {
    fn from_sql(own: &Type, raw: &[u8]) -> Coded<Self> {
        i64::from_sql(own, raw).map(Self)
    }
    accepts!(INT8);
}

/// A code in a column of type `smallint`.
macro_rules! code {
    ($type:ty) => {
        impl ToSql for $type {
            fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Coded<IsNull> {
                out.put_i16(*self as i16);
                Ok(IsNull::No)
            }
            accepts!(INT2);
            to_sql_checked!();
        }

        impl FromSql<'_> for $type {
            fn from_sql(own: &Type, raw: &[u8]) -> Coded<Self> {
                let code = i64::from(i16::from_sql(own, raw)?);
                Self::from_code(code).ok_or_else(|| format!("nobody wrote the code {code}").into())
            }
            accepts!(INT2);
        }
    };
}

code!(State);
code!(CancelledBy);

/// A counter in a column of type `bigint`.
pub(in crate::store::postgres) fn count(row: &Row, column: usize) -> Result<u64> {
    Ok(row.try_get::<_, i64>(column)? as u64)
}

/// A counter in a column of type `integer`.
pub(in crate::store::postgres) fn small(row: &Row, column: usize) -> Result<u32> {
    Ok(row.try_get::<_, i32>(column)? as u32)
}

/// A counter in a column of type `bigint` that may be absent.
pub(in crate::store::postgres) fn maybe(row: &Row, column: usize) -> Result<Option<u64>> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(|number| number as u64))
}

/// A task's id in two columns, the second after the first.
pub(in crate::store::postgres) fn task_id(row: &Row, column: usize) -> Result<TaskId> {
    Ok(TaskId { job: row.try_get(column)?, local: row.try_get(column + 1)? })
}

/// A token in two columns: the worker and the claim.
pub(in crate::store::postgres) fn token(
    row: &Row,
    (worker, claim): (usize, usize),
) -> Result<Option<Token>> {
    let Some(worker) = row.try_get(worker)? else { return Ok(None) };
    Ok(Some(Token { worker, claim: count(row, claim)? }))
}

/// What a body told of its progress, in two columns.
pub(in crate::store::postgres) fn progress(
    row: &Row,
    (done, total): (usize, usize),
) -> Result<Option<(u64, u64)>> {
    let Some(done) = maybe(row, done)? else { return Ok(None) };
    Ok(Some((done, count(row, total)?)))
}

/// The counts of a set, whose columns begin with the one called `first`.
pub(in crate::store::postgres) fn set_counts(row: &Row, first: usize) -> Result<SetCounts> {
    crate::store::columns::set_counts(|column| count(row, first + column))
}

/// A number of rows as `LIMIT` takes it.
pub(in crate::store::postgres) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A lower bound that is not part of the range.
pub(in crate::store::postgres) fn above(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
