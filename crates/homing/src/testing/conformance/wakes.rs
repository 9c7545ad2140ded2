//! G3, G4, G5: no lost wake-up, no slot while waiting, once per condition.

use std::time::Duration;

use super::waits::{children_when, failing, gated, leaf};
use super::{Lab, children};
use crate::testing::Probe;
use crate::{JoinSet, Reason, Result, State, TaskState, task};

#[task(retries = 0)]
async fn endless(State(probe): State<Probe>) -> Result<u64> {
    probe.hit("endless");
    std::future::pending::<()>().await;
    Ok(0)
}

#[task]
async fn parent_of(fate: String) -> Result<String> {
    let handle = match fate.as_str() {
        "succeeds" => crate::spawn(leaf(1)).await?,
        "fails" => crate::spawn(failing(1)).await?,
        "expires" => crate::spawn(leaf(1).queue("nobody").expires(Duration::from_secs(5))).await?,
        "is late" => crate::spawn(leaf(1).queue("nobody").deadline(Duration::from_secs(5))).await?,
        "is cancelled" => crate::spawn(leaf(1).queue("nobody")).await?,
        _ => crate::spawn(endless()).await?,
    };
    Ok(match handle.await {
        Ok(value) => format!("value {value}"),
        Err(error) => format!("{:?}", error.failure().map(|failure| failure.reason)),
    })
}

/// Success, failure, cancellation, expiry, a deadline and a dead worker's last crash each wake the
/// parent.
pub async fn g03_every_end_of_a_child_wakes(lab: Lab) {
    let worker = || {
        let builder = lab.worker().register(leaf).register(failing);
        builder.register(endless).register(parent_of).max_crashes(1)
    };
    let first = worker().start().await.unwrap();
    let submit = |fate: &str| lab.homing.submit(parent_of(fate.to_owned()));
    let (good, bad) = (submit("succeeds").await.unwrap(), submit("fails").await.unwrap());
    assert_eq!(good.outcome().await.unwrap(), "value 1");
    assert_eq!(bad.outcome().await.unwrap(), format!("{:?}", Some(Reason::Error)));
    let (expired, late) = (submit("expires").await.unwrap(), submit("is late").await.unwrap());
    let cancelled = submit("is cancelled").await.unwrap();
    let crashed = submit("crashes").await.unwrap();
    for job in [&expired, &late, &cancelled, &crashed] {
        lab.reaches(job.id(), TaskState::Waiting).await;
    }
    let child = children(&lab, cancelled.id()).await.remove(0);
    assert!(lab.homing.cancel(child.id).await.unwrap());
    assert_eq!(cancelled.outcome().await.unwrap(), format!("{:?}", Some(Reason::Cancelled)));
    lab.advance(Duration::from_secs(6)).await;
    assert_eq!(expired.outcome().await.unwrap(), format!("{:?}", Some(Reason::Expired)));
    assert_eq!(late.outcome().await.unwrap(), format!("{:?}", Some(Reason::Deadline)));
    lab.probe.hits("endless", 1).await;
    first.kill().await;
    let second = worker().start().await.unwrap();
    assert_eq!(
        lab.turning(crashed.outcome()).await.unwrap(),
        format!("{:?}", Some(Reason::Crashed))
    );
    lab.close([second]).await;
}

#[task]
async fn hearing() -> Result<String> {
    Ok(crate::signal("go").await?)
}

/// A signal wakes the task that waits for it.
pub async fn g03_a_signal_wakes(lab: Lab) {
    let worker = lab.worker().register(hearing).start().await.unwrap();
    let job = lab.homing.submit(hearing()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert!(job.signal("go", "yes").await.unwrap().is_sent());
    assert_eq!(job.outcome().await.unwrap(), "yes");
    lab.close([worker]).await;
}

#[task]
async fn napping() -> Result<()> {
    Ok(crate::sleep(Duration::from_secs(10)).await?)
}

/// The end of a sleep wakes, also when nothing else happens.
pub async fn g03_a_deadline_wakes(lab: Lab) {
    let worker = lab.worker().register(napping).start().await.unwrap();
    let job = lab.homing.submit(napping()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_secs(9)).await;
    assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Waiting);
    lab.advance(Duration::from_secs(1)).await;
    job.outcome().await.unwrap();
    lab.close([worker]).await;
}

#[task]
async fn deep(depth: u64) -> Result<u64> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(crate::spawn(deep(depth - 1)).await?.await? + 1)
}

/// A chain of waits far longer than the slots completes: waiting holds none.
pub async fn g04_deep_trees_need_one_slot(lab: Lab) {
    let worker = lab.worker().register(deep).concurrency(1).start().await.unwrap();
    let job = lab.homing.submit(deep(100)).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 100);
    lab.close([worker]).await;
}

/// A parked task has no worker, and its slot is free for others.
pub async fn g04_parked_tasks_hold_nothing(lab: Lab) {
    let worker = lab.worker().register(hearing).register(leaf).concurrency(1);
    let worker = worker.start().await.unwrap();
    let jobs = lab.homing.submit_all((0..20).map(|_| hearing())).await.unwrap();
    for job in &jobs {
        let view = lab.reaches(job.id(), TaskState::Waiting).await;
        assert_eq!(view.worker, None);
    }
    assert_eq!(lab.homing.submit(leaf(3)).await.unwrap().outcome().await.unwrap(), 3);
    for job in &jobs {
        job.signal("go", "on").await.unwrap();
    }
    for job in jobs {
        assert_eq!(job.outcome().await.unwrap(), "on");
    }
    lab.close([worker]).await;
}

