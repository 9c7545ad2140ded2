//! The commands, a file for each noun.

pub(crate) mod actions;
#[cfg(feature = "celery")]
pub(crate) mod celery;
pub(crate) mod documents;
pub(crate) mod failures;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod queues;
pub(crate) mod record;
pub(crate) mod samples;
#[cfg(feature = "web")]
pub(crate) mod serve;
pub(crate) mod steer;
pub(crate) mod store;
pub(crate) mod submit;
pub(crate) mod tree;
pub(crate) mod upkeep;
pub(crate) mod verify;
pub(crate) mod why;
pub(crate) mod worker;
pub(crate) mod workers;
