//! A claim that the server forgets in a crash, and the body that runs under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homing::{State, task};
use tokio::sync::Semaphore;

use super::server::{FORGETFUL, Server, Stop};
use super::*;

/// How many bodies have begun and how many are over, and what lets one end.
#[derive(Debug, Clone)]
struct Runs(Arc<(AtomicU64, AtomicU64, Semaphore)>);

impl Runs {
    fn begun(&self) -> u64 {
        self.0.0.load(Ordering::SeqCst)
    }

    fn over(&self) -> u64 {
        self.0.1.load(Ordering::SeqCst)
    }

    fn let_one_end(&self) {
        self.0.2.add_permits(1);
    }
}

/// Counts a body that has returned or was dropped.
struct Running(Runs);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// Returns which of the bodies it was.
#[task]
async fn held(State(runs): State<Runs>) -> homing::Result<u64> {
    let number = runs.0.0.fetch_add(1, Ordering::SeqCst) + 1;
    let _running = Running(runs.clone());
    runs.0.2.acquire().await.unwrap().forget();
    Ok(number)
}

/// State and claim of the one open task.
fn row(server: &Server) -> String {
    server.sql("SELECT state, claim FROM homing.open")
}

/// The claim waited for no disk and is gone; the worker lives and does not know. Its body may end while
/// the server is away, or run on: either way another one runs under a claim that is there, and its outcome is
/// the only one.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_body_loses_its_claim_with_the_server() {
    for ends_meanwhile in [true, false] {
        let mut server = Server::with(FORGETFUL, "");
        let homing = Homing::open(&server.url("postgres")).await.unwrap();
        let runs = Runs(Arc::new((AtomicU64::new(0), AtomicU64::new(0), Semaphore::new(0))));
        // A heartbeat would wait for the disk, and take the claim there.
        let builder = homing.worker().register(held).state(runs.clone());
        let worker = builder.lease(Duration::from_hours(1)).start().await.unwrap();
        server.freeze_log_writer();
        let job = homing.submit(held()).await.unwrap();
        eventually("the body runs", async || runs.begun() == 1).await;
        let lost = row(&server);
        assert!(lost.starts_with("1|"), "{lost}");

        server.stop(Stop::Immediate);
        if ends_meanwhile {
            runs.let_one_end();
            eventually("the body ends", async || runs.over() == 1).await;
        }
        server.run();
        assert_ne!(row(&server), lost, "nothing was provoked: the claim is still there");
        eventually("the body runs again", async || runs.begun() == 2).await;
        let claimed = row(&server);
        assert!(claimed.starts_with("1|") && claimed != lost, "{claimed}, after {lost}");
        eventually("the first body is over", async || runs.over() == 1).await;

        runs.let_one_end();
        assert_eq!(job.outcome().await.unwrap(), 2);
        assert_eq!((runs.begun(), runs.over()), (2, 2));
        sound(&homing).await;
        worker.shutdown(Duration::from_secs(10)).await;
    }
}
