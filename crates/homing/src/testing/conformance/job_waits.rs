//! Waits for other jobs: `homing::job`, from outside the tree of the one that waits.

use std::time::Duration;

use super::Lab;
use super::by_hand::{ByHand, ending, task_of};
use super::waits::{failing, gated, leaf};
use crate::core::wait::{Condition, Wait};
use crate::store::{Event, NewChild, Unit};
use crate::testing::Probe;
use crate::{Homing, JobId, JoinError, Reason, Result, State, TaskState, task};

#[task]
async fn after(job: JobId, State(probe): State<Probe>) -> Result<u64> {
    let value: u64 = crate::job(job).await?;
    probe.hit("after");
    Ok(value + 1)
}

/// A task waits for another job that is open, or has ended, without a slot.
pub async fn a_job_is_waited_for(lab: Lab) {
    let worker = lab.worker().register(after).register(gated).register(leaf).concurrency(1);
    // Nobody runs yet: the task that waits is claimed first and gives its only slot back.
    let open = lab.homing.submit(gated(1)).await.unwrap();
    let waiting = lab.homing.submit(after(open.id()).priority(9)).await.unwrap();
    let second = lab.homing.submit(after(waiting.id()).priority(9)).await.unwrap();
    let worker = worker.start().await.unwrap();
    let view = lab.reaches(waiting.id(), TaskState::Waiting).await;
    assert_eq!(view.waits.len(), 1);
    let why = lab.homing.why(waiting.id()).await.unwrap();
    assert!(
        matches!(&why.because[0], crate::Because::Job { root, .. } if root.id == open.id().root())
    );
    lab.probe.open("gate 1");
    assert_eq!(second.outcome().await.unwrap(), 3);
    let ended = lab.homing.submit(after(open.id())).await.unwrap();
    assert_eq!(ended.outcome().await.unwrap(), 2);
    lab.close([worker]).await;
}

#[task]
async fn detaching_and_waiting() -> Result<u64> {
    let job = crate::detach(gated(5)).await?;
    let value: u64 = crate::job(job).await?;
    Ok(value)
}

