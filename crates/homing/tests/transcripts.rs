//! Replay, word for word: record in, body, exchange out. The children are played by hand, so that each
//! transcript is the same in every run; `INSTA_UPDATE=always` writes them anew.

#![cfg(feature = "testing")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests: a panic is how they fail"
)]

use std::sync::Arc;
use std::time::Duration;

use homing::store::memory::Memory;
use homing::store::{Claim, End, Event, Exchange, Heartbeat, Store, Unit};
use homing::testing::transcript::Recorder;
use homing::{
    Call, Clock, FailurePolicy, Homing, JobHandle, JobId, JoinSet, ManualClock, Result, TaskState,
    Worker, WorkerBuilder, WorkerId, log, spawn, step, task,
};

#[task]
async fn child(n: u64) -> Result<u64> {
    Ok(n)
}

/// A parent under observation, its clock, and the hand that plays its children.
struct Stage {
    homing: Homing,
    recorder: Arc<Recorder>,
    clock: ManualClock,
    resident: usize,
    hand: WorkerId,
    number: u64,
    job: JobHandle<u64>,
}

impl Stage {
    async fn set(
        name: &str,
        resident: bool,
        call: Call<impl homing::task::Kind<Output = u64>>,
    ) -> Self {
        let (clock, id) = (ManualClock::default(), JobId::named(name));
        let store: Arc<dyn Store> = Arc::new(Memory::new(Clock::Manual(clock.clone())));
        let recorder = Recorder::of(store, id);
        let homing = Homing::over(Arc::clone(&recorder) as Arc<dyn Store>);
        let job = homing.submit(call).id(id).await.unwrap();
        let hand = WorkerId::fresh();
        let told = Heartbeat {
            worker: hand,
            first: true,
            lease: Duration::from_hours(1),
            name: "the hand".to_owned(),
            kinds: Arc::new([]),
            arguments: Arc::default(),
            queues: Arc::new([]),
            slots: 1,
            running: 0,
            resident: 0,
            ended: 0,
        };
        assert!(homing.store().heartbeat(told).await.unwrap());
        let resident = if resident { 10 } else { 0 };
        Self { homing, recorder, clock, resident, hand, number: 0, job }
    }

    fn worker(&self) -> WorkerBuilder {
        self.homing.worker().resident(self.resident)
    }

    async fn exchange(&mut self, units: Vec<Unit>, tasks: usize) -> homing::store::Reply {
        self.number += 1;
        let claim = Claim {
            tasks,
            ahead: 0,
            search: true,
            queues: Arc::new(["default".to_owned()]),
            kinds: Arc::new(["child".to_owned()]),
            suspect: true,
            max_crashes: 5,
        };
        let (worker, number, acknowledged) = (self.hand, self.number, self.number - 1);
        let units = units.into_iter().map(Arc::new).collect();
        let exchange = Exchange { worker, number, acknowledged, units, claim };
        self.homing.store().exchange(exchange).await.unwrap()
    }

    /// Ends the next child in the order of their spawns.
    async fn end_next(&mut self, end: End) {
        self.parked().await;
        let claimed = self.exchange(Vec::new(), 1).await.claimed.remove(0);
        self.recorder.note(&format!("- the hand ends child{}", claimed.arguments));
        let (task, token) = (claimed.task, claimed.token);
        let unit = Unit { task, token, renew: false, events: vec![Event::End(end)] };
        assert!(self.exchange(vec![unit], 0).await.refused.is_empty());
    }

    async fn succeed(&mut self, value: u64) {
        self.end_next(End::Succeeded(value.to_string())).await;
    }

