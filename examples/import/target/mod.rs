//! The table to import into: where the store is, if that is PostgreSQL; else a SQLite file of its own, or
//! memory.
//!
//! Beside a store in another database a page is written under its task's id, because the task may run
//! again. In the store's own database the page and the fact that it was written are one commit.

use std::error::Error;
use std::path::{Path, PathBuf};

use homing::step_blocking;

use crate::feed::Page;
use crate::tasks::Report;

#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

/// The table. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Sqlite(sqlite::Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Postgres),
}

impl Target {
    /// Opens the table that belongs to a store, and says where it is.
    pub(crate) fn open(store: &str, path: Option<&Path>) -> Result<(Self, String), Box<dyn Error>> {
        #[cfg(feature = "postgres")]
        if path.is_none() && store.starts_with("postgres") {
            let table = postgres::Postgres::beside(store);
            let place = table.to_string();
            return Ok((Self::Postgres(table), place));
        }
        let path = path.map(Path::to_owned).or_else(|| beside(store));
        let place = path.as_ref().map_or("memory".to_owned(), |path| path.display().to_string());
        Ok((Self::Sqlite(sqlite::Sqlite::open(path.as_deref())?), place))
    }

    /// Makes the table, if there is none.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(
            clippy::unused_async,
            reason = "only a server's table is prepared over a connection"
        )
    )]
    pub(crate) async fn prepare(&self) -> homing::Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(table) => table.prepare().await,
        }
    }

    /// Writes a page once, however often the task runs. Returns how many rows it has.
    pub(crate) async fn write(&self, page: Page) -> homing::Result<u64> {
        let id = homing::id();
        match self {
            Self::Sqlite(table) => {
                let table = table.clone();
                Ok(tokio::task::spawn_blocking(move || table.write(id, &page)).await??)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(table) => table.write(id, &page).await,
        }
    }

    /// How many rows the job has written, and their checksum.
    pub(crate) async fn summary(&self) -> homing::Result<Report> {
        let job = homing::id().job;
        match self {
            Self::Sqlite(table) => {
                let table = table.clone();
                Ok(step_blocking("table", move || Ok(table.summary(job)?)).await?)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(table) => table.summary(job).await,
        }
    }
}

/// `jobs.airports.db` for `sqlite:jobs.db`; none, which is memory, for `memory:`.
fn beside(store: &str) -> Option<PathBuf> {
    let path = store.strip_prefix("sqlite:")?.split('?').next()?;
    Some(PathBuf::from(path).with_extension("airports.db"))
}
