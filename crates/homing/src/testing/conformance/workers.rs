//! The life of a worker: how it leaves, what it goes by, what it keeps, and what becomes of its tasks when a
//! part of it dies. The store says what a script tells it to.

use std::sync::Arc;
use std::time::Duration;

use super::Lab;
use super::waits::{gated, leaf};
use crate::testing::scripted::{Scripted, Turn};
use crate::testing::{Probe, capture};
use crate::{Homing, Result, State, TaskState, Worker, WorkerBuilder, limits, task};

/// A client and workers that reach the store by a script.
pub(super) struct Staged {
    homing: Homing,
    pub(super) script: Arc<Scripted>,
}

impl Staged {
    pub(super) fn of(lab: &Lab) -> Self {
        let script = Scripted::over(Arc::clone(lab.store()), lab.probe.clone());
        let store: Arc<dyn crate::store::Store> = script.clone();
        Self { homing: Homing::over(store), script }
    }

    pub(super) fn worker(&self, lab: &Lab) -> WorkerBuilder {
        self.homing.worker().state(lab.probe.clone()).resident(lab.resident)
    }
}

/// A bound on hangs, never a measure.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_mins(1), future).await;
    ended.unwrap_or_else(|_| panic!("it hangs"))
}

#[task]
async fn slow(State(probe): State<Probe>) -> Result<u64> {
    probe.hit("slow");
    probe.pass("slow").await;
    Ok(1)
}

/// Another worker ends what a worker held that went without having left.
async fn is_resumed(lab: Lab, job: crate::JobHandle<u64>) {
    // What a lease decides is decided when it is over.
    lab.clock.advance(2 * limits::LEASE);
    let second = lab.worker().register(slow).start().await.unwrap();
    lab.probe.open("slow");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 1);
    lab.close([second]).await;
}

/// A shutdown whose patience is over does not wait for a store that is away; lease or lock give away what the
/// worker held.
pub async fn shutdown_does_not_wait_for_the_store(lab: Lab) {
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(slow).start().await.unwrap();
    let job = lab.homing.submit(slow()).await.unwrap();
    lab.probe.hits("slow", 1).await;
    staged.script.always("exchange", Turn::Away);
    staged.script.always("heartbeat", Turn::Away);
    staged.script.always("leave", Turn::Away);
    soon(worker.shutdown(Duration::ZERO)).await;
    assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Running);
    is_resumed(lab, job).await;
}

/// A store that says nothing at all is waited for no longer than [`limits::LEAVE`].
pub async fn shutdown_does_not_wait_for_a_silent_store(lab: Lab) {
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(slow).start().await.unwrap();
    let job = lab.homing.submit(slow()).await.unwrap();
    lab.probe.hits("slow", 1).await;
    staged.script.always("exchange", Turn::Hangs);
    staged.script.always("heartbeat", Turn::Hangs);
    staged.script.always("leave", Turn::Hangs);
    soon(worker.shutdown(Duration::ZERO)).await;
    is_resumed(lab, job).await;
}

/// A body that lets nobody interrupt it does not keep its worker for ever. What it says later, nobody hears.
pub async fn shutdown_does_not_wait_for_a_stuck_body(lab: Lab) {
    let worker = lab.worker().register(stuck).register(slow).start().await.unwrap();
    let job = lab.homing.submit(stuck()).await.unwrap();
    lab.probe.hits("stuck", 1).await;
    let left = tokio::time::timeout(Duration::from_mins(1), worker.shutdown(Duration::ZERO)).await;
    // First of all: its thread would outlive a test that fails.
    let view = lab.homing.task(job.id()).await;
    lab.probe.hit("free");
    assert!(left.is_ok(), "a body that cannot be interrupted keeps its worker");
    assert_eq!(view.unwrap().crashes, 0);
    let second = lab.worker().register(stuck).start().await.unwrap();
    lab.turning(job.outcome()).await.unwrap();
    lab.close([second]).await;
}

