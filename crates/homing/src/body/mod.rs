//! What a body may say: the verbs, and what they mean.

// A new answer, entry or error is to be thought of in each place.
#![warn(clippy::wildcard_enum_match_arm)]

pub(crate) mod branches;
pub(crate) mod closing;
pub(crate) mod combine;
pub(crate) mod context;
pub(crate) mod handle;
pub(crate) mod info;
pub(crate) mod job_wait;
pub(crate) mod join_set;
pub(crate) mod overdue;
pub(crate) mod sibling;
pub(crate) mod step;
pub(crate) mod tags;
pub(crate) mod trace;
#[cfg(feature = "postgres")]
pub(crate) mod transaction;
pub(crate) mod verbs;
pub(crate) mod waiting;
