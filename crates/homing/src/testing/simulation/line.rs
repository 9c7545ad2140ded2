//! The line between one worker and the store, which refuses, delays, loses and lies by seed.
//!
//! It only does what could be: a task is revoked by giving it back in truth, a unit that "does not fit"
//! never reaches the store, an exchange that is sent again is treated as it was the first time. Every
//! verb of the store underneath is done on the spot, so that time stands still meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::watch;

use super::ledger::Ledger;
use super::plan::Faults;
use crate::core::id::{TaskId, WorkerId};
use crate::error::Reason;
use crate::store::{
    End, Error, Event, Exchange, Heartbeat, Hints, Refusal, Reply, Store, Unit, Verb,
};
use crate::testing::random::Random;

/// What stands in the text of everything this line makes up.
pub(super) const MADE_UP: &str = "(simulated)";
/// How a simulated body panics.
pub(super) const PANIC: &str = "a simulated panic";
/// Exchanges of one worker beyond which it talks in circles.
const MOST: u64 = 20_000;

/// What passes between a worker and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Everything.
    Open,
    /// Nothing; it waits.
    Shut,
    /// Nothing, and the worker's bodies stand still too.
    Frozen,
    /// Nothing any more.
    Gone,
}

/// One worker's line to the store.
pub(super) struct Line {
    inner: Arc<dyn Store>,
    hints: Hints,
    ledger: Arc<Ledger>,
    faults: Faults,
    /// Whether the faults are over.
    calm: Arc<AtomicBool>,
    pub(super) gate: watch::Sender<Gate>,
    /// Whether the store is told of the worker's death.
    pub(super) tells_death: AtomicBool,
    exchanges: AtomicU64,
    state: Mutex<State>,
}

struct State {
    random: Random,
    worker: Option<WorkerId>,
    /// What was decided for the units of an exchange, for when it comes again.
    decided: Option<(WorkerId, u64, BTreeMap<TaskId, Decision>)>,
}

#[derive(Debug, Clone)]
enum Decision {
    Revoke,
    Refuse(Refusal),
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&self.inner).finish()
    }
}

fn lost() -> Error {
    Error::Busy { reason: format!("the connection was lost {MADE_UP}") }
}

