//! The way to a RabbitMQ server: its URL, its connection, what is declared there, and messages on their way.
//!
//! A connection is mortal, and so is each channel: whoever finds one broken makes a new one. The library's own
//! recovery is not used. Whatever waits for the server has a time to wait.

mod guard;
mod link;
mod queues;
mod stream;
mod url;
mod values;

pub(crate) use link::Rabbit;
pub(crate) use url::{Url, is_rabbit};
pub(crate) use values::{carries, headers, read, read_message};
