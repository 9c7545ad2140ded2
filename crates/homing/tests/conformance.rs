//! The conformance suite on every store, with residency on and off.

use std::sync::Arc;

use homing::Clock;
use homing::conformance;
use homing::store::{Store, memory::Memory};
use homing::testing::conformance::Factory;

struct InMemory;

type Opening<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<Arc<dyn Store>, homing::OpenError>> + Send + 'a>>;

impl Factory for InMemory {
    fn open(&self, clock: Clock) -> Opening<'_> {
        Box::pin(async move { Ok(Arc::new(Memory::new(clock)) as Arc<dyn Store>) })
    }
}

/// Each store in a directory of its own, removed with the test.
struct OnSqlite {
    directory: tempfile::TempDir,
}

impl OnSqlite {
    fn new() -> Self {
        let directory = tempfile::tempdir();
        Self { directory: directory.unwrap_or_else(|error| panic!("no directory: {error}")) }
    }
}

impl Factory for OnSqlite {
    fn open(&self, clock: Clock) -> Opening<'_> {
        let url = format!("sqlite:{}", self.directory.path().join("jobs.db").display());
        Box::pin(
            async move { Ok(Arc::clone(homing::Homing::open_with(&url, clock).await?.store())) },
        )
    }
}

conformance!(memory, InMemory);
conformance!(sqlite, OnSqlite::new());
