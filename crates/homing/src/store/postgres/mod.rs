//! The PostgreSQL store: any number of processes on any number of machines.

#![allow(dead_code, reason = "the verbs that use it all stand on a branch of their own")]

mod columns;
mod connect;
mod fault;
mod listen;
mod migrate;
mod options;
mod passwords;
mod schema;
#[cfg(test)]
mod tests;
mod tls;
mod transactions;

use self::connect::{Connector, Pool};
use self::options::Options;
pub(crate) use self::transactions::Commit;
pub use self::transactions::Transactions;
use super::Migration;
use super::url::Url;
use crate::clock::ServerClock;
use crate::error::OpenError;

/// Brings the schema of the database that a URL names up to date.
pub(crate) async fn migrate(url: &Url<'_>) -> Result<Migration, OpenError> {
    let options = Options::of(url)?;
    let pool = Pool::new(&options, Connector::new(&options, ServerClock::unread())?)?;
    let mut client = pool.get().await?;
    let (schema, location) = (&options.schema, &options.location);
    Ok(migrate::run(&mut client, schema, migrate::STEPS, true, location).await?)
}
