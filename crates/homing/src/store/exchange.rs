//! What a worker and the store say to each other.

use std::sync::Arc;

use super::{Cause, NewJob, NewTask, Policy};
use crate::core::failure::Failure;
use crate::core::id::{Local, TaskId, Token, WorkerId};
use crate::core::log::LogLine;
use crate::core::record::Entry;
use crate::core::time::Time;
use crate::core::wait::{Answer, Wait};
use crate::limits;

/// One batch of a worker's conversation with the store, applied in one transaction; in several where
/// PostgreSQL has upkeep to do between the units and the claim.
///
/// Units come first, then upkeep, then the claim, so that a worker is given what its own events made
/// ready. A unit that is refused changes nothing and harms no other unit.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Who speaks.
    pub worker: WorkerId,
    /// This exchange's number, in the tokens it mints. Grows by one; a resent exchange keeps its number.
    pub number: u64,
    /// The number of the last exchange whose reply arrived. Tasks claimed under later ones are handed
    /// out again, and cancellations told by later ones told again.
    pub acknowledged: u64,
    /// What happened, each task's events in program order.
    /// Shared, so that an exchange kept for resending copies none of them.
    pub units: Vec<Arc<Unit>>,
    /// What the worker can take.
    pub claim: Claim,
}

/// What a worker can take.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// How many tasks it begins at once.
    pub tasks: usize,
    /// How many more it fetches ahead, to begin them when slots get free, under tokens that say so
    /// (`Token::is_ahead`). Two sorts of tasks are not fetched ahead: those that have crashed a worker, and those
    /// that were fetched ahead by a worker that died.
    pub ahead: usize,
    /// Whether to look for all there is. If not, a store needs to find but what the units of the exchange have made ready:
    /// the worker has looked less than a second ago, has had a slot left over then, and no hint has come
    /// since. `left` and `next_due` of the reply then say no more than what is known of those tasks.
    pub search: bool,
    /// Queues it serves: in order, each once.
    pub queues: Arc<[String]>,
    /// Kinds it has registered: in order, each once.
    pub kinds: Arc<[String]>,
    /// Whether it may take a suspect: one that has crashed its worker twice in a row.
    pub suspect: bool,
    /// Crashes in a row after which a task fails.
    pub max_crashes: u32,
}

impl Claim {
    /// How many tasks in all; zero claims nothing.
    pub fn most(&self) -> usize {
        self.tasks + self.ahead
    }

    /// Whether it has taken all that it had room for.
    pub(crate) fn is_full(&self, claimed: &[Claimed]) -> bool {
        claimed.len() >= self.most()
    }

    /// Whether the worker serves a queue and knows a kind. There may be a thousand of each.
    pub(crate) fn serves(&self, queue: &str, kind: &str) -> bool {
        debug_assert!(self.queues.is_sorted() && self.kinds.is_sorted());
        let has =
            |names: &[String], name| names.binary_search_by(|own| str::cmp(own, name)).is_ok();
        has(&self.queues, queue) && has(&self.kinds, kind)
    }

    /// What decides which of the ready tasks, best first, are taken beside those that are handed out again. The slots of
    /// these are taken, each by its sort: a reply that was lost makes no slot free.
    pub(crate) fn choice(&self, again: &[Claimed]) -> Choice {
        let ahead = again.iter().filter(|claimed| claimed.token.is_ahead()).count();
        Choice {
            suspect: self.suspect,
            at_once: self.tasks.saturating_sub(again.len() - ahead),
            ahead: self.ahead.saturating_sub(ahead),
        }
    }
}

/// Which ready tasks a claim takes: the best begin at once, the others are fetched ahead; at most one suspect.
#[derive(Debug)]
pub(crate) struct Choice {
    suspect: bool,
    at_once: usize,
    ahead: usize,
}

impl Choice {
    /// Whether the next best task is taken, and if so whether ahead: by its crashes in a row, and by whether it
    /// must begin at once for another reason.
    pub(crate) fn takes(&mut self, crashes: u32, at_once: bool) -> Option<bool> {
        if self.is_made() || (crashes >= limits::SUSPECT && !self.suspect) {
            return None;
        }
        if self.at_once > 0 {
            self.at_once -= 1;
            self.suspect &= crashes < limits::SUSPECT;
            return Some(false);
        }
        if at_once || crashes > 0 {
            return None;
        }
        self.ahead -= 1;
        Some(true)
    }

    /// How many are to be taken yet.
    pub(crate) fn free(&self) -> usize {
        self.at_once + self.ahead
    }

    pub(crate) fn is_made(&self) -> bool {
        self.free() == 0
    }

    /// Whether a suspect may still be taken, if there is a slot.
    pub(crate) fn takes_suspects(&self) -> bool {
        self.suspect
    }
}

