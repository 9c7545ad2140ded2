//! The conversation, exchange by exchange: the test answers in the store's place, also what no store would in
//! ordinary times.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, SimulatedClock};
use crate::core::id::{JobId, TaskId, Token};
use crate::core::time::Time;
use crate::core::wait::Answer;
use crate::limits;
use crate::store::memory::Memory;
use crate::store::{Claimed, End, Event, Exchange, Refusal, Reply, Unit};
use crate::testing::Probe;
use crate::testing::answered::{Answered, Answering};
use crate::worker::Shared;
use crate::worker::inbox::DriverMessage;
use crate::{Homing, Result, State, Worker, task};

/// Counts a body that is gone, whether it has returned or was dropped.
struct Gone(Probe, TaskId);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.hit(&format!("gone {}", self.1));
    }
}

/// Holds its slot until its gate, which has the name of its task, is opened.
#[task]
async fn held(State(probe): State<Probe>) -> Result<u64> {
    let _gone = Gone(probe.clone(), crate::id());
    probe.hit(&format!("begun {}", crate::id()));
    probe.pass(&crate::id().to_string()).await;
    Ok(7)
}

/// Says something, does plain work, and parks; then says something, and begins a step.
#[task]
async fn talks(State(probe): State<Probe>) -> Result<u64> {
    crate::spawn(held()).await?;
    probe.hit("said");
    probe.pass("work").await;
    crate::sleep(Duration::from_hours(1)).await?;
    crate::spawn(held()).await?;
    let stepped = async || {
        probe.hit("stepped");
        Ok(8)
    };
    Ok(crate::step("step", stepped).await?)
}

/// A worker, and the test in the place of its store.
struct Talk {
    store: Answering,
    homing: Homing,
    worker: Worker,
    probe: Probe,
    /// The exchange in flight: its number.
    number: u64,
}

impl Talk {
    /// A worker with so many slots. Its first exchange is in flight.
    async fn of(slots: usize) -> (Self, Exchange) {
        let clock = Clock::Simulated(SimulatedClock::starting_now());
        let (store, answering) = Answered::over(Arc::new(Memory::new(clock)));
        let (homing, probe) = (Homing::over(store), Probe::default());
        let builder = homing.worker().state(probe.clone()).register(held).register(talks);
        let worker = builder.concurrency(slots).start().await.unwrap();
        let mut talk = Self { store: answering, homing, worker, probe, number: 0 };
        let first = talk.asked().await;
        (talk, first)
    }

    /// The next exchange, once it is sent. Time goes on meanwhile, as far as it has to.
    async fn asked(&mut self) -> Exchange {
        let asked = self.store.asked().await;
        assert_eq!(asked.acknowledged, self.number);
        self.number += 1;
        assert_eq!(asked.number, self.number);
        asked
    }

    /// The same, answering the one in flight.
    async fn after(&mut self, reply: Reply) -> Exchange {
        self.store.answer(reply);
        self.asked().await
    }

    /// The next exchange, which must be sent before any time has passed.
    async fn at_once(&mut self, reply: Reply) -> Exchange {
        let now = Instant::now();
        let asked = self.after(reply).await;
        assert_eq!(Instant::now(), now, "it was not sent at once: {asked:?}");
        asked
    }

    /// The next exchange, which must not be sent before a second has passed.
    async fn at_rest(&mut self, reply: Reply) -> Exchange {
        let now = Instant::now();
        let asked = self.after(reply).await;
        assert!(now.elapsed() >= limits::POLL, "sent after {:?}: {asked:?}", now.elapsed());
        asked
    }

    /// The next exchange, sent for the sake of news once the one in flight is answered: no time passes.
    async fn noticed(&mut self, reply: Reply) -> Exchange {
        self.store.answer(reply);
        self.settle().await;
        self.homing.store().hints().say_noticed();
        self.asked().await
    }

    /// A task that the exchange in flight claims, to begin at once or ahead.
    fn claimed(&self, name: &str, kind: &str, ahead: bool) -> Claimed {
        let token = Token::of(self.worker.id(), self.number, ahead);
        let task = JobId::named(name).root();
        let [kind, queue, arguments] = [kind, "default", "{}"].map(str::to_owned);
        Claimed { task, kind, arguments, queue, ..Claimed::first(name, token) }
    }

    fn begun(&self, claimed: &Claimed) -> u64 {
        self.probe.count(&format!("begun {}", claimed.task))
    }

