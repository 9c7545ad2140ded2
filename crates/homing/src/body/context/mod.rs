//! What a running body shares with its worker: the events on their way to the store, the record they
//! are compared with, the open waits.
//!
//! A body is polled by one thread at a time, and every future of homing's own that it awaits only
//! writes here and returns `Pending`: none of them keeps a waker. The worker reads after each poll what
//! the body needs and polls it again when that has come. This is what lets it tell a durable wait from
//! plain I/O (see `worker/body.rs`).

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::core::id::{Local, TaskId, Token};
use crate::core::replay::{Recall, drift_reason, undecodable_reason};
use crate::core::time::Time;
use crate::core::wait::{Answer, Wait};
use crate::error::Misuse;
use crate::store::{Claimed, Error, Event, Store};

mod branch;
mod counted;
mod deliveries;
mod log;
mod losses;
mod reached;
mod replayed;
mod saying;
mod set;
mod takers;
#[cfg(feature = "postgres")]
pub(crate) mod transacting;
mod waiting;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use branch::{InBranch, Op};
use counted::CountGuard;
pub(crate) use log::say;
pub(crate) use set::{GROWING, SetState, Spawned};

tokio::task_local! {
    static CURRENT: Arc<Context>;
}

/// The first and the longest pause before a read is sent again.
const READ_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// The context of the task that calls, if one does.
pub(crate) fn current(verb: &'static str) -> Result<Arc<Context>, Misuse> {
    CURRENT.try_with(Arc::clone).map_err(|_| Misuse::OutsideTask { verb })
}

/// Refuses a client's verb inside a body, and ends the task that tried.
pub(crate) fn refuse_inside(verb: &'static str) -> Result<(), Misuse> {
    let Ok(context) = CURRENT.try_with(Arc::clone) else { return Ok(()) };
    let misuse = Misuse::ClientInside { verb };
    context.lock().halt.get_or_insert(Halt::Misuse(misuse.clone()));
    Err(misuse)
}

/// Whether a task of this job calls.
pub(crate) fn is_of_own_job(id: TaskId) -> bool {
    CURRENT.try_with(|context| context.task.job == id.job).unwrap_or(false)
}

/// Runs `poll` as the task whose context this is.
pub(crate) fn scope<T>(context: &Arc<Context>, poll: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(Arc::clone(context), poll)
}

/// A running body's side of the conversation.
#[derive(Debug)]
#[doc(hidden)]
pub struct Context {
    pub(crate) task: TaskId,
    pub(crate) parent: Option<TaskId>,
    pub(crate) depth: u32,
    /// The growing set that the task is in, and its number there.
    pub(crate) growing: Option<(Local, u32)>,
    pub(crate) kind: String,
    pub(crate) attempt: u32,
    pub(crate) queue: String,
    pub(crate) priority: i16,
    pub(crate) cancelled: CancellationToken,
    /// Whether the body is only replayed: nothing it says is stored.
    rehearsal: bool,
    store: Arc<dyn Store>,
    slot: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    inner: Mutex<Inner>,
}

/// What stops a body for good.
#[derive(Debug, Clone)]
pub(crate) enum Halt {
    Misuse(Misuse),
    Drift(String),
    Store(Error),
    /// A rehearsal has come to what is not recorded: the work of a step.
    Rehearsed,
    /// The task is no longer this worker's: nothing more is said.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "bodies commit there"))]
    Lost,
}

/// What of a unit holds the body back until it is committed.
struct InFlight {
    unit: u64,
    spawns: usize,
    bytes: usize,
    lines: log::Lines,
}

type Request = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Inner {
    /// The claim under which the body runs: another after each park.
    token: Option<Token>,
    /// Events not yet handed to the worker.
    events: Vec<Event>,
    bytes: usize,
    spawns: usize,
    /// Units handed over, and how many of them are committed.
    posted: u64,
    committed: u64,
    /// Units handed over and not yet committed that hold spawns or lines.
    in_flight: std::collections::VecDeque<InFlight>,
    /// Lines that are not committed.
    backlog: log::Backlog,
    /// Whether failures or crashes are there to be forgotten, and whether the next unit does it.
    renewable: bool,
    renew: bool,
    /// Failures in a row before this run, forgotten with the next thing recorded.
    failures: u32,
    next_seq: u64,
    recall: Recall,
    /// Children in the store when the task was claimed, and how many of them were found again.
    spawned_before: u64,
    found_again: u64,
    sets: BTreeMap<Local, SetState>,
    losses: losses::Losses,
    /// Whether the body has returned: what ends the task now is not of its making.
    closing: bool,
    places: HashMap<String, u32>,
    branches: branch::Branches,
    waits: Vec<(Wait, Option<Answer>)>,
    requests: Vec<Request>,
    /// Futures of our own that wait for the worker; while there is one the body keeps its slot.
    awaiting: usize,
    /// Which of them the poll of the body has reached.
    reached: reached::Reached,
    /// Steps whose plain work runs.
    executing: usize,
    /// Whether the work of a step is being polled: what is begun now is begun by it.
    in_work: bool,
    /// Transactions of the body's own that are open.
    #[cfg(feature = "postgres")]
    transactions: usize,
    /// The body asks to be polled again at once, after its events were handed over.
    yielding: bool,
    /// The token that tells that the stretch is longer than the soft timeout, once it is asked for or is.
    overdue: Option<CancellationToken>,
    pub(crate) halt: Option<Halt>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("waits", &self.waits).finish_non_exhaustive()
    }
}

