//! What things are, at rest, and which moves they may make. Pure: no clock, no I/O, no async.

pub(crate) mod call;
pub(crate) mod drift;
pub(crate) mod encode;
pub(crate) mod failure;
pub(crate) mod fingerprint;
pub(crate) mod foreign;
pub(crate) mod id;
pub(crate) mod invalid;
pub(crate) mod link;
pub mod log;
pub(crate) mod names;
pub(crate) mod new_task;
pub(crate) mod parameter;
pub(crate) mod policy;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod schema;
pub(crate) mod state;
pub(crate) mod time;
pub mod wait;