    async fn observe(&self, wanted: impl Fn(&homing::TaskView) -> bool) {
        let seen = async {
            while !wanted(&self.homing.task(self.job.id()).await.unwrap()) {
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
        assert!(seen.is_ok(), "{}", self.recorder.transcript());
    }

    async fn parked(&self) {
        self.observe(|view| view.state == TaskState::Waiting).await;
    }

    fn advance(&self, by: Duration) {
        self.recorder.note(&format!("- the clock goes on by {by:?}"));
        self.clock.advance(by);
    }

    async fn ended(self, worker: Worker) -> String {
        self.observe(|view| view.state.is_ended()).await;
        let _ =
            tokio::time::timeout(Duration::from_millis(1), worker.shutdown(Duration::ZERO)).await;
        assert!(self.homing.check().await.unwrap().is_empty());
        self.recorder.transcript()
    }
}

#[task]
async fn joining() -> Result<u64> {
    let mut pages = JoinSet::named("pages");
    let mut sum = 0;
    for n in 0..2 {
        sum += step("fetch", || async move { Ok(10 * n) }).await?;
        pages.spawn(child(n)).await?;
    }
    sum += pages.join_all().await?.iter().sum::<u64>();
    step("publish", || async move { Ok(()) }).await?;
    sum += spawn(child(7)).await?.await?;
    Ok(sum)
}

async fn join(name: &str, resident: bool) -> String {
    let mut stage = Stage::set(name, resident, joining()).await;
    let worker = stage.worker().register(joining).start().await.unwrap();
    stage.succeed(1).await;
    stage.succeed(2).await;
    stage.observe(|view| format!("{:?}", view.waits).contains("Child")).await;
    stage.succeed(3).await;
    stage.ended(worker).await
}

#[tokio::test]
async fn a_first_run() {
    insta::assert_snapshot!(join("first", true).await);
}

/// The same words but for the claims: a replay says nothing twice.
#[tokio::test]
async fn a_replay_from_the_middle_says_nothing_twice() {
    let (first, replayed) = (join("first", true).await, join("first", false).await);
    assert_eq!(first, replayed);
}

#[task]
async fn hurrying() -> Result<u64> {
    let mut set = JoinSet::named("slow");
    set.spawn(child(0)).await?;
    let mut timeouts = 0;
    loop {
        match set.join_next().timeout(Duration::from_secs(10)).await {
            Some(Ok(value)) => return Ok(value + timeouts),
            Some(Err(error)) if error.is_timeout() => timeouts += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn join_next_with_a_timeout() {
    let mut stage = Stage::set("hurrying", false, hurrying()).await;
    let worker = stage.worker().register(hurrying).start().await.unwrap();
    stage.parked().await;
    stage.advance(Duration::from_secs(10));
    stage.observe(|view| format!("{:?}", view.waits).contains("join_next#2")).await;
    stage.succeed(100).await;
    insta::assert_snapshot!(stage.ended(worker).await);
}

#[task]
async fn selecting() -> Result<u64> {
    let handle = spawn(child(0)).await?;
    let mut sum = 0;
    for _ in 0..2 {
        homing::select! {
            value = &handle => sum += value?,
            told = homing::signal::<u64>("go") => sum += told?,
            slept = homing::sleep(Duration::from_mins(1)) => slept?,
        }
    }
    Ok(sum)
}

#[tokio::test]
async fn select_records_its_winner() {
    let mut stage = Stage::set("selecting", false, selecting()).await;
    let worker = stage.worker().register(selecting).start().await.unwrap();
    stage.parked().await;
    stage.job.signal("go", &5).await.unwrap();
    stage.observe(|view| format!("{:?}", view.waits).contains("select!#2")).await;
    stage.succeed(30).await;
    insta::assert_snapshot!(stage.ended(worker).await);
}

async fn branch(n: u64) -> Result<u64> {
    let before = step("before", || async move { Ok(n) }).await?;
    Ok(before + spawn(child(n)).await?.await?)
}

#[task]
async fn branching() -> Result<u64> {
    let (left, right) = homing::join!(branch(1), branch(2));
    Ok(left? + right?)
}

#[tokio::test]
async fn branches_have_places_of_their_own() {
    let mut stage = Stage::set("branching", false, branching()).await;
    let worker = stage.worker().register(branching).start().await.unwrap();
    stage.succeed(10).await;
    stage.observe(|view| view.state == TaskState::Waiting && view.waits.len() == 1).await;
    stage.succeed(20).await;
    insta::assert_snapshot!(stage.ended(worker).await);
}

mod renewed {
    use super::*;

    #[task(kind = "drifting")]
    pub(super) async fn drifting() -> Result<u64> {
        Ok(spawn(child(2)).await?.await?)
    }
}

#[task(kind = "drifting")]
async fn drifting() -> Result<u64> {
    Ok(spawn(child(1)).await?.await?)
}

#[tokio::test]
async fn drift_stands_still_until_it_is_mended() {
    let mut stage = Stage::set("drifting", false, drifting()).await;
    let worker = stage.worker().register(drifting).start().await.unwrap();
    stage.parked().await;
    worker.shutdown(Duration::ZERO).await;
    stage.succeed(5).await;
    stage.recorder.note("- a release that calls another child");
    let worker = stage.worker().register(renewed::drifting).start().await.unwrap();
    stage.observe(|view| view.reason.is_some()).await;
    worker.shutdown(Duration::ZERO).await;
    stage.recorder.note("- rolled back");
    stage.advance(Duration::from_secs(5));
    let worker = stage.worker().register(drifting).start().await.unwrap();
    insta::assert_snapshot!(stage.ended(worker).await);
}

#[task(retries = 1, backoff = "5s")]
async fn retrying() -> Result<u64> {
    let n = step("kept", || async { Ok(4) }).await?;
    let told = homing::signal::<u64>("go").timeout(Duration::from_secs(1)).await;
    if told.is_err() && homing::now().await? < std::time::UNIX_EPOCH + Duration::from_secs(1) {
        return Ok(0);
    }
    step("breaks", || async move { Err::<u64, _>(homing::Error::msg("broken")) }).await?;
    Ok(n)
}

#[tokio::test]
async fn a_retry_keeps_what_is_recorded() {
    let stage = Stage::set("retrying", false, retrying()).await;
    let worker = stage.worker().register(retrying).start().await.unwrap();
    stage.parked().await;
    stage.job.signal("go", &1).await.unwrap();
    stage.observe(|view| view.attempt == 2).await;
    stage.advance(Duration::from_secs(5));
    insta::assert_snapshot!(stage.ended(worker).await);
}

#[task]
async fn leaving() -> Result<u64> {
    let mut set = JoinSet::named("left");
    set.spawn(child(1)).await?;
    set.spawn(child(2)).await?;
    Ok(set.join_next().await.unwrap()?)
}

/// After the value the task waits for the children that no wait has delivered.
#[tokio::test]
async fn the_closing_join() {
    let mut stage = Stage::set("leaving", false, leaving()).await;
    let worker = stage.worker().register(leaving).start().await.unwrap();
    stage.succeed(1).await;
    stage.observe(|view| format!("{:?}", view.waits).contains("All")).await;
    stage.succeed(2).await;
    insta::assert_snapshot!(stage.ended(worker).await);
}

#[task]
async fn telling() -> Result<u64> {
    log!("begun");
    homing::progress(1, 2);
    homing::detach(child(9)).title("elsewhere").await?;
    homing::signal::<()>("go").await?;
    log!(Warn, "going on");
    Ok(1)
}

#[tokio::test]
async fn logs_progress_and_detached_jobs() {
    let stage = Stage::set("telling", false, telling()).await;
    let worker = stage.worker().register(telling).start().await.unwrap();
    stage.parked().await;
    stage.job.signal("go", &()).await.unwrap();
    insta::assert_snapshot!(stage.ended(worker).await);
}

#[task]
async fn strict() -> Result<u64> {
    let mut set = JoinSet::named("strict").policy(FailurePolicy::FailFast);
    for n in 0..3 {
        set.spawn(child(n)).await?;
    }
    Ok(set.join_all().await?.len() as u64)
}

#[tokio::test]
async fn a_failure_aborts_the_rest() {
    let mut stage = Stage::set("strict", false, strict()).await;
    let worker = stage.worker().register(strict).start().await.unwrap();
    stage.parked().await;
    let failure = r#"{"kind":"child","id":"ID","attempt":1,"reason":"error","message":"no"}"#;
    let id = stage.job.id().root().to_string();
    let failure = serde_json::from_str(&failure.replace("ID", &id)).unwrap();
    stage.end_next(End::Failed { failure, cause: None }).await;
    insta::assert_snapshot!(stage.ended(worker).await);
}
