//! What people have done to jobs and queues: what stores keep of it, and what is asked for.

use serde::Serialize;

use crate::core::time::{Time, rfc3339};

/// What somebody is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAction {
    /// Who.
    pub who: String,
    /// What: the name of the verb.
    pub verb: &'static str,
    /// To what: the id of a job or task, or a queue.
    pub target: String,
}

/// What somebody has done. See [`Homing::actions`](crate::Homing::actions).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ActionView {
    /// Its number: later ones have higher numbers.
    pub number: u64,
    /// When it was begun, by the store's clock.
    #[serde(serialize_with = "rfc3339")]
    pub time: Time,
    /// Who did it, as [`Homing::acting`](crate::Homing::acting) was told.
    pub who: String,
    /// What: `submit`, `cancel`, `retry`, `amend`, `signal`, `remove`, `prune`, `pause` or `unpause`.
    pub verb: String,
    /// To what: the id of a job or task, a queue, or how old what was pruned had to be.
    pub target: String,
    /// What became of it; `None` while it is under way, and for good if the process died meanwhile.
    pub result: Option<String>,
}

/// Which actions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionFilter {
    /// Only those of somebody.
    pub who: Option<String>,
    /// Only those on a target.
    pub target: Option<String>,
    /// Only those with lower numbers: the last of the page before.
    pub before: Option<u64>,
    /// How many at most, the newest first; zero, or more than [`limits::PAGE`](crate::limits::PAGE), is that.
    pub limit: usize,
}

impl ActionFilter {
    /// Rows of the page.
    pub(crate) fn rows(&self) -> usize {
        if self.limit == 0 { crate::limits::PAGE } else { self.limit.min(crate::limits::PAGE) }
    }

    /// Whether an action is asked for.
    pub(crate) fn admits(&self, action: &ActionView) -> bool {
        self.who.as_ref().is_none_or(|who| *who == action.who)
            && self.target.as_ref().is_none_or(|target| *target == action.target)
            && self.before.is_none_or(|before| action.number < before)
    }
}
