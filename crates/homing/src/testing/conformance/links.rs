//! What follows the end of a call: recorded with it, exactly once, whatever ends it.

use std::time::Duration;

use super::Lab;
use super::canvas::{add, sum, with_all};
use super::waits::{children_when, failing, gated};
use crate::testing::Probe;
use crate::{
    Call, Failure, JobFilter, JobHandle, JobView, JoinSet, Link, Reason, Result, State, TaskState,
    WorkerBuilder, chain, chord, group, task,
};

/// Notes a failure.
#[task]
async fn told(failure: Failure, whom: String, State(probe): State<Probe>) -> Result<()> {
    let Failure { kind, reason, message, .. } = failure;
    probe.note(format!("{whom}: {kind} {reason:?}: {message}"));
    probe.hit("told");
    Ok(())
}

/// Notes a value.
#[task]
async fn kept(value: i64, State(probe): State<Probe>) -> Result<()> {
    probe.note(format!("kept {value}"));
    probe.hit("kept");
    Ok(())
}

/// Notes that it ran.
#[task]
async fn done(State(probe): State<Probe>) -> Result<()> {
    probe.hit("done");
    Ok(())
}

#[task(retries = 0)]
async fn panicking() -> Result<i64> {
    panic!("oh")
}

#[task(retries = 0)]
async fn waiting() -> Result<i64> {
    Ok(crate::signal::<i64>("go").await?)
}

fn with_all_of_them(lab: &Lab) -> WorkerBuilder {
    let builder = with_all(lab.worker()).register(told).register(kept).register(done);
    builder.register(failing).register(gated).register(panicking).register(waiting)
}

