//! G8, G9: cancellation goes down the tree, no orphans, no zombies.

use std::time::Duration;

use super::Lab;
use super::by_hand::{ByHand, ending};
use super::children;
use super::waits::{children_when, failing, gated, leaf};
use crate::core::id::{Local, TaskId};
use crate::store::{Event, NewChild, NewTask, Policy, Refusal, Unit};
use crate::testing::Probe;
use crate::{JoinSet, Reason, Result, State, Status, TaskState, step, task};

#[task(retries = 0)]
async fn tree(depth: u64, width: u64) -> Result<u64> {
    if depth == 0 {
        return Ok(crate::spawn(gated(0)).await?.await?);
    }
    let mut set = JoinSet::new();
    for _ in 0..width {
        set.spawn(tree(depth - 1, width)).await?;
    }
    Ok(set.join_all().await?.iter().sum())
}

async fn counts_when(lab: &Lab, job: &crate::JobHandle<u64>, spawned: u64) -> crate::Counts {
    for _ in 0..10_000 {
        let counts = job.view().await.unwrap().counts;
        if counts.spawned() >= spawned && counts.pending == 0 {
            return counts;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{:#?} {:#?}", job.view().await, children(lab, job.id()).await)
}

/// Cancelling a job ends everything below it.
pub async fn g08_cancellation_goes_down_the_tree(lab: Lab) {
    let worker = lab.worker().register(tree).register(gated).concurrency(100);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(tree(3, 3)).await.unwrap();
    counts_when(&lab, &job, 67).await;
    assert!(job.cancel().await.unwrap());
    let counts = job.view().await.unwrap().counts;
    assert_eq!((counts.cancelled, counts.spawned()), (67, 67));
    assert_eq!(job.status().await.unwrap(), Status::Cancelled);
    let error = job.outcome().await.unwrap_err();
    assert_eq!(error.failure().unwrap().reason, Reason::Cancelled);
    assert!(!job.cancel().await.unwrap(), "it had ended");
    lab.close([worker]).await;
}

#[task]
async fn attentive(State(probe): State<Probe>) -> Result<()> {
    let token = crate::cancelled()?;
    probe.hit("attentive");
    token.cancelled().await;
    probe.hit("saw it");
    probe.pass("cleaning up").await;
    probe.hit("cleaned up");
    // No further answer: the body is dropped here.
    step("too late", || async {
        probe.hit("too late");
        Ok(())
    })
    .await?;
    probe.hit("went on");
    Ok(())
}

/// A running body sees `cancelled()`, may clean up by plain I/O, and gets no further answer.
pub async fn g08_a_body_sees_its_cancellation(lab: Lab) {
    let worker = lab.worker().register(attentive).concurrency(1).start().await.unwrap();
    let job = lab.homing.submit(attentive()).await.unwrap();
    lab.probe.hits("attentive", 1).await;
    job.cancel().await.unwrap();
    lab.probe.hits("saw it", 1).await;
    lab.probe.open("cleaning up");
    lab.probe.hits("cleaned up", 1).await;
    // The slot comes free.
    let next = lab.homing.submit(attentive()).await.unwrap();
    lab.probe.hits("attentive", 2).await;
    next.cancel().await.unwrap();
    assert_eq!(lab.probe.count("went on"), 0);
    lab.close([worker]).await;
}

/// The first terminal write wins, whichever it is.
pub async fn g08_the_first_terminal_write_wins(lab: Lab) {
    let job = lab.homing.submit(leaf(1)).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let claimed = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    assert!(job.cancel().await.unwrap());
    let reply = worker.exchange(&["leaf"], vec![ending(claimed.task, claimed.token, "1")]).await;
    assert_eq!(reply.refused, [(claimed.task, Refusal::Lost)]);
    assert_eq!(reply.cancelled, [(claimed.task, claimed.token)]);
    assert_eq!(job.status().await.unwrap(), Status::Cancelled);
    let job = lab.homing.submit(leaf(2)).await.unwrap();
    let claimed = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    worker.exchange(&["leaf"], vec![ending(claimed.task, claimed.token, "2")]).await;
    assert!(!job.cancel().await.unwrap());
    assert_eq!(job.outcome().await.unwrap(), 2);
    lab.store().kill(worker.worker);
    lab.close([]).await;
}

/// A cancellation told in a reply that is lost is told again, until a reply has arrived; then no more.
pub async fn g08_a_lost_reply_loses_no_cancellation(lab: Lab) {
    let job = lab.homing.submit(leaf(1)).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let claimed = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    assert!(job.cancel().await.unwrap());
    let told = [(claimed.task, claimed.token)];
    let arrived = worker.acknowledged;
    assert_eq!(worker.exchange(&[], Vec::new()).await.cancelled, told);
    worker.acknowledged = arrived;
    assert_eq!(worker.exchange(&[], Vec::new()).await.cancelled, told, "the reply was lost");
    assert!(worker.exchange(&[], Vec::new()).await.cancelled.is_empty(), "the reply arrived");
    lab.store().kill(worker.worker);
    lab.close([]).await;
}

#[task]
async fn hasty(State(probe): State<Probe>) -> Result<u64> {
    crate::spawn(gated(0)).await?;
    let mut set = JoinSet::new();
    set.spawn(gated(1)).await?;
    probe.hit("returned");
    Ok(7)
}

/// A task ends after its children, though it awaited none of them.
pub async fn g09_a_task_ends_after_its_children(lab: Lab) {
    let worker = lab.worker().register(hasty).register(gated).start().await.unwrap();
    let job = lab.homing.submit(hasty()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 0");
    lab.probe.hits("ended", 1).await;
    assert!(!lab.homing.task(job.id()).await.unwrap().state.is_ended());
    lab.probe.open("gate 1");
    assert_eq!(job.outcome().await.unwrap(), 7);
    assert_eq!(lab.probe.count("returned"), 1, "the value is stored, the body does not run again");
    lab.close([worker]).await;
}

/// What the body returned is kept over a crash during the closing join.
pub async fn a_returned_value_is_kept(lab: Lab) {
    let start = || lab.worker().register(hasty).register(gated).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(hasty()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = start().await.unwrap();
    lab.probe.open("gate 0");
    lab.probe.open("gate 1");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 7);
    assert_eq!(lab.probe.count("returned"), 1);
    lab.close([second]).await;
}

#[task]
async fn careless() -> Result<u64> {
    crate::spawn(failing(3)).await?;
    Ok(7)
}

/// A child that nobody awaited fails the task at its closing join.
pub async fn g09_a_failed_child_fails_the_closing_join(lab: Lab) {
    let worker = lab.worker().register(careless).register(failing).start().await.unwrap();
    let job = lab.homing.submit(careless()).await.unwrap();
    let error = job.outcome().await.unwrap_err();
    assert!(error.to_string().contains("no 3"), "{error}");
    assert_eq!(lab.homing.task(job.id()).await.unwrap().attempt, 1, "it is final");
    lab.close([worker]).await;
}

#[task]
async fn giving_up(retry: bool) -> Result<u64> {
    crate::spawn(gated(0)).await?;
    step("there", || async { Ok(()) }).await?;
    let error = crate::Error::msg("I give up");
    Err(if retry { error.retry_after(Duration::from_mins(1)) } else { error.fatal() })
}

/// A final failure aborts the children.
pub async fn g09_failure_aborts_the_rest(lab: Lab) {
    let worker = lab.worker().register(giving_up).register(gated).start().await.unwrap();
    let job = lab.homing.submit(giving_up(false)).await.unwrap();
    job.outcome().await.unwrap_err();
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    let child = lab.reaches(child.id, TaskState::Cancelled).await;
    assert!(child.failure.unwrap().message.contains("its parent had ended"));
    lab.close([worker]).await;
}

/// A failed attempt that will be retried aborts nothing.
pub async fn g09_a_retry_aborts_nothing(lab: Lab) {
    let worker = lab.worker().register(giving_up).register(gated).start().await.unwrap();
    let job = lab.homing.submit(giving_up(true)).await.unwrap();
    let view = lab.observe(job.id(), "retrying", |view| view.attempt == 2).await;
    assert_eq!((view.state, view.failures), (TaskState::Pending, 1));
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    assert!(!child.state.is_ended());
    lab.probe.open("gate 0");
    lab.reaches(child.id, TaskState::Succeeded).await;
    job.cancel().await.unwrap();
    lab.close([worker]).await;
}

/// A spawn that races a cancellation does not survive it: the ended task refuses it.
pub async fn g09_a_late_spawn_does_not_survive(lab: Lab) {
    let job = lab.homing.submit(leaf(1)).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let claimed = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    job.cancel().await.unwrap();
    let set = Local([7; 16]).set();
    let task = NewTask {
        kind: "leaf".to_owned(),
        arguments: "{}".to_owned(),
        hash: [0; 16],
        queue: "default".to_owned(),
        priority: 0,
        due: None,
        expires: None,
        deadline: None,
        policy: Policy::default(),
        tags: Vec::new(),
    };
    let local = set.numbered(0);
    let spawn = Event::Spawn(Box::new(NewChild { local, set, number: 0, task }));
    let unit = Unit { task: claimed.task, token: claimed.token, renew: false, events: vec![spawn] };
    let reply = worker.exchange(&["leaf"], vec![unit]).await;
    assert_eq!(reply.refused, [(claimed.task, Refusal::Lost)]);
    assert!(lab.store().task(TaskId { job: job.id(), local }).await.unwrap().is_none());
    lab.store().kill(worker.worker);
    lab.close([]).await;
}

#[task]
async fn aborting() -> Result<u64> {
    let mut set = JoinSet::new();
    set.spawn(gated(0)).await?;
    let handle = set.spawn(gated(1)).await?;
    set.spawn(leaf(2)).await?;
    handle.abort();
    let bare = crate::spawn(gated(3)).await?;
    bare.abort();
    assert!(matches!(bare.await, Err(crate::JoinError::Aborted { .. })));
    crate::signal::<()>("go").await?;
    Ok(set.join_all().await?.iter().sum())
}

/// A child that its own parent aborted counts as no loss.
pub async fn aborted_children_are_no_losses(lab: Lab) {
    let worker = lab.worker().register(aborting).register(gated).register(leaf);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(aborting()).await.unwrap();
    job.signal("go", &()).await.unwrap();
    lab.probe.open("gate 0");
    assert_eq!(job.outcome().await.unwrap(), 2);
    assert_eq!(job.status().await.unwrap(), Status::Completed);
    lab.close([worker]).await;
}

#[task]
async fn restarting(State(probe): State<Probe>) -> Result<u64> {
    let mut set = JoinSet::new();
    set.spawn(gated(0)).await?;
    set.spawn(gated(1)).await?;
    set.abort_all();
    set.spawn(gated(2)).await?;
    step("again", || async { Ok(()) }).await?;
    probe.hit("again");
    Ok(set.join_all().await?.iter().sum())
}

#[task]
async fn placed_and_aborted() -> Result<Vec<u64>> {
    let mut set = JoinSet::new();
    set.spawn(gated(0).at("first try")).await?;
    set.abort_all();
    set.spawn(leaf(1)).await?;
    set.spawn(leaf(2).at("second try")).await?;
    set.spawn(leaf(3)).await?;
    crate::signal::<()>("go").await?;
    Ok(set.join_all().await?)
}

/// `abort_all` spares what is spawned after it where children have places of their own: their numbers and
/// those in the keys of the others are then different ones, and once PostgreSQL took one for the other.
pub async fn abort_spares_children_after_placed_ones(lab: Lab) {
    let job = lab.homing.submit(placed_and_aborted()).await.unwrap();
    let first = lab.worker().register(placed_and_aborted).start().await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    // One transaction cancels all that are to be cancelled.
    let first_child = super::waits::children_when(&lab, job.id().root(), 4).await.remove(0).id;
    lab.reaches(first_child, TaskState::Cancelled).await;
    let states = super::children(&lab, job.id()).await.into_iter().map(|child| child.state);
    let pending = TaskState::Pending;
    let wanted = [TaskState::Cancelled, pending, pending, pending];
    assert_eq!(states.collect::<Vec<_>>(), wanted);
    let second = lab.worker().register(leaf).start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), [1, 2, 3]);
    lab.close([first, second]).await;
}

/// `abort_all` spares what is spawned after it, on a replay too.
pub async fn abort_spares_later_children(lab: Lab) {
    let start = || lab.worker().register(restarting).register(gated).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(restarting()).await.unwrap();
    lab.probe.hits("again", 1).await;
    first.kill().await;
    let second = start().await.unwrap();
    lab.probe.open("gate 2");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 2);
    let counts = job.view().await.unwrap().counts;
    assert_eq!((counts.cancelled, counts.succeeded), (2, 2));
    lab.close([second]).await;
}
