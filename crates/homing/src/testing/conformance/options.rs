//! Options of calls: order, instants, queues.

use std::time::Duration;

use super::waits::{children_when, leaf};
use super::{Lab, children};
use crate::testing::Probe;
use crate::{Reason, Result, State, TaskState, step_blocking, task};

#[task(retries = 0)]
async fn noting(name: String, State(probe): State<Probe>) -> Result<()> {
    probe.note(name);
    Ok(())
}

/// Higher priority first, then the earlier due.
pub async fn priority_goes_first(lab: Lab) {
    let mut jobs = Vec::new();
    for (name, priority) in [("a", 0), ("b", 5), ("c", -1), ("d", 5)] {
        lab.advance(Duration::from_millis(1)).await;
        let call = noting(name.to_owned()).priority(priority);
        jobs.push(lab.homing.submit(call).await.unwrap());
    }
    let worker = lab.worker().register(noting).concurrency(1).start().await.unwrap();
    for job in jobs {
        job.outcome().await.unwrap();
    }
    assert_eq!(lab.probe.notes(), ["b", "d", "a", "c"]);
    lab.close([worker]).await;
}

/// `delay` and `run_at` hold a task back; it is pending with a due time.
pub async fn delay_and_run_at_wait(lab: Lab) {
    let worker = lab.worker().register(noting).start().await.unwrap();
    let later = lab.homing.now() + Duration::from_secs(20);
    let call = |name: &str| noting(name.to_owned());
    let at = lab.homing.submit(call("at").run_at(later)).await.unwrap();
    let delayed = lab.homing.submit(call("delay").delay(Duration::from_secs(10))).await.unwrap();
    lab.homing.submit(call("now")).await.unwrap().outcome().await.unwrap();
    assert_eq!(lab.homing.queues().await.unwrap()[0].scheduled, 2);
    lab.advance(Duration::from_secs(10)).await;
    delayed.outcome().await.unwrap();
    assert_eq!(lab.homing.task(at.id()).await.unwrap().state, TaskState::Pending);
    lab.advance(Duration::from_secs(10)).await;
    at.outcome().await.unwrap();
    assert_eq!(lab.probe.notes(), ["now", "delay", "at"]);
    lab.close([worker]).await;
}

#[task(timeout = "5s", retries = 0)]
async fn stretching(State(probe): State<Probe>) -> Result<()> {
    // A park begins a new stretch.
    crate::sleep(Duration::from_secs(100)).await?;
    probe.hit("second stretch");
    probe.pass("never").await;
    Ok(())
}

/// `timeout` is one stretch from claim to park or end.
pub async fn a_stretch_times_out(lab: Lab) {
    let worker = lab.worker().register(stretching).start().await.unwrap();
    let job = lab.homing.submit(stretching()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_secs(100)).await;
    lab.probe.hits("second stretch", 1).await;
    lab.advance(Duration::from_secs(5)).await;
    let failure = job.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert_eq!(failure.reason, Reason::Timeout);
    lab.close([worker]).await;
}

#[task(deadline = "30s")]
async fn dawdling(how: String, State(probe): State<Probe>) -> Result<()> {
    if how == "waiting" {
        crate::signal::<()>("never").await?;
    }
    probe.hit("dawdling");
    probe.pass("never").await;
    Ok(())
}

/// A deadline is of the whole task, running or waiting, and final.
pub async fn a_deadline_is_final(lab: Lab) {
    let worker = lab.worker().register(dawdling).start().await.unwrap();
    let waiting = lab.homing.submit(dawdling("waiting".to_owned())).await.unwrap();
    let running = lab.homing.submit(dawdling("running".to_owned())).await.unwrap();
    lab.reaches(waiting.id(), TaskState::Waiting).await;
    lab.probe.hits("dawdling", 1).await;
    lab.advance(Duration::from_secs(30)).await;
    for job in [waiting, running] {
        let failure = job.outcome().await.unwrap_err().failure().cloned().unwrap();
        assert_eq!((failure.reason, failure.attempt), (Reason::Deadline, 1));
    }
    lab.close([worker]).await;
}

/// What has not started by then fails; what has started is spared.
pub async fn expiry_is_final(lab: Lab) {
    let call = || leaf(1).expires(Duration::from_secs(10));
    let late = lab.homing.submit(call().queue("nobody")).await.unwrap();
    let started = lab.homing.submit(dawdling("x".to_owned()).expires(Duration::from_secs(10)));
    let started = started.await.unwrap();
    let worker = lab.worker().register(leaf).register(dawdling).start().await.unwrap();
    lab.probe.hits("dawdling", 1).await;
    lab.advance(Duration::from_secs(11)).await;
    let failure = late.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert_eq!(failure.reason, Reason::Expired);
    assert_eq!(lab.homing.task(started.id()).await.unwrap().state, TaskState::Running);
    started.cancel().await.unwrap();
    lab.close([worker]).await;
}

/// A worker serves the queues it names.
pub async fn queues_are_served_by_name(lab: Lab) {
    let job = lab.homing.submit(leaf(1).queue("slow")).await.unwrap();
    let other = lab.homing.submit(leaf(2)).await.unwrap();
    let default = lab.worker().register(leaf).start().await.unwrap();
    assert_eq!(other.outcome().await.unwrap(), 2);
    assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Pending);
    let slow = lab.worker().register(leaf).queues(["slow", "slower"]).start().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 1);
    assert_eq!(lab.homing.workers().await.unwrap().len(), 2);
    lab.close([default, slow]).await;
}

