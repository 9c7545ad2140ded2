//! What Celery and kombu write: messages, signatures, results, events, commands. Pure.
//!
//! This room knows no server and no clock. What arrives is input: it is checked here, at one door, and what is
//! refused is refused with a sentence that names the setting of Celery to change. What is read and written again is
//! the same value.

mod control;
mod envelope;
mod event;
mod integers;
mod letter;
mod message;
mod meta;
mod refused;
mod signature;
mod time;

pub use control::{Command, ReplyTo};
pub(crate) use control::{PIDBOX, REPLIES};
pub(crate) use envelope::take;
pub use envelope::{Delivery, Envelope, Properties};
pub(crate) use event::EVENTS;
pub use event::Event;
pub(crate) use integers::beyond;
pub(crate) use letter::Letter;
pub use message::{Embed, Headers, Message};
pub(crate) use meta::repr;
pub use meta::{Meta, Raised, Status};
pub use refused::Refused;
pub use signature::Signature;
pub(crate) use time::{iso, read_iso};

#[cfg(test)]
mod tests;