/// What a body that returned `Pending` needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// To be polled again at once.
    Poll,
    /// The worker: a commit or a page.
    Worker,
    /// Only what its waits are for.
    Waits,
    /// Plain I/O, with a durable wait open beside the steps that run it.
    Steps,
    /// Plain I/O.
    Plain,
}

impl Context {
    pub(crate) fn new(claimed: &Claimed, store: Arc<dyn Store>) -> Self {
        let inner = Inner {
            token: Some(claimed.token),
            renewable: claimed.failures + claimed.crashes + claimed.stalls > 0,
            failures: claimed.failures,
            next_seq: claimed.records,
            recall: Recall::new(claimed.records),
            spawned_before: claimed.spawned,
            ..Inner::default()
        };
        let task = claimed.task;
        Self {
            task,
            parent: claimed.parent.map(|local| TaskId { job: task.job, local }),
            depth: claimed.depth,
            growing: claimed.set.filter(|_| claimed.policy.grows),
            kind: claimed.kind.clone(),
            attempt: claimed.attempt,
            queue: claimed.queue.clone(),
            priority: claimed.priority,
            cancelled: CancellationToken::new(),
            rehearsal: false,
            store,
            slot: Mutex::default(),
            inner: Mutex::new(inner),
        }
    }

    /// For a body that is only replayed: the work of no step is done.
    pub(crate) fn rehearsing(claimed: &Claimed, store: Arc<dyn Store>) -> Self {
        Self { rehearsal: true, ..Self::new(claimed, store) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Time {
        self.store.clock().now()
    }

    /// The body goes on under another claim.
    pub(crate) fn hold_token(&self, token: Token) {
        self.lock().token = Some(token);
    }

    /// Gives the body a slot, or takes it away.
    pub(crate) fn hold_slot(&self, slot: Option<Arc<dyn Any + Send + Sync>>) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = slot;
    }

    /// The slot, for work that cannot be dropped and so must keep it.
    pub(crate) fn slot(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The token that tells that the stretch is longer than the soft timeout.
    pub(crate) fn overdue(&self) -> CancellationToken {
        self.lock().overdue.get_or_insert_default().clone()
    }

    /// The soft timeout has passed, or another stretch has begun.
    pub(crate) fn set_overdue(&self, passed: bool) {
        if passed {
            let token = self.overdue();
            token.cancel();
        } else {
            self.lock().overdue.take_if(|token| token.is_cancelled());
        }
    }

    /// Stops the body for good. Never returns: the worker drops it.
    pub(crate) async fn halt<T>(&self, halt: Halt) -> T {
        self.lock().halt.get_or_insert(halt);
        std::future::pending().await
    }

    /// Ends the task for a misuse that a verb without an error found.
    pub(crate) fn refuse(&self, misuse: Misuse) {
        self.lock().halt.get_or_insert(Halt::Misuse(misuse));
    }

    pub(crate) async fn drift<T>(&self, place: &str, difference: &str) -> T {
        self.halt(Halt::Drift(drift_reason(place, difference))).await
    }

    /// The record holds a value of another type than the body wants.
    pub(crate) async fn undecodable<T>(&self, place: &str, what: &str, error: &str) -> T {
        self.halt(Halt::Drift(undecodable_reason(place, what, error))).await
    }

    /// Failures in a row so far.
    pub(crate) fn failures(&self) -> u32 {
        self.lock().failures
    }

    /// The events since the last call, if there are any, and whether they renew the budget.
    pub(crate) fn take_events(&self) -> Option<(Vec<Event>, bool)> {
        let mut inner = self.lock();
        if inner.events.is_empty() {
            return None;
        }
        inner.posted += 1;
        let (unit, spawns) = (inner.posted, std::mem::take(&mut inner.spawns));
        let bytes = std::mem::take(&mut inner.bytes);
        let lines = inner.backlog.hand_over();
        if spawns > 0 || lines.count > 0 {
            inner.in_flight.push_back(InFlight { unit, spawns, bytes, lines });
        }
        let renew = std::mem::take(&mut inner.renew);
        Some((std::mem::take(&mut inner.events), renew))
    }

    /// The last events, together with what ends the stretch.
    pub(crate) fn take_last(&self, last: impl IntoIterator<Item = Event>) -> (Vec<Event>, bool) {
        self.lock().tell_dropped_lines();
        let (mut events, renew) = self.take_events().unwrap_or_else(|| {
            // A unit too: its commit is told of. When a park that said nothing else was not counted
            // here, every later step of the future returned before its own commit.
            self.lock().posted += 1;
            (Vec::with_capacity(1), false)
        });
        events.extend(last);
        (events, renew)
    }

    /// Says that so many more units are committed.
    pub(crate) fn units_committed(&self, units: u64) {
        let mut inner = self.lock();
        inner.committed += units;
        let committed = inner.committed;
        while let Some(unit) = inner.in_flight.pop_front_if(|first| first.unit <= committed) {
            inner.backlog.commit(unit.lines);
        }
    }

    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.lock().requests)
    }

