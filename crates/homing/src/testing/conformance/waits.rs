//! The waits of section 3: order, timeouts, `select!`, branches, streams, signals, combinators.

use std::time::Duration;

use super::{Lab, children};
use crate::testing::Probe;
use crate::{JoinError, JoinSet, Result, State, TaskState, task};

/// Passes a gate named after its number and returns it; odd ones fail if told to.
#[task(retries = 0)]
pub(super) async fn gated(n: u64, State(probe): State<Probe>) -> Result<u64> {
    probe.pass(&format!("gate {n}")).await;
    probe.hit("ended");
    Ok(n)
}

/// Returns its number at once.
#[task(retries = 0)]
pub(super) async fn leaf(n: u64) -> Result<u64> {
    Ok(n)
}

/// Fails with its number.
#[task(retries = 0)]
pub(super) async fn failing(n: u64) -> Result<u64> {
    Err(crate::Error::msg(format!("no {n}")))
}

#[task]
async fn all_of(n: u64) -> Result<Vec<u64>> {
    let mut set = JoinSet::new();
    for n in 0..n {
        set.spawn(gated(n)).await?;
    }
    Ok(set.join_all().await?)
}

/// `join_all` returns values in spawn order, whatever the order of completion.
pub async fn join_all_is_in_spawn_order(lab: Lab) {
    let worker = lab.worker().register(gated).register(all_of).start().await.unwrap();
    let job = lab.homing.submit(all_of(4)).await.unwrap();
    for (opened, n) in [3, 1, 0, 2].into_iter().enumerate() {
        lab.probe.open(&format!("gate {n}"));
        lab.probe.hits("ended", opened as u64 + 1).await;
    }
    assert_eq!(job.outcome().await.unwrap(), [0, 1, 2, 3]);
    lab.close([worker]).await;
}

#[task]
async fn next_of(n: u64, State(probe): State<Probe>) -> Result<Vec<u64>> {
    let mut set = JoinSet::new();
    for n in 0..n {
        set.spawn(gated(n)).await?;
    }
    let mut order = Vec::new();
    while let Some(value) = set.join_next().await {
        order.push(value?);
        probe.hit("delivered");
    }
    assert!(set.is_empty());
    Ok(order)
}

/// `join_next` returns outcomes in the order of completion, and a replay the same.
pub async fn join_next_is_in_completion_order(lab: Lab) {
    let worker = lab.worker().register(gated).register(next_of).start().await.unwrap();
    let job = lab.homing.submit(next_of(4)).await.unwrap();
    for (opened, n) in [3, 1, 0, 2].into_iter().enumerate() {
        lab.probe.open(&format!("gate {n}"));
        let child = &children_when(&lab, job.id().root(), 4).await[n as usize];
        lab.reaches(child.id, TaskState::Succeeded).await;
        lab.probe.hits("delivered", opened as u64 + 1).await;
    }
    assert_eq!(job.outcome().await.unwrap(), [3, 1, 0, 2]);
    lab.close([worker]).await;
}

