//! The conformance suite on every store, with residency on and off.

use std::sync::Arc;

use homing::Clock;
use homing::conformance;
use homing::store::{Store, memory::Memory};
use homing::testing::conformance::Factory;

#[cfg(feature = "postgres")]
#[path = "shared/server.rs"]
mod server;

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

/// Each store in a schema of its own, removed with the test.
#[cfg(feature = "postgres")]
struct OnPostgres {
    url: String,
    options: &'static str,
}

#[cfg(feature = "postgres")]
impl OnPostgres {
    fn new(options: &'static str) -> Self {
        Self { url: server::common_schema(), options }
    }
}

#[cfg(feature = "postgres")]
impl Factory for OnPostgres {
    fn open(&self, clock: Clock) -> Opening<'_> {
        Box::pin(async move {
            let url = format!("{}{}", self.url, self.options);
            Ok(Arc::clone(homing::Homing::open_with(&url, clock).await?.store()))
        })
    }
}

#[cfg(feature = "postgres")]
impl Drop for OnPostgres {
    fn drop(&mut self) {
        server::drop_schema(&self.url);
    }
}

conformance!(memory, InMemory);
conformance!(sqlite, OnSqlite::new());
#[cfg(feature = "postgres")]
conformance!(postgres, OnPostgres::new("&pool=4"));
