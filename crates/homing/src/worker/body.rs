//! Drives one body: polls it, sees from its waker what it waits for, and parks it.
//!
//! After each `Pending` the context says what the body needs, and the waker whether plain I/O holds a
//! clone. A durable wait without plain I/O parks. Plain I/O beside a durable wait is misuse if it is still
//! there [`limits::FOREIGN`] later: a future that was dropped, or a thread on its way out, may hold a
//! stale clone for a moment.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use super::inbox::{DriverInbox, DriverMessage};
use super::outbox::Posting;
use super::outcome::unfit;
use super::tally::Stretch;
use super::waker::poll_counted;
use super::{Shared, Slot};
use crate::body::context::{self, Context, Halt, Needs};
use crate::error::{Reason, Result, discard, panic_text};
use crate::store::{Claimed, Event, Refusal, Unit};
use crate::task::{Body, Input};
use crate::{limits, point};

/// A claimed task on its way to its end, its next park, or the loss of its token.
pub(super) struct Driver {
    shared: Arc<Shared>,
    claimed: Box<Claimed>,
    inbox: Arc<DriverInbox>,
    context: Arc<Context>,
    body: Option<Body<String>>,
    requests: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    timeout: Option<Timer>,
    soft_timeout: Option<Timer>,
    grace: Option<Timer>,
    /// Since plain I/O was seen beside a durable wait: when it becomes misuse.
    foreign: Option<Timer>,
    /// Around whatever the body does.
    span: tracing::Span,
    /// Whether a unit was refused.
    refused: bool,
    /// The one that runs, or ran last.
    stretch: Stretch,
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why a body is no longer polled.
enum Stop {
    Returned(Result<String>),
    Panicked(String),
    Halted(Halt),
    TimedOut,
    Park,
    HandBack,
    /// The token is gone, or will be of no use: nothing more is said.
    Dropped,
    Unfit(String),
    Drift(String),
}

/// What became of a park.
enum Parked {
    /// It was satisfied already: the body goes on under its token.
    Ready,
    /// It was satisfied later and claimed here: the body goes on under another token.
    Resumed,
    /// It did not happen, or its future is of no use any more.
    Stopped(Stop),
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        (claimed, span): (Claimed, tracing::Span),
        inbox: Arc<DriverInbox>,
        slot: Arc<Slot>,
    ) -> Self {
        let context = Arc::new(Context::new(&claimed, Arc::clone(&shared.store)));
        let stretch = shared.begun(&claimed, &slot);
        context.hold_slot(Some(slot));
        Self {
            shared,
            claimed: Box::new(claimed),
            inbox,
            context,
            body: None,
            requests: Vec::new(),
            timeout: None,
            soft_timeout: None,
            grace: None,
            foreign: None,
            span,
            refused: false,
            stretch,
        }
    }

    pub(super) async fn run(mut self) {
        self.begin();
        loop {
            let stop = poll_fn(|cx| self.poll(cx)).await;
            let event = match stop {
                Stop::Park => match self.park().await {
                    Parked::Ready => continue,
                    Parked::Resumed => {
                        self.begin_stretch();
                        continue;
                    }
                    Parked::Stopped(Stop::Dropped) => break,
                    Parked::Stopped(stop) => self.event(stop),
                },
                Stop::Dropped => break,
                stop @ (Stop::Returned(_)
                | Stop::Panicked(_)
                | Stop::Halted(_)
                | Stop::TimedOut
                | Stop::HandBack
                | Stop::Unfit(_)
                | Stop::Drift(_)) => self.event(stop),
            };
            discard(self.body.take());
            point::worker("returned");
            self.post_last(event);
            break;
        }
        discard(self.body.take());
        self.shared.forget_body(self.claimed.task, self.claimed.token);
        self.context.hold_slot(None);
    }

    fn begin(&mut self) {
        point::worker("claimed");
        self.begin_stretch();
        if self.claimed.token.is_ahead() && self.claimed.not_after.is_some() {
            // Said by the driver: no body waits for the commit.
            self.put(vec![Event::Begin], false, 0);
        }
        let Some(definition) = self.shared.definitions.get(self.claimed.kind.as_str()) else {
            // Only registered kinds are claimed.
            self.context.lock().halt = Some(Halt::Drift("the kind is not registered".to_owned()));
            return;
        };
        let (run, context) = (definition.run, Arc::clone(&self.context));
        // The body has its arguments from here on; a parked one need not keep them twice.
        let arguments = std::mem::take(&mut self.claimed.arguments);
        let input = Input::new(&arguments, Arc::clone(&self.shared.states));
        self.body = Some(Box::pin(crate::body::closing::run(context, move || run(input))));
    }