/// Also for a job that the body has just detached.
pub async fn a_detached_job_is_waited_for(lab: Lab) {
    let worker = lab.worker().register(detaching_and_waiting).register(gated);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(detaching_and_waiting()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 5");
    assert_eq!(job.outcome().await.unwrap(), 5);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn judging(job: JobId, State(probe): State<Probe>) -> Result<String> {
    let text = match crate::job::<u64>(job).await {
        Ok(value) => format!("value {value}"),
        Err(JoinError::Failed { failure, .. }) => format!("failed: {:?}", failure.reason),
        Err(JoinError::UnknownJob { id, .. }) => format!("unknown: {}", id == job),
        Err(other) => format!("other: {other}"),
    };
    probe.hit("judged");
    crate::signal::<()>("go").await?;
    Ok(text)
}

/// Failed, cancelled, unknown: each is an error of its own, and remembered whatever becomes of the job.
pub async fn how_a_job_ended_is_remembered(lab: Lab) {
    let worker = lab.worker().register(judging).register(failing).register(gated).register(leaf);
    let worker = worker.start().await.unwrap();
    let (failed, cancelled) =
        (lab.homing.submit(failing(1)).await.unwrap(), lab.homing.submit(gated(1)).await.unwrap());
    let never = JobId::named("never submitted");
    let ids = [failed.id(), cancelled.id(), never];
    let judges = lab.homing.submit_all(ids.map(judging)).await.unwrap();
    assert!(cancelled.cancel().await.unwrap());
    lab.probe.hits("judged", 3).await;
    for judge in &judges {
        lab.reaches(judge.id(), TaskState::Waiting).await;
    }
    // What becomes of the jobs later is of no moment.
    failed.retry().await.unwrap();
    failed.outcome().await.unwrap_err();
    lab.advance(Duration::from_secs(2)).await;
    lab.homing.prune(Duration::from_secs(1)).await.unwrap();
    assert!(lab.homing.submit(leaf(1)).id(never).await.is_ok());
    let mut texts = Vec::new();
    for judge in &judges {
        assert!(judge.signal("go", &()).await.unwrap().is_sent());
        texts.push(judge.outcome().await.unwrap());
    }
    assert_eq!(texts[1..], ["failed: Cancelled", "unknown: true"]);
    assert_eq!(texts[0], "failed: Error");
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn waiting_for_its_own() -> Result<()> {
    let own = crate::id().job;
    Ok(crate::job::<()>(own).await?)
}

#[task(retries = 0)]
async fn asking_by_the_client(State(homing): State<Homing>) -> Result<()> {
    homing.job::<()>(JobId::named("x")).outcome().await?;
    Ok(())
}

/// A task that waits for its own job is refused, and so is the client's verb, with what to write.
pub async fn waits_for_jobs_say_what_to_write(lab: Lab) {
    let builder = lab.worker().register(waiting_for_its_own).register(asking_by_the_client);
    let worker = builder.state(lab.homing.clone()).start().await.unwrap();
    let own = lab.homing.submit(waiting_for_its_own()).await.unwrap();
    let failure = own.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert_eq!(failure.reason, Reason::Misuse);
    assert!(failure.message.contains("which it belongs to"), "{failure}");
    let asking = lab.homing.submit(asking_by_the_client()).await.unwrap();
    let failure = asking.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert_eq!(failure.reason, Reason::Misuse);
    assert!(failure.message.contains("`homing::job(id).await`"), "{failure}");
    let outside = crate::job::<()>(own.id()).await.unwrap_err().to_string();
    assert!(outside.starts_with("`job` was called outside a task"), "{outside}");
    lab.close([worker]).await;
}

#[task]
async fn racing(job: JobId, State(probe): State<Probe>) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    let late = crate::job::<u64>(job).timeout(Duration::from_mins(1)).await;
    seen.push(format!("timed out {}", late.is_err_and(|error| error.is_timeout())));
    probe.hit("timed out");
    let child = crate::spawn(gated(2)).await?;
    for _ in 0..2 {
        seen.push(crate::select! {
            told = crate::signal::<String>("go") => told?,
            value = crate::job::<u64>(job) => format!("job {}", value?),
        });
        probe.hit("selected");
    }
    let (value, other) = crate::join!(&child, crate::job::<u64>(job));
    seen.push(format!("{} {}", value?, other?));
    Ok(seen)
}

/// With a timeout, in `select!` and in branches.
pub async fn job_waits_weave(lab: Lab) {
    let worker = lab.worker().register(racing).register(gated).start().await.unwrap();
    let other = lab.homing.submit(gated(1)).await.unwrap();
    let job = lab.homing.submit(racing(other.id())).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_mins(1)).await;
    lab.probe.hits("timed out", 1).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert!(job.signal("go", "on").await.unwrap().is_sent());
    lab.probe.hits("selected", 1).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 1");
    lab.probe.hits("selected", 2).await;
    lab.probe.open("gate 2");
    assert_eq!(job.outcome().await.unwrap(), ["timed out true", "on", "job 1", "2 1"]);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn hoping(State(probe): State<Probe>) -> Result<u64> {
    let tries = probe.count("hoped");
    probe.hit("hoped");
    if tries == 0 { Err(crate::Error::msg("not yet")) } else { Ok(8) }
}

/// A task that a job's failure brought down asks again when it is retried by hand.
pub async fn a_retried_task_asks_again(lab: Lab) {
    let worker = lab.worker().register(after).register(hoping).start().await.unwrap();
    let other = lab.homing.submit(hoping()).await.unwrap();
    let job = lab.homing.submit(after(other.id())).await.unwrap();
    let failure = job.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert!(failure.message.contains("not yet"), "{failure}");
    assert_eq!(failure.attempt, 1, "a retry would be told the same");
    other.retry().await.unwrap();
    assert_eq!(other.outcome().await.unwrap(), 8);
    job.retry().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 9);
    lab.close([worker]).await;
}

/// Every end of a job wakes those that wait for it: a value, an error, a cancellation, a deadline, the last
/// crash of a worker.
pub async fn every_end_of_a_job_wakes(lab: Lab) {
    let builder = lab.worker().register(judging).register(gated).register(failing).register(leaf);
    let worker = builder.start().await.unwrap();
    let gates = [11, 12, 13];
    let mut ids = Vec::new();
    ids.push(lab.homing.submit(gated(gates[0])).await.unwrap().id());
    ids.push(lab.homing.submit(gated(gates[1])).await.unwrap().id());
    let deadline = gated(gates[2]).deadline(Duration::from_secs(30));
    ids.push(lab.homing.submit(deadline).await.unwrap().id());
    let expiring = leaf(1).delay(Duration::from_hours(1)).expires(Duration::from_secs(40));
    ids.push(lab.homing.submit(expiring).await.unwrap().id());
    let later = failing(1).delay(Duration::from_secs(20));
    ids.push(lab.homing.submit(later).await.unwrap().id());
    let judges = lab.homing.submit_all(ids.iter().map(|id| judging(*id))).await.unwrap();
    for judge in &judges {
        lab.reaches(judge.id(), TaskState::Waiting).await;
    }
    lab.probe.open("gate 11");
    lab.probe.hits("judged", 1).await;
    assert!(lab.homing.cancel(ids[1]).await.unwrap());
    lab.probe.hits("judged", 2).await;
    lab.advance(Duration::from_secs(40)).await;
    lab.probe.hits("judged", 5).await;
    let mut texts = Vec::new();
    for judge in &judges {
        assert!(judge.signal("go", &()).await.unwrap().is_sent());
        texts.push(judge.outcome().await.unwrap());
    }
    let reasons = ["Cancelled", "Deadline", "Expired", "Error"].map(|why| format!("failed: {why}"));
    assert_eq!((texts[0].as_str(), &texts[1..]), ("value 11", &reasons[..]));
    lab.close([worker]).await;
}

/// Many jobs wait for one another, over two workers and in bundles: none is forgotten, none is locked out.
pub async fn many_jobs_wait_for_each_other(lab: Lab) {
    const CHAINS: u64 = 12;
    let worker = || lab.worker().register(after).register(leaf).concurrency(8);
    let workers = [worker().start().await.unwrap(), worker().start().await.unwrap()];
    let firsts = lab.homing.submit_all((0..CHAINS).map(leaf)).await.unwrap();
    let mut last: Vec<JobId> = firsts.iter().map(crate::JobHandle::id).collect();
    for _ in 0..4 {
        // Each job of a row is waited for twice.
        let calls = last.iter().flat_map(|id| [after(*id), after(*id)]);
        let row = lab.homing.submit_all(calls).await.unwrap();
        last = row.iter().map(crate::JobHandle::id).step_by(2).collect();
        if last.len() as u64 != CHAINS {
            unreachable!("a row is as long as the one before");
        }
    }
    for (n, id) in (0..).zip(last) {
        let value: u64 = lab.turning(lab.homing.job(id).outcome()).await.unwrap();
        assert_eq!(value, n + 4);
    }
    lab.close(workers).await;
}

/// A task waits for a job, or for a child. The job ends, and before anybody takes the task up the child ends, in the
/// exchange that claims the task: it is told of the job.
pub async fn a_woken_task_is_told_of_its_job(lab: Lab) {
    lab.homing.submit(leaf(1)).await.unwrap();
    let job = lab.homing.submit(gated(1)).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let parent = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    let set = parent.task.set("pages");
    let child = NewChild { local: set.numbered(0), set, number: 0, task: task_of("page") };
    let one_ended =
        Condition::Set { set, ended: Some(1), lost: None, succeeded: None, drained: false };
    let arms = vec![Condition::Job { job: job.id() }, one_ended];
    let waits = vec![Wait { place: "either".to_owned(), seq: 1, arms, members: 1 }];
    let events = vec![Event::Spawn(Box::new(child)), Event::Park { waits, resident: false }];
    let unit = |events| Unit { task: parent.task, token: parent.token, renew: false, events };
    let child = worker.exchange(&["page"], vec![unit(events)]).await.claimed.remove(0);
    assert!(lab.homing.cancel(job.id()).await.unwrap());
    lab.reaches(parent.task, TaskState::Pending).await;
    let units = vec![ending(child.task, child.token, "0")];
    let claimed = worker.exchange(&["leaf"], units).await.claimed.remove(0);
    assert_eq!((claimed.task, claimed.answers.len()), (parent.task, 1));
    assert_eq!(claimed.answers[0].arm, 0, "{:?}", claimed.answers);
    let last = worker.exchange(&[], vec![ending(claimed.task, claimed.token, "1")]).await;
    assert!(last.refused.is_empty());
    lab.close([]).await;
}
