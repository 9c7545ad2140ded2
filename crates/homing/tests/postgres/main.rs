//! What a store in PostgreSQL has beyond the suite: transactions of the caller's own, and the faults of
//! real servers. After each: nothing acknowledged is lost, nothing is recorded twice, and everything goes
//! on by itself.

#![cfg(all(feature = "postgres", feature = "testing", unix))]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests: a panic is how they fail"
)]

#[path = "../shared/bouncer.rs"]
mod bouncer;
mod claims;
#[path = "../shared/faults.rs"]
mod common;
mod faults;
mod load;
mod pooler;
#[path = "../shared/port.rs"]
mod port;
mod process;
#[path = "../shared/server.rs"]
mod server;
mod submit_in;
mod transactions;
mod wire;

use std::time::Duration;

use common::{eventually, sound};
use homing::Homing;
use tokio_postgres::{Client, NoTls};

/// A connection of the test's own to the database of a URL, and the schema of the store there.
async fn connect(url: &str) -> Client {
    let address = url.split('?').next().unwrap();
    let (client, wire) = tokio_postgres::connect(address, NoTls).await.unwrap();
    tokio::spawn(wire);
    client
}

/// A store of one's own on the common server, a connection beside it, and its URL.
async fn opened() -> (Homing, Client, String) {
    let url = server::common_schema();
    (Homing::open(&url).await.unwrap(), connect(&url).await, url)
}

/// The schema that a URL of the common server names.
fn schema_of(url: &str) -> &str {
    url.split("schema=").nth(1).and_then(|rest| rest.split('&').next()).unwrap()
}
