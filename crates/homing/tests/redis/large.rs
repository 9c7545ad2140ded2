//! What is large is done in parts: no script holds up everybody else for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use homing::{JoinSet, State, Status, task};

use super::server::Server;
use super::*;

/// Whether leaves succeed.
type Mended = Arc<AtomicBool>;

#[task(retries = 0)]
async fn leaf(n: u64, State(mended): State<Mended>) -> homing::Result<u64> {
    if mended.load(Ordering::SeqCst) { Ok(n) } else { Err(homing::Error::msg("broken")) }
}

#[task(retries = 0)]
async fn fan(leaves: u64) -> homing::Result<u64> {
    let mut set = JoinSet::new();
    for n in 0..leaves {
        set.spawn(leaf(n)).await?;
    }
    Ok(set.join_all().await?.into_iter().sum())
}

/// Scripts that the server has run.
fn scripts(server: &Server) -> u64 {
    let said = server.cli(&["INFO", "commandstats"]);
    let calls = said.split("cmdstat_evalsha:calls=").nth(1).unwrap();
    calls.split(',').next().unwrap().parse().unwrap()
}

/// A retry of more than one script can reopen: it runs as one, and each leaf once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_done_in_parts() {
    const LEAVES: u64 = 6000;
    let server = Server::start(&[]);
    let homing = Homing::open(&server.url("?durability=none")).await.unwrap();
    let mended = Mended::default();
    let start = || {
        let worker = homing.worker().register(fan).register(leaf).state(Arc::clone(&mended));
        worker.start()
    };
    let worker = start().await.unwrap();
    let job = homing.submit(fan(LEAVES)).await.unwrap();
    job.outcome().await.unwrap_err();
    eventually("all leaves have ended", async || {
        let counts = job.view().await.unwrap().counts;
        counts.failed + counts.cancelled == LEAVES + 1
    })
    .await;
    // Nobody else runs scripts meanwhile.
    worker.shutdown(Duration::from_secs(10)).await;
    let before = job.retry_preview().await.unwrap();
    mended.store(true, Ordering::SeqCst);
    let run = scripts(&server);
    let done = job.retry().await.unwrap();
    assert!(scripts(&server) - run > 5, "it was one script");
    assert_eq!(done, before);
    assert_eq!((done.reopened, done.tasks.len()), (LEAVES + 1, 100));
    sound(&homing).await;
    start().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), LEAVES * (LEAVES - 1) / 2);
    assert!(matches!(job.view().await.unwrap().status, Status::Completed));
    sound(&homing).await;
}

/// A cancellation of more children than one script ends, and more than one looks at: each script goes on at the place that
/// the one before has kept, and the place is gone in the end. Without it the children beyond the first 5,000 would never
/// be reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_goes_down_in_parts() {
    const LEAVES: u64 = 6000;
    let server = Server::start(&[]);
    let homing = Homing::open(&server.url("?durability=none")).await.unwrap();
    // Nobody runs leaves.
    let worker = homing.worker().register(fan).start().await.unwrap();
    let job = homing.submit(fan(LEAVES)).await.unwrap();
    eventually("all leaves are there", async || job.view().await.unwrap().counts.pending == LEAVES)
        .await;
    worker.shutdown(Duration::from_secs(10)).await;
    let meta = server.cli(&["KEYS", "{homing:*:meta"]);
    let meta = meta.split('"').nth(1).unwrap().to_owned();
    let run = scripts(&server);
    assert!(job.cancel().await.unwrap());
    eventually("all leaves have ended", async || {
        job.view().await.unwrap().counts.cancelled == LEAVES + 1
    })
    .await;
    assert!(scripts(&server) - run > LEAVES / 500, "it was a script or few");
    assert_eq!(server.cli(&["HEXISTS", &meta, "u"]), "(integer) 0", "its place is gone");
    sound(&homing).await;
}

/// The key of the lane whose name ends so.
fn key(server: &Server, end: &str) -> String {
    let keys = server.cli(&["KEYS", &format!("*{end}")]);
    keys.split('"').nth(1).unwrap_or_else(|| panic!("no key ends with {end}: {keys}")).to_owned()
}

/// A process that died as it was about to keep an action leaves a number without one. What is older than it is kept goes all
/// the same: it stayed for ever behind such a number.
#[tokio::test(flavor = "multi_thread")]
async fn actions_behind_a_number_without_one_are_forgotten() {
    let server = Server::start(&[]);
    let homing = Homing::open(&server.url("?durability=none")).await.unwrap();
    let count = async || homing.actions(homing::ActionFilter::default()).await.unwrap().len();
    homing.acting("ada").pause("slow").await.unwrap();
    let (meta, actions) = (key(&server, ":meta"), key(&server, ":actions"));
    server.cli(&["HDEL", &actions, "1", "1r"]);
    let old = "return redis.call('HSET', KEYS[1], '2', cmsgpack.pack({1, 'ada', 'pause', 'slow'}))";
    server.cli(&["EVAL", old, "1", &actions]);
    server.cli(&["HSET", &meta, "a", "2"]);
    assert_eq!(count().await, 1);
    homing.acting("bo").pause("slow").await.unwrap();
    let left = homing.actions(homing::ActionFilter::default()).await.unwrap();
    assert_eq!((left.len(), left[0].who.as_str()), (1, "bo"), "{left:?}");
}

/// Keys of a form that no release wrote are refused, with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_no_release_wrote_are_refused() {
    let server = Server::start(&[]);
    let url = server.url("?durability=none");
    drop(Homing::open(&url).await.unwrap());
    server.cli(&["HSET", &key(&server, ":meta"), "v", "1"]);
    let refused = Homing::open(&url).await.unwrap_err().to_string();
    assert!(refused.contains("version 1") && refused.contains("another prefix"), "{refused}");
}