/// The jobs of a kind, once there are so many and all have ended.
async fn followers(lab: &Lab, kind: &str, count: usize) -> Vec<JobView> {
    for _ in 0..7_000 {
        let filter = JobFilter { kind: Some(kind.to_owned()), ..JobFilter::default() };
        let jobs = lab.homing.jobs(filter).await.unwrap();
        if jobs.len() >= count && jobs.iter().all(|job| job.status.is_ended()) {
            assert_eq!(jobs.len(), count, "{jobs:#?}");
            return jobs;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let jobs = lab.homing.jobs(JobFilter::default()).await;
    panic!("there are not {count} jobs of `{kind}`: {:#?} {jobs:#?}", lab.probe.notes());
}

/// A call's errback tells of its failure, once, however the body or the runtime ends it.
pub async fn canvas_a_failure_is_followed(lab: Lab) {
    let worker = with_all_of_them(&lab).start().await.unwrap();
    let homing = &lab.homing;
    let whom = |name: &str| told::with(name.to_owned());
    let job = homing.submit(failing(1).on_failure(whom("single"))).await.unwrap();
    let error = job.outcome().await.unwrap_err();
    // The link adds nothing of its own.
    let failure = error.failure().unwrap().clone();
    assert_eq!((failure.kind.as_str(), failure.message.as_str()), ("failing", "no 1"));
    let follower = followers(&lab, "told", 1).await.remove(0);
    assert_eq!(follower.origin, Some(job.id().root()));
    let links = chain(add(1, 1)).then(panicking()).then(add::with(1)).call();
    homing.submit(links.on_failure(whom("chain"))).await.unwrap().outcome().await.unwrap_err();
    let header = [add(1, 1).any(), panicking().any()];
    let call = chord(header, sum::with()).on_failure(whom("chord")).on_failure(done());
    homing.submit(call).await.unwrap().outcome().await.unwrap_err();
    let call = add(1, 1).on_failure(whom("nobody")).on_success(kept::with()).on_success(done());
    assert_eq!(homing.submit(call).await.unwrap().outcome().await.unwrap(), 2);
    followers(&lab, "told", 3).await;
    followers(&lab, "done", 2).await;
    followers(&lab, "kept", 1).await;
    let mut notes = lab.probe.notes();
    notes.sort_unstable();
    let expected = [
        "chain: panicking Panic: oh",
        "chord: panicking Panic: oh",
        "kept 2",
        "single: failing Error: no 1",
    ];
    assert_eq!(notes, expected);
    lab.close([worker]).await;
}

/// A call that waits, with an errback, and what is below it.
fn guarded(name: &str) -> Call<Link<i64>> {
    waiting().on_failure(told::with(name.to_owned()))
}

async fn begun(lab: &Lab, job: &JobHandle<i64>) -> crate::TaskView {
    let child = children_when(lab, job.id().root(), 1).await.remove(0);
    lab.reaches(child.id, TaskState::Waiting).await
}

/// A cancelled call is followed: its job before it ran and while it waits, and the call alone.
pub async fn canvas_a_cancellation_is_followed(lab: Lab) {
    let homing = &lab.homing;
    let unborn = homing.submit(guarded("unborn")).await.unwrap();
    unborn.cancel().await.unwrap();
    let worker = with_all_of_them(&lab).start().await.unwrap();
    let job = homing.submit(guarded("job")).await.unwrap();
    begun(&lab, &job).await;
    assert!(job.cancel().await.unwrap());
    assert!(!job.cancel().await.unwrap());
    let other = homing.submit(guarded("child")).await.unwrap();
    let child = begun(&lab, &other).await;
    homing.cancel(child.id).await.unwrap();
    let error = other.outcome().await.unwrap_err();
    assert_eq!(error.failure().unwrap().reason, Reason::Cancelled);
    followers(&lab, "told", 3).await;
    let mut notes = lab.probe.notes();
    notes.sort_unstable();
    for (note, name) in notes.iter().zip(["child", "job", "unborn"]) {
        assert!(note.starts_with(&format!("{name}: waiting Cancelled: ")), "{note}");
    }
    lab.close([worker]).await;
}

/// A call past its expiry, its own deadline, or the deadline of the whole is followed.
pub async fn canvas_lateness_is_followed(lab: Lab) {
    let hour = Duration::from_hours(1);
    let homing = &lab.homing;
    let expiring = waiting().expires(hour).queue("nowhere");
    let expiring = expiring.on_failure(told::with("expired".to_owned())).queue("default");
    let own = waiting().deadline(hour).on_failure(told::with("own".to_owned()));
    let whole = guarded("whole").deadline(hour);
    let worker = with_all_of_them(&lab).start().await.unwrap();
    let jobs = [
        homing.submit(expiring).await.unwrap(),
        homing.submit(own).await.unwrap(),
        homing.submit(whole).await.unwrap(),
    ];
    for job in &jobs {
        children_when(&lab, job.id().root(), 1).await;
    }
    begun(&lab, &jobs[2]).await;
    lab.advance(hour + Duration::from_secs(1)).await;
    for job in jobs {
        job.outcome().await.unwrap_err();
    }
    followers(&lab, "told", 3).await;
    let mut notes = lab.probe.notes();
    notes.sort_unstable();
    assert!(notes[0].starts_with("expired: waiting Expired: "), "{notes:?}");
    assert!(notes[1].starts_with("own: waiting Deadline: "), "{notes:?}");
    assert!(notes[2].starts_with("whole: waiting Deadline: "), "{notes:?}");
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn falling(how: String) -> Result<i64> {
    let mut set = JoinSet::new();
    set.spawn(guarded(&how)).await?;
    if how == "aborted" {
        set.abort_all();
        crate::step("aborted", || async { Ok(()) }).await?;
        return Ok(0);
    }
    crate::signal::<()>("fall").await?;
    Err(crate::Error::msg("fell"))
}

/// A call is followed that its parent aborts, or that goes down with its parent or with a sibling.
pub async fn canvas_a_fall_from_above_is_followed(lab: Lab) {
    let worker = with_all_of_them(&lab).register(falling).start().await.unwrap();
    let homing = &lab.homing;
    let job = homing.submit(falling("aborted".to_owned())).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 0);
    followers(&lab, "told", 1).await;
    let job = homing.submit(falling("parent".to_owned())).await.unwrap();
    begun(&lab, &job).await;
    homing.signal(job.id(), "fall", &()).await.unwrap();
    job.outcome().await.unwrap_err();
    followers(&lab, "told", 2).await;
    // One failure takes all down, and each is told of.
    let each = |n: u64| gated(n).on_failure(told::with(format!("{n}"))).any();
    let broken = failing(7).on_failure(told::with("broken".to_owned())).any();
    let members = (0..20).map(each).chain([broken]);
    let job = homing.submit(group(members)).await.unwrap();
    job.outcome().await.unwrap_err();
    followers(&lab, "told", 23).await;
    let mut names: Vec<_> = lab
        .probe
        .notes()
        .iter()
        .filter_map(|note| Some(note.split_once(':')?.0.to_owned()))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 23);
    lab.close([worker]).await;
}

/// After a retry a further failure is followed anew, and a success by what follows a success.
pub async fn canvas_each_life_is_followed(lab: Lab) {
    let worker = with_all_of_them(&lab).start().await.unwrap();
    let call = waiting().on_failure(told::with("life".to_owned())).on_success(kept::with());
    let job = lab.homing.submit(call).await.unwrap();
    for life in 1..=2 {
        let child = begun(&lab, &job).await;
        lab.homing.cancel(child.id).await.unwrap();
        job.outcome().await.unwrap_err();
        followers(&lab, "told", life).await;
        job.retry().await.unwrap();
    }
    let child = begun(&lab, &job).await;
    lab.homing.signal(child.id, "go", &5).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 5);
    followers(&lab, "kept", 1).await;
    followers(&lab, "told", 2).await;
    lab.close([worker]).await;
}

