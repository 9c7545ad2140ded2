//! Signals over a job's retry: none is lost, none is out of turn.

use super::retries::{flaky, fragile};
use super::{Lab, children};
use crate::testing::Probe;
use crate::{Error, Result, State, TaskState, step, task};

#[task(retries = 0)]
async fn spoken_to(State(probe): State<Probe>) -> Result<u64> {
    probe.pass("spoken").await;
    flaky(&probe, "spoken to", 1)?;
    Ok(crate::signal("word").await?)
}

#[task(retries = 0)]
async fn speaks() -> Result<u64> {
    let child = crate::spawn(spoken_to()).await?;
    child.signal("word", &7u64).await?;
    step("said", async || Ok(())).await?;
    child.await.map_err(Into::into)
}

/// What a child was sent and had not taken when it fell is there when it runs again: its parent, which has it in its
/// record that it said it, says it once. The child waited for ever.
pub async fn job_retry_keeps_what_was_not_taken(lab: Lab) {
    let worker = lab.worker().register(speaks).register(spoken_to).start().await.unwrap();
    let job = lab.homing.submit(speaks()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("spoken");
    job.outcome().await.unwrap_err();
    assert_eq!(job.retry().await.unwrap().reopened, 2);
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 7);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn hears(fails: bool, State(probe): State<Probe>) -> Result<u64> {
    if fails {
        flaky(&probe, "hears", 1)?;
    }
    Ok(crate::signal("word").await?)
}

#[task(retries = 0)]
async fn speaks_to_the_fallen(fails: bool, State(probe): State<Probe>) -> Result<u64> {
    let child = crate::spawn(hears(fails)).await?;
    step("spawned", async || Ok(())).await?;
    let gate = format!("fallen {fails}");
    probe.hit(&gate);
    probe.pass(&gate).await;
    child.signal("word", &7u64).await?;
    step("said", async || Ok(())).await?;
    child.await.map_err(Into::into)
}

/// What a child is sent after it failed or was cancelled is there when it runs again: its parent, which has it in its record
/// that it said it, says it once. The child waited for ever.
pub async fn job_retry_keeps_what_the_fallen_were_sent(lab: Lab) {
    let builder = lab.worker().register(speaks_to_the_fallen).register(hears);
    let worker = builder.start().await.unwrap();
    for fails in [true, false] {
        let gate = format!("fallen {fails}");
        let job = lab.homing.submit(speaks_to_the_fallen(fails)).await.unwrap();
        lab.probe.hits(&gate, 1).await;
        let child = children(&lab, job.id()).await.remove(0).id;
        if fails {
            lab.reaches(child, TaskState::Failed).await;
        } else {
            lab.reaches(child, TaskState::Waiting).await;
            assert!(lab.homing.cancel(child).await.unwrap());
        }
        lab.probe.open(&gate);
        lab.turning(job.outcome()).await.unwrap_err();
        assert_eq!(job.retry().await.unwrap().reopened, 2);
        assert_eq!(lab.turning(job.outcome()).await.unwrap(), 7, "fails: {fails}");
    }
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn signalled_after() -> Result<u64> {
    let lost = crate::spawn(fragile(1)).await?.await.is_err();
    let told: u64 = crate::signal("go").await?;
    if lost { Err(Error::msg("lost")) } else { Ok(told) }
}

/// A signal that was given out after the loss is there for the body that runs again.
pub async fn job_retry_sends_signals_again(lab: Lab) {
    let worker = lab.worker().register(signalled_after).register(fragile).start().await.unwrap();
    let job = lab.homing.submit(signalled_after()).await.unwrap();
    job.signal("go", &7).await.unwrap();
    job.outcome().await.unwrap_err();
    assert_eq!(job.retry().await.unwrap().reopened, 2);
    assert_eq!(job.outcome().await.unwrap(), 7);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn signalled_on() -> Result<Vec<u64>> {
    let mut told = vec![crate::signal("go").await?];
    let lost = crate::spawn(fragile(1)).await?.await.is_err();
    for _ in 0..if lost { 2 } else { 4 } {
        told.push(crate::signal("go").await?);
    }
    if lost {
        return Err(Error::msg("lost"));
    }
    told.push(crate::signal("stop").await?);
    Ok(told)
}

/// Signals are taken in the order in which they were sent, also over a retry: what the body had been given after the loss
/// comes before what it had not taken, and that before what is sent later. What had been given came last.
pub async fn job_retry_keeps_the_order_of_signals(lab: Lab) {
    let worker = lab.worker().register(signalled_on).register(fragile).start().await.unwrap();
    let job = lab.homing.submit(signalled_on()).await.unwrap();
    job.signal("stop", &6).await.unwrap();
    for n in 1..5 {
        job.signal("go", &n).await.unwrap();
    }
    job.outcome().await.unwrap_err();
    assert_eq!(job.retry().await.unwrap().reopened, 2);
    job.signal("go", &5).await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), [1, 2, 3, 4, 5, 6]);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn told_again(State(probe): State<Probe>) -> Result<Vec<u64>> {
    probe.pass("told").await;
    Ok(vec![crate::signal("word").await?, crate::signal("word").await?])
}

#[task(retries = 0)]
async fn tells_again() -> Result<Vec<u64>> {
    let child = crate::spawn(told_again()).await?;
    let lost = crate::spawn(fragile(1)).await?.await.is_err();
    child.signal("word", &if lost { 1u64 } else { 2 }).await?;
    if lost { Err(Error::msg("lost")) } else { child.await.map_err(Into::into) }
}

/// What a body had sent to another that goes on stays sent, as a detached job does. It is sent again where the body comes to it
/// again.
pub async fn job_retry_leaves_what_was_sent(lab: Lab) {
    let builder = lab.worker().register(tells_again).register(told_again).register(fragile);
    let worker = builder.start().await.unwrap();
    let job = lab.homing.submit(tells_again()).await.unwrap();
    job.outcome().await.unwrap_err();
    assert_eq!(job.retry().await.unwrap().reopened, 3);
    lab.probe.open("told");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), [1, 2]);
    lab.close([worker]).await;
}
