//! The worker: runs tasks on a bounded number of slots. The only loops and timers of the library.
//!
//! `conversation` talks to the store, one exchange at a time; `body` drives each claimed task;
//! `outbox` carries what bodies say to the conversation, `inbox` what it answers; `heartbeat` renews
//! the lease on a thread of its own. A body that parks gives its slot back; what remains of it in
//! memory is a cache, kept by `resident`.

// What becomes of a task is decided here: a new way to end, or a new error, is to be thought of in each place.
#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::core::id::{Map, TaskId, Token, WorkerId};
use crate::core::names::name;
use crate::core::time::Time;
use crate::error::{Invalid, StartError};
use crate::limits;
use crate::store::retention::Retention;
use crate::store::{Heartbeat, Store};
use crate::task::{Definition, Function, Parameter, States};

mod ahead;
mod body;
mod conversation;
mod deliver;
mod drive;
mod heartbeat;
mod identity;
mod idle;
mod inbox;
mod outbox;
mod outcome;
mod refusals;
mod resident;
mod retention;
mod send;
mod tally;
mod unserved;
mod verify;
mod waker;

use identity::Identity;
use inbox::{DriverInbox, DriverMessage};
use outbox::Outbox;
use resident::Residents;
pub use verify::{Verdict, Verified};

/// A worker to be; see [`Homing::worker`](crate::Homing::worker).
#[must_use = "a worker does nothing until it is started"]
#[derive(Debug)]
pub struct WorkerBuilder {
    store: Arc<dyn Store>,
    definitions: Vec<Definition>,
    states: States,
    settings: Settings,
}

#[derive(Debug, Clone)]
struct Settings {
    queues: Vec<String>,
    concurrency: usize,
    max_crashes: u32,
    resident: usize,
    resident_age: Duration,
    retention: Option<Retention>,
    lease: Duration,
    grace: Duration,
    name: String,
}

impl Settings {
    fn check(&self) -> Result<(), Invalid> {
        let refused = |field, value, reason| Err(Invalid::Value { field, value, reason });
        if self.queues.is_empty() {
            return Err(Invalid::Empty { field: "queues" });
        }
        self.retention.as_ref().map_or(Ok(()), Retention::check)?;
        self.queues.iter().try_for_each(|queue| name("the queue", queue))?;
        name("the worker's name", &self.name)?;
        if !(1..=limits::CONCURRENCY_MAX).contains(&self.concurrency) {
            let value = self.concurrency.to_string();
            return refused("concurrency", value, "it must be from 1 to 1,000,000");
        }
        if self.max_crashes == 0 {
            return refused("max_crashes", "0".to_owned(), "it must be at least 1");
        }
        if !(limits::LEASE_MIN..=limits::LEASE_MAX).contains(&self.lease) {
            let value = format!("{:?}", self.lease);
            return refused("the lease", value, "it must be from 250 ms to 24 hours");
        }
        Ok(())
    }
}

/// A worker's name where it is given none: host and process.
fn own_name(host: &str) -> String {
    let (id, field) = (std::process::id(), "the worker's name");
    let own = format!("{host}:{id}");
    // Whoever set the variable may have set it to anything.
    if name(field, &own).is_ok() { own } else { format!("localhost:{id}") }
}

