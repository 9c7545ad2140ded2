//! What a store on Redis has beyond the suite: what it asks of a server, and the faults of real servers. After each:
//! nothing acknowledged is lost beyond what the server's settings say, nothing is recorded twice, and everything goes on
//! by itself.

#![cfg(all(feature = "redis", feature = "testing", unix))]
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how they fail")]

mod asked;
#[path = "../shared/authority.rs"]
mod authority;
mod cluster;
#[path = "../shared/faults.rs"]
mod common;
mod encrypted;
mod faults;
mod large;
#[path = "../postgres/load.rs"]
mod load;
#[path = "../shared/port.rs"]
mod port;
mod scripts;
mod sentinel;
#[path = "../shared/redis.rs"]
mod server;
mod wire;

use std::time::Duration;

use common::{eventually, sound};
use homing::Homing;