/// A task's children once there are so many.
pub(super) async fn children_when(
    lab: &Lab,
    task: crate::TaskId,
    n: usize,
) -> Vec<crate::TaskView> {
    for _ in 0..10_000 {
        let all = children(lab, task).await;
        if all.len() >= n {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{task} has {} children, not {n}", children(lab, task).await.len())
}

#[task]
async fn settled_of() -> Result<Vec<String>> {
    let mut set = JoinSet::new();
    set.spawn(leaf(1)).await?;
    set.spawn(failing(2)).await?;
    set.spawn(leaf(3)).await?;
    let outcomes = set.join_settled().await?;
    let text = |outcome: Result<u64, JoinError>| match outcome {
        Ok(value) => value.to_string(),
        Err(error) => error.failure().map_or_else(String::new, |f| f.message.clone()),
    };
    Ok(outcomes.into_iter().map(text).collect())
}

/// `join_settled` returns every outcome in spawn order.
pub async fn join_settled_brings_every_outcome(lab: Lab) {
    let worker = lab.worker().register(leaf).register(failing).register(settled_of);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(settled_of()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), ["1", "no 2", "3"]);
    assert_eq!(job.status().await.unwrap(), crate::Status::CompletedWithErrors);
    lab.close([worker]).await;
}

#[task]
async fn first_of() -> Result<u64> {
    let mut set = JoinSet::new();
    set.spawn(failing(0)).await?;
    for n in 1..4 {
        set.spawn(gated(n)).await?;
    }
    Ok(set.join_first().await?)
}

/// `join_first` returns the first success and aborts the rest.
pub async fn join_first_aborts_the_rest(lab: Lab) {
    let worker = lab.worker().register(gated).register(failing).register(first_of);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(first_of()).await.unwrap();
    lab.probe.open("gate 2");
    assert_eq!(job.outcome().await.unwrap(), 2);
    let states: Vec<_> = children(&lab, job.id()).await.iter().map(|c| c.state).collect();
    let (cancelled, done) = (TaskState::Cancelled, TaskState::Succeeded);
    assert_eq!(states, [TaskState::Failed, cancelled, done, cancelled]);
    lab.close([worker]).await;
}

#[task]
async fn some_of(wanted: u64) -> Result<Vec<u64>> {
    let mut set = JoinSet::new();
    for n in 0..4 {
        set.spawn(gated(n)).await?;
    }
    set.spawn(failing(4)).await?;
    Ok(set.join_some(wanted as usize).await?)
}

/// `join_some` returns the first successes, or says that they can no longer be reached.
pub async fn join_some_brings_so_many(lab: Lab) {
    let worker = lab.worker().register(gated).register(failing).register(some_of);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(some_of(2)).await.unwrap();
    let all = children_when(&lab, job.id().root(), 5).await;
    for n in [3, 1] {
        lab.probe.open(&format!("gate {n}"));
        lab.reaches(all[n].id, TaskState::Succeeded).await;
    }
    assert_eq!(job.outcome().await.unwrap(), [3, 1]);
    let all_five = lab.homing.submit(some_of(5)).await.unwrap();
    let error = all_five.outcome().await.unwrap_err().to_string();
    assert!(error.contains("of 5 children succeeded, 5 were needed"), "{error}");
    lab.close([worker]).await;
}

#[task]
async fn some_at_hand() -> Result<(Vec<u64>, Vec<u64>)> {
    let mut set = JoinSet::new();
    for n in 0..3 {
        set.spawn(leaf(n)).await?;
    }
    assert_eq!((set.len(), set.is_empty()), (3, false));
    crate::signal::<()>("three have ended").await?;
    let two = set.join_some(2).await?;
    set.spawn(leaf(3)).await?;
    crate::signal::<()>("one has ended").await?;
    Ok((two, set.join_some(0).await?))
}

/// Where more have succeeded than were asked for, `join_some` brings those asked for.
pub async fn join_some_brings_no_more(lab: Lab) {
    let worker = lab.worker().register(leaf).register(some_at_hand).start().await.unwrap();
    let job = lab.homing.submit(some_at_hand()).await.unwrap();
    for (spawned, signal) in [(3, "three have ended"), (4, "one has ended")] {
        for child in children_when(&lab, job.id().root(), spawned).await {
            lab.reaches(child.id, TaskState::Succeeded).await;
        }
        job.signal(signal, &()).await.unwrap();
    }
    let (two, none) = job.outcome().await.unwrap();
    assert_eq!((two.len(), none), (2, Vec::new()));
    lab.close([worker]).await;
}

#[task]
async fn hoping(failing_too: bool) -> Result<String> {
    let mut set = JoinSet::new();
    if failing_too {
        set.spawn(failing(0)).await?;
        let error = set.join_first().await.unwrap_err();
        return Ok(format!("{} {error}", matches!(error, JoinError::Failed { .. })));
    }
    for n in 0..2 {
        set.spawn(gated(n)).await?;
    }
    Ok(set.join_some(3).await.unwrap_err().to_string())
}

/// What cannot be reached is not waited for; the failure of the only child is its parent's to see.
pub async fn hopeless_waits_are_errors(lab: Lab) {
    let worker = lab.worker().register(hoping).register(gated).register(failing);
    let worker = worker.start().await.unwrap();
    for (how, text) in [(false, "0 of 2 children succeeded, 3 were needed"), (true, "no 0")] {
        let job = lab.homing.submit(hoping(how)).await.unwrap();
        lab.reaches(job.id(), TaskState::Succeeded).await;
        let told = job.outcome().await.unwrap();
        assert!(told.contains(text) && told.starts_with("true") == how, "{told}");
    }
    lab.close([worker]).await;
}

#[task]
async fn empty() -> Result<String> {
    let mut growing = JoinSet::<u64>::new().growing();
    assert!(growing.join_some(1).await.is_err());
    assert!(growing.join_some(0).await?.is_empty());
    let mut set = JoinSet::<u64>::new();
    let all = set.join_all().await?;
    let settled = set.join_settled().await?;
    let next = set.join_next().timeout(Duration::from_secs(1)).await;
    let some = set.join_some(0).await?;
    let first = set.join_first().await.map_err(|error| error.to_string());
    Ok(format!("{all:?} {} {} {some:?} {first:?}", settled.len(), next.is_none()))
}

/// Waiting on zero children returns at once.
pub async fn empty_sets_return_at_once(lab: Lab) {
    let worker = lab.worker().register(empty).start().await.unwrap();
    let job = lab.homing.submit(empty()).await.unwrap();
    let text = job.outcome().await.unwrap();
    let none = "Err(\"0 of 0 children succeeded, 1 were needed\")";
    assert_eq!(text, format!("[] 0 true [] {none}"));
    lab.close([worker]).await;
}

#[task]
async fn timing_out(verb: String, State(probe): State<Probe>) -> Result<String> {
    let mut set = JoinSet::new();
    let handle = set.spawn(gated(99)).await?;
    let second = Duration::from_secs(1);
    let error = match verb.as_str() {
        "join_all" => set.join_all().timeout(second).await.map(drop).unwrap_err(),
        "join_next" => set.join_next().timeout(second).await.unwrap().map(drop).unwrap_err(),
        "join_settled" => set.join_settled().timeout(second).await.map(drop).unwrap_err(),
        "join_first" => set.join_first().timeout(second).await.map(drop).unwrap_err(),
        "join_some" => set.join_some(1).timeout(second).await.map(drop).unwrap_err(),
        "signal" => crate::signal::<u64>("go").timeout(second).await.map(drop).unwrap_err(),
        _ => handle.timeout(second).await.map(drop).unwrap_err(),
    };
    assert!(error.is_timeout(), "{error}");
    probe.hit("timed out");
    // The child runs on, and its value can still be had.
    Ok(format!("{:?}", set.join_all().await?))
}

/// Every wait takes a timeout; what times out runs on.
pub async fn every_wait_times_out(lab: Lab) {
    let worker = lab.worker().register(gated).register(timing_out).start().await.unwrap();
    let verbs =
        ["join_all", "join_next", "join_settled", "join_first", "join_some", "await", "signal"];
    let mut jobs = Vec::new();
    for verb in verbs {
        jobs.push(lab.homing.submit(timing_out(verb.to_owned())).await.unwrap());
    }
    for job in &jobs {
        lab.reaches(job.id(), TaskState::Waiting).await;
    }
    assert_eq!(lab.probe.count("timed out"), 0);
    lab.advance(Duration::from_secs(1)).await;
    for job in &jobs {
        lab.observe(job.id(), "waiting again", |view| {
            view.state == TaskState::Waiting && !format!("{:?}", view.waits).contains("At")
        })
        .await;
    }
    lab.probe.open("gate 99");
    for job in jobs {
        assert_eq!(job.outcome().await.unwrap(), "[99]");
    }
    lab.close([worker]).await;
}

#[task]
async fn timing_out_named() -> Result<String> {
    let mut set = JoinSet::named("pages");
    set.spawn(leaf(0)).await?;
    set.spawn(gated(1)).await?;
    let error = set.join_all().timeout(Duration::from_secs(5)).await.unwrap_err();
    set.abort_all();
    let JoinError::TimedOut(told) = &error else { return Err(error.into()) };
    Ok(format!("{} {} {} {}", told.place, told.done, told.open, told.oldest_open.len()))
}

/// A timed-out wait says which children are done and which are open.
pub async fn a_timeout_names_the_open_children(lab: Lab) {
    let worker = lab.worker().register(gated).register(leaf).register(timing_out_named);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(timing_out_named()).await.unwrap();
    let all = children_when(&lab, job.id().root(), 2).await;
    lab.reaches(all[0].id, TaskState::Succeeded).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_secs(5)).await;
    assert_eq!(job.outcome().await.unwrap(), "set:pages.join_all#1 1 1 1");
    lab.close([worker]).await;
}

