//! Simulation of whole workers over each store. See `homing::testing::simulation`.
//!
//! `HOMING_SIMULATE_SEED=7` repeats one seed, `HOMING_SIMULATE=10000` makes so many; `HOMING_SIMULATE_FROM` is the
//! first of them, and `HOMING_SIMULATE_WHOLE=1` leaves a failing case as it is.
#![cfg(all(feature = "testing", feature = "sqlite"))]
#![expect(clippy::print_stdout, reason = "how many seeds there were is read by people")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homing::store::{Store, memory::Memory};
use homing::testing::simulation::{self, Opener, Tally};
use homing::{Clock, Homing, OpenError};

#[cfg(feature = "redis")]
#[path = "shared/redis.rs"]
mod redis_server;
#[cfg(feature = "postgres")]
#[path = "shared/server.rs"]
mod server;

type Opening<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<Arc<dyn Store>, OpenError>> + Send + 'a>>;

struct InMemory;

impl Opener for InMemory {
    fn pause(&self) {
        tokio::time::pause();
    }

    fn open(&self, clock: Clock) -> Opening<'_> {
        Box::pin(async move { Ok(Arc::new(Memory::new(clock)) as Arc<dyn Store>) })
    }
}

/// A fresh file each time, in a directory that goes with the test.
struct OnSqlite {
    directory: tempfile::TempDir,
    files: AtomicU64,
}

impl Opener for OnSqlite {
    fn pause(&self) {
        tokio::time::pause();
    }

    fn open(&self, clock: Clock) -> Opening<'_> {
        let file = self.files.fetch_add(1, Ordering::SeqCst);
        let path: PathBuf = self.directory.path().join(format!("{file}.db"));
        // No power is cut here, so few commits need to wait for the disk.
        let url = format!("sqlite:{}?synchronous=normal", path.display());
        Box::pin(async move { Ok(Arc::clone(Homing::open_with(&url, clock).await?.store())) })
    }
}

/// A fresh schema each time.
#[cfg(feature = "postgres")]
struct OnPostgres;

#[cfg(feature = "postgres")]
impl Opener for OnPostgres {
    fn pause(&self) {
        tokio::time::pause();
    }

    fn open(&self, clock: Clock) -> Opening<'_> {
        let url = server::with_option(&server::common_schema(), "pool=3");
        Box::pin(async move { Ok(Arc::clone(Homing::open_with(&url, clock).await?.store())) })
    }
}

/// A fresh prefix each time, whose keys go when the next one comes.
#[cfg(feature = "redis")]
#[derive(Default)]
struct OnRedis {
    url: std::cell::Cell<Option<String>>,
}

#[cfg(feature = "redis")]
impl OnRedis {
    /// Remembers a prefix, and removes what went by the one before.
    fn turn_to(&self, url: Option<String>) {
        if let Some(url) = self.url.replace(url) {
            redis_server::forget(&url);
        }
    }
}

#[cfg(feature = "redis")]
impl Drop for OnRedis {
    fn drop(&mut self) {
        self.turn_to(None);
    }
}

#[cfg(feature = "redis")]
impl Opener for OnRedis {
    fn pause(&self) {
        tokio::time::pause();
    }

    fn open(&self, clock: Clock) -> Opening<'_> {
        let url = redis_server::common_prefix();
        self.turn_to(Some(url.clone()));
        Box::pin(async move { Ok(Arc::clone(Homing::open_with(&url, clock).await?.store())) })
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs many seeds, or the one that is asked for.
fn simulate(opener: &dyn Opener, usual: u64) {
    let (first, count) = match number("HOMING_SIMULATE_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("HOMING_SIMULATE_FROM").unwrap_or(0),
            number("HOMING_SIMULATE").unwrap_or(usual),
        ),
    };
    let survey = number("HOMING_SIMULATE_SURVEY").is_some();
    let whole = survey || number("HOMING_SIMULATE_WHOLE").is_some();
    let mut all = Tally::default();
    for seed in first..first + count {
        match simulation::run(seed, opener, whole) {
            Ok(tally) => {
                all.runs += tally.runs;
                all.tasks += tally.tasks;
                all.answers += tally.answers;
            }
            // A survey: what is wrong with how many seeds.
            Err(flaw) if survey => {
                println!("seed {seed}: {}", flaw.faults[0]);
            }
            Err(flaw) => panic!("after {} seeds: {flaw}", seed - first),
        }
    }
    println!("{count} seeds from {first}: {all:?}");
}

#[test]
fn memory() {
    simulate(&InMemory, 2_000);
}

#[test]
fn sqlite() {
    let directory = tempfile::tempdir().unwrap();
    simulate(&OnSqlite { directory, files: AtomicU64::new(0) }, 100);
}

#[cfg(feature = "postgres")]
#[test]
fn postgres() {
    simulate(&OnPostgres, 15);
}

#[cfg(feature = "redis")]
#[test]
fn redis() {
    simulate(&OnRedis::default(), 60);
}