/// A paused queue is not claimed from until it is resumed.
pub async fn queues_are_paused(lab: Lab) {
    let worker = lab.worker().register(leaf).queues(["default", "other"]).start().await.unwrap();
    lab.homing.pause("default").await.unwrap();
    let held = lab.homing.submit(leaf(1)).await.unwrap();
    assert_eq!(
        lab.homing.submit(leaf(2).queue("other")).await.unwrap().outcome().await.unwrap(),
        2
    );
    assert_eq!(lab.homing.task(held.id()).await.unwrap().state, TaskState::Pending);
    let queue = lab.homing.queues().await.unwrap().remove(0);
    assert_eq!((queue.name.as_str(), queue.ready, queue.paused), ("default", 1, true));
    lab.homing.unpause("default").await.unwrap();
    assert_eq!(held.outcome().await.unwrap(), 1);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn bequeathing() -> Result<()> {
    crate::spawn(leaf(1)).await?.await?;
    crate::spawn(leaf(2).queue("default").priority(-3)).await?.await?;
    Ok(())
}

/// Children inherit queue and priority unless told otherwise.
pub async fn children_inherit(lab: Lab) {
    let worker = lab.worker().register(leaf).register(bequeathing).queues(["default", "night"]);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(bequeathing().queue("night").priority(4)).await.unwrap();
    job.outcome().await.unwrap();
    let children = children(&lab, job.id()).await;
    let told = |n: usize| (children[n].queue.as_str(), children[n].priority);
    assert_eq!((told(0), told(1)), (("night", 4), ("default", -3)));
    lab.close([worker]).await;
}

/// A worker claims only kinds it has registered; others wait for theirs.
pub async fn unregistered_kinds_wait(lab: Lab) {
    let worker = lab.worker().register(bequeathing).start().await.unwrap();
    let job = lab.homing.submit(bequeathing()).await.unwrap();
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert_eq!(lab.homing.task(child.id).await.unwrap().state, TaskState::Pending);
    let other = lab.worker().register(leaf).start().await.unwrap();
    lab.turning(job.outcome()).await.unwrap();
    lab.close([worker, other]).await;
}

#[task(retries = 0)]
async fn thinking(State(probe): State<Probe>) -> Result<u64> {
    let value = step_blocking("think", move || {
        probe.hit("think");
        Ok(42)
    })
    .await?;
    crate::signal::<()>("go").await?;
    Ok(value)
}

/// `step_blocking` remembers as `step` does.
pub async fn step_blocking_remembers(lab: Lab) {
    let worker = lab.worker().register(thinking).start().await.unwrap();
    let job = lab.homing.submit(thinking()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    job.signal("go", &()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 42);
    assert_eq!(lab.probe.count("think"), 1);
    lab.close([worker]).await;
}

/// With no worker alive an expiry and a deadline end their jobs for whoever waits for them or looks at them.
/// Once they were pending for ever.
pub async fn overdue_jobs_end_without_a_worker(lab: Lab) {
    let late = Duration::from_secs(10);
    // One by one: whoever sees to one job sees to all that are due.
    for (call, reason) in
        [(leaf(1).expires(late), Reason::Expired), (leaf(2).deadline(late), Reason::Deadline)]
    {
        let job = lab.homing.submit(call).await.unwrap();
        lab.advance(Duration::from_secs(11)).await;
        let failure = job.outcome().await.unwrap_err().failure().cloned().unwrap();
        assert_eq!(failure.reason, reason);
    }
    let seen = lab.homing.submit(leaf(3).deadline(late)).await.unwrap();
    lab.advance(Duration::from_secs(11)).await;
    assert_eq!(seen.status().await.unwrap(), crate::Status::Failed);
    let looked_at = lab.homing.submit(leaf(4).expires(late)).await.unwrap();
    lab.advance(Duration::from_secs(11)).await;
    assert_eq!(lab.homing.task(looked_at.id()).await.unwrap().state, TaskState::Failed);
    lab.close([]).await;
}

/// A key is free once its holder is past its expiry or its deadline, whether or not somebody has seen to it.
/// Once a new submission was given the dead job.
pub async fn an_overdue_job_holds_no_key(lab: Lab) {
    let late = Duration::from_secs(10);
    for call in [leaf(1).expires(late), leaf(1).deadline(late)] {
        let held = lab.homing.submit(call).key("user 1").await.unwrap();
        let same = lab.homing.submit(leaf(1)).key("user 1").await.unwrap();
        assert_eq!(held.id(), same.id());
        lab.advance(late).await;
        let new = lab.homing.submit(leaf(5)).key("user 1").await.unwrap();
        assert_ne!(new.id(), held.id());
        assert_eq!(lab.store().holder("user 1".to_owned()).await.unwrap(), Some(new.id()));
        assert_eq!(held.status().await.unwrap(), crate::Status::Failed);
        assert!(matches!(held.retry().await, Err(crate::RetryError::KeyTaken { .. })));
        new.cancel().await.unwrap();
        held.retry().await.unwrap();
        held.cancel().await.unwrap();
    }
    lab.close([]).await;
}

/// Of several who find a key's holder overdue at the same time one submits a job, and all are given that one.
/// Once some were given the dead job, on PostgreSQL.
pub async fn an_overdue_key_passes_to_one(lab: Lab) {
    let late = Duration::from_secs(10);
    for round in 0..10 {
        let held = lab.homing.submit(leaf(1).expires(late)).key("user 1").await.unwrap();
        lab.advance(late).await;
        let submit = || lab.homing.submit(leaf(5)).key("user 1");
        let (first, second, third) = tokio::join!(submit(), submit(), submit());
        let ids = [first.unwrap().id(), second.unwrap().id(), third.unwrap().id()];
        assert_ne!(ids[0], held.id(), "in round {round}");
        assert_eq!(ids, [ids[0]; 3], "in round {round}");
        lab.homing.cancel(ids[0]).await.unwrap();
    }
    lab.close([]).await;
}
