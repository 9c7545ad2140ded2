//! Failures can be seen: in the program's log, and in the job's.

use std::time::Duration;

use super::Lab;
use super::waits::gated;
use crate::testing::{Probe, capture};
use crate::{Error, Result, State, TaskState, limits, task};

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

/// What a dead worker held is told of when it is taken back, and the crash that is too many as a failure.
pub async fn crashes_are_told(lab: Lab) {
    capture::install();
    let start = || lab.worker().register(gated).max_crashes(2).start();
    let mut worker = start().await.unwrap();
    let job = lab.homing.submit(gated(1)).await.unwrap();
    let task = job.id().to_string();
    for crashes in 1..=2 {
        let id = worker.id();
        let held = lab.observe(job.id(), "held", |view| view.worker == Some(id));
        lab.turning(held).await;
        let dead = id.to_string();
        worker.kill().await;
        worker = start().await.unwrap();
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
    lab.close([worker]).await;
}

#[task]
async fn late() -> Result<()> {
    Ok(())
}

/// A task that nobody ran in time is an error of the program's log too.
pub async fn lateness_is_told(lab: Lab) {
    capture::install();
    let call = late().queue("nobody").expires(Duration::from_secs(1));
    let job = lab.homing.submit(call).await.unwrap();
    lab.advance(Duration::from_secs(2)).await;
    while lab.store().sweep(limits::MAX_CRASHES).await.unwrap() {}
    lab.reaches(job.id(), TaskState::Failed).await;
    let told = capture::until(&job.id().to_string(), "the task failed", 1).await;
    assert_eq!(told[0].fields.get("reason").map(String::as_str), Some("expired"));
    lab.close([]).await;
}