impl WorkerBuilder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned());
        let settings = Settings {
            queues: vec!["default".to_owned()],
            concurrency: limits::CONCURRENCY,
            max_crashes: limits::MAX_CRASHES,
            resident: limits::RESIDENT,
            resident_age: limits::RESIDENT_AGE,
            retention: None,
            lease: limits::LEASE,
            grace: limits::GRACE,
            name: own_name(&host),
        };
        let definitions = crate::body::combine::definitions();
        Self { store, definitions, states: States::default(), settings }
    }

    /// Registers a task function, so that the worker claims its kind.
    pub fn register<F: Function<A>, A>(mut self, _: F) -> Self {
        self.definitions.push(Definition::of::<F::Kind>());
        self
    }

    /// Gives tasks a state; they ask for it as `State<T>`. One per type, the last counts.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.states.add(state);
        self
    }

    /// The queues to serve. Default: `default` alone.
    pub fn queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.settings.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// Slots: how many bodies run at once, up to a million; parked ones do not count. Default: 64.
    pub fn concurrency(mut self, slots: usize) -> Self {
        self.settings.concurrency = slots;
        self
    }

    /// Worker deaths in a row after which a task fails. Default: 5.
    pub fn max_crashes(mut self, crashes: u32) -> Self {
        self.settings.max_crashes = crashes;
        self
    }

    /// How many parked futures to keep in memory; 0 replays every resumption. Default: 10,000.
    pub fn resident(mut self, futures: usize) -> Self {
        self.settings.resident = futures;
        self
    }

    /// How long a parked future is kept in memory. Default: 10 minutes.
    pub fn resident_age(mut self, age: Duration) -> Self {
        self.settings.resident_age = age;
        self
    }

    /// Removes ended jobs whose time is over, once the worker has started and every 10 minutes
    /// ([`limits::RETENTION_PASS`]). Default: they are kept for ever, until somebody prunes.
    ///
    /// One worker of a store is enough; several do no harm. A pass reads the list of jobs that are kept, in pages
    /// of 1,000, from those on that are as old as the shortest age.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.settings.retention = Some(retention);
        self
    }

    /// How long the worker may be silent before its tasks are given to others; it renews the lease
    /// three times as often. From 250 ms to 24 hours; default: 15 seconds. On SQLite an operating-system lock decides instead.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How long a cancelled body may run on before it is dropped; [`Duration::MAX`] never drops it.
    /// Default: 5 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// What people see in lists of workers: 1 to 200 bytes, no control characters. Default: host and
    /// process.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Checks the registration, announces the worker and starts it. It runs until
    /// [`Worker::shutdown`] or the end of the runtime; dropping the handle does not stop it.
    ///
    /// # Errors
    /// A doubled kind, a missing state, no task at all, a refused name or number;
    /// [paused time](StartError::PausedTime) beside a clock that does not go with it; or the store fails.
    pub async fn start(self) -> Result<Worker, StartError> {
        let definitions = self.check()?;
        if !self.store.clock().is_simulated() && crate::clock::is_paused() {
            return Err(StartError::PausedTime);
        }
        let mut kinds: Vec<&Definition> = definitions.values().collect();
        kinds.sort_unstable_by_key(|definition| definition.name);
        let texts = |arguments: &[Parameter]| arguments.iter().map(Parameter::to_text).collect();
        let arguments = kinds.iter().map(|definition| texts(&definition.arguments)).collect();
        let kinds = kinds.iter().map(|definition| definition.name.to_owned()).collect();
        let mut queues = self.settings.queues.clone();
        queues.sort_unstable();
        queues.dedup();
        let tally = tally::Tally::new(self.store.clock().now());
        let shared = Arc::new(Shared {
            residents: Mutex::new(Residents::new(self.store.clock().clone())),
            store: self.store,
            definitions,
            states: Arc::new(self.states),
            kinds,
            arguments,
            queues: queues.into(),
            settings: self.settings,
            identity: Identity::fresh(),
            outbox: Outbox::default(),
            bodies: Mutex::default(),
            free: AtomicUsize::new(0),
            suspects: AtomicUsize::new(0),
            turned: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            tally,
            slot_freed: Notify::new(),
            phase: watch::Sender::new(Phase::Running),
            asked: AtomicU64::new(0),
            idle: watch::Sender::default(),
        });
        shared.free.store(shared.settings.concurrency, Ordering::SeqCst);
        let worker = shared.identity.worker();
        let announced = shared.store.heartbeat(shared.told(true)).await?;
        shared.identity.announced(worker);
        if !announced {
            shared.identity.given_up(worker);
        }
        heartbeat::start(&shared);
        retention::start(&shared);
        unserved::start(&shared);
        tokio::spawn(conversation::run(Arc::clone(&shared)));
        Ok(Worker { shared })
    }

    fn check(&self) -> Result<HashMap<&'static str, Definition>, StartError> {
        let own = crate::body::combine::definitions().len();
        if self.definitions.len() == own {
            return Err(StartError::NoTask);
        }
        let mut definitions = HashMap::new();
        for definition in &self.definitions {
            let kind = definition.name.to_owned();
            name("the kind", &kind)?;
            definition.options.check()?;
            if let Some(missing) =
                definition.states.iter().find(|wanted| !self.states.has(**wanted))
            {
                return Err(StartError::MissingState { kind, state: missing.name });
            }
            if definitions.insert(definition.name, definition.clone()).is_some() {
                return Err(StartError::DoubledKind { kind });
            }
        }
        self.settings.check()?;
        Ok(definitions)
    }
}

