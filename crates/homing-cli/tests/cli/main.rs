//! The binary `homing`, run against a live store while a worker works in a process of its own.
//!
//! Every human output is a snapshot, in which ids, instants and durations are replaced; every JSON
//! output is held to `docs/cli.schema.json`.

mod errors;
mod reading;
mod schema;
mod steering;
mod tasks;
mod terminal;
mod why;
mod world;
