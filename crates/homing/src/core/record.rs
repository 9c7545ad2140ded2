//! What a task remembers: the entries of its record, as they are stored.

use serde::{Deserialize, Serialize};

use crate::core::id::Local;
use crate::core::policy::FailurePolicy;
use crate::core::wait::{Answer, Condition};

/// What a task remembers at a place. Children are not entries: their rows are the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// A value, as JSON: a step's or a transaction's result, the time that `now` told, the instant a wait's
    /// timeout ends, what a timed-out wait saw.
    Value(String),
    /// How a wait was answered.
    Answer(Answer),
    /// That a task was added to the set of the task's parent here, and the hash of the call.
    Added([u8; 16]),
    /// That a job was detached here, and the hash of its call.
    Detached([u8; 16]),
    /// That a value was sent to another task here, and the hash of it.
    Signalled([u8; 16]),
    /// What the body returned; the closing join is still to come.
    Returned {
        /// The value, as JSON.
        value: String,
        /// The sets it waits for.
        open: Vec<OpenSet>,
    },
}

impl Entry {
    /// What it is, in words.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Value(_) => "a value",
            Self::Answer(_) => "a wait",
            Self::Added(_) => "a task that is added to a set",
            Self::Detached(_) => "a job that is started",
            Self::Signalled(_) => "a signal that is sent",
            Self::Returned { .. } => "the end of the body",
        }
    }
}

/// One set in the closing join, as it is remembered with the body's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[doc(hidden)]
pub struct OpenSet {
    pub(crate) set: Local,
    pub(crate) place: String,
    pub(crate) policy: FailurePolicy,
    pub(crate) spawned: u64,
    /// Whether a wait has dealt with the whole set: then losses no longer matter.
    pub(crate) settled: bool,
    /// Whether members may add to it: then it waits for all that there are by then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) growing: bool,
    /// Losses that were given out, the end number up to which every end was given out, and the losses
    /// beyond it that were given out by handles, in order.
    pub(crate) lost: u64,
    pub(crate) watermark: u64,
    pub(crate) passed: Vec<u64>,
    /// How many of a growing set's members were given out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) given: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl OpenSet {
    /// Whether its losses no longer matter.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Which of its ends were given before: all up to a number, and those beyond.
    pub(crate) fn given(&self) -> (Local, u64, Vec<u64>) {
        (self.set, self.watermark, self.passed.clone())
    }

    pub(crate) fn ended(&self) -> Condition {
        let (set, drained) = (self.set, self.growing);
        let ended = (!drained).then_some(self.spawned);
        Condition::Set { set, ended, lost: None, succeeded: None, drained }
    }

    /// What says that the policy is broken, unless that depends on how many members there will have been.
    pub(crate) fn broken(&self) -> Option<Condition> {
        if self.growing && self.policy.is_of_the_whole() {
            return None;
        }
        let (set, lost) = (self.set, Some(self.policy.breaking(self.spawned, self.lost)));
        Some(Condition::Set { set, ended: None, lost, succeeded: None, drained: false })
    }
}

/// The moment before a wait told its body of a loss.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[doc(hidden)]
pub struct Moment {
    /// The wait's place, and those of the waits that were open beside it.
    pub(crate) places: Vec<String>,
    /// The number that the next entry of the record had.
    pub(crate) since: Option<u64>,
    /// How many losses had been told, how many children spawned since the first, how many aborts said.
    pub(crate) given: usize,
    pub(crate) spawned: u64,
    pub(crate) aborts: u64,
    /// Of the closing join: its sets, up to which end all were given, and the ends beyond that were.
    pub(crate) closing: Vec<(Local, u64, Vec<u64>)>,
}

impl Moment {
    /// The closing join's: what the body returned goes, and the join's answer below it.
    pub(crate) fn closing(place: &str, open: &[OpenSet]) -> Self {
        let breakable = open.iter().filter(|set| !set.is_settled());
        let closing = breakable.map(OpenSet::given).collect();
        Self { places: vec![place.to_owned()], closing, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::JobId;

    fn open(set: &str, policy: FailurePolicy) -> OpenSet {
        OpenSet {
            set: JobId::named("record").root().set(set),
            place: set.to_owned(),
            policy,
            spawned: 4,
            settled: false,
            growing: false,
            lost: 1,
            watermark: 2,
            passed: vec![5],
            given: 0,
        }
    }

    /// A job's retry takes back the body's value and what the closing join was told of the sets that could break it.
    #[test]
    fn the_moment_of_the_closing_join_names_the_sets_that_may_break_it() {
        let breakable = open("a", FailurePolicy::FailFast);
        let settled = OpenSet { settled: true, ..open("b", FailurePolicy::FailFast) };
        let moment = Moment::closing("returned", &[breakable.clone(), settled]);
        let closing = vec![(breakable.set, 2, vec![5])];
        let places = vec!["returned".to_owned()];
        assert_eq!(moment, Moment { places, closing, ..Moment::default() });
    }

    /// Who resumes a closing join goes by what was written down.
    #[test]
    fn an_open_set_is_read_as_it_was_written() {
        let set = open("a", FailurePolicy::Tolerate { failures: 1 });
        for set in [OpenSet { growing: true, given: 3, ..set.clone() }, set] {
            let text = crate::core::encode::json(&set);
            assert_eq!(text.contains("given"), set.given > 0, "{text}");
            assert_eq!(serde_json::from_str::<OpenSet>(&text).unwrap(), set);
        }
    }

    /// How many losses a growing set bears is known beforehand unless the policy speaks of the whole.
    #[test]
    fn a_growing_set_is_broken_early_only_where_its_policy_is_of_no_whole() {
        let require = FailurePolicy::Require { successes: 3 };
        let percent = FailurePolicy::ToleratePercent { percent: 50.0 };
        for (policy, whole) in [
            (FailurePolicy::FailFast, false),
            (FailurePolicy::Tolerate { failures: 1 }, false),
            (require, true),
            (percent, true),
        ] {
            let set = open("a", policy);
            assert!(set.broken().is_some(), "{policy:?}");
            let growing = OpenSet { growing: true, ..set };
            assert_eq!(growing.broken().is_none(), whole, "{policy:?}");
        }
    }
}