    pub(crate) fn needs(&self) -> Needs {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.yielding) {
            Needs::Poll
        } else if inner.awaiting > 0 {
            Needs::Worker
        } else if inner.waits.is_empty() {
            Needs::Plain
        } else if inner.executing > 0 {
            Needs::Steps
        } else {
            Needs::Waits
        }
    }

    /// Waits until everything said so far is committed.
    pub(crate) async fn commit(&self) {
        let target = {
            let inner = self.lock();
            inner.posted + u64::from(!inner.events.is_empty())
        };
        self.await_worker(|inner| (inner.committed >= target).then_some(())).await;
    }

    /// Hands the worker what there is, without waiting for the commit.
    async fn hand_over(&self) {
        let (mut first, mut foreign) = (true, None);
        poll_fn(|cx| {
            if std::mem::take(&mut first) {
                self.lock().yielding = true;
                self.reach(cx, &mut foreign);
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Lets the worker run a read and waits for what it brings. A store that is away for a while is asked
    /// again: its absence is no difference between the body and its record.
    pub(crate) async fn fetch<T, F>(&self, read: impl Fn(Arc<dyn Store>) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let cell = Arc::new(Mutex::new(None));
        let (store, filled) = (Arc::clone(&self.store), Arc::clone(&cell));
        self.lock().requests.push(Box::pin(async move {
            let mut pause = READ_PAUSE.0;
            let answer = loop {
                match read(Arc::clone(&store)).await {
                    Err(error) if error.is_transient() => {
                        tracing::debug!(%error, ?pause, "a body's read is sent again");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(READ_PAUSE.1);
                    }
                    answer => break answer,
                }
            };
            *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        }));
        let take = |_: &mut Inner| cell.lock().unwrap_or_else(PoisonError::into_inner).take();
        match self.await_worker(take).await {
            Ok(value) => value,
            Err(error) => self.halt(Halt::Store(error)).await,
        }
    }

    async fn await_worker<T>(&self, mut ready: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let (mut guard, mut foreign) = (None, None);
        poll_fn(|cx| {
            if let Some(value) = ready(&mut self.lock()) {
                return Poll::Ready(value);
            }
            guard.get_or_insert_with(|| CountGuard::new(self, |inner| &mut inner.awaiting));
            self.reach(cx, &mut foreign);
            Poll::Pending
        })
        .await
    }

    /// Gives back memory that only a running body needs.
    pub(crate) fn shrink(&self) {
        let mut inner = self.lock();
        inner.requests.shrink_to_fit();
        inner.in_flight.shrink_to_fit();
        inner.waits.shrink_to_fit();
        inner.recall.shrink();
        inner.branches.shrink();
    }

    /// The place of the next occurrence of a name in the current branch.
    pub(crate) fn place(&self, name: &str) -> String {
        let mut inner = self.lock();
        let prefix = inner.branches.prefix();
        // What was spawned in the branch carries its prefix already.
        let name =
            if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") };
        let count = inner.places.entry(name.clone()).or_default();
        *count += 1;
        format!("{name}#{count}")
    }

    /// The place of a name that stands alone: taking it twice ends the task.
    pub(crate) async fn place_once(&self, name: &str) -> String {
        let place = self.named_place(name);
        let taken = self.lock().places.insert(place.clone(), 1).is_some();
        if taken {
            let misuse = Misuse::DoubledPlace { place };
            return self.halt(Halt::Misuse(misuse)).await;
        }
        place
    }

    /// The place of a name that needs no number.
    pub(crate) fn named_place(&self, name: &str) -> String {
        format!("{}{name}", self.lock().branches.prefix())
    }

    /// The number of the last entry the store had when the task was claimed.
    pub(crate) fn last_recorded(&self) -> u64 {
        self.lock().recall.last()
    }

    /// The current branch did something that was in the record, or is new.
    pub(crate) fn settle_lines(&self, replayed: bool) {
        self.lock().settle_lines(replayed);
    }

    /// Polls a step's plain work, and marks for as long as that takes that what is begun is begun by it.
    pub(crate) async fn work<T>(&self, work: impl Future<Output = T>) -> T {
        if self.rehearsal {
            return self.halt(Halt::Rehearsed).await;
        }
        let _executing = self.executing();
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            self.lock().in_work = true;
            let poll = work.as_mut().poll(cx);
            self.lock().in_work = false;
            poll
        })
        .await
    }

    /// Marks that a step's plain work runs.
    pub(crate) fn executing(&self) -> CountGuard<'_> {
        CountGuard::new(self, |inner| &mut inner.executing)
    }
}

impl Inner {
    fn is_replaying(&self) -> bool {
        self.recall.is_replaying() || self.found_again < self.spawned_before
    }
}
