//! The conformance suite on every store, with residency on and off.

use std::sync::Arc;

use homing::Clock;
use homing::conformance;
use homing::store::{Store, memory::Memory};
use homing::testing::conformance::Factory;

#[cfg(feature = "postgres")]
#[path = "shared/server.rs"]
mod server;

#[cfg(feature = "redis")]
#[path = "shared/redis.rs"]
mod redis_server;

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
    /// Whether its tables are partitions by job, and all tasks are born in bundles.
    by_job: bool,
}

#[cfg(feature = "postgres")]
impl OnPostgres {
    fn new(by_job: bool) -> Self {
        Self { url: server::common_schema(), by_job }
    }
}

#[cfg(feature = "postgres")]
impl Factory for OnPostgres {
    fn open(&self, clock: Clock) -> Opening<'_> {
        Box::pin(async move {
            let mut url = server::with_option(&self.url, "pool=4");
            if self.by_job {
                url = server::with_option(&url, "bundle=1");
            }
            let homing = homing::Homing::open_with(&url, clock).await?;
            if self.by_job {
                let schema = self.url.split("schema=").nth(1).unwrap_or_default();
                let sql = include_str!("../src/store/postgres/link/by_job.sql");
                let sql =
                    sql.replace("= homing;", &format!("= {schema};")).replace(":= 8;", ":= 3;");
                server::psql(&url, &sql);
            }
            Ok(Arc::clone(homing.store()))
        })
    }
}

#[cfg(feature = "postgres")]
impl Drop for OnPostgres {
    fn drop(&mut self) {
        server::drop_schema(&self.url);
    }
}

/// Each store under a prefix of its own, removed with the test.
#[cfg(feature = "redis")]
struct OnRedis {
    url: String,
}

#[cfg(feature = "redis")]
impl OnRedis {
    fn new() -> Self {
        Self { url: redis_server::common_prefix() }
    }

    fn in_cluster() -> Self {
        Self { url: redis_server::cluster_prefix() }
    }
}

#[cfg(feature = "redis")]
impl Factory for OnRedis {
    fn open(&self, clock: Clock) -> Opening<'_> {
        Box::pin(async move {
            let homing = homing::Homing::open_with(&self.url, clock).await?;
            Ok(Arc::clone(homing.store()))
        })
    }
}

#[cfg(feature = "redis")]
impl Drop for OnRedis {
    fn drop(&mut self) {
        redis_server::forget(&self.url);
    }
}

conformance!(memory, InMemory);
conformance!(sqlite, OnSqlite::new());
#[cfg(feature = "postgres")]
conformance!(postgres, OnPostgres::new(false));
#[cfg(feature = "postgres")]
conformance!(postgres_by_job, OnPostgres::new(true));
#[cfg(feature = "redis")]
conformance!(redis, OnRedis::new());
// Its scripts are those of a single server: half of the cases, which is all of them with resident futures, does.
#[cfg(feature = "redis")]
mod redis_cluster {
    use super::*;
    homing::__conformance!(resident, true, OnRedis::in_cluster());
}