#[task]
async fn timing_out_wide() -> Result<(u64, u64, Vec<crate::TaskId>, Vec<crate::TaskId>)> {
    let (mut set, mut open) = (JoinSet::new(), Vec::new());
    for n in 0..1_010 {
        if (15..1_000).contains(&n) {
            set.spawn(leaf(n)).await?;
        } else {
            open.push(set.spawn(gated(7)).await?.id());
        }
    }
    let error = set.join_all().timeout(Duration::from_secs(5)).await.unwrap_err();
    set.abort_all();
    let JoinError::TimedOut(told) = error else { return Err(error.into()) };
    Ok((told.done, told.open, told.oldest_open, open))
}

/// The open children it names are the first 20, on whatever page of the set they stand.
pub async fn a_timeout_names_the_oldest_open_children(lab: Lab) {
    let worker = lab.worker().register(gated).register(leaf).register(timing_out_wide);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(timing_out_wide()).await.unwrap();
    lab.observe(job.id(), "waiting for the last", |view| view.children.succeeded == 985).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_secs(5)).await;
    let (done, open, named, spawned) = job.outcome().await.unwrap();
    assert_eq!((done, open), (985, 25));
    assert_eq!(named, spawned[..20]);
    lab.close([worker]).await;
}

#[task]
async fn impatient(State(probe): State<Probe>) -> Result<Vec<u64>> {
    let mut set = JoinSet::new();
    set.spawn(gated(0)).await?;
    set.spawn(gated(1)).await?;
    let mut order = Vec::new();
    while order.len() < 2 {
        match set.join_next().timeout(Duration::from_secs(1)).await {
            Some(Ok(value)) => {
                order.push(value);
                probe.hit("value");
            }
            Some(Err(error)) if error.is_timeout() => probe.hit("timeout"),
            other => panic!("{other:?}"),
        }
    }
    Ok(order)
}

