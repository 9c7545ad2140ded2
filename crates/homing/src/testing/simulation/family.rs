//! The naive model of a set: its children, and which of them were given out.
//!
//! It knows no ends, no pages and no records. A wait on the set takes children out of it; what is left is
//! what `len` must say, and what the next wait may bring.

use std::collections::BTreeSet;

use super::Out;
use crate::core::id::TaskId;
use crate::core::policy::FailurePolicy;
use crate::error::JoinError;

/// A set as a body should see it.
#[derive(Debug, Clone, Default)]
pub(super) struct Family {
    /// In the order they were spawned.
    pub(super) children: Vec<TaskId>,
    pub(super) given: BTreeSet<TaskId>,
    pub(super) policy: FailurePolicy,
    /// A wait has dealt with all of it.
    pub(super) dealt: bool,
    /// Whether its children may add to it: what they have added, the store tells in the end.
    pub(super) growing: bool,
}

impl Family {
    pub(super) fn new(policy: FailurePolicy, growing: bool) -> Self {
        Self { policy, growing, ..Self::default() }
    }

    /// Children that were not given out, in spawn order.
    pub(super) fn left(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.children.iter().copied().filter(|child| !self.given.contains(child))
    }

    /// Takes a child that a wait gave out; `false` if it is none, or was given out before.
    pub(super) fn give(&mut self, child: TaskId) -> bool {
        (self.growing || self.children.contains(&child)) && self.given.insert(child)
    }
}

/// What a wait told, without what may differ between two runs of one body.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// A child's value.
    Value(TaskId, u64),
    /// A child's failure.
    Failed(TaskId),
    /// A child this parent aborted.
    Aborted(TaskId),
    /// Several outcomes.
    Many(Vec<Told>),
    /// Nothing was left.
    Nothing,
    TimedOut,
    TooFew,
    Slept,
    Signal(u64),
    /// What must never be told.
    Strange(String),
}

impl Told {
    pub(super) fn of(result: &Result<Out, JoinError>) -> Self {
        match result {
            Ok(out) => Self::Value(out.task, out.token),
            Err(error) => Self::error(error),
        }
    }

    pub(super) fn error(error: &JoinError) -> Self {
        match error {
            JoinError::Failed { failure, .. } => Self::Failed(failure.id),
            JoinError::Aborted { id } => Self::Aborted(*id),
            JoinError::TimedOut(_) => Self::TimedOut,
            JoinError::TooFew { .. } => Self::TooFew,
            other => Self::Strange(other.to_string()),
        }
    }

    /// The child it is about, if it is about one.
    pub(super) fn child(&self) -> Option<TaskId> {
        match self {
            Self::Value(child, _) | Self::Failed(child) | Self::Aborted(child) => Some(*child),
            _ => None,
        }
    }

    /// The same, its tasks by other ids.
    pub(super) fn renamed(self, name: &impl Fn(TaskId) -> TaskId) -> Self {
        match self {
            Self::Value(child, token) => Self::Value(name(child), token),
            Self::Failed(child) => Self::Failed(name(child)),
            Self::Aborted(child) => Self::Aborted(name(child)),
            Self::Many(all) => Self::Many(all.into_iter().map(|one| one.renamed(name)).collect()),
            Self::Nothing
            | Self::TimedOut
            | Self::TooFew
            | Self::Slept
            | Self::Signal(_)
            | Self::Strange(_) => self,
        }
    }

    /// Every child in it.
    pub(super) fn children(&self) -> Vec<TaskId> {
        match self {
            Self::Many(all) => all.iter().flat_map(Self::children).collect(),
            one => one.child().into_iter().collect(),
        }
    }

    /// Every value in it.
    pub(super) fn values(&self) -> Vec<(TaskId, u64)> {
        match self {
            Self::Value(child, token) => vec![(*child, *token)],
            Self::Many(all) => all.iter().flat_map(Self::values).collect(),
            _ => Vec::new(),
        }
    }
}
