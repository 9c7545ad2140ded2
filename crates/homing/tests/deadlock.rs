//! G4: waiting takes no slot, so one slot is enough for any number of parents and any depth.

#![cfg(feature = "testing")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests: a panic is how they fail"
)]

use std::time::Duration;

#[cfg(feature = "postgres")]
#[path = "shared/server.rs"]
mod server;

use homing::{Homing, JoinSet, Result, task};

#[task]
async fn leaf(n: u64) -> Result<u64> {
    Ok(n)
}

#[task]
async fn parent(n: u64) -> Result<u64> {
    let mut set = JoinSet::new();
    for child in 0..4 {
        set.spawn(leaf(n + child)).await?;
    }
    Ok(set.join_all().await?.iter().sum())
}

#[task]
async fn chain(below: u64) -> Result<u64> {
    if below == 0 {
        return Ok(0);
    }
    Ok(homing::spawn(chain(below - 1)).await?.await? + 1)
}

/// Runs on one slot, bounded in time only to end a hang.
async fn on_one_slot(url: &str, resident: usize, run: impl AsyncFnOnce(&Homing)) {
    let homing = Homing::open(url).await.unwrap();
    let worker = homing.worker().register(leaf).register(parent).register(chain);
    let worker = worker.concurrency(1).resident(resident).start().await.unwrap();
    let done = tokio::time::timeout(Duration::from_mins(10), run(&homing)).await;
    assert!(done.is_ok(), "a deadlock: {:?}", homing.queues().await);
    assert!(homing.check().await.unwrap().is_empty());
    worker.shutdown(Duration::from_secs(10)).await;
}

/// All parents are there before the first child runs, and each waits for four.
async fn a_thousand_parents(homing: &Homing) {
    let jobs = homing.submit_all((0..1000).map(parent)).await.unwrap();
    for (n, job) in (0..).zip(jobs) {
        assert_eq!(job.outcome().await.unwrap(), 4 * n + 6);
    }
}

async fn a_chain_of_ten_thousand(homing: &Homing) {
    let job = homing.submit(chain(9_999)).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 9_999);
    assert_eq!(job.view().await.unwrap().counts.succeeded, 10_000);
}

/// The parents' own number exceeds what may stay resident, too.
#[tokio::test]
async fn a_thousand_parents_in_memory() {
    on_one_slot("memory:", 100, a_thousand_parents).await;
}

#[tokio::test]
async fn a_chain_of_ten_thousand_in_memory() {
    on_one_slot("memory:", 100, a_chain_of_ten_thousand).await;
}

fn url(directory: &tempfile::TempDir) -> String {
    format!("sqlite:{}?synchronous=normal", directory.path().join("jobs.db").display())
}

#[tokio::test]
async fn a_thousand_parents_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    on_one_slot(&url(&directory), 10_000, a_thousand_parents).await;
}

#[tokio::test]
async fn a_chain_of_ten_thousand_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    on_one_slot(&url(&directory), 10_000, a_chain_of_ten_thousand).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_thousand_parents_on_postgres() {
    let url = server::common_schema();
    on_one_slot(&url, 10_000, a_thousand_parents).await;
    server::drop_schema(&url);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_chain_of_ten_thousand_on_postgres() {
    let url = server::common_schema();
    on_one_slot(&url, 10_000, a_chain_of_ten_thousand).await;
    server::drop_schema(&url);
}