/// A link follows a value like any other call, on a worker that forgets.
pub async fn canvas_links_follow_values(lab: Lab) {
    let worker = with_all_of_them(&lab).start().await.unwrap();
    let link = add::with(1).on_success(kept::with()).on_failure(told::with("nobody".to_owned()));
    let links = [link.clone(), link];
    let call = chain(add(1, 1)).then(group(links)).then(sum::with()).call();
    let job = lab.homing.submit(call.on_success(kept::with())).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 6);
    followers(&lab, "kept", 3).await;
    let mut notes = lab.probe.notes();
    notes.sort_unstable();
    assert_eq!(notes, ["kept 3", "kept 3", "kept 6"]);
    lab.close([worker]).await;
}

/// A task as the bridge to Celery has them: it says itself what follows its end without success.
#[task(kind = "homing.celery.conformance", retries = 0)]
async fn bridged(fails: bool, on_failure: serde_json::Value) -> Result<i64> {
    if fails {
        return Err(crate::Error::msg("it failed").fatal());
    }
    drop(on_failure);
    Ok(crate::signal::<i64>("go").await?)
}

/// Waits until it may abort its child.
#[task(retries = 0)]
async fn aborting(child: Call<bridged>) -> Result<()> {
    let child = crate::spawn(child).await?;
    crate::signal::<bool>("abort").await?;
    child.abort();
    Ok(())
}

fn bridged_call(name: &str, fails: bool) -> Call<bridged> {
    bridged(fails, serde_json::to_value(told::with(name.to_owned())).unwrap())
}

/// Tasks of the bridge to Celery are followed without a link around them: cancelled before they ran, while they wait
/// and from above, aborted by their parents, or failed; not if they succeed.
pub async fn canvas_tasks_of_the_bridge_are_followed(lab: Lab) {
    let homing = &lab.homing;
    let unborn = homing.submit(bridged_call("unborn", false)).await.unwrap();
    assert!(unborn.cancel().await.unwrap());
    let worker = with_all_of_them(&lab).register(bridged).register(aborting);
    let worker = worker.start().await.unwrap();
    let waiting = homing.submit(bridged_call("waiting", false)).await.unwrap();
    lab.reaches(waiting.id().root(), TaskState::Waiting).await;
    assert!(waiting.cancel().await.unwrap());
    let above = homing.submit(aborting(bridged_call("fallen", false))).await.unwrap();
    let child = children_when(&lab, above.id().root(), 1).await.remove(0);
    lab.reaches(child.id, TaskState::Waiting).await;
    assert!(above.cancel().await.unwrap());
    let parent = homing.submit(aborting(bridged_call("aborted", false))).await.unwrap();
    let child = children_when(&lab, parent.id().root(), 1).await.remove(0);
    lab.reaches(child.id, TaskState::Waiting).await;
    homing.signal(parent.id(), "abort", &true).await.unwrap();
    parent.outcome().await.unwrap();
    homing.submit(bridged_call("failed", true)).await.unwrap().outcome().await.unwrap_err();
    let good = homing.submit(bridged_call("nobody", false)).await.unwrap();
    homing.signal(good.id(), "go", &7).await.unwrap();
    assert_eq!(good.outcome().await.unwrap(), 7);
    followers(&lab, "told", 5).await;
    let mut notes = lab.probe.notes();
    notes.sort_unstable();
    let kind = "homing.celery.conformance";
    for (note, (name, reason)) in notes.iter().zip([
        ("aborted", "Cancelled"),
        ("failed", "Error"),
        ("fallen", "Cancelled"),
        ("unborn", "Cancelled"),
        ("waiting", "Cancelled"),
    ]) {
        assert!(note.starts_with(&format!("{name}: {kind} {reason}: ")), "{note}");
    }
    lab.close([worker]).await;
}
