//! The tasks that benches run, and workers that know them all.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homing::{Homing, JoinSet, State, TaskId, WorkerBuilder, limits, task};

use crate::stopwatch::Stopwatch;

/// What bodies share with the bench that runs them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bench {
    pub(crate) watch: Stopwatch,
    /// Bodies of `hold` that were begun, and those whose future is in memory.
    pub(crate) begun: Arc<AtomicU64>,
    pub(crate) live: Arc<AtomicU64>,
    /// Whether the children of `family` hang.
    pub(crate) hang: bool,
}

/// A worker that knows every task here.
pub(crate) fn worker(
    homing: &Homing,
    bench: &Bench,
    slots: usize,
    resident: usize,
) -> WorkerBuilder {
    homing
        .worker()
        .register(noop)
        .register(steps)
        .register(stamped)
        .register(fan)
        .register(leaf)
        .register(waking)
        .register(last)
        .register(hold)
        .register(family)
        .register(member)
        .register(sorts)
        .register(broken)
        .state(bench.clone())
        .concurrency(slots)
        .resident(resident)
}

/// How wide the payload of a task is: with its quotes and its argument's name about 100 bytes, in and out.
pub(crate) const WIDTH: usize = 40;

/// The payload of a task.
pub(crate) fn text(number: u64) -> String {
    wide(number, WIDTH)
}

/// A payload of so many bytes.
pub(crate) fn wide(number: u64, width: usize) -> String {
    format!("{number:0>width$}")
}

/// Records so many steps, one after the other.
#[task]
pub(crate) async fn steps(count: u64, State(bench): State<Bench>) -> homing::Result<u64> {
    bench.watch.start();
    let mut sum = 0;
    for number in 0..count {
        sum += homing::step("number", async || Ok(number)).await?;
    }
    bench.watch.stop();
    Ok(sum)
}

/// Does nothing.
#[task]
pub(crate) async fn noop(text: String) -> homing::Result<String> {
    Ok(text)
}

/// Says when it began.
#[task]
pub(crate) async fn stamped(State(bench): State<Bench>) -> homing::Result<()> {
    bench.watch.stop();
    Ok(())
}

/// Spawns children and adds up their values; with flat memory where they are too many for one
/// `join_all`.
#[task]
pub(crate) async fn fan(children: u64, State(bench): State<Bench>) -> homing::Result<u64> {
    bench.watch.start();
    let mut set = JoinSet::new();
    for number in 0..children {
        set.spawn(leaf(number)).await?;
    }
    let mut sum = 0;
    if children <= limits::JOIN_ALL {
        sum = set.join_all().await?.iter().sum();
    } else {
        while let Some(value) = set.join_next().await {
            sum += value?;
        }
    }
    bench.watch.stop();
    Ok(sum)
}

/// A child of `fan`.
#[task]
pub(crate) async fn leaf(number: u64) -> homing::Result<u64> {
    Ok(number)
}

/// Waits for children, then says when it went on.
#[task]
pub(crate) async fn waking(children: u64, State(bench): State<Bench>) -> homing::Result<()> {
    let mut set = JoinSet::new();
    for number in 0..children {
        set.spawn(last(number)).await?;
    }
    set.join_all().await?;
    bench.watch.stop();
    Ok(())
}

/// A child of `waking`: gives its parent time to park, and says as late as it can when it ended.
#[task]
pub(crate) async fn last(number: u64, State(bench): State<Bench>) -> homing::Result<u64> {
    tokio::time::sleep(Duration::from_millis(3)).await;
    bench.watch.restart();
    Ok(number)
}

/// Waits for a signal.
#[task]
pub(crate) async fn hold(text: String, State(bench): State<Bench>) -> homing::Result<String> {
    bench.begun.fetch_add(1, Ordering::SeqCst);
    bench.live.fetch_add(1, Ordering::SeqCst);
    let _live = Live(Arc::clone(&bench.live));
    let go: String = homing::signal("go").await?;
    Ok(text + &go)
}

/// Counts a future of `hold` out when it is dropped.
struct Live(Arc<AtomicU64>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A parent whose worker is killed.
#[task]
pub(crate) async fn family(children: u64) -> homing::Result<u64> {
    let mut set = JoinSet::new();
    for number in 0..children {
        set.spawn(member(number)).await?;
    }
    let sum = set.join_all().await?.iter().sum();
    announce("joined", homing::id())?;
    Ok(sum)
}

/// A child of `family`. Hangs in the worker that is killed.
#[task]
pub(crate) async fn member(number: u64, State(bench): State<Bench>) -> homing::Result<u64> {
    announce("began", homing::id())?;
    if bench.hang {
        std::future::pending::<()>().await;
    }
    Ok(number)
}

/// A parent that waits, with one child that succeeds, one that fails, and one that nobody runs.
#[task]
pub(crate) async fn sorts() -> homing::Result<()> {
    let mut set = JoinSet::new();
    set.spawn(noop(text(0)).retries(0)).await?;
    set.spawn(broken(text(1))).await?;
    set.spawn(noop(text(2)).queue("nobody")).await?;
    Ok(homing::signal::<()>("go").await?)
}

/// Fails.
#[task(retries = 0)]
pub(crate) async fn broken(text: String) -> homing::Result<String> {
    Err(homing::Error::msg(text))
}

/// Tells the process that reads this one's output.
fn announce(what: &str, task: TaskId) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{what} {task}")
}