    /// A stretch begins with a claim and ends with a park or the end; its timeout with it.
    fn begin_stretch(&mut self) {
        let options = self.shared.definitions.get(self.claimed.kind.as_str());
        let policy = &self.claimed.policy;
        let timeout = policy.timeout.or(options.and_then(|own| own.options.timeout));
        let soft = policy.soft_timeout.or(options.and_then(|own| own.options.soft_timeout));
        let timer = |after| {
            let clock = self.shared.store.clock().clone();
            let end = clock.now().after(after);
            Box::pin(async move { clock.until(end).await }) as Timer
        };
        (self.timeout, self.soft_timeout) = (timeout.map(timer), soft.map(timer));
        self.context.set_overdue(false);
    }

    fn event(&self, stop: Stop) -> Event {
        let (shared, claimed, context) = (&self.shared, &*self.claimed, &self.context);
        match stop {
            Stop::Returned(result) => shared.conclude(claimed, context, result),
            Stop::Panicked(message) => shared.broke(claimed, context, Reason::Panic, &message),
            Stop::Halted(halt) => shared.halted(claimed, context, &halt),
            Stop::TimedOut => {
                let message = "it ran longer than its timeout without parking or ending";
                shared.broke(claimed, context, Reason::Timeout, message)
            }
            Stop::Unfit(text) => unfit(&claimed.kind, claimed.task, claimed.attempt, &text),
            Stop::Drift(text) => {
                shared.stall(claimed, &crate::core::replay::drift_reason("a spawn", &text))
            }
            Stop::HandBack | Stop::Park | Stop::Dropped => Event::HandBack,
        }
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Stop> {
        self.inbox.register(cx);
        loop {
            while let Some(message) = self.inbox.take() {
                if let Some(stop) = self.read(message) {
                    return Poll::Ready(stop);
                }
            }
            self.requests.retain_mut(|request| request.as_mut().poll(cx).is_pending());
            let rings = |timer: &mut Option<Timer>, cx: &mut task::Context<'_>| {
                timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
            };
            if rings(&mut self.grace, cx) {
                return Poll::Ready(Stop::Dropped);
            }
            if rings(&mut self.timeout, cx) {
                return Poll::Ready(Stop::TimedOut);
            }
            if rings(&mut self.soft_timeout, cx) {
                self.soft_timeout = None;
                self.context.set_overdue(true);
            }
            match self.poll_body(cx) {
                Some(stop) => return Poll::Ready(stop),
                None if self.requests_are_new() => {}
                None => return Poll::Pending,
            }
        }
    }

    /// Whether the body asked for reads that have not been polled yet.
    fn requests_are_new(&mut self) -> bool {
        let new = self.context.take_requests();
        let some = !new.is_empty();
        self.requests.extend(new);
        some
    }

    fn read(&mut self, message: DriverMessage) -> Option<Stop> {
        match message {
            DriverMessage::Committed { units } => self.context.units_committed(units),
            DriverMessage::Ready(answers) => self.context.answer(answers),
            DriverMessage::Dropped => return Some(Stop::Dropped),
            DriverMessage::Refused(refusal) => return Some(self.stop_of(refusal)),
            DriverMessage::HandBack => return Some(Stop::HandBack),
            DriverMessage::Cancelled => {
                self.context.cancelled.cancel();
                let clock = self.shared.store.clock().clone();
                let end = clock.now().after(self.shared.settings.grace);
                self.grace = Some(Box::pin(async move { clock.until(end).await }));
            }
            DriverMessage::Parked { .. } | DriverMessage::Resumed(..) => {}
        }
        None
    }

    /// What a refusal of a unit means. Nothing the body says after it counts.
    fn stop_of(&mut self, refusal: Refusal) -> Stop {
        self.refused = true;
        match refusal {
            Refusal::Lost => Stop::Dropped,
            Refusal::Unfit(text) => Stop::Unfit(text),
            Refusal::Drift(text) => Stop::Drift(text),
        }
    }

    /// Polls the body once or, where it only wanted its events handed over, again.
    fn poll_body(&mut self, cx: &mut task::Context<'_>) -> Option<Stop> {
        loop {
            let body = self.body.as_mut()?;
            let context = &self.context;
            let entered = self.span.enter();
            let polled = poll_counted(cx.waker(), |cx| {
                context.begin_poll(cx.waker());
                catch_unwind(AssertUnwindSafe(|| {
                    context::scope(context, || body.as_mut().poll(cx))
                }))
                .map_or_else(|panic| Poll::Ready(Err(panic_text(panic))), |poll| poll.map(Ok))
            });
            drop(entered);
            if let Some(halt) = context.lock().halt.take() {
                discard(polled);
                return Some(match halt {
                    Halt::Lost => Stop::Dropped,
                    halt
                    @ (Halt::Misuse(_) | Halt::Drift(_) | Halt::Store(_) | Halt::Rehearsed) => {
                        Stop::Halted(halt)
                    }
                });
            }
            let plain = match polled {
                (Poll::Ready(Ok(result)), _) => return Some(Stop::Returned(result)),
                (Poll::Ready(Err(panic)), _) => return Some(Stop::Panicked(panic)),
                (Poll::Pending, plain) => plain,
            };
            if let Some(misuse) = context.passed_over() {
                return Some(Stop::Halted(Halt::Misuse(misuse)));
            }
            let needs = context.needs();
            let cancelled = context.cancelled.is_cancelled();
            if cancelled && !matches!(needs, Needs::Plain | Needs::Steps) {
                // Nothing durable is answered any more.
                return Some(Stop::Dropped);
            }
            if needs == Needs::Waits && plain {
                // Looked at again at once: most often it was a future that was dropped since.
                let timer = self.foreign.get_or_insert_with(|| {
                    cx.waker().wake_by_ref();
                    Box::pin(tokio::time::sleep(limits::FOREIGN))
                });
                let misuse = || Stop::Halted(Halt::Misuse(self.context.foreign_future()));
                return timer.as_mut().poll(cx).is_ready().then(misuse);
            }
            self.foreign = None;
            match needs {
                Needs::Poll => self.post(),
                Needs::Waits => return Some(Stop::Park),
                Needs::Worker | Needs::Steps | Needs::Plain => {
                    self.post();
                    return None;
                }
            }
        }
    }

