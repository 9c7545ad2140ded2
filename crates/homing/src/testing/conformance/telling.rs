//! Failures can be seen: in the program's log, and in the job's.

use std::time::Duration;

use super::waits::{failing, gated, leaf};
use super::{Lab, children};
use crate::core::log::{Level, Line};
use crate::testing::{Probe, capture};
use crate::{Error, FindError, JobFilter, Result, State, Status, TaskState, limits, step, task};

#[task(retries = 1, backoff = "10s")]
async fn charging(State(probe): State<Probe>) -> Result<u64> {
    probe.hit("charging");
    tracing::info!(card = 7, "charged");
    Err(Error::msg(format!("the bank is closed {}", probe.count("charging"))))
}

#[task]
async fn fine() -> Result<u64> {
    Ok(1)
}

/// A failed attempt is a warning, the last one an error, each with task, kind, attempt and error; what a
/// body says itself is inside the task's span.
pub async fn failures_are_told(lab: Lab) {
    capture::install();
    let worker = lab.worker().register(charging).register(fine).start().await.unwrap();
    let job = lab.homing.submit(charging()).await.unwrap();
    let id = job.id().to_string();
    let warned = capture::until(&id, "the attempt failed and the task is tried again", 1).await;
    let field = |name: &str| warned[0].fields.get(name).map(String::as_str);
    assert_eq!((warned[0].level, warned[0].target.as_str()), (tracing::Level::WARN, "homing"));
    assert_eq!((field("kind"), field("attempt")), (Some("charging"), Some("1")));
    assert_eq!((field("reason"), field("error")), (Some("error"), Some("the bank is closed 1")));
    assert_eq!(field("retry_in"), Some("10s"));
    assert_eq!(warned[0].span.get("kind").map(String::as_str), Some("charging"));
    lab.advance(Duration::from_secs(10)).await;
    job.outcome().await.unwrap_err();
    let failed = capture::until(&id, "the task failed", 1).await;
    let field = |name: &str| failed[0].fields.get(name).map(String::as_str);
    assert_eq!(failed[0].level, tracing::Level::ERROR);
    assert_eq!((field("attempt"), field("error")), (Some("2"), Some("the bank is closed 2")));
    let own = capture::until(&id, "charged", 2).await;
    let span: Vec<_> =
        own[1].span.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let wanted =
        [("attempt", "2"), ("id", &id), ("job", &id), ("kind", "charging"), ("queue", "default")];
    assert_eq!(span, wanted);
    let good = lab.homing.submit(fine()).await.unwrap();
    good.outcome().await.unwrap();
    let told = capture::until(&good.id().to_string(), "the task succeeded", 1).await;
    assert_eq!(told[0].level, tracing::Level::DEBUG);
    lab.close([worker]).await;
}

/// What a dead worker held is told of when it is taken back, and the crash that is too many as a failure; the
/// log of the job keeps both.
pub async fn crashes_are_told(lab: Lab) {
    capture::install();
    let start = |name| lab.worker().name(name).register(gated).max_crashes(2).start();
    let mut worker = start("w0").await.unwrap();
    let job = lab.homing.submit(gated(1)).await.unwrap();
    let task = job.id().to_string();
    for crashes in 1..=2 {
        let id = worker.id();
        let held = lab.observe(job.id(), "held", |view| view.worker == Some(id));
        lab.turning(held).await;
        let dead = id.to_string();
        worker.kill().await;
        worker = start(["w1", "w2"][crashes as usize - 1]).await.unwrap();
        let message = "the task's worker is gone and the task is taken back";
        let told = lab.turning(capture::until(&task, message, crashes as usize)).await;
        let last = told.last().unwrap();
        let field = |name: &str| last.fields.get(name).map(String::as_str);
        assert_eq!(last.level, tracing::Level::WARN);
        assert_eq!((field("kind"), field("attempt")), (Some("gated"), Some("1")));
        assert_eq!(field("crashes"), Some(crashes.to_string().as_str()));
        assert_eq!(field("worker"), Some(dead.as_str()));
    }
    let failed = capture::until(&task, "the task failed", 1).await;
    assert_eq!(failed[0].fields.get("reason").map(String::as_str), Some("crashed"));
    let last = format!("attempt 1 failed: {}", crate::core::state::crashed_text(2));
    let wanted = [
        (Level::Warn, "attempt 1 crashed: its worker w0 was gone"),
        (Level::Warn, "attempt 1 crashed: its worker w1 was gone"),
        (Level::Error, last.as_str()),
    ];
    assert_eq!(told(&job.log().page().await.unwrap()), wanted);
    assert_eq!(told(&lab.homing.why(job.id()).await.unwrap().attempts), wanted);
    lab.close([worker]).await;
}