/// One task's events since its last unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// The task.
    pub task: TaskId,
    /// The claim under which it runs.
    pub token: Token,
    /// Whether the task recorded something new and has failures or crashes to forget.
    pub renew: bool,
    /// What happened, in program order.
    pub events: Vec<Event>,
}

impl Unit {
    /// Whether it shows that a task which was fetched ahead has begun.
    pub(crate) fn tells_of_a_beginning(&self) -> bool {
        self.token.is_ahead() && self.events != [Event::HandBack]
    }
}

/// Something that happened in a body.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The body begins. Said of a task that was fetched ahead and would expire if it did not.
    Begin,
    /// Something to remember.
    Record {
        /// Its number in the task's record.
        seq: u64,
        /// Its place.
        place: String,
        /// What.
        entry: Entry,
    },
    /// A child. Found again if it exists.
    Spawn(Box<NewChild>),
    /// A task for the set that the task itself is in.
    Add(Box<Addition>),
    /// A job of its own. Found again if it exists.
    Detach(Box<NewJob>),
    /// A value for a child's or the parent's `signal` wait.
    Signal(Box<Signalled>),
    /// Children to cancel.
    Abort(Abort),
    /// A line for the job's log.
    Log(LogLine),
    /// How far the task is.
    Progress {
        /// Done so far.
        done: u64,
        /// Of this many.
        total: u64,
    },
    /// Nothing to do until one of these is answered. Last in its unit.
    Park {
        /// The open waits, one per branch.
        waits: Vec<Wait>,
        /// Whether the worker keeps the future.
        resident: bool,
    },
    /// The body is done. Last in its unit.
    End(End),
    /// A failure that will be retried. Last in its unit.
    Retry {
        /// The failure.
        failure: Failure,
        /// When to try again.
        due: Time,
    },
    /// A replay that does not fit its record: spends nothing, tried again later. Last in its unit.
    Stall {
        /// What did not fit.
        reason: String,
        /// When to try again.
        due: Time,
    },
    /// The worker gives the task back, untouched: as it was, if it was fetched ahead and not begun. Last in its
    /// unit.
    HandBack,
}

impl Event {
    /// The bytes it adds to an exchange, near enough.
    pub(crate) fn size(&self) -> usize {
        64 + match self {
            Self::Record {
                entry: Entry::Value(text) | Entry::Returned { value: text, .. },
                ..
            } => text.len(),
            Self::Spawn(child) => 128 + child.task.arguments.len(),
            Self::Add(addition) => 128 + addition.task.arguments.len(),
            Self::Detach(job) => 128 + job.task.arguments.len(),
            Self::Signal(signal) => 128 + signal.value.len(),
            Self::Log(line) => line.message.len(),
            Self::End(End::Succeeded(value)) => value.len(),
            Self::Begin
            | Self::Record {
                entry: Entry::Answer(_) | Entry::Added(_) | Entry::Detached(_) | Entry::Signalled(_),
                ..
            }
            | Self::Abort(_)
            | Self::Progress { .. }
            | Self::Park { .. }
            | Self::End(End::Failed { .. })
            | Self::Retry { .. }
            | Self::Stall { .. }
            | Self::HandBack => 0,
        }
    }

    /// Whether the body is done with when this is said: it is the last it says under its token.
    pub fn ends_the_stretch(&self) -> bool {
        match self {
            Self::End(_) | Self::Retry { .. } | Self::Stall { .. } | Self::HandBack => true,
            Self::Begin
            | Self::Record { .. }
            | Self::Spawn(_)
            | Self::Add(_)
            | Self::Detach(_)
            | Self::Signal(_)
            | Self::Abort(_)
            | Self::Log(_)
            | Self::Progress { .. }
            | Self::Park { .. } => false,
        }
    }
}

/// A value that a body sends to a task of its own job. Sent once: a unit that is told again finds the
/// entry that was recorded with it. A task that has ended takes none.
#[derive(Debug, Clone, PartialEq)]
pub struct Signalled {
    /// The number of its entry in the sender's record.
    pub seq: u64,
    /// Its place in the sender's body.
    pub place: String,
    /// The entry: the hash of what is sent and to whom, compared on replay.
    pub entry: Entry,
    /// Who is to have it.
    pub to: Local,
    /// The signal's name.
    pub name: String,
    /// The value, as JSON.
    pub value: String,
}

/// A task that a member of a growing set adds to it: a child of the member's parent. Added once: a unit that is
/// told again finds the entry that was recorded with it, and a task that is there already is not added again.
///
/// Where a cancellation of the parent's children is on its way to the member, or the parent has ended, the unit is
/// refused as [`Refusal::Lost`]: the member is about to be cancelled, and nothing joins behind the cancellation.
#[derive(Debug, Clone, PartialEq)]
pub struct Addition {
    /// The number of its entry in the member's record.
    pub seq: u64,
    /// Its place in the member's body.
    pub place: String,
    /// The entry: the hash of the call, compared on replay.
    pub entry: Entry,
    /// The member's parent.
    pub parent: Local,
    /// The set.
    pub set: Local,
    /// Its key within the job. The store gives it its number.
    pub local: Local,
    /// What it is to do.
    pub task: NewTask,
}

