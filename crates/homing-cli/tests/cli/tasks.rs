//! The worker's process, and tasks whose states do not depend on time: they end at once, or when a
//! signal says so, or not at all.

use std::io::Read;
use std::time::Duration;

use homing::{FailurePolicy, Homing, JoinSet, log, task};

/// Where the worker's process finds the store, and what it is called.
pub(crate) const STORE: &str = "HOMING_TEST_WORKER_STORE";

/// The feed is broken.
#[derive(Debug, thiserror::Error)]
#[error("page {page} cannot be parsed")]
struct Unparsable {
    page: u64,
    source: std::num::ParseIntError,
}

/// Writes one page: the second waits for a signal, the third fails, every other succeeds.
#[task(retries = 0)]
pub(crate) async fn write_page(page: u64) -> homing::Result<u64> {
    match page {
        2 => Ok(homing::signal::<u64>("go").await?),
        3 => {
            let source = "x".parse::<u64>().unwrap_err();
            Err(Unparsable { page, source }.into())
        }
        _ => Ok(page * 100),
    }
}

/// Writes pages, one of which fails and one of which waits.
#[task(retries = 0)]
pub(crate) async fn import(pages: u64) -> homing::Result<u64> {
    log!("{pages} pages found");
    let mut writes = JoinSet::named("pages").policy(FailurePolicy::Tolerate { failures: 10 });
    for page in 1..=pages {
        writes.spawn(write_page(page)).await?;
    }
    log!(Warn, "some pages are odd");
    let rows = writes.join_all().await?;
    log!("all pages are written");
    Ok(rows.iter().sum())
}

/// A job with a tree below it.
#[task(retries = 0)]
pub(crate) async fn nightly(pages: u64) -> homing::Result<u64> {
    homing::progress(1, 4);
    Ok(homing::spawn(import(pages)).await?.await?)
}

/// Succeeds at once.
#[task]
pub(crate) async fn hello(name: String) -> homing::Result<String> {
    log!("hello {name}");
    Ok(format!("hello {name}"))
}

/// Fails at once.
#[task(retries = 0)]
pub(crate) async fn broken() -> homing::Result<()> {
    Err(homing::Error::msg("the table is locked"))
}

/// Fails because a child did.
#[task(retries = 0)]
pub(crate) async fn parent_of_broken() -> homing::Result<()> {
    Ok(homing::spawn(broken()).await?.await?)
}

/// Fails, and is tried again in an hour.
#[task(retries = 3, backoff = "1h")]
pub(crate) async fn flaky() -> homing::Result<()> {
    Err(homing::Error::msg("the feed is down"))
}

/// Fails the first time, and succeeds once it is retried.
#[task(retries = 0)]
pub(crate) async fn mended() -> homing::Result<String> {
    let steps = homing::step("count", || async { Ok(1_u64) }).await?;
    homing::signal::<bool>("mended").await?.then_some(()).ok_or(homing::Error::msg("not yet"))?;
    Ok(format!("mended after {steps} step"))
}

/// Does otherwise after its first failure, and stands still.
#[task(retries = 1, backoff = "1ms")]
pub(crate) async fn straying() -> homing::Result<()> {
    let attempt = homing::info()?.attempt;
    homing::spawn(hello(format!("attempt {attempt}"))).await?;
    homing::step("committed", || async { Ok::<_, homing::Error>(()) }).await?;
    Err(homing::Error::msg("astray"))
}

/// Waits for a signal, an hour at most.
#[task]
pub(crate) async fn approval() -> homing::Result<String> {
    Ok(homing::signal::<String>("approve").timeout(Duration::from_hours(1)).await?)
}

/// Holds its slot until it is cancelled.
#[task]
pub(crate) async fn busy() -> homing::Result<()> {
    tokio::time::sleep(Duration::from_hours(1)).await;
    Ok(())
}

/// Spawns many children at once, of which all succeed.
#[task]
pub(crate) async fn wide(children: u64) -> homing::Result<u64> {
    let mut set = JoinSet::new();
    for _ in 0..children {
        set.spawn(hello("child".to_owned())).await?;
    }
    let mut ended = 0;
    while let Some(child) = set.join_next().await {
        child?;
        ended += 1;
    }
    Ok(ended)
}

/// The worker's process, which `world` starts; as a test it does nothing. It works until its standard input
/// is closed.
#[test]
fn worker() {
    let Ok(store) = std::env::var(STORE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let homing = Homing::open(&store).await.unwrap();
        let worker = homing.worker().name("night shift").concurrency(4);
        let worker = worker.register(write_page).register(import).register(nightly);
        let worker = worker.register(hello).register(broken).register(parent_of_broken);
        let worker = worker.register(flaky).register(mended).register(approval);
        let worker =
            worker.register(busy).register(straying).register(wide).queues(["default", "reports"]);
        let worker = worker.start().await.unwrap();
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        closed.await.unwrap().unwrap();
        worker.shutdown(Duration::ZERO).await;
    });
}
