//! One `Homing` used from several runtimes, as a `static` in tests of `#[tokio::test]` is: those that end, and
//! those that nobody drives for a while, take nothing from the others.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::Duration;

use homing::store::memory::Memory;
use homing::{Clock, Homing, State, task};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken as Gate;

#[cfg(feature = "redis")]
#[path = "shared/redis.rs"]
mod redis_server;
#[cfg(feature = "postgres")]
#[path = "shared/server.rs"]
mod server;

/// A bound on hangs, never a measure.
const PATIENCE: Duration = Duration::from_mins(1);

#[task]
async fn double(n: u64) -> homing::Result<u64> {
    Ok(2 * n)
}

#[task]
async fn gated(n: u64, State(gate): State<Gate>) -> homing::Result<u64> {
    gate.cancelled().await;
    Ok(n)
}

/// A runtime on one thread: it goes on only while something is blocked on.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// What the stores of a test have of their own, removed with it.
struct Place {
    directory: tempfile::TempDir,
    #[cfg(feature = "postgres")]
    schema: String,
    #[cfg(feature = "redis")]
    prefix: String,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            #[cfg(feature = "postgres")]
            schema: server::common_schema(),
            #[cfg(feature = "redis")]
            prefix: redis_server::common_prefix(),
        }
    }

    fn urls(&self) -> Vec<String> {
        vec![
            format!("sqlite:{}", self.directory.path().join("jobs.db").display()),
            #[cfg(feature = "postgres")]
            self.schema.clone(),
            #[cfg(feature = "redis")]
            self.prefix.clone(),
        ]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        #[cfg(feature = "postgres")]
        server::drop_schema(&self.schema);
        #[cfg(feature = "redis")]
        redis_server::forget(&self.prefix);
    }
}

/// Stores with a worker on a runtime of its own, each with the gate of its tasks.
fn stores() -> (Runtime, Vec<(Homing, Gate)>, Place) {
    let workers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let place = Place::new();
    let stores = workers.block_on(async {
        let mut open = vec![Homing::over(Arc::new(Memory::new(Clock::System)))];
        for url in place.urls() {
            open.push(Homing::open(&url).await.unwrap());
        }
        let mut stores = Vec::new();
        for homing in open {
            let gate = Gate::new();
            let worker = homing.worker().register(double).register(gated).state(gate.clone());
            worker.start().await.unwrap();
            stores.push((homing, gate));
        }
        stores
    });
    (workers, stores, place)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("it hangs"))
}

/// The watch had begun on a runtime that ended before it was polled: everybody waited for ever.
#[test]
fn a_runtime_that_ends_after_it_submitted() {
    let (_workers, stores, _place) = stores();
    for (homing, _) in &stores {
        let first = runtime();
        let job = first.block_on(async { homing.submit(double(4)).await.unwrap() });
        drop(first);
        assert_eq!(runtime().block_on(soon(job.outcome())).unwrap(), 8);
        let another = homing.job::<u64>(job.id());
        assert_eq!(runtime().block_on(soon(another.outcome())).unwrap(), 8);
    }
}

/// Those who waited on another runtime were once told that the store is closed.
#[test]
fn a_runtime_that_ends_while_others_wait() {
    let (_workers, stores, _place) = stores();
    for (homing, gate) in &stores {
        let first = runtime();
        let (job, other) = first.block_on(async {
            let job = homing.submit(gated(1)).await.unwrap();
            let other = homing.submit(gated(2)).await.unwrap();
            // The watch begins here.
            let waited = tokio::time::timeout(Duration::from_millis(20), other.outcome()).await;
            assert!(waited.is_err());
            (job, other)
        });
        let (asked, heard) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                runtime().block_on(async {
                    let mut outcome = std::pin::pin!(job.outcome());
                    let polled = tokio::time::timeout(Duration::from_millis(20), outcome.as_mut());
                    assert!(polled.await.is_err(), "the gate is shut");
                    asked.send(()).unwrap();
                    soon(outcome).await
                })
            });
            heard.recv().unwrap();
            drop(first);
            gate.cancel();
            assert_eq!(waiting.join().unwrap().unwrap(), 1);
        });
        assert_eq!(runtime().block_on(soon(other.outcome())).unwrap(), 2);
    }
}

/// A runtime on one thread whose thread does something else drives no watcher.
#[test]
fn a_runtime_that_nobody_drives() {
    let (_workers, stores, _place) = stores();
    for (homing, _) in &stores {
        let first = runtime();
        let job = first.block_on(async { homing.submit(double(5)).await.unwrap() });
        assert_eq!(runtime().block_on(soon(job.outcome())).unwrap(), 10);
        // Driven again, it takes nothing away.
        let again = first.block_on(async { homing.submit(double(6)).await.unwrap() });
        assert_eq!(first.block_on(soon(again.outcome())).unwrap(), 12);
    }
}

/// Says when it is dropped.
struct Leaves(std::sync::mpsc::Sender<()>);

impl Drop for Leaves {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// What the bodies of a blocking pool of one thread share.
#[derive(Clone)]
struct Pool {
    open: Arc<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>,
    begun: std::sync::mpsc::Sender<()>,
    left: std::sync::mpsc::Sender<()>,
    thoughts: Arc<std::sync::atomic::AtomicUsize>,
}

#[task]
async fn occupy(State(pool): State<Pool>) -> homing::Result<()> {
    let work = move || Ok(pool.open.lock().unwrap().recv_timeout(PATIENCE)?);
    Ok(homing::step_blocking("wait", work).await?)
}

#[task]
async fn think(State(pool): State<Pool>) -> homing::Result<usize> {
    let _leaves = Leaves(pool.left.clone());
    // Nothing durable came before, so the work is queued in this very poll.
    pool.begun.send(())?;
    let thoughts = pool.thoughts;
    let work = move || Ok(thoughts.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
    Ok(homing::step_blocking("think", work).await?)
}

/// Once it has begun, work that blocks a thread cannot be dropped; before, it can.
#[test]
fn blocking_work_does_not_begin_after_its_body_is_gone() {
    let (open, gate) = std::sync::mpsc::channel();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (left, has_left) = std::sync::mpsc::channel();
    let pool = Pool { open: Arc::new(gate.into()), begun, left, thoughts: Arc::default() };
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let homing = Homing::over(Arc::new(Memory::new(Clock::System)));
        let worker = homing.worker().register(occupy).register(think).state(pool.clone());
        worker.concurrency(2).grace(Duration::ZERO).start().await.unwrap();
        let (first, second) = (homing.submit(occupy()), homing.submit(think()));
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        while has_begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        second.cancel().await.unwrap();
        second.outcome().await.unwrap_err();
        while has_left.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        open.send(()).unwrap();
        first.outcome().await.unwrap();
        // The one thread takes what it is given in turn.
        tokio::task::spawn_blocking(|| {}).await.unwrap();
        assert_eq!(pool.thoughts.load(std::sync::atomic::Ordering::SeqCst), 0);
    });
}
