//! G2, G6, G7 where two workers take turns: a claim ends the right of the futures that are older.

use std::time::Duration;

use super::Lab;
use super::waits::gated;
use crate::testing::Probe;
use crate::{Result, State, TaskState, step, task};

/// Which worker a body runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    A,
    B,
}

/// How the second worker lets go of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    Fails,
    IsShutDown,
    Dies,
}

#[task]
async fn hog(State(probe): State<Probe>) -> Result<()> {
    probe.hit("hog");
    probe.pass("hog").await;
    Ok(())
}

#[task(retries = 3)]
async fn charging(
    State(probe): State<Probe>,
    State(name): State<Name>,
    State(parting): State<Parting>,
) -> Result<u64> {
    crate::spawn(gated(0)).await?.await?;
    let charged = step("charge", async || {
        probe.hit("charge");
        Ok(probe.count("charge"))
    })
    .await?;
    probe.hit(&format!("charged on {name:?}"));
    if name == Name::B {
        if parting == Parting::Fails {
            return Err(crate::Error::msg("B fails after the step"));
        }
        probe.pass("never").await;
    }
    Ok(charged)
}

/// A task is parked on A, which keeps its future. B resumes it by replay while A's slot is taken, records
/// a step and lets go. A future that knows nothing of the step must not go on: once the step ran twice.
async fn an_older_future_is_dropped(lab: Lab, parting: Parting) {
    let builder = |name| lab.worker().register(charging).state(name).state(parting);
    let first = builder(Name::A).register(hog).concurrency(1).start().await.unwrap();
    let job = lab.homing.submit(charging()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let other = lab.homing.submit(hog()).await.unwrap();
    lab.probe.hits("hog", 1).await;
    let second = builder(Name::B).register(gated).start().await.unwrap();
    lab.probe.open("gate 0");
    lab.turning(lab.probe.hits("charged on B", 1)).await;
    match parting {
        Parting::Fails => {
            lab.observe(job.id(), "failed once", |view| view.attempt == 2).await;
            second.shutdown(Duration::ZERO).await;
        }
        Parting::IsShutDown => second.shutdown(Duration::ZERO).await,
        Parting::Dies => second.kill().await,
    }
    lab.probe.open("hog");
    other.outcome().await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 1, "the value is not the record's");
    assert_eq!(lab.probe.count("charge"), 1, "a committed step ran again");
    assert_eq!(lab.probe.count("charged on A"), 1);
    lab.close([first]).await;
}

/// After the failure of another worker's attempt.
pub async fn g06_an_older_future_is_dropped_after_a_failure(lab: Lab) {
    an_older_future_is_dropped(lab, Parting::Fails).await;
}

/// After the graceful shutdown of another worker: a rolling restart is enough.
pub async fn g06_an_older_future_is_dropped_after_a_shutdown(lab: Lab) {
    an_older_future_is_dropped(lab, Parting::IsShutDown).await;
}

/// After the death of another worker.
pub async fn g06_an_older_future_is_dropped_after_a_crash(lab: Lab) {
    an_older_future_is_dropped(lab, Parting::Dies).await;
}