    /// Hands over what the body has said.
    fn post(&self) {
        if let Some((events, renew)) = self.context.take_events() {
            // A refusal of what came before is in the inbox, or will be.
            let _ = self.put(events, renew, 1);
        }
    }

    fn post_last(&mut self, event: Event) {
        let Some(refusal) = self.put_last(event) else { return };
        // The body came to its end while a unit of its was refused.
        let stop = self.stop_of(refusal);
        if !matches!(stop, Stop::Dropped) {
            let _ = self.put_last(self.event(stop));
        }
    }

    /// Hands over the last word. Why a unit before it was refused, if it was and that was not heard yet.
    fn put_last(&self, event: Event) -> Option<Refusal> {
        if self.refused {
            self.shared.outbox.forget(self.claimed.task, self.claimed.token);
        }
        // What a body said before it was stopped for good is no part of the record, nor what it said after
        // a unit that was refused.
        let alone = self.refused || matches!(event, Event::Stall { .. } | Event::HandBack);
        let last = self.shared.with_line(self.claimed.attempt, self.claimed.token, event);
        let (events, renew) =
            if alone { (last.collect(), false) } else { self.context.take_last(last) };
        self.put(events, renew, 1)
    }

    fn put(&self, events: Vec<Event>, renew: bool, units: u64) -> Option<Refusal> {
        let (task, token) = (self.claimed.task, self.claimed.token);
        self.shared.outbox.post(Posting {
            unit: Arc::new(Unit { task, token, renew, events }),
            inbox: Arc::clone(&self.inbox),
            units,
            kind: self.claimed.kind.clone(),
            attempt: self.claimed.attempt,
            stalls: self.claimed.stalls,
            stretch: Some(self.stretch),
            span: self.span.clone(),
        })
    }

    /// Parks, keeps the future while it is resident, and says how it went on.
    ///
    /// Each unit has a fate that is told: the park is committed, answered or refused, or the whole worker
    /// lets go of its bodies. So nothing but that ends this wait.
    async fn park(&mut self) -> Parked {
        let waits = self.context.open_waits();
        let resident = self.shared.settings.resident > 0;
        let (events, renew) = self.context.take_last([Event::Park { waits, resident }]);
        self.put(events, renew, 1);
        (self.timeout, self.soft_timeout) = (None, None);
        self.requests = Vec::new();
        self.context.shrink();
        let mut hand_back = false;
        loop {
            let message = poll_fn(|cx| {
                self.inbox.register(cx);
                self.inbox.take().map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            match message {
                DriverMessage::Committed { units } => self.context.units_committed(units),
                DriverMessage::Ready(answers) => {
                    self.context.units_committed(1);
                    if hand_back {
                        return Parked::Stopped(Stop::HandBack);
                    }
                    self.context.answer(answers);
                    self.begin_stretch();
                    return Parked::Ready;
                }
                DriverMessage::Parked { keep: true } => {
                    point::worker("parked");
                    self.context.units_committed(1);
                    self.context.hold_slot(None);
                }
                DriverMessage::Resumed(claimed, slot) => {
                    self.stretch = self.shared.begun(&claimed, &slot);
                    self.context.hold_slot(Some(slot));
                    self.context.hold_token(claimed.token);
                    self.context.answer(claimed.answers.clone());
                    self.claimed = claimed;
                    // The future has its own: kept here they would make every parked body larger.
                    self.claimed.arguments = String::new();
                    return Parked::Resumed;
                }
                DriverMessage::Refused(refusal) => return Parked::Stopped(self.stop_of(refusal)),
                // The store says what becomes of it. Should the park turn out to be satisfied already,
                // the task is given back then.
                DriverMessage::HandBack => hand_back = true,
                // A cancelled task has no token, so its park is refused.
                DriverMessage::Cancelled => {}
                DriverMessage::Parked { keep: false } | DriverMessage::Dropped => {
                    return Parked::Stopped(Stop::Dropped);
                }
            }
        }
    }
}