    fn gone(&self, claimed: &Claimed) -> u64 {
        self.probe.count(&format!("gone {}", claimed.task))
    }

    fn let_end(&self, claimed: &Claimed) {
        self.probe.open(&claimed.task.to_string());
    }

    /// Lets whatever can go on without any time passing.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

fn bringing(claimed: impl IntoIterator<Item = Claimed>) -> Reply {
    Reply { claimed: claimed.into_iter().collect(), ..Reply::default() }
}

/// The tasks that an exchange ends, with their claims.
fn ended(asked: &Exchange) -> Vec<(TaskId, Token)> {
    let ends = |unit: &&std::sync::Arc<Unit>| {
        unit.events.iter().any(|event| matches!(event, Event::End(End::Succeeded(_))))
    };
    asked.units.iter().filter(ends).map(|unit| (unit.task, unit.token)).collect()
}

/// A task is fetched ahead, the server forgets the claim in a crash, and it is claimed again: to begin at once, or
/// ahead. The entry under the claim that is lost must neither push out the valid body nor begin another.
#[tokio::test(start_paused = true)]
async fn a_forgotten_claim_neither_pushes_out_nor_doubles_the_valid_body() {
    for ahead in [false, true] {
        let (mut talk, _) = Talk::of(2).await;
        let (first, stale) =
            (talk.claimed("first", "held", false), talk.claimed("twice", "held", true));
        let left = Reply { left: true, ..bringing([first.clone(), stale.clone()]) };
        let again = talk.at_once(left).await;
        assert_eq!(again.claim.tasks, 1, "a slot is kept for what was left");
        let valid = Claimed { due: Time(1), ..talk.claimed("twice", "held", ahead) };
        assert_ne!(valid.token, stale.token);
        talk.after(bringing([valid.clone()])).await;
        talk.settle().await;
        talk.let_end(&first);
        talk.settle().await;
        assert_eq!(
            (talk.gone(&first), talk.begun(&valid), talk.gone(&valid)),
            (1, 1, 0),
            "{ahead}"
        );
        let asked = talk.after(Reply::default()).await;
        assert_eq!(ended(&asked), [(first.task, first.token)]);
        talk.let_end(&valid);
        talk.settle().await;
        let asked = talk.after(Reply::default()).await;
        assert_eq!(ended(&asked), [(valid.task, valid.token)]);
        let asked = talk.at_rest(Reply::default()).await;
        assert!(asked.units.is_empty(), "{asked:?}");
        assert_eq!((talk.begun(&valid), talk.worker.running()), (1, 0));
    }
}

/// A store that answers on the spot tells of the end of a task before its body has begun. The body must hear of it.
#[tokio::test(start_paused = true)]
async fn a_cancellation_reaches_a_body_that_is_about_to_begin() {
    let (mut talk, _) = Talk::of(2).await;
    let claimed = talk.claimed("cancelled", "held", false);
    let news = vec![(claimed.task, claimed.token)];
    // Both answers are there before the exchanges are.
    talk.store.answer(Reply { left: true, ..bringing([claimed.clone()]) });
    talk.store.answer(Reply { cancelled: news, ..Reply::default() });
    talk.asked().await;
    talk.asked().await;
    tokio::time::sleep(2 * limits::GRACE).await;
    assert_eq!((talk.gone(&claimed), talk.worker.running()), (talk.begun(&claimed), 0));
}

/// What a body says before it parks may go to the store with the park: its units are counted, so that a step after
/// the park begins once what was said before the step is committed, neither earlier nor never.
#[tokio::test(start_paused = true)]
async fn units_that_go_with_a_park_are_counted() {
    let (mut talk, _) = Talk::of(2).await;
    let claimed = talk.claimed("talks", "talks", false);
    talk.at_once(Reply { left: true, ..bringing([claimed.clone()]) }).await;
    // An exchange is in flight: what the body says gathers behind it.
    talk.settle().await;
    assert_eq!(talk.probe.count("said"), 1);
    talk.probe.open("work");
    talk.settle().await;
    let asked = talk.at_once(Reply::default()).await;
    let [unit] = &asked.units[..] else { panic!("one unit of a task: {asked:?}") };
    let [Event::Spawn(_), Event::Record { .. }, Event::Park { waits, .. }] = &unit.events[..]
    else {
        panic!("{unit:?}")
    };
    let [wait] = &waits[..] else { panic!("{waits:?}") };
    let (place, seq) = (wait.place.clone(), wait.seq);
    let answer = Answer { place, seq, arm: 0, members: wait.members, value: None, signal: None };
    talk.after(Reply::default()).await;
    assert_eq!(talk.worker.running(), 0, "it is parked");
    let again = talk.claimed("talks", "talks", false);
    let again = Claimed { parked: Some(claimed.token), answers: vec![answer], ..again };
    let asked = talk.at_once(bringing([again])).await;
    let [unit] = &asked.units[..] else { panic!("one unit of a task: {asked:?}") };
    assert!(matches!(unit.events[..], [Event::Spawn(_)]), "{unit:?}");
    talk.settle().await;
    assert_eq!(talk.probe.count("stepped"), 0, "the child is not committed yet");
    talk.at_once(Reply::default()).await;
    assert_eq!(talk.probe.count("stepped"), 1);
}

/// With nothing to do, or with all slots full, a worker speaks once a second; what it asks for follows its slots.
#[tokio::test(start_paused = true)]
async fn a_worker_at_rest_speaks_once_a_second() {
    let (mut talk, first) = Talk::of(2).await;
    assert_eq!((first.claim.tasks, first.claim.ahead), (2, 0));
    let asked = talk.at_rest(Reply::default()).await;
    assert_eq!(asked.claim.tasks, 2);
    let tasks = ["a", "b"].map(|name| talk.claimed(name, "held", false));
    for reply in
        [bringing(tasks.clone()), Reply::default(), Reply { spared: true, ..Reply::default() }]
    {
        let asked = talk.at_rest(reply).await;
        assert_eq!((asked.claim.tasks, asked.claim.ahead), (0, 0));
    }
    assert!(tasks.iter().all(|task| talk.begun(task) == 1));
}

/// What makes a worker speak before the second is over, though all its slots are full.
#[tokio::test(start_paused = true)]
async fn a_worker_with_something_to_say_or_to_hear_speaks_at_once() {
    let (mut talk, _) = Talk::of(1).await;
    let claimed = talk.claimed("full", "held", false);
    talk.at_rest(bringing([claimed.clone()])).await;
    // Something falls due.
    let now = Instant::now();
    let due = talk.homing.store().clock().now().after(limits::POLL / 4);
    talk.after(Reply { next_due: Some(due), ..Reply::default() }).await;
    assert_eq!(now.elapsed(), limits::POLL / 4);
    // There is more upkeep to do.
    talk.at_once(Reply { next_due: Some(Time(0)), ..Reply::default() }).await;
    // There is news.
    talk.store.answer(Reply::default());
    talk.settle().await;
    let now = Instant::now();
    talk.homing.store().hints().say_noticed();
    talk.asked().await;
    assert_eq!(Instant::now(), now);
    // A slot gets free: what was done with it is said, and the next task is asked for.
    talk.store.answer(Reply::default());
    talk.settle().await;
    talk.let_end(&claimed);
    let asked = talk.asked().await;
    assert_eq!((Instant::now(), asked.claim.tasks), (now, 1));
    assert_eq!(ended(&asked), [(claimed.task, claimed.token)]);
}

/// As long as the store has more than was asked for, a worker with free slots asks at once; else when it hears of
/// something.
#[tokio::test(start_paused = true)]
async fn a_worker_asks_for_more_while_there_is_more() {
    let (mut talk, _) = Talk::of(9).await;
    let mut names = 0..;
    let mut some = |talk: &Talk, count: usize| {
        let names: Vec<i32> = names.by_ref().take(count).collect();
        bringing(names.iter().map(|name| talk.claimed(&name.to_string(), "held", false)))
    };
    let reply = some(&talk, 1);
    let asked = talk.at_once(Reply { spared: true, ..reply }).await;
    assert_eq!(asked.claim.tasks, 8);
    let reply = some(&talk, 1);
    let asked = talk.at_once(Reply { left: true, ..reply }).await;
    assert_eq!(asked.claim.tasks, 7);
    let reply = some(&talk, 2);
    let asked = talk.at_rest(reply).await;
    assert_eq!(asked.claim.tasks, 5);
    talk.store.answer(some(&talk, 2));
    talk.settle().await;
    let now = Instant::now();
    talk.homing.store().hints().say_ready();
    let asked = talk.asked().await;
    assert_eq!((Instant::now(), asked.claim.tasks), (now, 3));
}

/// What was left because it must begin at once has a slot of its own, also while nothing can be asked for: what was
/// fetched ahead takes only what is free beside it.
#[tokio::test(start_paused = true)]
async fn a_slot_is_kept_for_what_was_left() {
    let (mut talk, _) = Talk::of(2).await;
    let tasks = ["a", "b"].map(|name| talk.claimed(name, "held", false));
    let ahead = talk.claimed("ahead", "held", true);
    let reply = bringing(tasks.iter().cloned().chain([ahead.clone()]));
    // All slots are full: the next exchange asks for nothing, and what it brings says nothing of what was left.
    let asked = talk.noticed(Reply { left: true, ..reply }).await;
    assert_eq!((asked.claim.tasks, asked.claim.ahead), (0, 0));
    talk.store.answer(Reply::default());
    talk.settle().await;
    talk.let_end(&tasks[0]);
    let asked = talk.asked().await;
    talk.settle().await;
    assert_eq!((asked.claim.tasks, talk.begun(&ahead)), (1, 0), "the slot is kept");
    talk.let_end(&tasks[1]);
    talk.settle().await;
    assert_eq!(talk.begun(&ahead), 1, "one of the two is kept");
}

/// The only slot of a worker is not kept: what was fetched ahead begins in it.
#[tokio::test(start_paused = true)]
async fn the_only_slot_is_not_kept() {
    let (mut talk, _) = Talk::of(1).await;
    let (first, ahead) =
        (talk.claimed("first", "held", false), talk.claimed("ahead", "held", true));
    let reply = bringing([first.clone(), ahead.clone()]);
    talk.store.answer(Reply { left: true, ..reply });
    talk.settle().await;
    talk.let_end(&first);
    talk.asked().await;
    talk.settle().await;
    assert_eq!(talk.begun(&ahead), 1);
}

/// As many tasks are fetched ahead as got free during an exchange, twice as many where that was too few, as long as the
/// store has more than was asked for.
#[tokio::test(start_paused = true)]
async fn as_many_are_fetched_ahead_as_get_free() {
    let (mut talk, _) = Talk::of(2).await;
    let tasks = [0, 1].map(|n| talk.claimed(&format!("task {n}"), "held", false));
    talk.noticed(bringing(tasks.clone())).await;
    let one_ends = async |talk: &mut Talk, ending: &Claimed, reply: Reply| {
        talk.let_end(ending);
        talk.settle().await;
        let asked = talk.at_once(reply).await;
        assert_eq!(ended(&asked), [(ending.task, ending.token)]);
        (asked.claim.tasks, asked.claim.ahead)
    };
    let claim = one_ends(&mut talk, &tasks[0], Reply::default()).await;
    assert_eq!(claim, (0, 3), "it ran dry");
    let ahead = [2, 3, 4].map(|n| talk.claimed(&format!("task {n}"), "held", true));
    let claim = one_ends(&mut talk, &tasks[1], bringing(ahead.clone())).await;
    assert_eq!(claim, (0, 1), "beside the one that waits");
    let claim = one_ends(&mut talk, &ahead[0], Reply::default()).await;
    assert_eq!((claim, talk.begun(&ahead[2])), ((0, 0), 1), "the store has no more");
    let claim = one_ends(&mut talk, &ahead[1], Reply::default()).await;
    assert_eq!(claim, (1, 0), "it was not asked for more");
}

/// Nothing is fetched ahead while the only slot is for what was left.
#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_ahead_of_what_was_left() {
    let (mut talk, _) = Talk::of(1).await;
    let first = talk.claimed("first", "held", false);
    talk.noticed(Reply { left: true, ..bringing([first.clone()]) }).await;
    talk.let_end(&first);
    talk.settle().await;
    let asked = talk.at_once(Reply::default()).await;
    assert_eq!((asked.claim.tasks, asked.claim.ahead), (1, 0));
}

