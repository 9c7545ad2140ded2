//! The conversation with the store: one exchange at a time.
//!
//! While one exchange is in flight the next one gathers in the outbox, so batches form by themselves
//! under load and latency stays one round trip without load. What a reply has claimed is begun once the
//! next exchange is on its way, or at once if there is no reason for one. A failed exchange is sent again under the
//! same number until it is answered; the store makes that harmless.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::body::Driver;
use super::mailbox::Mail;
use super::outbox::Posting;
use super::{Phase, Shared, Slot};
use crate::clock::{Time, monotonic};
use crate::error::{Failure, Reason};
use crate::id::{TaskId, WorkerId};
use crate::limits;
use crate::point;
use crate::store::{Claim, Claimed, End, Event, Exchange, Refusal, Reply, Unit};

/// Talks until the worker is gone.
pub(super) async fn run(shared: Arc<Shared>) {
    let _last_words = LastWords { shared: Arc::clone(&shared) };
    let mut talk = Conversation::new(shared);
    while talk.turn().await {}
}

/// Says that the worker is gone however the conversation ends, the end of the runtime included.
struct LastWords {
    shared: Arc<Shared>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Gone);
    }
}

struct Conversation {
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    ready: watch::Receiver<u64>,
    noticed: watch::Receiver<u64>,
    number: u64,
    acknowledged: u64,
    /// Whether the store may have something for a free slot, as far as is known.
    look: bool,
    /// Whether to speak even without a free slot: there may be news, or a second has passed.
    speak: bool,
    due: Option<Time>,
    /// Claimed by the last reply, with their slots, and not begun yet.
    claimed: Vec<(Claimed, Arc<Slot>)>,
    /// When a shutdown's patience ends.
    patience: Option<std::time::Instant>,
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
            speak: false,
            due: None,
            claimed: Vec::new(),
            patience: None,
        }
    }

    /// One exchange, or one wait for a reason to have one. `false` when the worker is gone.
    async fn turn(&mut self) -> bool {
        if self.shared.lost.swap(false, Ordering::SeqCst) {
            self.start_afresh().await;
        }
        let phase = *self.phase.borrow_and_update();
        match phase {
            Phase::Running => {}
            Phase::Draining { patience } => {
                self.shared.begin(std::mem::take(&mut self.claimed));
                if self.drain(patience).await {
                    return false;
                }
            }
            Phase::Killed | Phase::Gone => {
                self.shared.drop_bodies();
                return false;
            }
        }
        let running = phase == Phase::Running;
        let free = if running { self.shared.free.load(Ordering::SeqCst) } else { 0 };
        let postings = self.shared.outbox.take();
        let overdue = self.due.is_some_and(|due| due <= self.shared.store.clock().now());
        let something = overdue || self.speak || (self.look && free > 0);
        if postings.is_empty() && !something {
            self.shared.begin(std::mem::take(&mut self.claimed));
            self.wait(running).await;
            return true;
        }
        // At most half of the slots: so that while the tasks of one claim run, and are told of, the next
        // are claimed.
        let half = self.shared.settings.concurrency.div_ceil(2);
        self.exchange(postings, free.min(half).min(limits::CLAIM)).await;
        true
    }

    async fn wait(&mut self, running: bool) {
        let store = Arc::clone(&self.shared.store);
        let due = self.due.unwrap_or(Time::NEVER);
        // While it drains there may be nothing but the end of its patience to wait for.
        let poll = if running { limits::POLL } else { Duration::from_millis(20) };
        // Biased, so that chance has no part in it and a simulation repeats itself. Whichever reason comes
        // first, the exchange that follows has all that the others would have asked for.
        tokio::select! {
            biased;
            () = self.shared.outbox.notified() => {}
            () = self.shared.slot_freed.notified(), if running => {}
            _ = self.ready.changed(), if running => self.look = true,
            _ = self.noticed.changed() => self.speak = true,
            () = store.clock().until(due), if due < Time::NEVER => self.look = true,
            _ = self.phase.changed() => {}
            () = tokio::time::sleep(poll) => {
                (self.look, self.speak) = (true, true);
                self.shared.residents().evict_older(self.shared.settings.resident_age);
            }
        }
    }

    async fn exchange(&mut self, postings: Vec<Posting>, tasks: usize) {
        // What becomes ready while the exchange is in flight is looked for again.
        self.ready.mark_unchanged();
        self.noticed.mark_unchanged();
        self.speak = false;
        let worker = *self.shared.identity.borrow();
        let exchange = Exchange {
            worker,
            number: self.number,
            acknowledged: self.acknowledged,
            units: postings.iter().map(|posting| Arc::clone(&posting.unit)).collect(),
            claim: Claim {
                tasks,
                queues: Arc::clone(&self.shared.queues),
                kinds: Arc::clone(&self.shared.kinds),
                suspect: self.shared.suspects.load(Ordering::SeqCst) == 0,
                max_crashes: self.shared.settings.max_crashes,
            },
        };
        point::worker("before_exchange");
        // The store works on this exchange while what the last one claimed is begun.
        let (shared, claimed) = (Arc::clone(&self.shared), std::mem::take(&mut self.claimed));
        let (reply, ()) =
            tokio::join!(biased; self.send(exchange), async { shared.begin(claimed) });
        let Some(reply) = reply else { return };
        point::worker("after_reply");
        self.acknowledged = self.number;
        self.number += 1;
        self.look = tasks == 0 || reply.claimed.len() >= tasks || reply.more || reply.left;
        self.due = reply.next_due;
        if reply.more {
            self.due = Some(Time(0));
        }
        self.dispatch(postings, reply, worker);
    }

    /// Sends until there is a reply; `None` if the worker is killed or given up meanwhile.
    async fn send(&mut self, exchange: Exchange) -> Option<Reply> {
        let mut pause = Duration::from_millis(10);
        loop {
            match self.shared.store.exchange(exchange.clone()).await {
                Ok(reply) => return Some(reply),
                Err(error) => {
                    tracing::warn!(%error, ?pause, "the exchange failed and is sent again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                killed = self.phase.wait_for(|phase| *phase == Phase::Killed) => {
                    drop(killed);
                    return None;
                }
            }
            if self.shared.lost.load(Ordering::SeqCst) {
                return None;
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Tells every body what became of its units, then takes what was claimed. The order matters: a
    /// task may be parked, woken and claimed again by one exchange.
    fn dispatch(&mut self, postings: Vec<Posting>, reply: Reply, worker: WorkerId) {
        let mut refused: HashMap<TaskId, Refusal> = reply.refused.into_iter().collect();
        let mut ready: HashMap<TaskId, _> = reply.ready.into_iter().collect();
        for posting in postings {
            let task = posting.unit.task;
            if let Some(refusal) = refused.get(&task) {
                self.shared.refused(&posting, refusal.clone());
                if *refusal == Refusal::Lost {
                    continue;
                }
                refused.insert(task, Refusal::Lost);
                continue;
            }
            let mail = match posting.unit.events.last() {
                Some(Event::Park { .. }) => match ready.remove(&task) {
                    Some(answers) => Mail::Ready(answers),
                    None => self.shared.parked(&posting),
                },
                // Nobody is left to hear it.
                Some(event) if event.ends_the_stretch() => {
                    if matches!(event, Event::End(_)) {
                        self.shared.ended.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
                _ => Mail::Committed,
            };
            posting.mailbox.put(mail);
        }
        for (task, token) in reply.cancelled {
            let bodies = self.shared.bodies();
            if let Some((_, mailbox)) = bodies.get(&task).filter(|(own, _)| *own == token) {
                mailbox.put(Mail::Cancelled);
            }
        }
        for claimed in reply.claimed {
            debug_assert_eq!(claimed.token.worker, worker);
            let slot = self.shared.take_slot(claimed.crashes >= limits::SUSPECT);
            self.claimed.push((claimed, slot));
        }
    }

    /// Shuts down step by step; `true` when the worker has left.
    async fn drain(&mut self, patience: Duration) -> bool {
        let end = *self.patience.get_or_insert_with(|| monotonic() + patience);
        if monotonic() >= end {
            let bodies: Vec<_> =
                self.shared.bodies().values().map(|(_, mailbox)| Arc::clone(mailbox)).collect();
            for mailbox in bodies {
                mailbox.put(Mail::HandBack);
            }
        }
        if !self.shared.bodies().is_empty() || !self.shared.outbox.is_empty() {
            return false;
        }
        self.shared.residents().clear();
        let worker = *self.shared.identity.borrow();
        if let Err(error) = self.shared.store.leave(worker).await {
            tracing::warn!(%error, "the worker could not say good-bye: its lease will run out");
        }
        true
    }

    /// The store has given this worker up: everything is dropped and a new id taken.
    async fn start_afresh(&mut self) {
        self.claimed.clear();
        self.shared.drop_bodies();
        self.shared.identity.send_replace(WorkerId::fresh());
        (self.number, self.acknowledged, self.look, self.due) = (1, 0, true, None);
        let mut pause = Duration::from_millis(10);
        loop {
            match self.shared.store.heartbeat(self.shared.told(true)).await {
                Ok(true) => return,
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
            let mailbox = resident.unwrap_or_default();
            let before = self.bodies().insert(task, (token, Arc::clone(&mailbox)));
            // A server that crashed may have forgotten the claim of a body that still runs here.
            if let Some((_, lost)) = before {
                lost.put(Mail::Dropped);
            }
            if goes_on {
                mailbox.put(Mail::Resumed(Box::new(claimed), slot));
            } else {
                tokio::spawn(Driver::new(Arc::clone(self), claimed, mailbox, slot).run());
            }
        }
    }

    /// A park was committed: the body holds no token any more.
    fn parked(&self, posting: &Posting) -> Mail {
        let (task, token) = (posting.unit.task, posting.unit.token);
        self.forget_body(task, token);
        let most = self.settings.resident;
        if most > 0 {
            self.residents().keep(task, token, Arc::clone(&posting.mailbox), most);
        }
        Mail::Parked { keep: most > 0 }
    }

    /// A unit was refused. The body hears of it, unless it is done: then the store hears why.
    fn refused(&self, posting: &Posting, refusal: Refusal) {
        let ended = posting.unit.events.last().is_some_and(Event::ends_the_stretch);
        match refusal {
            Refusal::Unfit(text) if ended => {
                tracing::warn!(task = %posting.unit.task, text, "the store cannot hold what the task ended with");
                let Unit { task, token, .. } = *posting.unit;
                let message = format!("the store cannot hold what the task said last: {text}");
                let failure =
                    Failure::new(&posting.kind, task, posting.attempt, Reason::Error, &message);
                let events = vec![Event::End(End::Failed { failure, cause: None })];
                self.outbox.post(Posting {
                    unit: Arc::new(Unit { task, token, renew: false, events }),
                    mailbox: Arc::clone(&posting.mailbox),
                    kind: posting.kind.clone(),
                    attempt: posting.attempt,
                });
            }
            refusal => posting.mailbox.put(Mail::Refused(refusal)),
        }
    }

    /// The event for a body whose words the store cannot hold.
    #[expect(clippy::unused_self, reason = "reads beside its neighbours")]
    pub(super) fn unfit(&self, claimed: &Claimed, text: &str) -> Event {
        let message = format!("the store cannot hold what the task said: {text}");
        let failure =
            Failure::new(&claimed.kind, claimed.task, claimed.attempt, Reason::Error, &message);
        Event::End(End::Failed { failure, cause: None })
    }
}
