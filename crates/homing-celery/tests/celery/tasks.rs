//! The tasks of homing's that Celery's clients call, and the worker and bridge that run them.

use std::time::Duration;

use homing::{Homing, JoinSet, Worker, task};
use homing_celery::{Bridge, Celery, args, call};

#[task(kind = "h.add")]
pub(crate) async fn add(x: i64, y: i64) -> homing::Result<i64> {
    Ok(x + y)
}

#[task(kind = "h.sum")]
pub(crate) async fn sum(xs: Vec<i64>) -> homing::Result<i64> {
    Ok(xs.iter().sum())
}

#[task(kind = "h.fail")]
pub(crate) async fn fail(text: String) -> homing::Result<()> {
    Err(homing::Error::msg(text).fatal())
}

/// Waits for a signal.
#[task(kind = "h.park")]
pub(crate) async fn park(name: String) -> homing::Result<bool> {
    Ok(homing::signal::<bool>(&name).await?)
}

/// Never comes to an end.
#[task(kind = "h.spin", retries = 0)]
pub(crate) async fn spin() -> homing::Result<()> {
    std::future::pending().await
}

/// Its children run in Celery.
#[task(kind = "h.parent")]
pub(crate) async fn parent(pages: i64) -> homing::Result<i64> {
    let mut rows = JoinSet::<i64>::new();
    for page in 0..pages {
        rows.spawn(call("c.add", args![page, 100])).await?;
    }
    Ok(rows.join_all().await?.iter().sum())
}

/// Its one child counts how often it has run.
#[task(kind = "h.count")]
pub(crate) async fn count(key: String) -> homing::Result<i64> {
    Ok(homing::spawn(call("c.count", args![key])).await?.await?)
}

/// A worker with all of them, and a bridge that looks so often.
pub(crate) async fn start(
    store: &str,
    (broker, results): (&str, &str),
    look: Duration,
) -> (Homing, Worker, Bridge) {
    let homing = Homing::open(store).await.unwrap();
    let worker = homing.worker().register(add).register(sum).register(fail).register(park);
    let worker = worker.register(spin).register(parent).register(count).start().await.unwrap();
    let bridge = homing.celery(broker).results(results).queue("homing");
    let bridge = bridge.hostname("homing@test").track_started(true);
    let bridge = bridge.wait_for_kind(Duration::from_secs(1)).look_every(look);
    let bridge = bridge.start().await.unwrap();
    (homing, worker, bridge)
}
