//! What SQLite and PostgreSQL decide alike.
//!
//! The memory store shares none of it, on purpose: it is the judge. The random histories compare each store with
//! it row by row, and would see nothing if both followed one mistake.

mod row;

pub(crate) use row::{Row, resumed};
