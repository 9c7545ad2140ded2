//! What only this store has: its options, its connections, its hints, its migrations.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::time::Duration;

use self::server::{Server, Stop, common_schema, with_option};
use crate::clock::ServerClock;
use crate::store::Error;
use crate::store::error::OpenError;
use crate::store::postgres::hints::listen::{Announcement, Wake};
use crate::store::postgres::link::connect::{Connector, Pool};
use crate::store::postgres::link::migrate;
use crate::store::postgres::link::options::Options;
use crate::store::url::Url;

#[path = "../../../../tests/shared/authority.rs"]
mod authority;
#[path = "../../../../tests/shared/bouncer.rs"]
mod bouncer;
#[path = "../../../../tests/shared/server.rs"]
mod server;

mod bundles;
mod encryption;
mod hints;
mod isolation;
mod migrations;
mod plans;
mod presence;
mod relaxed;
mod scan_starts;
mod talk;
mod together;
mod urls;
mod ways;
mod wire;

fn options(url: &str) -> Result<Options, OpenError> {
    Options::of(&Url::parse(url)?)
}

fn connector(options: &Options) -> Connector {
    Connector::new(options, ServerClock::unread()).unwrap()
}

fn pool(url: &str) -> Pool {
    let options = options(url).unwrap();
    Pool::new(&options, connector(&options)).unwrap()
}
