//! The table in the database that the store is in: no connection of its own is needed, and no care for
//! tasks that run again.

use std::fmt;

use homing::{JobId, TaskId, transaction};

use crate::feed::Page;
use crate::tasks::Report;

/// The table. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    schema: String,
}

impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store's database, {}.airports", self.schema)
    }
}

impl Postgres {
    /// The table beside the store's own, in a schema with a name like theirs.
    pub(crate) fn beside(store: &str) -> Self {
        let options = store.split_once('?').map_or("", |(_, options)| options);
        let schema = options.split('&').find_map(|pair| pair.strip_prefix("schema="));
        Self { schema: format!("{}_import", schema.unwrap_or("homing")) }
    }

    /// Makes the tables. `pages` takes each page once, or says so; `airports.writes` counts how often a
    /// row was written.
    pub(crate) async fn prepare(&self) -> homing::Result<()> {
        let sql = "CREATE SCHEMA IF NOT EXISTS @;
            CREATE TABLE IF NOT EXISTS @.pages (
                task text PRIMARY KEY, job text NOT NULL, cursor text NOT NULL, rows bigint NOT NULL);
            CREATE TABLE IF NOT EXISTS @.airports (
                iata text PRIMARY KEY, columns text[] NOT NULL, page text NOT NULL,
                writes bigint NOT NULL DEFAULT 1)";
        Ok(transaction("tables", async |tx| Ok(tx.batch_execute(&self.named(sql)).await?)).await?)
    }

    /// Writes a page: its rows and the fact that they were written are one commit.
    pub(crate) async fn write(&self, task: TaskId, page: &Page) -> homing::Result<u64> {
        let pages = self.named("INSERT INTO @.pages VALUES ($1, $2, $3, $4)");
        let airports = self.named(
            "INSERT INTO @.airports (iata, columns, page) VALUES ($1, $2, $3)
            ON CONFLICT (iata) DO UPDATE SET
                columns = excluded.columns, page = excluded.page, writes = airports.writes + 1",
        );
        let (id, job) = (task.to_string(), task.job.to_string());
        let rows = page.rows.len() as i64;
        Ok(transaction("write", async |tx| {
            tx.execute(&pages, &[&id, &job, &page.cursor, &rows]).await?;
            let airport = tx.prepare(&airports).await?;
            for row in &page.rows {
                tx.execute(&airport, &[&row[0], &row.as_slice(), &id]).await?;
            }
            Ok(rows as u64)
        })
        .await?)
    }

    /// How many rows a job has written, and their checksum.
    pub(crate) async fn summary(&self, job: JobId) -> homing::Result<Report> {
        let read = self.named(
            "SELECT columns FROM @.airports JOIN @.pages ON page = task WHERE job = $1
            ORDER BY iata COLLATE \"C\"",
        );
        Ok(transaction("table", async |tx| {
            let rows = tx.query(&read, &[&job.to_string()]).await?;
            let line = |row: &tokio_postgres::Row| row.get::<_, Vec<String>>(0).join(",");
            Ok(Report::of(rows.iter().map(line)))
        })
        .await?)
    }

    /// A statement, with `@` led to the schema.
    fn named(&self, sql: &str) -> String {
        sql.replace('@', &self.schema)
    }
}