#[task]
async fn late() -> Result<()> {
    Ok(())
}

/// A task that nobody ran in time is an error of the program's log and of the job's.
pub async fn lateness_is_told(lab: Lab) {
    capture::install();
    let call = late().queue("nobody").expires(Duration::from_secs(1));
    let job = lab.homing.submit(call).await.unwrap();
    lab.advance(Duration::from_secs(2)).await;
    while lab.store().sweep(limits::MAX_CRASHES).await.unwrap() {}
    lab.reaches(job.id(), TaskState::Failed).await;
    let failed = capture::until(&job.id().to_string(), "the task failed", 1).await;
    assert_eq!(failed[0].fields.get("reason").map(String::as_str), Some("expired"));
    let late = lab.homing.submit(late().deadline(Duration::from_secs(1))).await.unwrap();
    lab.advance(Duration::from_secs(2)).await;
    while lab.store().sweep(limits::MAX_CRASHES).await.unwrap() {}
    for (job, reason) in
        [(job, "it had not started when it expired"), (late, "its deadline passed")]
    {
        let log = job.log().page().await.unwrap();
        let [(Level::Error, message)] = told(&log)[..] else { panic!("{log:#?}") };
        assert!(message.starts_with(&format!("it failed: {reason}")), "{message}");
        assert_eq!(lab.homing.failed_attempts(job.id(), 9).await.unwrap(), log);
    }
    lab.close([]).await;
}

#[task]
async fn measured(State(probe): State<Probe>) -> Result<()> {
    crate::progress(1, 4);
    probe.pass("measure").await;
    crate::progress(3, 4);
    crate::sleep(Duration::from_secs(10)).await?;
    Ok(())
}

#[task]
async fn overseeing(State(probe): State<Probe>) -> Result<()> {
    crate::spawn(measured()).await?.await?;
    crate::progress(1, 10);
    probe.pass("oversee").await;
    Ok(())
}

