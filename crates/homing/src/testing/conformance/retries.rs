//! Retry means resume: of a task, and of a whole job.

use std::time::Duration;

use super::waits::{children_when, gated, leaf};
use super::{Lab, children};
use crate::testing::Probe;
use crate::{
    Error, FailurePolicy, JoinSet, Reason, Result, RetryResult, State, Status, TaskState, step,
    task,
};

pub(super) fn flaky(probe: &Probe, name: &str, failures: u64) -> Result<u64> {
    probe.hit(name);
    let hits = probe.count(name);
    if hits <= failures { Err(Error::msg(format!("{name} failed {hits}"))) } else { Ok(hits) }
}

#[task(retries = 2, backoff = "10s")]
async fn resuming(State(probe): State<Probe>) -> Result<u64> {
    let first = step("first", || async { flaky(&probe, "first", 0) }).await?;
    crate::spawn(leaf(1)).await?;
    flaky(&probe, "plain", 2)?;
    step("second", || async { flaky(&probe, "second", 0) }).await?;
    Ok(first)
}

/// Steps and children stay; only what failed runs again, after the backoff.
pub async fn retry_means_resume(lab: Lab) {
    let worker = lab.worker().register(resuming).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(resuming()).await.unwrap();
    for attempt in 2..=3 {
        let view = lab.observe(job.id(), "retrying", |view| view.attempt == attempt).await;
        assert!(view.reason.unwrap().contains(&format!("plain failed {}", attempt - 1)));
        lab.advance(Duration::from_secs(10)).await;
    }
    assert_eq!(job.outcome().await.unwrap(), 1);
    assert_eq!((lab.probe.count("first"), lab.probe.count("plain")), (1, 3));
    assert_eq!(children(&lab, job.id()).await.len(), 1);
    lab.close([worker]).await;
}

#[task(retries = 1, backoff = "1s", max_attempts = 8)]
async fn progressing(State(probe): State<Probe>) -> Result<u64> {
    for n in 0..10 {
        step("page", || async { flaky(&probe, &format!("page {n}"), 1) }).await?;
    }
    Ok(0)
}

/// Whatever is newly recorded renews the budget; `max_attempts` caps it all the same.
pub async fn budgets_are_renewed_by_progress(lab: Lab) {
    let worker = lab.worker().register(progressing).start().await.unwrap();
    let job = lab.homing.submit(progressing()).await.unwrap();
    for attempt in 2..=8 {
        lab.observe(job.id(), "retrying", |view| view.attempt == attempt).await;
        lab.advance(Duration::from_secs(1)).await;
    }
    let failure = *job.outcome().await.unwrap_err().failure().cloned().map(Box::new).unwrap();
    assert_eq!(failure.attempt, 8, "one retry in a row, seven in all");
    assert_eq!(failure.message, "page 7 failed 1");
    lab.close([worker]).await;
}

#[task]
async fn fatal(State(probe): State<Probe>) -> Result<u64> {
    flaky(&probe, "fatal", 1).fatal()
}

/// `.fatal()` is not retried.
pub async fn fatal_errors_are_final(lab: Lab) {
    let worker = lab.worker().register(fatal).start().await.unwrap();
    let job = lab.homing.submit(fatal()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap_err().failure().unwrap().attempt, 1);
    assert_eq!(lab.probe.count("fatal"), 1);
    lab.close([worker]).await;
}

#[task]
async fn patient(State(probe): State<Probe>) -> Result<u64> {
    flaky(&probe, "patient", 1).retry_after(Duration::from_secs(77))
}

/// `.retry_after(d)` chooses when.
pub async fn retry_after_chooses_when(lab: Lab) {
    let worker = lab.worker().register(patient).start().await.unwrap();
    let job = lab.homing.submit(patient()).await.unwrap();
    let view = lab.observe(job.id(), "retrying", |view| view.attempt == 2).await;
    assert_eq!(view.due.since(lab.store().clock().now()), Duration::from_secs(77));
    lab.advance(Duration::from_secs(77)).await;
    assert_eq!(job.outcome().await.unwrap(), 2);
    lab.close([worker]).await;
}

#[task(retries = 1, backoff = "1s")]
async fn panicking(State(probe): State<Probe>) -> Result<u64> {
    flaky(&probe, "panicking", 0)?;
    panic!("ouch {}", probe.count("panicking"));
}

