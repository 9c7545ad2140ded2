//! The conversation with the store: one exchange at a time.
//!
//! While one exchange is in flight the next one gathers in the outbox, so batches form by themselves
//! under load and latency stays one round trip without load. Tasks that a reply brings start as soon
//! as the next exchange has been sent; if there is nothing to send, they start immediately. A failed exchange is sent
//! again under the same number until it is answered; the store makes that harmless.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::ahead::Ahead;
use super::drive::drive;
use super::inbox::DriverMessage;
use super::outbox::Posting;
use super::send::{Sent, is_past, past, send};
use super::{Phase, Shared, Slot};
use crate::core::id::WorkerId;
use crate::core::time::Time;
use crate::error::StartError;
use crate::limits;
use crate::point;
use crate::store::events;
use crate::store::{Claim, Claimed, Event, Exchange, Reply, Unit};

/// Talks until the worker is gone.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut end = MarkGone { shared: Arc::clone(&shared), has_left: false };
    let mut talk = Conversation::new(shared);
    while talk.turn().await {}
    end.has_left = talk.has_left;
}

/// Says that the worker is gone however the conversation ends: by a panic, and by the end of the runtime,
/// too. Nobody speaks for its bodies any more, so they stop, and others may take their tasks.
struct MarkGone {
    shared: Arc<Shared>,
    has_left: bool,
}

impl Drop for MarkGone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the worker panicked and is gone: what it ran goes to others");
        }
        if !self.has_left {
            self.shared.drop_bodies();
            self.shared.store.abandon(self.shared.identity.worker());
        }
        self.shared.phase.send_replace(Phase::Gone);
    }
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Conversation {
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    ready: watch::Receiver<u64>,
    noticed: watch::Receiver<u64>,
    number: u64,
    acknowledged: u64,
    /// Whether the store may have something for a free slot, as far as is known.
    look: bool,
    /// When the store was last asked for all there is: hints may be lost, and a worker that is never idle never waits.
    searched: Instant,
    /// Whether the last exchange brought nothing to do, and no hint that there is more.
    found_nothing: bool,
    /// Whether to speak even without a free slot: there may be news, or a second has passed.
    speak: bool,
    due: Option<Time>,
    /// Claimed, with their slots, and not begun yet: they begin once the next exchange is on its way.
    claimed: Vec<(Claimed, Arc<Slot>)>,
    /// Claimed, and waiting for slots.
    ahead: Ahead,
    /// Slots that are for what the exchange in flight claims.
    claiming: usize,
    /// Slots that are kept for what the last claim left.
    reserved: usize,
    /// Whether the bodies that ran when a shutdown's patience was over were told to hand back.
    handed_back: bool,
    /// Whether the store did not take what was to be said after that.
    unsaid: bool,
    /// Whether the store knows that the worker has left.
    has_left: bool,
    warned_of_paused_time: bool,
}