#[task]
async fn stuck(State(probe): State<Probe>) -> Result<()> {
    probe.hit("stuck");
    while probe.count("free") == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// No end of patience is no panic: the body ends by itself. Less patience, asked for later, counts.
pub async fn shutdown_may_take_as_long_as_it_takes(lab: Lab) {
    for (n, patience) in [(1, Duration::MAX), (2, Duration::from_hours(1))] {
        let worker = lab.worker().register(gated).start().await.unwrap();
        let job = lab.homing.submit(gated(n)).await.unwrap();
        lab.reaches(job.id(), TaskState::Running).await;
        let leaving = worker.clone();
        let leaving = tokio::spawn(async move { leaving.shutdown(patience).await });
        lab.observe(job.id(), "still running", |view| view.state == TaskState::Running).await;
        lab.probe.open(&format!("gate {n}"));
        soon(leaving).await.unwrap();
        assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Succeeded);
        assert!(lab.homing.workers().await.unwrap().is_empty());
    }
    for patience in [Duration::MAX, Duration::from_hours(1)] {
        let worker = lab.worker().register(gated).start().await.unwrap();
        let job = lab.homing.submit(gated(7)).await.unwrap();
        lab.reaches(job.id(), TaskState::Running).await;
        // Polled in this order: the second counts.
        let (long, none) = (worker.shutdown(patience), worker.shutdown(Duration::ZERO));
        soon(futures_util::future::join(long, none)).await;
        assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Pending);
        job.cancel().await.unwrap();
    }
    lab.close([]).await;
}

/// A worker renews its lease three times in its length, though it has nothing else to say.
pub async fn a_lease_is_renewed_three_times_in_its_length(lab: Lab) {
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(leaf).start().await.unwrap();
    let beats = lab.probe.count("heartbeat");
    for beat in 1..=6 {
        lab.clock.advance(limits::LEASE / 3);
        lab.probe.hits("heartbeat", beats + beat).await;
    }
    assert!(lab.homing.workers().await.unwrap().iter().all(|known| known.alive));
    lab.close([worker]).await;
}

/// A worker whose own parts panic is dead: its bodies stop, and others take its tasks though its process lives.
pub async fn a_worker_that_panics_is_dead(lab: Lab) {
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(holding).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(holding()).await.unwrap();
    lab.probe.hits("holding", 1).await;
    staged.script.always("exchange", Turn::Panics);
    lab.homing.submit(leaf(1)).await.unwrap();
    lab.probe.hits("dropped", 1).await;
    soon(worker.shutdown(Duration::MAX)).await;
    lab.clock.advance(2 * limits::LEASE);
    let second = lab.worker().register(holding).register(leaf).start().await.unwrap();
    lab.probe.open("holding");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 2);
    lab.close([second]).await;
}

struct Noticed(Probe);

impl Drop for Noticed {
    fn drop(&mut self) {
        self.0.hit("dropped");
    }
}

#[task]
async fn holding(State(probe): State<Probe>) -> Result<u64> {
    let _noticed = Noticed(probe.clone());
    probe.hit("holding");
    probe.pass("holding").await;
    Ok(2)
}

#[task]
async fn reading(State(probe): State<Probe>) -> Result<u64> {
    let handle = crate::spawn(leaf(3)).await?;
    let value = handle.await?;
    probe.hit("read");
    Ok(value)
}

/// A driver that panics outside its body, here in a read of the store, leaves no task behind that is running for
/// ever: it stands still with a reason, and goes on.
pub async fn a_driver_that_panics_leaves_nothing_running(lab: Lab) {
    let staged = Staged::of(&lab);
    for verb in ["child", "children", "ends", "record", "set", "sets"] {
        staged.script.next(verb, [Turn::Panics]);
    }
    let worker = staged.worker(&lab).register(reading).register(leaf).register(gated);
    let worker = worker.concurrency(2).start().await.unwrap();
    let job = lab.homing.submit(reading()).await.unwrap();
    let view = lab.observe(job.id(), "standing still", |view| view.stalls > 0).await;
    assert_eq!(view.state, TaskState::Pending);
    assert!(view.reason.unwrap().contains("the worker panicked"), "no reason");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 3);
    // Both slots are free again.
    let both = lab.homing.submit_all([gated(1), gated(2)]).await.unwrap();
    for job in &both {
        lab.reaches(job.id(), TaskState::Running).await;
    }
    lab.probe.open("gate 1");
    lab.probe.open("gate 2");
    for job in both {
        job.outcome().await.unwrap();
    }
    lab.close([worker]).await;
}

/// The store gives a worker up while one more heartbeat about its old id is on its way. The answer, late, is no news
/// of the id that was taken since, and of what was claimed under that.
pub async fn a_late_answer_about_an_old_id_is_no_news(lab: Lab) {
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(slow).register(leaf).start().await.unwrap();
    let old = worker.id();
    let job = lab.homing.submit(slow()).await.unwrap();
    lab.probe.hits("slow", 1).await;
    // The conversation hears of the loss when the second answer is under way.
    staged.script.next("exchange", [Turn::Waits("exchange")]);
    let held = lab.probe.count("exchange");
    lab.homing.submit(leaf(0)).await.unwrap();
    lab.probe.hits("exchange", held + 1).await;
    staged.script.next("heartbeat", [Turn::Passes, Turn::Late("answer")]);
    lab.give_up(old).await;
    let beats = lab.probe.count("heartbeat");
    lab.clock.advance(limits::LEASE / 3);
    lab.probe.hits("heartbeat", beats + 1).await;
    // One more would be due; that none goes about an id that is given up is as good.
    lab.clock.advance(limits::LEASE / 3);
    tokio::time::sleep(Duration::from_millis(100)).await;
    staged.script.forget("heartbeat");
    lab.probe.open("exchange");
    lab.turning(lab.probe.hits("slow", 2)).await;
    let new = worker.id();
    assert_ne!(new, old);
    let beats = lab.probe.count("heartbeat");
    lab.probe.open("answer");
    // The next heartbeat goes after the late answer was taken in.
    lab.turning(lab.probe.hits("heartbeat", beats + 1)).await;
    stays(&lab, &worker, job).await;
    lab.close([worker]).await;
}

