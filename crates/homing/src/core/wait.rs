//! What a parked task waits for, and when that is answered. Pure.
//!
//! A body has one open [`Wait`] per branch. A wait has arms, in order; the first satisfied arm answers
//! it, so a completion written before a deadline beats a deadline that is answered later. A sleep is a
//! wait whose only arm is an instant; a timeout is a last arm; `select!` is several arms; the closing
//! join is one arm that wants all of several conditions.

use serde::{Deserialize, Serialize};

use crate::core::id::{JobId, Local};
use crate::core::state::State;
use crate::core::time::Time;

/// How many of a set's children are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetCounts {
    /// Children ever spawned.
    pub spawned: u64,
    /// Ended with a value.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Cancelled by somebody else than the parent.
    pub cancelled: u64,
    /// Cancelled by the parent: by `abort` or a policy.
    pub aborted: u64,
    /// The highest end number given so far. The n-th child to end has number n.
    pub last_end: u64,
    /// Of those spawned: members of a growing set that other members have added to it.
    pub added: u64,
    /// How many were ever added: a job's retry takes none of their numbers back.
    pub last_added: u64,
}

impl SetCounts {
    /// Children that have ended.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled + self.aborted
    }

    /// Children that the parent's own body has spawned.
    pub fn own(&self) -> u64 {
        self.spawned.saturating_sub(self.added)
    }

    /// The number of the next member that another one adds: beyond those the body gives, in the order in which
    /// they are committed. `None` if there are too many.
    pub(crate) fn next_added(&self) -> Option<u32> {
        u32::try_from(u64::from(crate::limits::CHILDREN) + self.last_added).ok()
    }

    /// Counts a member that another one adds, under that number.
    pub(crate) fn add(&mut self) {
        self.spawned += 1;
        self.added += 1;
        self.last_added += 1;
    }

    /// Children that count as failed for the parent's policy.
    pub fn lost(&self) -> u64 {
        self.failed + self.cancelled
    }
}

/// Something a task may wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// A set's counts have reached any of the thresholds given.
    Set {
        /// The set.
        set: Local,
        /// At least this many have ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<u64>,
        /// At least this many count as failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
        /// At least this many have succeeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        succeeded: Option<u64>,
        /// Or that all have ended, however many there are by then: nobody is left to add one. Of a set that has
        /// never had a child, or was not read, that does not hold.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        drained: bool,
    },
    /// One child has ended.
    Child {
        /// The set it belongs to.
        set: Local,
        /// The child.
        child: Local,
    },
    /// A signal has been sent.
    Signal {
        /// Its name.
        name: String,
        /// What values the body takes, as a JSON schema; none: any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<Box<serde_json::Value>>,
    },
    /// Another job has ended, or there is none.
    Job {
        /// The job.
        job: JobId,
    },
    /// The clock has reached an instant.
    At {
        /// The instant.
        time: Time,
    },
    /// All of these hold.
    All {
        /// Conditions on sets and children. An instant in here would not be looked at when it comes.
        of: Vec<Condition>,
    },
}

/// One open wait of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Where in the body it stands.
    pub place: String,
    /// The number its answer takes in the record, reserved by the body.
    pub seq: u64,
    /// What satisfies it, in order of preference.
    pub arms: Vec<Condition>,
    /// Children the set had when the wait was first parked: a replay that spawned another number
    /// before it has drifted.
    #[serde(default)]
    pub members: u64,
}

/// How a wait was answered: recorded before the body sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The wait's place.
    pub place: String,
    /// The answer's number in the record.
    pub seq: u64,
    /// The arm that was satisfied.
    pub arm: usize,
    /// The members of the wait.
    #[serde(default)]
    pub members: u64,
    /// The value a signal brought, as JSON, how a job stood: a [`Standing`], or how many members of a growing set
    /// had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The name of that signal: a retry that takes the answer back sends the value again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

/// How another job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// There is none: it was never submitted, or it was removed.
    Unknown,
    /// Its root has not ended.
    Open,
    /// Its root has ended with a value, as JSON.
    Succeeded(String),
    /// Its root has failed or was cancelled: the failure, as JSON.
    Fallen(String),
}

impl Standing {
    /// How the job of a root with this state and outcome stands.
    pub fn of(state: State, outcome: Option<String>) -> Self {
        let outcome = outcome.unwrap_or_else(|| "null".to_owned());
        match state {
            State::Pending | State::Running | State::Waiting => Self::Open,
            State::Succeeded => Self::Succeeded(outcome),
            State::Failed | State::Cancelled => Self::Fallen(outcome),
        }
    }

    fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

/// What the evaluation of waits asks a store.
pub trait Facts {
    /// What may go wrong in asking.
    type Error;
    /// The counts of one of the waiting task's sets.
    fn set(&mut self, set: Local) -> Result<SetCounts, Self::Error>;
    /// Whether a child of the waiting task has ended.
    fn child_ended(&mut self, child: Local) -> Result<bool, Self::Error>;
    /// The oldest signal of a name, which is taken away if `take`.
    fn signal(&mut self, name: &str, take: bool) -> Result<Option<String>, Self::Error>;
    /// How another job stands.
    fn job(&mut self, job: JobId) -> Result<Standing, Self::Error>;
    /// The store's time.
    fn now(&self) -> Time;
}

fn holds<F: Facts>(condition: &Condition, facts: &mut F) -> Result<bool, F::Error> {
    Ok(match condition {
        Condition::Set { set, ended, lost, succeeded, drained } => {
            let counts = facts.set(*set)?;
            (*drained && counts.spawned > 0 && counts.ended() >= counts.spawned)
                || ended.is_some_and(|n| counts.ended() >= n)
                || lost.is_some_and(|n| counts.lost() >= n)
                || succeeded.is_some_and(|n| counts.succeeded >= n)
        }
        Condition::Child { child, .. } => facts.child_ended(*child)?,
        Condition::Signal { name, .. } => facts.signal(name, false)?.is_some(),
        Condition::Job { job } => !facts.job(*job)?.is_open(),
        Condition::At { time } => facts.now() >= *time,
        Condition::All { of } => {
            for condition in of {
                if !holds(condition, facts)? {
                    return Ok(false);
                }
            }
            true
        }
    })
}

/// Whether any of the waits is satisfied: the task that has them must be made runnable.
pub fn satisfied<F: Facts>(waits: &[Wait], facts: &mut F) -> Result<bool, F::Error> {
    for arm in waits.iter().flat_map(|wait| &wait.arms) {
        if holds(arm, facts)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The answers to those of the waits that are satisfied; a signal that answers is taken.
pub fn answers<F: Facts>(waits: &[Wait], facts: &mut F) -> Result<Vec<Answer>, F::Error> {
    let mut answers = Vec::new();
    for wait in waits {
        for (arm, condition) in wait.arms.iter().enumerate() {
            if !holds(condition, facts)? {
                continue;
            }
            let (value, signal) = match condition {
                Condition::Signal { name, .. } => (facts.signal(name, true)?, Some(name.clone())),
                // With the answer: the job may be retried or removed before the body looks.
                Condition::Job { job } => {
                    (Some(crate::core::encode::json(&facts.job(*job)?)), None)
                }
                // A replay must know whether one had ended that was not given, or nobody was left to add one:
                // by then the body may have spawned more.
                Condition::Set { set, drained: true, .. } => {
                    (Some(facts.set(*set)?.ended().to_string()), None)
                }
                Condition::Set { .. }
                | Condition::Child { .. }
                | Condition::At { .. }
                | Condition::All { .. } => (None, None),
            };
            answers.push(Answer {
                place: wait.place.clone(),
                seq: wait.seq,
                arm,
                members: wait.members,
                value,
                signal,
            });
            break;
        }
    }
    Ok(answers)
}

/// The earliest instant any of the waits names, at which a store must look again.
pub fn earliest(waits: &[Wait]) -> Option<Time> {
    let arms = waits.iter().flat_map(|wait| &wait.arms);
    arms.filter_map(|arm| if let Condition::At { time } = arm { Some(*time) } else { None }).min()
}

/// Whether any of the waits concerns a set: it, or one of its children.
pub fn concerns(waits: &[Wait], set: Local) -> bool {
    fn names(condition: &Condition, wanted: Local) -> bool {
        match condition {
            Condition::Set { set, .. } | Condition::Child { set, .. } => *set == wanted,
            Condition::All { of } => of.iter().any(|condition| names(condition, wanted)),
            Condition::Signal { .. } | Condition::Job { .. } | Condition::At { .. } => false,
        }
    }
    waits.iter().flat_map(|wait| &wait.arms).any(|arm| names(arm, set))
}

/// The other jobs that the waits name and that are open: their ends must be told.
pub fn open_jobs<F: Facts>(waits: &[Wait], facts: &mut F) -> Result<Vec<JobId>, F::Error> {
    let mut open = Vec::new();
    for job in jobs(waits) {
        if facts.job(job)?.is_open() {
            open.push(job);
        }
    }
    Ok(open)
}

/// The other jobs the waits name, each once.
pub fn jobs(waits: &[Wait]) -> Vec<JobId> {
    fn add(condition: &Condition, jobs: &mut Vec<JobId>) {
        match condition {
            Condition::Job { job } => jobs.push(*job),
            Condition::All { of } => of.iter().for_each(|condition| add(condition, jobs)),
            Condition::Set { .. }
            | Condition::Child { .. }
            | Condition::Signal { .. }
            | Condition::At { .. } => {}
        }
    }
    let mut jobs_named = Vec::new();
    waits.iter().flat_map(|wait| &wait.arms).for_each(|arm| add(arm, &mut jobs_named));
    jobs_named.sort_unstable();
    jobs_named.dedup();
    jobs_named
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use super::*;
    use crate::core::id::JobId;

    struct Scene {
        counts: SetCounts,
        signals: VecDeque<String>,
        now: Time,
    }

    impl Facts for Scene {
        type Error = Infallible;
        fn set(&mut self, _: Local) -> Result<SetCounts, Infallible> {
            Ok(self.counts)
        }
        fn child_ended(&mut self, _: Local) -> Result<bool, Infallible> {
            Ok(false)
        }
        fn signal(&mut self, _: &str, take: bool) -> Result<Option<String>, Infallible> {
            let first = self.signals.front().cloned();
            if take {
                self.signals.pop_front();
            }
            Ok(first)
        }
        fn job(&mut self, _: JobId) -> Result<Standing, Infallible> {
            Ok(Standing::Open)
        }
        fn now(&self) -> Time {
            self.now
        }
    }

    fn all_of(set: Local, n: u64) -> Condition {
        Condition::Set { set, ended: Some(n), lost: Some(1), succeeded: None, drained: false }
    }

    #[test]
    fn each_count_has_its_part() {
        let counts = SetCounts {
            spawned: 20,
            succeeded: 1,
            failed: 2,
            cancelled: 4,
            ..SetCounts::default()
        };
        let counts = SetCounts { aborted: 8, added: 5, ..counts };
        assert_eq!((counts.ended(), counts.lost(), counts.own()), (15, 6, 15));
    }

    #[test]
    fn a_completion_beats_a_deadline_that_is_answered_later() {
        let set = JobId::named("x").root().set("s");
        let deadline = Condition::At { time: Time(10) };
        let waits =
            [Wait { place: "w".into(), seq: 3, arms: vec![all_of(set, 2), deadline], members: 2 }];
        let counts = SetCounts { spawned: 2, succeeded: 1, ..SetCounts::default() };
        let mut scene = Scene { counts, signals: VecDeque::new(), now: Time(9) };
        assert_eq!(satisfied(&waits, &mut scene), Ok(false));
        scene.now = Time(11);
        assert_eq!(answers(&waits, &mut scene).unwrap()[0].arm, 1);
        scene.counts.succeeded = 2;
        assert_eq!(answers(&waits, &mut scene).unwrap()[0].arm, 0);
        assert_eq!(earliest(&waits), Some(Time(10)));
        assert!(concerns(&waits, set) && !concerns(&waits, Local::ROOT));
    }

    #[test]
    fn a_growing_set_is_drained_once_all_that_were_added_have_ended() {
        let set = JobId::named("x").root().set("s");
        let drained =
            Condition::Set { set, ended: None, lost: None, succeeded: None, drained: true };
        let waits = [Wait { place: "w".into(), seq: 1, arms: vec![drained], members: 1 }];
        let mut counts = SetCounts { spawned: 1, succeeded: 1, ..SetCounts::default() };
        counts.add();
        counts.add();
        let mut scene = Scene { counts, signals: VecDeque::new(), now: Time(0) };
        assert_eq!((scene.counts.own(), scene.counts.next_added()), (1, Some((1 << 31) + 2)));
        assert_eq!(satisfied(&waits, &mut scene), Ok(false));
        let counts = std::mem::take(&mut scene.counts);
        assert_eq!(satisfied(&waits, &mut scene), Ok(false), "it has not begun");
        scene.counts = counts;
        scene.counts.failed = 2;
        assert_eq!(satisfied(&waits, &mut scene), Ok(true));
        assert_eq!(answers(&waits, &mut scene).unwrap()[0].value.as_deref(), Some("3"));
    }

    #[test]
    fn one_signal_answers_one_wait() {
        let wait = |place: &str, seq| Wait {
            place: place.into(),
            seq,
            arms: vec![Condition::Signal { name: "go".into(), schema: None }],
            members: 0,
        };
        let mut scene = Scene {
            counts: SetCounts::default(),
            signals: VecDeque::from(["1".to_owned()]),
            now: Time(0),
        };
        let answers = answers(&[wait("a", 1), wait("b", 2)], &mut scene).unwrap();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].value.as_deref(), Some("1"));
    }
}