/// What was fetched ahead and is too late to begin is given back; what is not begins.
#[tokio::test(start_paused = true)]
async fn what_is_too_late_is_given_back() {
    let (mut talk, _) = Talk::of(1).await;
    let now = talk.homing.store().clock().now();
    let first = talk.claimed("first", "held", false);
    let [late, timely] = [("late", now), ("timely", now.after(limits::POLL))]
        .map(|(name, time)| Claimed { not_after: Some(time), ..talk.claimed(name, "held", true) });
    talk.store.answer(bringing([first.clone(), late.clone(), timely.clone()]));
    talk.settle().await;
    talk.let_end(&first);
    let asked = talk.asked().await;
    talk.settle().await;
    assert_eq!((talk.begun(&late), talk.begun(&timely)), (0, 1));
    let backs = |asked: &Exchange| {
        let backs = asked.units.iter().filter(|unit| unit.events == [Event::HandBack]);
        backs.map(|unit| unit.task).collect::<Vec<_>>()
    };
    let mut all = backs(&asked);
    all.extend(backs(&talk.after(Reply::default()).await));
    assert_eq!(all, [late.task]);
}

/// While a task runs that has crashed workers before, no other such is asked for.
#[tokio::test(start_paused = true)]
async fn suspects_run_one_at_a_time() {
    let (mut talk, first) = Talk::of(3).await;
    assert!(first.claim.suspect);
    let of = |talk: &Talk, crashes: u32| {
        let name = crashes.to_string();
        Claimed { crashes, ..talk.claimed(&name, "held", false) }
    };
    let reply = bringing([of(&talk, limits::SUSPECT - 1)]);
    assert!(talk.after(reply).await.claim.suspect);
    let suspect = of(&talk, limits::SUSPECT);
    assert!(!talk.after(bringing([suspect.clone()])).await.claim.suspect);
    talk.let_end(&suspect);
    talk.settle().await;
    let asked = talk.after(Reply::default()).await;
    assert!(asked.claim.suspect);
}