impl Conversation {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            phase: shared.phase.subscribe(),
            ready: shared.store.hints().ready(),
            noticed: shared.store.hints().noticed(),
            shared,
            number: 1,
            acknowledged: 0,
            look: true,
            searched: Instant::now(),
            found_nothing: false,
            speak: false,
            due: None,
            claimed: Vec::new(),
            ahead: Ahead::default(),
            claiming: 0,
            reserved: 0,
            handed_back: false,
            unsaid: false,
            has_left: false,
            warned_of_paused_time: false,
        }
    }

    /// One exchange, or one wait for a reason to have one. `false` when the worker is gone.
    async fn turn(&mut self) -> bool {
        if self.shared.identity.is_given_up() {
            self.start_afresh().await;
        }
        // Here, not when it idles: a worker may never do.
        self.shared.residents().evict_older(self.shared.settings.resident_age);
        let phase = *self.phase.borrow_and_update();
        match phase {
            Phase::Running => {}
            Phase::Draining { until } => {
                self.begin_claimed();
                for claimed in self.ahead.take_all() {
                    self.shared.hand_back(claimed);
                }
                if self.drain(until).await {
                    return false;
                }
            }
            Phase::Killed | Phase::Gone => {
                self.ahead.clear();
                self.shared.drop_bodies();
                return false;
            }
        }
        let running = phase == Phase::Running;
        self.fill();
        let behind = self.ahead.older_than(limits::AHEAD, self.shared.store.clock().now());
        for claimed in behind {
            self.shared.hand_back(claimed);
        }
        let free = if running { self.shared.free.load(Ordering::SeqCst) } else { 0 };
        let (tasks, ahead) = if running { self.claim(free) } else { (0, 0) };
        let postings = self.shared.outbox.take();
        let asked = self.asked(&postings, free);
        let claims = self.look && tasks + ahead > 0;
        let something = self.is_overdue() || self.speak || claims || asked.is_some();
        if postings.is_empty() && !something {
            self.begin_claimed();
            self.wait(running).await;
            return true;
        }
        let search = self.searches(asked.is_some());
        self.exchange(postings, (tasks, ahead), search).await;
        if let Some(asked) = asked.filter(|_| self.found_nothing) {
            let due = self.due.filter(|due| *due < Time::NEVER);
            self.shared.idle.send_replace((asked, due));
        }
        true
    }

    /// Whether the store has something to do now: an instant has come, or there is more upkeep.
    fn is_overdue(&self) -> bool {
        self.due.is_some_and(|due| due <= self.shared.store.clock().now())
    }

    /// How many tasks to claim that begin at once, and how many ahead. None ahead while every slot is kept for something
    /// else: the only slot of a worker, say.
    fn claim(&self, free: usize) -> (usize, usize) {
        let fetches = self.reserved < self.shared.settings.concurrency;
        match self.ahead.wanted(free).filter(|_| fetches) {
            Some(ahead) => (free.min(self.reserved), ahead),
            None => (free.min(limits::CLAIM), 0),
        }
    }

    /// Whether the next exchange is to look for all there is, or but for what its own units make ready.
    fn searches(&mut self, is_asked: bool) -> bool {
        let poll = self.searched.elapsed() >= limits::POLL;
        self.look |= poll || self.is_overdue() || self.ready.has_changed().unwrap_or(true);
        let search = self.look || is_asked;
        if search {
            self.searched = Instant::now();
        }
        search
    }

    fn begin_claimed(&mut self) {
        self.shared.begin(std::mem::take(&mut self.claimed));
    }

    /// Begins what was claimed, and what was fetched ahead, while there are slots.
    fn feed(&mut self) {
        self.fill();
        self.begin_claimed();
    }

    /// Gives slots to what was fetched ahead, while there are some. What is too late to begin is given back: the store
    /// ends it.
    fn fill(&mut self) {
        let runs = *self.phase.borrow() == Phase::Running;
        let kept = self.claiming.max(self.reserved.min(self.shared.settings.concurrency - 1));
        while runs
            && self.shared.free.load(Ordering::SeqCst) > kept
            && let Some(claimed) = self.ahead.next()
        {
            if claimed.not_after.is_some_and(|time| time <= self.shared.store.clock().now()) {
                self.shared.hand_back(claimed);
                continue;
            }
            let slot = self.shared.take_slot(false);
            self.claimed.push((claimed, slot));
        }
    }

    /// The question for idleness that the next exchange may answer: asked before it, while nothing runs and
    /// nothing is to be said. If it finds nothing to do either, there was nothing when it was asked.
    fn asked(&self, postings: &[Posting], free: usize) -> Option<u64> {
        let asked = self.shared.asked.load(Ordering::SeqCst);
        let open = asked > self.shared.idle.borrow().0;
        let quiet = postings.is_empty()
            && self.claimed.is_empty()
            && self.ahead.is_empty()
            && free == self.shared.settings.concurrency;
        (open && quiet).then_some(asked)
    }

    async fn wait(&mut self, running: bool) {
        let store = Arc::clone(&self.shared.store);
        let due = self.due.unwrap_or(Time::NEVER);
        // While it drains there may be nothing but the end of its patience to wait for.
        let poll = if running { limits::POLL } else { Duration::from_millis(20) };
        let behind = self.ahead.oldest().map_or(Time::NEVER, |oldest| oldest.after(limits::AHEAD));
        // Biased, so that chance has no part in it and a simulation repeats itself. Whichever reason comes
        // first, the exchange that follows has all that the others would have asked for.
        tokio::select! {
            biased;
            () = self.shared.outbox.notified() => {}
            () = self.shared.slot_freed.notified(), if running => {}
            () = store.clock().until(behind), if behind < Time::NEVER => {}
            _ = self.ready.changed(), if running => self.look = true,
            _ = self.noticed.changed() => self.speak = true,
            () = store.clock().until(due), if due < Time::NEVER => {
                self.look = true;
                self.warn_of_paused_time();
            }
            _ = self.phase.changed() => {}
            () = tokio::time::sleep(poll) => {
                (self.look, self.speak) = (true, true);
                self.warn_of_paused_time();
            }
        }
    }

    /// A test may pause the runtime's time once the worker runs. The worker goes on, and spins.
    fn warn_of_paused_time(&mut self) {
        let spins = || !self.shared.store.clock().is_simulated() && crate::clock::is_paused();
        if !self.warned_of_paused_time && spins() {
            self.warned_of_paused_time = true;
            events::paused_time(&StartError::PausedTime);
        }
    }

    async fn exchange(
        &mut self,
        postings: Vec<Posting>,
        (tasks, ahead): (usize, usize),
        search: bool,
    ) {
        // What becomes ready while the exchange is in flight is looked for again.
        self.ready.mark_unchanged();
        self.noticed.mark_unchanged();
        (self.speak, self.found_nothing) = (false, false);
        let worker = self.shared.identity.worker();
        let exchange = Exchange {
            worker,
            number: self.number,
            acknowledged: self.acknowledged,
            units: postings.iter().map(|posting| Arc::clone(&posting.unit)).collect(),
            claim: Claim {
                tasks,
                ahead,
                search,
                queues: Arc::clone(&self.shared.queues),
                kinds: Arc::clone(&self.shared.kinds),
                suspect: self.shared.suspects.load(Ordering::SeqCst) == 0,
                max_crashes: self.shared.settings.max_crashes,
            },
        };
        point::worker("before_exchange");
        let turned = self.shared.turned.load(Ordering::SeqCst);
        self.claiming = tasks;
        let reply = self.send_and_feed(exchange).await;
        self.claiming = 0;
        let Some(reply) = reply else { return };
        point::worker("after_reply");
        self.acknowledged = self.number;
        self.number += 1;
        let due = self.due.filter(|_| !search);
        self.due = due.into_iter().chain(reply.next_due).min();
        let is_left = reply.left || reply.spared;
        self.found_nothing = reply.claimed.is_empty() && !is_left && !self.is_overdue();
        let (asked, claimed) = (tasks + ahead, reply.claimed.len());
        // A store that left something has more, though it brought less than was asked for.
        let is_full = claimed >= asked || is_left;
        self.look = tasks == 0 || is_full;
        if asked > 0 && search {
            // Something waits for a slot of its own.
            self.reserved = usize::from(reply.left);
        }
        let turned = self.shared.turned.load(Ordering::SeqCst) - turned;
        let idle = self.shared.free.load(Ordering::SeqCst);
        self.ahead.weigh(&reply.claimed);
        self.ahead.learn((asked > 0).then_some(is_full), turned, idle);
        self.dispatch(postings, reply, worker);
    }

    /// Sends an exchange. The store works on it while what the last one claimed is begun, and what was fetched
    /// ahead as slots get free.
    async fn send_and_feed(&mut self, exchange: Exchange) -> Option<Reply> {
        let shared = Arc::clone(&self.shared);
        let mut sending = std::pin::pin!(send(&shared, self.phase.clone(), exchange));
        // Polled first, so that the request is on its way before any body is.
        let mut begun = false;
        let sent = loop {
            tokio::select! {
                biased;
                sent = &mut sending => break sent,
                () = std::future::ready(()), if !begun => {
                    begun = true;
                    self.feed();
                }
                () = shared.slot_freed.notified(), if begun => self.feed(),
            }
        };
        if !begun {
            // The answer was there at once. It may tell of the end of what is to begin, and says so to a body.
            self.feed();
        }
        match sent {
            Sent::Reply(reply) => Some(reply),
            Sent::Unsaid => {
                self.unsaid = true;
                None
            }
            Sent::Dropped => None,
        }
    }

    /// Tells every body what became of its units, then takes what was claimed. The order matters: a
    /// task may be parked, woken and claimed again by one exchange.
    fn dispatch(&mut self, postings: Vec<Posting>, reply: Reply, worker: WorkerId) {
        self.shared.deliver(postings, reply.refused, reply.ready);
        for (task, token) in reply.cancelled {
            self.ahead.cancel(task, token);
            let bodies = self.shared.bodies();
            if let Some((_, inbox)) = bodies.get(&task).filter(|(own, _)| *own == token) {
                events::body_cancelled(task);
                inbox.put(DriverMessage::Cancelled);
            }
        }
        let now = self.shared.store.clock().now();
        for claimed in reply.claimed {
            debug_assert_eq!(claimed.token.worker, worker);
            // A server that crashed may have forgotten that it was fetched before.
            self.ahead.remove(claimed.task);
            if claimed.token.is_ahead() {
                self.ahead.put(claimed, now);
                continue;
            }
            let slot = self.shared.take_slot(claimed.crashes >= limits::SUSPECT);
            self.claimed.push((claimed, slot));
        }
    }

    /// Shuts down step by step; `true` when the worker has left, or has tried for long enough.
    async fn drain(&mut self, until: Option<Instant>) -> bool {
        let over = until.is_some_and(|until| until <= Instant::now());
        // Once: nothing is claimed since, and what was claimed just before has begun.
        if over && !std::mem::replace(&mut self.handed_back, true) {
            let bodies: Vec<_> =
                self.shared.bodies().values().map(|(_, inbox)| Arc::clone(inbox)).collect();
            for inbox in bodies {
                inbox.put(DriverMessage::HandBack);
            }
        }
        let late = self.unsaid || is_past(&self.phase, limits::LEAVE);
        if !late && (!self.shared.bodies().is_empty() || !self.shared.outbox.is_empty()) {
            return false;
        }
        self.shared.drop_bodies();
        if !self.unsaid {
            self.leave().await;
        }
        true
    }

    async fn leave(&mut self) {
        let left = async {
            self.shared.tell_minutes(true).await;
            self.shared.store.leave(self.shared.identity.worker()).await
        };
        match tokio::time::timeout(limits::LEAVE, left).await {
            Ok(Ok(())) => self.has_left = true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the worker could not say good-bye: its lease will run out");
            }
            Err(_) => tracing::warn!("the worker's good-bye hangs: its lease will run out"),
        }
    }

    /// The store has given this worker up: everything is dropped and a new id taken.
    async fn start_afresh(&mut self) {
        self.claimed.clear();
        self.ahead.clear();
        self.shared.drop_bodies();
        let worker = self.shared.identity.renew();
        (self.number, self.acknowledged, self.look, self.due) = (1, 0, true, None);
        let mut pause = Duration::from_millis(10);
        loop {
            let announced = tokio::select! {
                biased;
                announced = self.shared.store.heartbeat(self.shared.told(true)) => announced,
                () = past(self.phase.clone(), limits::LEAVE) => return,
            };
            match announced {
                Ok(true) => return self.shared.identity.announced(worker),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the worker could not announce itself"),
            }
            if !matches!(*self.phase.borrow(), Phase::Running) {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

impl Shared {
    /// Tasks were claimed: the future of each goes on if it is here, else it is replayed from its
    /// record.
    fn begin(self: &Arc<Self>, claimed: Vec<(Claimed, Arc<Slot>)>) {
        for (claimed, slot) in claimed {
            let (task, token) = (claimed.task, claimed.token);
            let resident = self.residents().resume(task, claimed.parked);
            let goes_on = resident.is_some();
            let inbox = resident.unwrap_or_default();
            let before = self.bodies().insert(task, (token, Arc::clone(&inbox)));
            // A server that crashed may have forgotten the claim of a body that still runs here.
            if let Some((_, lost)) = before {
                lost.put(DriverMessage::Dropped);
            }
            if goes_on {
                inbox.put(DriverMessage::Resumed(Box::new(claimed), slot));
            } else {
                tokio::spawn(drive(Arc::clone(self), claimed, inbox, slot));
            }
        }
    }

    /// Gives a task back that has not begun.
    fn hand_back(&self, claimed: Claimed) {
        let Claimed { task, token, kind, attempt, stalls, .. } = claimed;
        let events = vec![Event::HandBack];
        self.outbox.post(Posting {
            unit: Arc::new(Unit { task, token, renew: false, events }),
            units: 1,
            inbox: Arc::default(),
            kind,
            attempt,
            stalls,
            stretch: None,
            span: tracing::Span::none(),
        });
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
