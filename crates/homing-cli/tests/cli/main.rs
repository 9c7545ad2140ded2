//! The binary `homing`, run against a live store while a worker works in a process of its own.
//!
//! Every human output is a snapshot, in which ids, instants and durations are replaced; every JSON
//! output is held to `docs/cli.schema.json`.
//!
//! The program of one's own is the example `my_app`, which Cargo builds when it builds all tests of the
//! package: `cargo test --test cli` alone runs what was built before.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(feature = "celery")]
mod celery;
mod errors;
mod history;
mod hostile;
mod reading;
mod schema;
#[cfg(feature = "web")]
mod serving;
mod steering;
#[cfg(unix)]
mod stopping;
mod tasks;
mod terminal;
mod watching;
mod why;
mod world;