/// A heartbeat that falls due before a new id is announced says nothing of it: the store would not know it.
pub async fn an_id_is_announced_before_it_is_renewed(lab: Lab) {
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(slow).register(leaf).start().await.unwrap();
    let old = worker.id();
    let job = lab.homing.submit(slow()).await.unwrap();
    lab.probe.hits("slow", 1).await;
    staged.script.next("heartbeat", [Turn::Passes, Turn::Waits("announcement")]);
    lab.give_up(old).await;
    let beats = lab.probe.count("heartbeat");
    lab.clock.advance(limits::LEASE / 3);
    lab.probe.hits("heartbeat", beats + 2).await;
    // Now one is due. Without the rule it goes at once; there is nothing to see of one that does not go.
    lab.clock.advance(limits::LEASE / 3);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(lab.probe.count("heartbeat"), beats + 2, "a heartbeat before the announcement");
    lab.probe.open("announcement");
    lab.turning(lab.probe.hits("slow", 2)).await;
    stays(&lab, &worker, job).await;
    lab.close([worker]).await;
}

/// A worker goes by the same id through the end of another job, and its body goes on.
async fn stays(lab: &Lab, worker: &Worker, job: crate::JobHandle<u64>) {
    let id = worker.id();
    let other = lab.homing.submit(leaf(1)).await.unwrap();
    assert_eq!(lab.turning(other.outcome()).await.unwrap(), 1);
    assert_eq!(worker.id(), id, "given up once more");
    lab.probe.open("slow");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 1);
    assert_eq!(lab.probe.count("slow"), 2, "its body was dropped once more");
}

#[task]
async fn parking() -> Result<u64> {
    Ok(crate::signal("never").await?)
}

/// A parked future is dropped from memory at its age, however busy its worker is.
pub async fn a_busy_worker_forgets_old_futures(lab: Lab) {
    if !lab.is_resident() {
        return lab.close([]).await;
    }
    let worker = lab.worker().register(parking).register(leaf).start().await.unwrap();
    let busy = async |turns: u64| {
        for n in 0..turns {
            assert_eq!(lab.homing.submit(leaf(n)).await.unwrap().outcome().await.unwrap(), n);
        }
    };
    let parked = lab.homing.submit(parking()).await.unwrap();
    lab.reaches(parked.id(), TaskState::Waiting).await;
    // The store knows it before the worker, which counts the future's age from when it hears of the park.
    while worker.residents() == 0 {
        busy(1).await;
    }
    lab.advance(limits::RESIDENT_AGE.saturating_sub(Duration::from_secs(10))).await;
    busy(3).await;
    assert_eq!(worker.residents(), 1, "evicted too early");
    lab.advance(Duration::from_secs(10)).await;
    // It is evicted between two exchanges: the worker is kept busy until it has had one.
    let evicted = async {
        while worker.residents() > 0 {
            busy(1).await;
        }
    };
    evicted.await;
    parked.cancel().await.unwrap();
    lab.close([worker]).await;
}

/// A store that refuses a worker, for a permission that was revoked say, is told of as an error, with what to do;
/// once it is mended the worker goes on by itself.
pub async fn a_store_that_refuses_is_told_of(lab: Lab) {
    capture::install();
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(leaf).start().await.unwrap();
    staged.script.always("exchange", Turn::Refuses);
    let job = lab.homing.submit(leaf(1)).await.unwrap();
    let tried = lab.probe.count("exchange");
    soon(lab.probe.hits("exchange", tried + 2)).await;
    let told = capture::told("worker", &worker.id().to_string());
    let told: Vec<_> = told.iter().filter(|told| told.message.contains("does not take")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0].level, tracing::Level::ERROR);
    assert!(told[0].fields["error"].contains("permission denied"), "{told:#?}");
    staged.script.always("exchange", Turn::Passes);
    assert_eq!(soon(job.outcome()).await.unwrap(), 1);
    lab.close([worker]).await;
}
