//! The table in a SQLite file of its own, or in memory.
//!
//! A page and the id of the task that wrote it are committed together. A task that runs again finds
//! its id and changes nothing, so each page takes effect once.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homing::{JobId, TaskId};
use rusqlite::{Connection, Result, TransactionBehavior};

use crate::feed::{COLUMNS, Page};
use crate::tasks::Report;

/// `pages` has a row for each page that took effect, `runs` counting the runs of its task;
/// `airports.writes` counts how often a row was written.
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS pages (
        task TEXT PRIMARY KEY, job TEXT NOT NULL, cursor TEXT NOT NULL,
        rows INTEGER NOT NULL, runs INTEGER NOT NULL DEFAULT 1
    ) STRICT;
    CREATE TABLE IF NOT EXISTS airports (
        iata TEXT PRIMARY KEY, icao TEXT NOT NULL, name TEXT NOT NULL, city TEXT NOT NULL,
        subd TEXT NOT NULL, country TEXT NOT NULL, elevation TEXT NOT NULL, lat TEXT NOT NULL,
        lon TEXT NOT NULL, page TEXT NOT NULL, writes INTEGER NOT NULL DEFAULT 1
    ) STRICT;";

const WRITE_PAGE: &str = "
    INSERT INTO pages (task, job, cursor, rows) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (task) DO UPDATE SET runs = runs + 1 RETURNING runs";

const WRITE_ROW: &str = "
    INSERT INTO airports (iata, icao, name, city, subd, country, elevation, lat, lon, page)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (iata) DO UPDATE SET
        icao = excluded.icao, name = excluded.name, city = excluded.city, subd = excluded.subd,
        country = excluded.country, elevation = excluded.elevation, lat = excluded.lat,
        lon = excluded.lon, page = excluded.page, writes = writes + 1";

const READ_ROWS: &str = "
    SELECT iata, icao, name, city, subd, country, elevation, lat, lon
    FROM airports JOIN pages ON page = task WHERE job = ?1 ORDER BY iata";

/// The table. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite(Arc<Mutex<Connection>>);

impl Sqlite {
    /// Opens the file, or a table in memory.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let connection = match path {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Writes a page, unless its task has done so before. Returns how many rows it has.
    pub(crate) fn write(&self, task: TaskId, page: &Page) -> Result<u64> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (id, job) = (task.to_string(), task.job.to_string());
        let rows = page.rows.len() as i64;
        let row = (&id, job, &page.cursor, rows);
        let runs: i64 = transaction.query_row(WRITE_PAGE, row, |row| row.get(0))?;
        if runs == 1 {
            let mut write = transaction.prepare_cached(WRITE_ROW)?;
            for row in &page.rows {
                write.execute(rusqlite::params_from_iter(row.iter().chain([&id])))?;
            }
        }
        transaction.commit()?;
        Ok(rows as u64)
    }

    /// How many rows a job has written, and their checksum.
    pub(crate) fn summary(&self, job: JobId) -> Result<Report> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut read = connection.prepare(READ_ROWS)?;
        let line = |row: &rusqlite::Row<'_>| {
            let fields: Vec<String> =
                (0..COLUMNS).map(|field| row.get(field)).collect::<Result<_>>()?;
            Ok(fields.join(","))
        };
        let lines: Vec<String> = read.query_map([job.to_string()], line)?.collect::<Result<_>>()?;
        Ok(Report::of(lines))
    }
}