/// A panic is a failure with its message, never a dead worker.
pub async fn panics_are_failures(lab: Lab) {
    let worker = lab.worker().register(panicking).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(panicking()).await.unwrap();
    lab.observe(job.id(), "retrying", |view| view.attempt == 2).await;
    lab.advance(Duration::from_secs(1)).await;
    let failure = job.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert_eq!((failure.reason, failure.message.as_str()), (Reason::Panic, "ouch 2"));
    assert_eq!(lab.homing.submit(leaf(1)).await.unwrap().outcome().await.unwrap(), 1);
    lab.close([worker]).await;
}

#[task(retries = 0)]
pub(super) async fn fragile(n: u64, State(probe): State<Probe>) -> Result<u64> {
    flaky(&probe, &format!("fragile {n}"), u64::from(n == 1))
}

#[derive(Debug, thiserror::Error)]
#[error("the import failed")]
struct ImportFailed(#[source] crate::JoinError);

#[task(retries = 5)]
async fn importing(State(probe): State<Probe>) -> Result<u64> {
    step("prepare", || async { flaky(&probe, "prepare", 0) }).await?;
    let mut set = JoinSet::new();
    for n in 0..3 {
        set.spawn(fragile(n)).await?;
    }
    let all = set.join_all().await.map_err(ImportFailed)?;
    Ok(all.len() as u64)
}

/// A body that returns a child's failure, found along the source chain, has failed for good.
pub async fn a_childs_failure_is_final(lab: Lab) {
    let worker = lab.worker().register(importing).register(fragile).start().await.unwrap();
    let job = lab.homing.submit(importing()).await.unwrap();
    let failure = job.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert_eq!((failure.attempt, failure.message.as_str()), (1, "the import failed"));
    assert!(failure.sources[0].contains("fragile 1 failed 1"), "{failure:?}");
    lab.close([worker]).await;
}

/// A job's retry runs only what failed: steps and successes stay.
pub async fn job_retry_runs_only_what_failed(lab: Lab) {
    let worker = lab.worker().register(importing).register(fragile).concurrency(1);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(importing()).await.unwrap();
    job.outcome().await.unwrap_err();
    assert_eq!(job.status().await.unwrap(), Status::Failed);
    let preview = job.retry_preview().await.unwrap();
    assert_eq!(job.status().await.unwrap(), Status::Failed, "a preview changes nothing");
    let retried = job.retry().await.unwrap();
    assert_eq!(retried, preview);
    // The root, what failed, and what was aborted before it had run.
    assert!((2..=3).contains(&retried.reopened), "{retried:?}");
    assert_eq!((retried.taken_back, retried.removed), (1, 0), "{retried:?}");
    assert_eq!(retried.tasks[0], job.id().root());
    assert_eq!(job.outcome().await.unwrap(), 3);
    assert_eq!(job.status().await.unwrap(), Status::Completed);
    assert_eq!(lab.probe.count("prepare"), 1);
    assert_eq!(lab.probe.count("fragile 0"), 1, "what succeeded does not run again");
    assert_eq!(lab.probe.count("fragile 1"), 2);
    let again = job.retry().await.unwrap_err();
    assert!(matches!(again, crate::RetryError::Succeeded { .. }), "{again:?}");
    lab.close([worker]).await;
}

#[task]
async fn punctual() -> Result<u64> {
    Ok(crate::spawn(gated(0)).await?.timeout(Duration::from_secs(5)).await?)
}

/// A timeout that brought a task down is taken back; the child aborted with it runs again.
pub async fn job_retry_takes_back_a_timeout(lab: Lab) {
    let worker = lab.worker().register(punctual).register(gated).start().await.unwrap();
    let job = lab.homing.submit(punctual()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_secs(5)).await;
    assert!(job.outcome().await.unwrap_err().to_string().contains("timed out"));
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    lab.reaches(child.id, TaskState::Cancelled).await;
    lab.probe.open("gate 0");
    job.retry().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 0);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn nested(State(probe): State<Probe>) -> Result<u64> {
    let sum = crate::spawn(gated(7)).await?.await?;
    flaky(&probe, "nested", 0)?;
    Ok(sum)
}

#[task]
async fn aborting_by_policy() -> Result<u64> {
    let mut set = JoinSet::new();
    set.spawn(nested()).await?;
    crate::signal::<()>("go").await?;
    set.spawn(fragile(1)).await?;
    Ok(set.join_all().await?.iter().sum())
}

/// What the policy aborted is reopened, and what went down with it.
pub async fn job_retry_reopens_what_was_aborted(lab: Lab) {
    let builder = lab.worker().register(aborting_by_policy).register(nested);
    let worker = builder.register(gated).register(fragile).start().await.unwrap();
    let job = lab.homing.submit(aborting_by_policy()).await.unwrap();
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    lab.reaches(child.id, TaskState::Waiting).await;
    job.signal("go", &()).await.unwrap();
    job.outcome().await.unwrap_err();
    lab.reaches(child.id, TaskState::Cancelled).await;
    let grandchild = children_when(&lab, child.id, 1).await.remove(0);
    lab.reaches(grandchild.id, TaskState::Cancelled).await;
    lab.probe.open("gate 7");
    job.retry().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 9);
    assert_eq!(job.view().await.unwrap().counts.succeeded, 4);
    lab.close([worker]).await;
}