impl Addition {
    /// The number of the child of the parent's body that it goes back to.
    pub fn origin(&self) -> u32 {
        self.local.origin(crate::limits::CHILDREN)
    }

    /// Why a store takes no more of them.
    pub(crate) fn too_many() -> Refusal {
        let text = "the set has as many members as one may have: split the work into several sets";
        Refusal::Unfit(text.to_owned())
    }
}

/// How a task ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a value, as JSON.
    Succeeded(String),
    /// With an error.
    Failed {
        /// The error.
        failure: Failure,
        /// What a job's retry takes back; boxed, because few tasks fail.
        cause: Option<Box<Cause>>,
    },
}

/// A child to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChild {
    /// Its key within the job.
    pub local: Local,
    /// Its set.
    pub set: Local,
    /// Its number in the set, in spawn order.
    pub number: u32,
    /// What it is to do.
    pub task: NewTask,
}

/// Which children to cancel, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// The set.
    pub set: Local,
    /// Only this child.
    pub child: Option<Local>,
    /// Only children with a lower number: those spawned before the abort.
    pub below: u32,
    /// Whether a failure policy did it, not the body's own word.
    pub policy: bool,
}

/// What an exchange brings back.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Units that changed nothing.
    pub refused: Vec<(TaskId, Refusal)>,
    /// Parks whose waits were satisfied already: the task runs on under its token, with these answers.
    pub ready: Vec<(TaskId, Vec<Answer>)>,
    /// Tasks claimed, under the exchange's token.
    pub claimed: Vec<Claimed>,
    /// Tasks of this worker that were ended by somebody else; said again until an exchange acknowledges
    /// a reply that said so.
    pub cancelled: Vec<(TaskId, Token)>,
    /// When the next thing falls due that this worker could act on, if nothing happens before. The instant of the
    /// exchange itself, if there is more upkeep to do now. Of a claim that took all that it had room
    /// for, the next instant of upkeep: the worker looks again as soon as it has room.
    pub next_due: Option<Time>,
    /// Whether tasks were left that must begin at once, where the claim fetches others ahead: one slot is to be kept
    /// for the next claim.
    pub left: bool,
    /// Whether ready tasks were left that were not worth taking apart from others: there is more than was claimed.
    pub spared: bool,
}

/// Why a unit was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The token is not the task's: it was reclaimed, ended or cancelled.
    Lost,
    /// The store cannot hold what the unit carries; the text says why.
    Unfit(String),
    /// A child exists at the place with another kind or other arguments.
    Drift(String),
}

/// A task handed to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The task.
    pub task: TaskId,
    /// Its parent's key within the job; a root has none.
    pub parent: Option<Local>,
    /// Its set and its number there; a root has none.
    pub set: Option<(Local, u32)>,
    /// How many ancestors it has.
    pub depth: u32,
    /// The claim.
    pub token: Token,
    /// Its kind.
    pub kind: String,
    /// Its arguments, as JSON.
    pub arguments: String,
    /// Inherited by its children.
    pub queue: String,
    /// Inherited by its children.
    pub priority: i16,
    /// Since when it has been due.
    pub due: Time,
    /// It is not begun at this instant or later: its deadline, or its expiry if it has never been begun.
    pub not_after: Option<Time>,
    /// What its worker obeys.
    pub policy: Policy,
    /// 1-based.
    pub attempt: u32,
    /// Failures in a row so far.
    pub failures: u32,
    /// Crashes in a row so far.
    pub crashes: u32,
    /// Drift stops in a row so far.
    pub stalls: u32,
    /// Entries in its record, answers below included.
    pub records: u64,
    /// Children that its own body has spawned so far.
    pub spawned: u64,
    /// Answers recorded by this claim.
    pub answers: Vec<Answer>,
    /// The token under which this worker last parked its future, if nobody has recorded anything since:
    /// that future, and no other, may go on. `None` after the task has been claimed by another worker, and
    /// after it was released without a park (a retry, a stall, a hand-back, a crash).
    pub parked: Option<Token>,
}

#[cfg(test)]
impl Claimed {
    /// The root of a job of a name, claimed for the first time.
    pub(crate) fn first(name: &str, token: Token) -> Self {
        Self {
            task: crate::core::id::JobId::named(name).root(),
            parent: None,
            set: None,
            depth: 0,
            token,
            kind: name.to_owned(),
            arguments: String::new(),
            queue: String::new(),
            priority: 0,
            due: Time(0),
            not_after: None,
            policy: Policy::default(),
            attempt: 1,
            failures: 0,
            crashes: 0,
            stalls: 0,
            records: 0,
            spawned: 0,
            answers: Vec::new(),
            parked: None,
        }
    }
}