/// A worker is idle once it was asked and an exchange that began after that has found nothing to do; not while a
/// task runs, waits for a slot, or has something to say.
#[tokio::test(start_paused = true)]
async fn a_worker_is_idle_when_an_exchange_has_found_nothing() {
    let (mut talk, _) = Talk::of(2).await;
    let worker = talk.worker.clone();
    let idle = tokio::spawn(async move { worker.idle().await });
    talk.settle().await;
    // The exchange in flight was sent before the question.
    let now = Instant::now();
    let due = talk.homing.store().clock().now().after(limits::POLL);
    let next = Reply { next_due: Some(due), ..Reply::default() };
    talk.at_once(next.clone()).await;
    let spares = Reply { spared: true, ..Reply::default() };
    talk.at_once(spares).await;
    let upkeep = Reply { next_due: Some(Time(0)), ..Reply::default() };
    talk.at_once(upkeep).await;
    let claimed = talk.claimed("runs", "held", false);
    talk.store.answer(bringing([claimed.clone()]));
    talk.settle().await;
    assert!(!idle.is_finished());
    assert!(talk.store.asked_already().is_none(), "while a claimed runs it is not idle");
    talk.let_end(&claimed);
    talk.asked().await;
    // That exchange says what became of the task: it answers no question.
    talk.at_once(Reply::default()).await;
    assert!(!idle.is_finished());
    talk.store.answer(next);
    assert_eq!(idle.await.unwrap(), Some(due));
    assert_eq!(Instant::now(), now);
    let worker = talk.worker.clone();
    let idle = tokio::spawn(async move { worker.idle().await });
    talk.asked().await;
    talk.store.answer(Reply::default());
    assert_eq!(idle.await.unwrap(), None);
}

/// The worker that runs a body, as its conversation sees it.
#[derive(Debug, Clone, Default)]
struct Own(Arc<OnceLock<Arc<Shared>>>);

fn unfit() -> Refusal {
    Refusal::Unfit("as the test wants it".to_owned())
}

/// Ends in the very poll in which the conversation, on another thread, hears that a unit was refused.
#[task(retries = 0)]
async fn ends_unaware(State(own): State<Own>) -> Result<u64> {
    let (shared, id) = (own.0.wait(), crate::id());
    let (token, inbox) = shared.bodies()[&id].clone();
    shared.outbox.refuse(id, token, &unfit());
    inbox.put(DriverMessage::Refused(unfit()));
    Ok(3)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_before_it_hears_of_a_refusal_ends_by_it() {
    let clock = Clock::Simulated(SimulatedClock::starting_now());
    let (homing, own) = (Homing::over(Arc::new(Memory::new(clock))), Own::default());
    let worker = homing.worker().register(ends_unaware).state(own.clone());
    let worker = worker.start().await.unwrap();
    own.0.set(Arc::clone(&worker.shared)).unwrap();
    let job = homing.submit(ends_unaware()).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_mins(1), job.outcome());
    let error = outcome.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("as the test wants it"), "{error}");
}