#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Report {
    rows: u64,
    lost: u64,
}

#[task(retries = 1, backoff = "1ms")]
async fn reckoning(State(probe): State<Probe>) -> Result<Report> {
    step("prepare", || async { flaky(&probe, "prepare", 0) }).await?;
    let mut set = JoinSet::new();
    for n in 0..3 {
        set.spawn(fragile(n)).await?;
    }
    let all = set.join_settled().await?;
    let lost = all.iter().filter(|outcome| outcome.is_err()).count() as u64;
    let report = Report { rows: 3 - lost, lost };
    let report = step("report", || async {
        probe.hit("report");
        Ok(report)
    });
    let report = report.await?;
    if report.lost > 0 { Err(Error::msg("some pages were lost")) } else { Ok(report) }
}

/// A body that caught the losses and failed by an error of its own goes back to before it was told of them. Once
/// `retry` said `true` and the recorded answers made the body fail again at once.
pub async fn job_retry_takes_back_what_a_body_was_told(lab: Lab) {
    let worker = lab.worker().register(reckoning).register(fragile).start().await.unwrap();
    let job = lab.homing.submit(reckoning()).await.unwrap();
    let failed = async || job.outcome().await.unwrap_err().to_string();
    let seen =
        lab.observe(job.id(), "failed once", |view| view.attempt == 2 || view.state.is_ended());
    seen.await;
    lab.advance(Duration::from_secs(1)).await;
    assert!(failed().await.contains("some pages were lost"));
    let retried = job.retry().await.unwrap();
    assert_eq!((retried.reopened, retried.removed), (2, 0), "{retried:?}");
    assert_eq!(retried.taken_back, 2, "the answer and the report: {retried:?}");
    assert_eq!(job.outcome().await.unwrap(), Report { rows: 3, lost: 0 });
    let counts = ["prepare", "fragile 0", "fragile 1", "report"].map(|name| lab.probe.count(name));
    assert_eq!(counts, [1, 1, 2, 2], "what came before the loss does not run again");
    lab.close([worker]).await;
}

#[task]
async fn second_stage(n: u64, State(probe): State<Probe>) -> Result<u64> {
    probe.hit(&format!("second {n}"));
    Ok(n)
}

#[task]
async fn pipelined(State(probe): State<Probe>) -> Result<Vec<u64>> {
    let (mut first, mut second) = (JoinSet::new(), JoinSet::new());
    let mut lost = 0;
    for n in [0, 1, 2] {
        let fate = first.spawn(fragile(n)).await?.await;
        let after = if fate.is_ok() { n } else { 100 + n };
        lost += u64::from(fate.is_err());
        second.spawn(second_stage(after)).await?;
    }
    let mut told = second.join_all().await?;
    told.sort_unstable();
    probe.hit("told");
    if lost > 0 { Err(Error::msg("not all went through")) } else { Ok(told) }
}