/// Does a verb on the spot: what other threads do for it takes no time of the runtime's.
pub(super) fn now<T>(mut verb: Verb<'_, T>) -> Result<T, Error> {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match verb.as_mut().poll(&mut cx) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

impl Line {
    pub(super) fn new(
        inner: Arc<dyn Store>,
        ledger: Arc<Ledger>,
        faults: Faults,
        seed: u64,
        calm: Arc<AtomicBool>,
    ) -> Arc<Self> {
        let state = State { random: Random(seed), worker: None, decided: None };
        let line = Arc::new(Self {
            inner,
            hints: Hints::default(),
            ledger,
            faults,
            calm,
            gate: watch::Sender::new(Gate::Open),
            tells_death: AtomicBool::new(true),
            exchanges: AtomicU64::new(0),
            state: Mutex::new(state),
        });
        tokio::spawn(forward(Arc::downgrade(&line), line.inner.hints().ready(), Hints::say_ready));
        tokio::spawn(forward(
            Arc::downgrade(&line),
            line.inner.hints().noticed(),
            Hints::say_noticed,
        ));
        line
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id that the worker goes by now: it takes another once it was given up.
    pub(super) fn worker(&self) -> Option<WorkerId> {
        self.state().worker
    }

    /// Whether a task is held under this id as far as the store knows.
    pub(super) fn is_held(&self, task: TaskId, by: Option<WorkerId>) -> bool {
        let view = now(self.inner.task(task)).ok().flatten();
        view.is_some_and(|view| view.worker.is_some() && view.worker == by)
    }

    /// Whether the store has a task.
    pub(super) fn knows(&self, task: TaskId) -> bool {
        now(self.inner.task(task)).ok().flatten().is_some()
    }

    /// A task's parent.
    pub(super) fn parent(&self, task: TaskId) -> Option<TaskId> {
        now(self.inner.task(task)).ok().flatten()?.parent
    }

    /// Throws the dice: true so many times of a thousand, and never once it is calm.
    fn happens(&self, rate: u64) -> bool {
        rate > 0 && !self.calm.load(Ordering::SeqCst) && self.state().random.below(1_000) < rate
    }

    async fn passage(&self) -> Result<(), Error> {
        let mut gate = self.gate.subscribe();
        let open = gate.wait_for(|gate| matches!(gate, Gate::Open | Gate::Gone)).await;
        match open.as_deref() {
            Ok(Gate::Open) => Ok(()),
            _ => Err(lost()),
        }
    }

    async fn late(&self) {
        if self.happens(self.faults.late) {
            let pause = self.state().random.below(120);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn speak(&self, exchange: Exchange) -> Result<Reply, Error> {
        if self.exchanges.fetch_add(1, Ordering::SeqCst) == MOST {
            self.ledger.fault(format!("a worker had {MOST} exchanges: it talks in circles"));
        }
        self.late().await;
        self.passage().await?;
        if self.happens(self.faults.requests) {
            return Err(lost());
        }
        self.state().worker = Some(exchange.worker);
        let (exchange, refused) = self.doctor(exchange);
        let worker = exchange.worker;
        let mut reply = now(self.inner.exchange(exchange))?;
        for claimed in &reply.claimed {
            self.ledger.note(|| {
                let answers: Vec<_> = claimed.answers.iter().map(|a| (&a.place, a.arm)).collect();
                let (attempt, records) = (claimed.attempt, claimed.records);
                format!(
                    "{worker} claims {} attempt {attempt} records {records} {answers:?}",
                    claimed.task
                )
            });
        }
        for (task, refusal) in &reply.refused {
            self.ledger.note(|| format!("{worker} is refused {task}: {refusal:?}"));
        }
        reply.refused.extend(refused);
        if self.happens(self.faults.replies) {
            return Err(lost());
        }
        self.late().await;
        self.passage().await?;
        Ok(reply)
    }

    /// Decides what is refused or revoked, and takes it out of the exchange.
    fn doctor(&self, exchange: Exchange) -> (Exchange, Vec<(TaskId, Refusal)>) {
        let key = (exchange.worker, exchange.number);
        let known =
            self.state().decided.clone().filter(|(worker, number, _)| (*worker, *number) == key);
        let decided = if let Some((.., decided)) = known {
            decided
        } else {
            let decided = self.decide(&exchange);
            self.state().decided = Some((key.0, key.1, decided.clone()));
            decided
        };
        let (mut units, mut refused, mut revoked) = (Vec::new(), Vec::new(), BTreeSet::new());
        for unit in exchange.units {
            self.look(&unit);
            match decided.get(&unit.task) {
                Some(Decision::Refuse(refusal)) => {
                    self.ledger.note(|| format!("{} is made to be {refusal:?}", unit.task));
                    if matches!(refusal, Refusal::Unfit(_)) {
                        self.ledger.book().unfit.insert(unit.task);
                    }
                    refused.push((unit.task, refusal.clone()));
                    continue;
                }
                Some(Decision::Revoke) if revoked.insert(unit.task) => {
                    self.ledger.note(|| format!("{} is revoked", unit.task));
                    let (task, token) = (unit.task, unit.token);
                    let events = vec![Event::HandBack];
                    units.push(Arc::new(Unit { task, token, renew: false, events }));
                }
                Some(Decision::Revoke) | None => {}
            }
            units.push(unit);
        }
        (Exchange { units, ..exchange }, refused)
    }

    fn decide(&self, exchange: &Exchange) -> BTreeMap<TaskId, Decision> {
        let mut decided = BTreeMap::new();
        for unit in &exchange.units {
            let has = |of: fn(&Event) -> bool| unit.events.iter().any(of);
            let says = has(|event| {
                matches!(
                    event,
                    Event::Record { .. } | Event::Log(_) | Event::End(_) | Event::Park { .. }
                )
            });
            let spawns = has(|event| matches!(event, Event::Spawn(_)));
            let decision = if self.happens(self.faults.revoked) {
                Decision::Revoke
            } else if says && self.happens(self.faults.unfit) {
                Decision::Refuse(Refusal::Unfit(MADE_UP.to_owned()))
            } else if spawns && self.happens(self.faults.drift) {
                Decision::Refuse(Refusal::Drift(MADE_UP.to_owned()))
            } else {
                continue;
            };
            decided.entry(unit.task).or_insert(decision);
        }
        decided
    }

    /// Looks at what a worker says: a body of a simulation drifts only where its program makes it.
    fn look(&self, unit: &Unit) {
        self.ledger.note(|| {
            let names: Vec<String> = unit.events.iter().map(name).collect();
            format!("{} says {} of {}", unit.token.worker, names.join(", "), unit.task)
        });
        for event in &unit.events {
            let strange = match event {
                Event::Stall { reason, .. } => {
                    let drifts = self.ledger.book().drifting.contains(&unit.task);
                    !reason.contains(MADE_UP) && !drifts
                }
                Event::Retry { failure, .. } | Event::End(End::Failed { failure, .. }) => {
                    match failure.reason {
                        Reason::Error => false,
                        // A combinator passes on what was below it.
                        _ if failure.id != unit.task => false,
                        Reason::Panic => failure.message != PANIC,
                        Reason::Timeout => {
                            let book = self.ledger.book();
                            let limits = book.limits.get(&unit.task);
                            !limits.is_some_and(|all| all.iter().any(|own| own.timeout.is_some()))
                        }
                        _ => true,
                    }
                }
                _ => false,
            };
            if strange {
                self.ledger.fault(format!("{} says {}", unit.task, name(event)));
            }
        }
    }

    fn pass<'s, T: Send + 's>(
        &'s self,
        name: &'static str,
        verb: impl FnOnce(&'s dyn Store) -> Verb<'s, T> + Send + 's,
    ) -> Verb<'s, T> {
        Box::pin(async move {
            self.late().await;
            self.passage().await?;
            if self.happens(self.faults.reads) {
                return Err(lost());
            }
            let answer = now(verb(&*self.inner));
            if name == "leave" {
                self.late().await;
                self.passage().await?;
            }
            answer
        })
    }

    async fn beat(&self, heartbeat: Heartbeat) -> Result<bool, Error> {
        self.late().await;
        self.passage().await?;
        if !heartbeat.first && self.happens(self.faults.heartbeats) {
            self.ledger.note(|| format!("{} is told that it is given up", heartbeat.worker));
            // As it is in truth: on SQLite a lock says who lives, whatever a worker is told.
            self.inner.kill(heartbeat.worker);
            return Ok(false);
        }
        let alive = now(self.inner.heartbeat(heartbeat))?;
        self.late().await;
        self.passage().await?;
        Ok(alive)
    }

    fn died(&self, worker: WorkerId) {
        if self.tells_death.load(Ordering::SeqCst) {
            self.inner.kill(worker);
        }
    }

    fn heard(&self) -> &Hints {
        &self.hints
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::Record { seq, place, .. } => format!("record {seq} `{place}`"),
        Event::Spawn(child) => format!("spawn {}", child.local),
        Event::Add(addition) => format!("add {}", addition.local),
        Event::Park { waits, .. } => {
            let waits: Vec<_> = waits.iter().map(|wait| wait.place.as_str()).collect();
            format!("park {waits:?}")
        }
        Event::End(end) => {
            let text = format!("{end:?}");
            text[..text.floor_char_boundary(150)].to_owned()
        }
        Event::Retry { failure, .. } => format!("retry after {failure}"),
        Event::Stall { reason, .. } => format!("stall: {reason}"),
        Event::Abort(abort) => format!("{abort:?}"),
        Event::Detach(job) => format!("detach {}", job.id),
        Event::Log(_) => "log".to_owned(),
        Event::Signal(_) => "signal".to_owned(),
        Event::Progress { .. } => "progress".to_owned(),
        Event::Begin => "begin".to_owned(),
        Event::HandBack => "hand back".to_owned(),
    }
}

/// Passes hints on, and swallows some.
async fn forward(line: std::sync::Weak<Line>, mut from: watch::Receiver<u64>, say: fn(&Hints)) {
    while from.changed().await.is_ok() {
        let Some(line) = line.upgrade() else { return };
        let open = *line.gate.borrow() == Gate::Open;
        if open && !line.happens(line.faults.hints) {
            say(&line.hints);
        }
    }
}

crate::testing::over::over!(Line);
