//! How many losses a parent bears.

use serde::{Deserialize, Serialize};

use crate::core::invalid::Invalid;

/// How many losses of a set its parent bears.
///
/// A child is lost when it failed for good or was cancelled by somebody else than its parent. The
/// policy governs [`JoinSet::join_all`](crate::JoinSet::join_all) and the closing join; the other waits hand out outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailurePolicy {
    /// The first loss aborts the rest and fails the join.
    #[default]
    FailFast,
    /// Up to this many losses are left out of the result.
    Tolerate {
        /// Losses borne.
        failures: u64,
    },
    /// Up to this share of the children, rounded down, is left out of the result.
    ToleratePercent {
        /// 0 to 100, of the children spawned when the wait is answered; of all that there ever were in a
        /// [growing](crate::JoinSet::growing) set, which is judged once they have ended.
        percent: f64,
    },
    /// Fails once this many successes can no longer be reached.
    Require {
        /// Successes needed.
        successes: u64,
    },
}

impl FailurePolicy {
    /// Refuses what is no share of anything, and what JSON has no word for.
    pub(crate) fn check(self) -> Result<(), Invalid> {
        match self {
            Self::ToleratePercent { percent } if !(0.0..=100.0).contains(&percent) => {
                Err(Invalid::Value {
                    field: "the percentage of a policy",
                    value: percent.to_string(),
                    reason: "it must be from 0 to 100",
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether how many losses are borne depends on how many children there are.
    pub(crate) fn is_of_the_whole(self) -> bool {
        match self {
            Self::FailFast | Self::Tolerate { .. } => false,
            Self::ToleratePercent { .. } | Self::Require { .. } => true,
        }
    }

    /// The number of losses at which the policy is broken, `lost_before` of which were given out.
    pub(crate) fn breaking(self, spawned: u64, lost_before: u64) -> u64 {
        let allowed = self.allowed(spawned, lost_before);
        lost_before.saturating_add(allowed).saturating_add(1)
    }

    /// Losses borne among the children whose outcomes were not yet given out.
    pub(crate) fn allowed(self, spawned: u64, lost_before: u64) -> u64 {
        match self {
            Self::FailFast => 0,
            Self::Tolerate { failures } => failures,
            Self::ToleratePercent { percent } => {
                (spawned as f64 * percent.clamp(0.0, 100.0) / 100.0).floor() as u64
            }
            Self::Require { successes } => {
                spawned.saturating_sub(successes).saturating_sub(lost_before)
            }
        }
    }
}