/// A running worker.
#[derive(Debug, Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

impl Worker {
    /// The id it goes by now; it takes another after a lost lease.
    pub fn id(&self) -> WorkerId {
        self.shared.identity.worker()
    }

    /// Stops claiming, waits until what runs has ended or parked, and leaves. What still runs after
    /// `patience` is dropped and handed back: another worker resumes it. Parked tasks need nothing.
    ///
    /// [`Duration::MAX`] is no end of patience. Called again with less, less counts.
    ///
    /// It returns in the end also where the store is away, or a body lets nobody interrupt it: once the
    /// patience is over, one try more that the store refuses, or 5 seconds ([`limits::LEAVE`]) for all that is
    /// left to do, are the end of it.
    ///
    /// # Durability
    /// What the store was not told by then is lost, as in a crash. The lease, on SQLite the lock of the
    /// worker, which is let go of, gives its tasks to others: they resume what is recorded.
    pub async fn shutdown(&self, patience: Duration) {
        let until = Instant::now().checked_add(patience);
        self.shared.phase.send_if_modified(|phase| {
            let sooner = match *phase {
                Phase::Running => true,
                Phase::Draining { until: Some(before) } => until.is_some_and(|now| now < before),
                Phase::Draining { until: None } => until.is_some(),
                Phase::Killed | Phase::Gone => false,
            };
            if sooner {
                *phase = Phase::Draining { until };
            }
            sooner
        });
        self.shared.outbox.poke();
        // The sender is in `shared`, so this cannot fail.
        let _ = self.shared.phase.subscribe().wait_for(|phase| *phase == Phase::Gone).await;
    }

    /// For tests: dies as a process killed by `kill -9` does. Nothing more is said to the store.
    #[cfg(feature = "testing")]
    pub async fn kill(&self) {
        self.shared.phase.send_replace(Phase::Killed);
        self.shared.outbox.poke();
        let _ = self.shared.phase.subscribe().wait_for(|phase| *phase == Phase::Gone).await;
        self.shared.store.kill(self.id());
    }

    /// For tests: how many slots are taken.
    #[cfg(feature = "testing")]
    pub fn running(&self) -> usize {
        self.shared.running()
    }

