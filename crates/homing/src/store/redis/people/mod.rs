//! What people watch: tasks, jobs, and the queues with the workers and kinds beside them.

use super::link::connect::Link;

mod failures;
mod jobs;
mod queues;
pub(super) mod tasks;

/// A store, as people look at it.
#[derive(Debug)]
pub(super) struct View<'l>(pub(super) &'l Link);