/// A timed-out wait consumes nothing.
pub async fn sets_go_on_after_a_timeout(lab: Lab) {
    let worker = lab.worker().register(gated).register(impatient).start().await.unwrap();
    let job = lab.homing.submit(impatient()).await.unwrap();
    for n in 0..2 {
        lab.reaches(job.id(), TaskState::Waiting).await;
        let before = lab.probe.count("timeout");
        lab.advance(Duration::from_secs(1)).await;
        lab.probe.hits("timeout", before + 1).await;
        lab.probe.open(&format!("gate {n}"));
        lab.probe.hits("value", n + 1).await;
    }
    assert_eq!(job.outcome().await.unwrap(), [0, 1]);
    lab.close([worker]).await;
}

#[task]
async fn reusing() -> Result<Vec<u64>> {
    let mut set = JoinSet::new();
    set.spawn(failing(1)).await?;
    set.spawn(leaf(2)).await?;
    assert!(set.join_all().await.is_err());
    set.spawn(leaf(3)).await?;
    set.spawn(leaf(4)).await?;
    let mut all = set.join_all().await?;
    set.spawn(leaf(5)).await?;
    all.push(set.join_first().await?);
    Ok(all)
}

/// A set goes on after a wait that dealt with all of it, with fresh counts.
pub async fn sets_can_be_used_again(lab: Lab) {
    let worker = lab.worker().register(leaf).register(failing).register(reusing);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(reusing()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), [3, 4, 5]);
    lab.close([worker]).await;
}