#[task]
async fn counting(n: u64, State(probe): State<Probe>) -> Result<u64> {
    probe.hit("body");
    let mut set = JoinSet::new();
    for n in 0..n {
        set.spawn(leaf(n)).await?;
    }
    let all = set.join_all().await?;
    probe.hit("joined");
    Ok(all.len() as u64)
}

/// A parent of many is woken once: its body begins once, and once more where it is replayed.
pub async fn g05_a_parent_is_woken_once(lab: Lab) {
    let worker = lab.worker().register(leaf).register(counting).concurrency(4);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(counting(200)).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 200);
    let bodies = lab.probe.count("body");
    assert!(bodies <= if lab.is_resident() { 1 } else { 2 }, "{bodies}");
    assert_eq!(lab.probe.count("joined"), 1);
    lab.close([worker]).await;
}

#[task]
async fn draining(State(probe): State<Probe>) -> Result<u64> {
    probe.hit("body");
    let mut set = JoinSet::new();
    for n in 0..50 {
        set.spawn(leaf(n)).await?;
    }
    crate::signal::<()>("drain").await?;
    let mut sum = 0;
    while let Some(value) = set.join_next().await {
        sum += value?;
    }
    Ok(sum)
}

/// `join_next` hands out what has ended before it parks again: fifty ended children, no wake-up.
pub async fn g05_join_next_drains_before_it_parks(lab: Lab) {
    let worker = lab.worker().register(leaf).register(draining).start().await.unwrap();
    let job = lab.homing.submit(draining()).await.unwrap();
    for child in children_when(&lab, job.id().root(), 50).await {
        lab.reaches(child.id, TaskState::Succeeded).await;
    }
    lab.reaches(job.id(), TaskState::Waiting).await;
    job.signal("drain", &()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 49 * 50 / 2);
    let bodies = lab.probe.count("body");
    assert!(bodies <= if lab.is_resident() { 1 } else { 2 }, "{bodies}");
    lab.close([worker]).await;
}

#[task]
async fn family(n: u64, State(probe): State<Probe>) -> Result<u64> {
    probe.note(format!("begin {n}"));
    let value = crate::spawn(gated(n)).await?.await?;
    probe.note(format!("end {n}"));
    Ok(value)
}

/// Resumed work counts as older than new work, so trees finish before new ones pile up.
pub async fn resumed_work_goes_first(lab: Lab) {
    let builder = lab.worker().register(family).register(gated).concurrency(1);
    lab.probe.open("gate 0");
    let worker = builder.start().await.unwrap();
    lab.homing.pause("default").await.unwrap();
    let first = lab.homing.submit(family(0)).await.unwrap();
    lab.advance(Duration::from_secs(1)).await;
    lab.homing.unpause("default").await.unwrap();
    first.outcome().await.unwrap();
    lab.homing.pause("default").await.unwrap();
    let one = lab.homing.submit(family(1).priority(1)).await.unwrap();
    lab.advance(Duration::from_secs(1)).await;
    lab.homing.unpause("default").await.unwrap();
    let child = children_when(&lab, one.id().root(), 1).await.remove(0);
    lab.observe(child.id, "running", |view| view.state == TaskState::Running).await;
    // While the child runs on the only slot, new work of the same priority piles up.
    let two = lab.homing.submit(family(2).priority(1)).await.unwrap();
    lab.probe.open("gate 2");
    lab.probe.open("gate 1");
    one.outcome().await.unwrap();
    two.outcome().await.unwrap();
    let notes = lab.probe.notes();
    let place = |note: &str| notes.iter().position(|line| line == note);
    assert!(place("end 1") < place("begin 2"), "{notes:?}");
    lab.close([worker]).await;
}

#[task]
async fn returning(State(probe): State<Probe>) -> Result<()> {
    probe.hit("body");
    Ok(crate::signal("go").await?)
}

/// Resumed work waits a while for a worker that is busy and keeps its future; where none is kept, the next one takes
/// it at once. The clock stands still.
pub async fn resumed_work_waits_for_its_future(lab: Lab) {
    let first = lab.worker().register(returning).register(gated).concurrency(1);
    let first = first.start().await.unwrap();
    let job = lab.homing.submit(returning()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let busy = lab.homing.submit(gated(1)).await.unwrap();
    lab.reaches(busy.id(), TaskState::Running).await;
    let second = lab.worker().register(returning).start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    if lab.is_resident() {
        assert!(second.idle().await.is_some(), "it is the other's for a while");
        assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Pending);
        lab.probe.open("gate 1");
    }
    lab.reaches(job.id(), TaskState::Succeeded).await;
    assert_eq!(lab.probe.count("body"), if lab.is_resident() { 1 } else { 2 });
    lab.probe.open("gate 1");
    lab.close([first, second]).await;
}

/// An evicted future is replayed, and its body cannot tell.
pub async fn eviction_is_a_replay(lab: Lab) {
    let builder = lab.worker().register(hearing).register(leaf).register(counting).resident(2);
    let worker = builder.start().await.unwrap();
    let jobs = lab.homing.submit_all((0..6).map(|_| hearing())).await.unwrap();
    for job in &jobs {
        lab.reaches(job.id(), TaskState::Waiting).await;
    }
    assert!(worker.residents() <= 2);
    for job in &jobs {
        job.signal("go", "on").await.unwrap();
    }
    for job in jobs {
        assert_eq!(job.outcome().await.unwrap(), "on");
    }
    lab.close([worker]).await;
}