/// A child's own progress counts into the job's by its share, while it runs and while it waits, until the root
/// says itself how far the job is. How much there is to do still nobody knows.
pub async fn a_childs_progress_counts(lab: Lab) {
    let worker = lab.worker().register(measured).register(overseeing).start().await.unwrap();
    let job = lab.homing.submit(overseeing()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let child = children(&lab, job.id()).await.remove(0).id;
    let seen = async || {
        let view = job.view().await.unwrap();
        let listed = lab.homing.jobs(JobFilter::default()).await.unwrap();
        assert_eq!(listed[0], view);
        (view.progress, view.percent())
    };
    lab.observe(child, "measured", |view| view.progress == Some((1, 4))).await;
    assert_eq!(seen().await, (12.5, None));
    lab.probe.open("measure");
    lab.reaches(child, TaskState::Waiting).await;
    assert_eq!(seen().await, (37.5, None));
    lab.advance(Duration::from_secs(11)).await;
    lab.observe(job.id(), "told", |view| view.progress == Some((1, 10))).await;
    assert_eq!(seen().await, (10.0, Some(10.0)));
    lab.probe.open("oversee");
    job.outcome().await.unwrap();
    lab.close([worker]).await;
}

#[task(retries = 2, backoff = "1s")]
async fn unlucky(State(probe): State<Probe>) -> Result<u64> {
    crate::log!("on it");
    probe.hit("unlucky");
    match probe.count("unlucky") {
        1 => Err(Error::msg("the bank is closed")),
        2 => panic!("the bank is gone"),
        _ => Ok(1),
    }
}

/// Why each attempt failed is kept with the attempt, in the job's log, and found by the task alone.
pub async fn each_attempts_error_is_kept(lab: Lab) {
    let worker =
        lab.worker().register(unlucky).register(parting).register(failing).start().await.unwrap();
    let job = lab.homing.submit(unlucky()).await.unwrap();
    for attempt in 2..=3 {
        lab.observe(job.id(), "retrying", |view| view.attempt == attempt).await;
        lab.advance(Duration::from_secs(1)).await;
    }
    job.outcome().await.unwrap();
    let wanted = [
        (Level::Warn, "attempt 1 failed: the bank is closed"),
        (Level::Warn, "attempt 2 panicked: the bank is gone"),
    ];
    let why = lab.homing.why(job.id()).await.unwrap();
    assert_eq!(told(&why.attempts), wanted);
    assert_eq!(told(&lab.homing.failed_attempts(job.id(), 1).await.unwrap()), wanted[1..]);
    let log = job.log().page().await.unwrap();
    let own = (Level::Info, "on it");
    assert_eq!(told(&log), [own, wanted[0], own, wanted[1], own]);
    let fallen = lab.homing.submit(parting()).await.unwrap();
    fallen.ended().await.unwrap();
    let log = fallen.log().page().await.unwrap();
    let child = children(&lab, fallen.id()).await.remove(0).id;
    let last = "attempt 1 failed: no 3 (task failing ";
    assert_eq!((log[0].task, log[0].level), (child, Level::Error));
    assert_eq!((log[1].task, log[1].level), (fallen.id().root(), Level::Error));
    assert!(log[1].message.starts_with(last), "{log:?}");
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn parting() -> Result<u64> {
    Ok(crate::spawn(failing(3)).await?.await?)
}

fn told(lines: &[Line]) -> Vec<(Level, &str)> {
    lines.iter().map(|line| (line.level, line.message.as_str())).collect()
}

#[task(retries = 1, backoff = "1s")]
async fn straying(State(probe): State<Probe>) -> Result<u64> {
    probe.hit("straying");
    crate::spawn(leaf(probe.count("straying").min(2))).await?;
    step("committed", || async { Ok::<_, Error>(()) }).await?;
    Err(Error::msg("again"))
}

/// A task that stands still is told of each time, and its reason is kept once.
pub async fn standstills_are_kept_once(lab: Lab) {
    capture::install();
    let worker = lab.worker().register(straying).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(straying()).await.unwrap();
    lab.observe(job.id(), "retrying", |view| view.attempt == 2).await;
    for stalls in 1..=3 {
        lab.advance(Duration::from_secs(4)).await;
        lab.observe(job.id(), "standing still", |view| view.stalls == stalls).await;
    }
    let status = |status| JobFilter { status: Some(status), ..JobFilter::default() };
    assert_eq!(job.status().await.unwrap(), Status::Stalled);
    let stalled = lab.homing.jobs(status(Status::Stalled)).await.unwrap();
    assert_eq!(stalled.iter().map(|job| job.id).collect::<Vec<_>>(), [job.id()]);
    assert!(lab.homing.jobs(status(Status::InProgress)).await.unwrap().is_empty());
    let queues = lab.homing.queues().await.unwrap();
    assert_eq!((queues[0].stalled, queues[0].ready + queues[0].scheduled), (1, 1));
    let id = job.id().to_string();
    let warned = capture::until(&id, "the task stands still", 3).await;
    assert_eq!(warned[0].level, tracing::Level::WARN);
    assert_eq!(warned[0].fields.get("attempt").map(String::as_str), Some("2"));
    let view = serde_json::to_value(job.view().await.unwrap()).unwrap();
    let created = job.view().await.unwrap().created.rfc3339().unwrap();
    assert_eq!((&view["status"], &view["created"]), (&"stalled".into(), &created.into()));
    assert!(view["ended"].is_null());
    let kept = lab.homing.failed_attempts(job.id(), 9).await.unwrap();
    let [(Level::Warn, _), (Level::Warn, reason)] = told(&kept)[..] else { panic!("{kept:#?}") };
    assert!(reason.starts_with("it stands still: the body has drifted"), "{reason}");
    job.cancel().await.unwrap();
    assert_eq!(job.status().await.unwrap(), Status::Cancelled);
    lab.close([worker]).await;
}

#[task(retries = 2, backoff = "1s")]
async fn mending(State(probe): State<Probe>) -> Result<()> {
    probe.hit("mending");
    let run = probe.count("mending");
    let strays = run == 2 || run == 4;
    crate::spawn(leaf(if strays { 2 } else { 1 })).await?;
    step("committed", || async { Ok::<_, Error>(()) }).await?;
    if run == 1 || run == 3 {
        return Err(Error::msg("again"));
    }
    Ok(crate::signal::<()>("go").await?)
}

/// A task that fits its record again stands still no longer, also where it only fails or parks.
pub async fn a_mended_task_is_not_stalled(lab: Lab) {
    let worker = lab.worker().register(mending).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(mending()).await.unwrap();
    lab.observe(job.id(), "retrying", |view| view.attempt == 2).await;
    lab.advance(Duration::from_secs(1)).await;
    lab.observe(job.id(), "standing still", |view| view.stalls == 1).await;
    assert_eq!(job.status().await.unwrap(), Status::Stalled);
    lab.advance(Duration::from_secs(1)).await;
    let view = lab.observe(job.id(), "retrying", |view| view.attempt == 3).await;
    assert_eq!((view.stalls, job.status().await.unwrap()), (0, Status::InProgress));
    lab.advance(Duration::from_secs(1)).await;
    lab.observe(job.id(), "standing still", |view| view.stalls == 1).await;
    lab.advance(Duration::from_secs(1)).await;
    let view = lab.reaches(job.id(), TaskState::Waiting).await;
    assert_eq!((view.stalls, job.status().await.unwrap()), (0, Status::InProgress));
    job.signal("go", &()).await.unwrap();
    lab.turning(job.outcome()).await.unwrap();
    lab.close([worker]).await;
}

/// A kind that nobody has registered and a queue that nobody serves are told of, once by each worker.
pub async fn what_nobody_serves_is_told(lab: Lab) {
    capture::install();
    let worker = lab.worker().register(leaf).start().await.unwrap();
    let own = format!("of {}", worker.id());
    let another = lab.worker().register(leaf).queues([own.clone()]).start().await.unwrap();
    let misspelt = format!("{own}?");
    let no_kind = "no living worker of the queue has registered the kind, and tasks of it wait";
    let no_worker = "no living worker serves the queue, and tasks wait on it";
    for (queue, message, kind) in [(&misspelt, no_worker, "leaf"), (&own, no_kind, "late")] {
        if kind == "leaf" {
            lab.homing.submit(leaf(1).queue(queue)).await.unwrap();
        } else {
            lab.homing.submit(late().queue(queue)).await.unwrap();
            lab.homing.submit(late().queue(queue)).await.unwrap();
        }
        let told = async || loop {
            let told = capture::told("queue", queue);
            // Both workers look.
            if told.len() >= 2 {
                return told;
            }
            lab.advance(Duration::from_secs(4)).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let told = told().await;
        assert_eq!((told[0].level, told[0].message.as_str()), (tracing::Level::WARN, message));
        assert_eq!(told[0].fields.get("kind").map(String::as_str), Some(kind));
    }
    let pairs = lab.store().pending_kinds().await.unwrap();
    let pair = |queue: &str, kind: &str| (queue.to_owned(), kind.to_owned());
    assert_eq!(pairs, [pair(&own, "late"), pair(&misspelt, "leaf")]);
    lab.advance(Duration::from_mins(3)).await;
    assert_eq!(capture::told("queue", &own).len(), 2, "once by each worker");
    lab.close([worker, another]).await;
}

/// Who cancelled a task, and why, is kept with it and told to the program's log.
pub async fn a_cancellation_says_who_and_why(lab: Lab) {
    capture::install();
    let message = async |cancel: crate::Cancel<'_>, id: crate::JobId| {
        assert!(cancel.await.unwrap());
        lab.homing.task(id).await.unwrap().failure.unwrap().message
    };
    let submit = async || lab.homing.submit(late()).await.unwrap().id();
    let (id, homing) = (submit().await, &lab.homing);
    let both = homing.cancel(id).by("ada").reason("submitted\0twice");
    assert_eq!(message(both, id).await, "ada cancelled it: submitted␀twice");
    let told = capture::until(&id.to_string(), "the task was cancelled", 1).await;
    assert_eq!(told[0].level, tracing::Level::INFO);
    assert!(!homing.cancel(id).reason("late").await.unwrap(), "the first word counts");
    let failure = homing.task(id).await.unwrap().failure.unwrap();
    assert_eq!(failure.message, "ada cancelled it: submitted␀twice");
    let id = submit().await;
    let why = homing.cancel(id).reason("no more");
    assert_eq!(message(why, id).await, "somebody cancelled it: no more");
    let id = submit().await;
    assert_eq!(message(homing.cancel(id).by("ada"), id).await, "ada cancelled it");
    let id = submit().await;
    assert_eq!(message(homing.cancel(id), id).await, "somebody cancelled it");
    lab.close([]).await;
}

/// Ids are found by beginnings that only one has, and shortened to such.
pub async fn ids_are_found_by_their_beginnings(lab: Lab) {
    let worker = lab.worker().register(parting).register(failing).start().await.unwrap();
    let id = |text: &str| text.parse::<crate::JobId>().unwrap();
    let ids = [
        "01a2f9c4-0000-7000-8000-000000000001",
        "01a2f9c4-0000-7000-8000-000000000002",
        "01a2f9c4-1000-7000-8000-000000000001",
        "b0000000-0000-7000-8000-000000000001",
    ]
    .map(id);
    for id in ids {
        let job = lab.homing.submit(parting()).id(id).await.unwrap();
        job.ended().await.unwrap();
    }
    let find = async |text: &str| lab.homing.find(&text.parse().unwrap()).await;
    assert_eq!(find("b000").await.unwrap(), ids[3].root());
    assert_eq!(find("01A2f9c4-1").await.unwrap(), ids[2].root());
    assert_eq!(find("01a2f9c41").await.unwrap(), ids[2].root());
    assert_eq!(find(&ids[0].to_string()).await.unwrap(), ids[0].root());
    assert!(matches!(find("b001").await, Err(FindError::Unknown { .. })));
    let Err(FindError::Ambiguous { candidates, more: false, .. }) = find("01a2").await else {
        panic!("it is the beginning of three")
    };
    assert_eq!(candidates, [ids[0], ids[1], ids[2]].map(crate::JobId::root));
    let child = children(&lab, ids[3]).await.remove(0).id;
    let short = &child.to_string()[..ids[3].to_string().len() + 1 + 4];
    assert_eq!(find(short).await.unwrap(), child);
    let place = short.rsplit('.').next().unwrap();
    assert_eq!(find(&format!("b000.{place}")).await.unwrap(), child);
    let shortened = lab.homing.short_ids(&ids).await.unwrap();
    let whole = [ids[0], ids[1]].map(|id| id.to_string());
    assert_eq!(shortened, [&whole[0], &whole[1], "01a2f9c4-1", "b0000000"]);
    for (short, id) in shortened.iter().zip(ids) {
        assert_eq!(find(short).await.unwrap(), id.root());
    }
    lab.close([worker]).await;
}
