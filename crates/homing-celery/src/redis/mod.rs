//! The way to a Redis server that Celery uses: its URL, its connection, the scripts that run there.
//!
//! A connection is mortal: each command has a time to answer in, and whoever finds the connection broken makes a new
//! one with the next command. Nothing here waits in the server on the shared connection.

mod keys;
mod link;
mod scripts;
mod url;

pub(crate) use keys::Keys;
pub(crate) use link::Link;
pub(crate) use scripts::{CHORD_CLAIM, CHORD_DONE, CHORD_PART, DUE, PUBLISH, RESULT, TAKE};
pub(crate) use url::Url;