/// Children spawned on account of a loss are gone with it; those before it stay and do not run again.
pub async fn job_retry_removes_what_was_spawned_after_a_loss(lab: Lab) {
    let builder = lab.worker().register(pipelined).register(fragile).register(second_stage);
    let worker = builder.start().await.unwrap();
    let job = lab.homing.submit(pipelined().retries(0)).await.unwrap();
    job.outcome().await.unwrap_err();
    let retried = job.retry().await.unwrap();
    assert_eq!((retried.reopened, retried.removed), (2, 3), "{retried:?}");
    assert_eq!(job.outcome().await.unwrap(), [0, 1, 2]);
    let counts = ["fragile 0", "fragile 1", "second 0", "second 101", "second 1"];
    assert_eq!(counts.map(|name| lab.probe.count(name)), [1, 2, 1, 1, 1]);
    let view = job.view().await.unwrap();
    assert_eq!((view.counts.succeeded, view.status), (7, Status::Completed), "{view:?}");
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn handled(State(probe): State<Probe>) -> Result<u64> {
    let optional = crate::spawn(fragile(1)).await?.await.is_ok();
    step("costly", || async { flaky(&probe, "costly", 0) }).await?;
    let rest = crate::spawn(broken_once()).await?.await?;
    Ok(rest + u64::from(optional))
}

#[task(retries = 0)]
async fn broken_once(State(probe): State<Probe>) -> Result<u64> {
    flaky(&probe, "broken once", 1).map(|_| 10)
}

/// A body that fails by a loss goes back to that one: those it has borne before stay lost.
pub async fn job_retry_leaves_what_was_borne(lab: Lab) {
    let builder = lab.worker().register(handled).register(fragile).register(broken_once);
    let worker = builder.start().await.unwrap();
    let job = lab.homing.submit(handled()).await.unwrap();
    job.outcome().await.unwrap_err();
    let retried = job.retry().await.unwrap();
    assert_eq!((retried.reopened, retried.removed), (2, 0), "{retried:?}");
    assert_eq!(job.outcome().await.unwrap(), 10);
    let counts = ["fragile 1", "costly", "broken once"].map(|name| lab.probe.count(name));
    assert_eq!(counts, [1, 1, 2]);
    lab.close([worker]).await;
}

/// A wait for a set comes to nothing, and its body goes another way.
#[task(retries = 0)]
async fn went_on(verb: u64) -> Result<u64> {
    let mut set = JoinSet::named("tried").policy(match verb {
        2 => FailurePolicy::Tolerate { failures: 1 },
        3 => FailurePolicy::Require { successes: 1 },
        _ => FailurePolicy::FailFast,
    });
    set.spawn(always_fragile()).await?;
    if verb > 0 {
        set.spawn(always_fragile()).await?;
    }
    let lost = match verb {
        0 => set.join_first().await.is_err(),
        1 => set.join_some(2).await.is_err(),
        _ => set.join_all().await.is_err(),
    };
    let rest = crate::spawn(broken_once()).await?.await?;
    Ok(rest + u64::from(lost))
}

/// A body that was told that a wait came to nothing, went another way and fell there goes back to that other way. The
/// wait had told of none of its losses by name: they were reopened under an answer that stood.
pub async fn job_retry_leaves_what_waits_had_lost(lab: Lab) {
    for verb in 0..4 {
        let probe = Probe::default();
        let builder = lab.worker().state(probe.clone());
        let builder = builder.register(went_on).register(always_fragile).register(broken_once);
        let worker = builder.start().await.unwrap();
        let job = lab.homing.submit(went_on(verb)).await.unwrap();
        job.outcome().await.unwrap_err();
        let retried = job.retry().await.unwrap();
        assert_eq!((retried.reopened, retried.removed), (2, 0), "{verb}: {retried:?}");
        assert_eq!(job.outcome().await.unwrap(), 11, "{verb}");
        let children = 1 + u64::from(verb > 0);
        let counts = ["fragile", "broken once"].map(|name| probe.count(name));
        assert!(counts[0] <= children && counts[1] == 2, "{verb}: {counts:?}");
        worker.shutdown(Duration::from_secs(5)).await;
    }
    lab.close([]).await;
}

/// Waits for a child in one branch and for a signal in the other, and bears neither loss.
#[task(retries = 0)]
async fn branching(verb: u64, State(probe): State<Probe>) -> Result<u64> {
    let mut set = JoinSet::named("one");
    let child = set.spawn(fragile(1)).await?;
    let told = async {
        let told = match verb {
            0 => child.await.map_err(Error::from),
            1 => crate::select! {
                told = &child => told.map_err(Error::from),
                slept = crate::sleep(Duration::from_hours(9)) => Ok(slept.map(|()| 0)?),
            },
            _ => set
                .join_next()
                .await
                .transpose()
                .map(Option::unwrap_or_default)
                .map_err(Error::from),
        };
        step("told", async || flaky(&probe, &format!("told {}", told.is_ok()), 0)).await?;
        told
    };
    let wait = crate::signal::<u64>("go").timeout(Duration::from_hours(1));
    match crate::join!(told, wait) {
        (Ok(one), Ok(other)) => Ok(one + other),
        (one, other) => Err(Error::msg(format!("{} and {}", one.is_ok(), other.is_ok()))),
    }
}

/// One branch is told of a loss and the other of a timeout, in another order by each run that is replayed. Whichever comes
/// first, the retry takes back both. It left the answer that told of a child which it reopened.
pub async fn job_retry_takes_back_what_branches_were_told(lab: Lab) {
    for verb in 0..3 {
        let probe = Probe::default();
        let builder = lab.worker().state(probe.clone());
        let worker = builder.register(branching).register(fragile).start().await.unwrap();
        let job = lab.homing.submit(branching(verb)).await.unwrap();
        lab.observe(job.id(), "told", |_| probe.count("told false") == 1).await;
        lab.observe(job.id(), "waiting", |view| view.state == TaskState::Waiting).await;
        lab.advance(Duration::from_hours(1)).await;
        let failed = job.outcome().await.unwrap_err().to_string();
        assert!(failed.contains("false and false"), "{verb}: {failed}");
        let retried = job.retry().await.unwrap();
        assert_eq!((retried.reopened, retried.removed), (2, 0), "{verb}: {retried:?}");
        job.signal("go", &5).await.unwrap();
        assert_eq!(job.outcome().await.unwrap(), 7, "{verb}");
        let counts = ["told false", "told true"].map(|name| probe.count(name));
        assert_eq!(counts, [1, 1], "{verb}: what came of the loss went with it");
        worker.shutdown(Duration::from_secs(5)).await;
    }
    lab.close([]).await;
}

/// Falls however often it runs.
#[task(retries = 0)]
async fn always_fragile(State(probe): State<Probe>) -> Result<u64> {
    flaky(&probe, "fragile", u64::MAX)
}

/// A key that another open job holds is not taken from it, whoever comes first. Once the retry made a second
/// open job under it.
pub async fn job_retry_leaves_a_taken_key(lab: Lab) {
    let worker = lab.worker().register(fragile).register(gated).start().await.unwrap();
    let first = lab.homing.submit(fragile(1)).key("the key").await.unwrap();
    first.outcome().await.unwrap_err();
    let second = lab.homing.submit(gated(1)).key("the key").await.unwrap();
    for refused in [first.retry_preview().await, first.retry().await] {
        let taken = refused.unwrap_err();
        let crate::RetryError::KeyTaken { holder, .. } = taken else { panic!("{taken:?}") };
        assert_eq!(holder, second.id());
    }
    assert_eq!(first.status().await.unwrap(), Status::Failed);
    lab.probe.open("gate 1");
    second.ended().await.unwrap();
    lab.homing.pause("default").await.unwrap();
    for _ in 0..10 {
        let (retried, submitted) =
            tokio::join!(first.retry(), lab.homing.submit(leaf(1)).key("the key"));
        let submitted = submitted.unwrap();
        match retried {
            Ok(_) => assert_eq!(submitted.id(), first.id()),
            Err(crate::RetryError::KeyTaken { holder, .. }) => assert_eq!(submitted.id(), holder),
            Err(other) => panic!("{other:?}"),
        }
        submitted.cancel().await.unwrap();
    }
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn selecting() -> Result<u64> {
    let lost = crate::spawn(fragile(1)).await?;
    crate::select! {
        outcome = &lost => Ok(outcome?),
        slept = crate::sleep(Duration::from_hours(1)) => Ok(slept.map(|()| 0)?),
    }
}

/// A loss that an arm of `select!` told is taken back with the answer of the whole.
pub async fn job_retry_takes_back_a_select(lab: Lab) {
    let worker = lab.worker().register(selecting).register(fragile).start().await.unwrap();
    let job = lab.homing.submit(selecting()).await.unwrap();
    job.outcome().await.unwrap_err();
    let retried = job.retry().await.unwrap();
    let taken_back = "the answer, and the instant of the sleep";
    assert_eq!((retried.reopened, retried.taken_back), (2, 2), "{taken_back}: {retried:?}");
    assert_eq!(job.outcome().await.unwrap(), 2);
    lab.close([worker]).await;
}