    /// For tests: how many parked futures are in memory.
    #[cfg(feature = "testing")]
    pub fn residents(&self) -> usize {
        self.shared.residents().len()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Until when what runs may end by itself; `None`: as long as it takes.
    Draining {
        until: Option<Instant>,
    },
    #[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "only tests kill workers"))]
    Killed,
    Gone,
}

/// What the parts of a worker share.
#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    definitions: HashMap<&'static str, Definition>,
    states: Arc<States>,
    kinds: Arc<[String]>,
    arguments: Arc<[Vec<String>]>,
    queues: Arc<[String]>,
    settings: Settings,
    identity: Identity,
    outbox: Outbox,
    /// Every body that holds a token.
    bodies: Mutex<Map<TaskId, (Token, Arc<DriverInbox>)>>,
    residents: Mutex<Residents>,
    free: AtomicUsize,
    suspects: AtomicUsize,
    /// How often a slot got free that was taken for a short while.
    turned: AtomicUsize,
    /// Tasks brought to their ends, as the store has acknowledged.
    ended: AtomicU64,
    /// What it does, minute by minute.
    tally: tally::Tally,
    slot_freed: Notify,
    phase: watch::Sender<Phase>,
    /// How often somebody asked to be told when nothing is left to do now.
    asked: AtomicU64,
    /// The newest of these questions that is answered, and when something is due then.
    idle: watch::Sender<(u64, Option<Time>)>,
}

/// What some work brings that a worker does beside its tasks; `None` if the worker begins to leave before.
async fn while_running<T>(
    phase: &mut watch::Receiver<Phase>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        // The sender is in `Shared`: without it there is no worker either.
        left = phase.wait_for(|phase| *phase != Phase::Running) => {
            drop(left);
            None
        }
        done = work => Some(done),
    }
}

impl Shared {
    /// How many slots are taken.
    fn running(&self) -> usize {
        self.settings.concurrency.saturating_sub(self.free.load(Ordering::SeqCst))
    }

    fn told(&self, first: bool) -> Heartbeat {
        let shown = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Heartbeat {
            worker: self.identity.worker(),
            first,
            lease: self.settings.lease,
            name: self.settings.name.clone(),
            kinds: Arc::clone(&self.kinds),
            arguments: Arc::clone(&self.arguments),
            queues: Arc::clone(&self.queues),
            slots: shown(self.settings.concurrency),
            running: shown(self.running()),
            resident: shown(self.residents().len()),
            ended: self.ended.load(Ordering::Relaxed),
        }
    }

    fn bodies(&self) -> MutexGuard<'_, Map<TaskId, (Token, Arc<DriverInbox>)>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn residents(&self) -> MutexGuard<'_, Residents> {
        self.residents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot for a claimed task. Only the conversation takes, so the count cannot run below
    /// what it asked for.
    fn take_slot(self: &Arc<Self>, suspect: bool) -> Arc<Slot> {
        self.free.fetch_sub(1, Ordering::SeqCst);
        if suspect {
            self.suspects.fetch_add(1, Ordering::SeqCst);
        }
        Arc::new(Slot { shared: Arc::clone(self), suspect, since: self.store.clock().now() })
    }

    /// A body is done with its token.
    fn forget_body(&self, task: TaskId, token: Token) {
        let mut bodies = self.bodies();
        if bodies.get(&task).is_some_and(|(own, _)| *own == token) {
            bodies.remove(&task);
        }
        drop(bodies);
        self.outbox.forget(task, token);
    }

    /// Drops every body: the lease is lost, or the worker killed.
    fn drop_bodies(&self) {
        let bodies: Vec<_> = self.bodies().drain().map(|(_, (_, inbox))| inbox).collect();
        for inbox in bodies {
            inbox.put(DriverMessage::Dropped);
        }
        self.residents().clear();
        self.outbox.clear();
    }
}

/// A slot; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    shared: Arc<Shared>,
    suspect: bool,
    since: Time,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.suspect {
            self.shared.suspects.fetch_sub(1, Ordering::SeqCst);
        }
        if self.since.after(limits::SHORT) > self.shared.store.clock().now() {
            self.shared.turned.fetch_add(1, Ordering::SeqCst);
        }
        self.shared.free.fetch_add(1, Ordering::SeqCst);
        self.shared.slot_freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::own_name;

    #[test]
    fn a_worker_is_named_after_its_host_and_process() {
        let id = std::process::id();
        assert_eq!(own_name("ada"), format!("ada:{id}"));
        assert_eq!(own_name("a\nb"), format!("localhost:{id}"));
    }
}
