//! What a run costs a PostgreSQL server: statements, and bytes of write-ahead log.
//!
//! The server counts for everybody: run nothing else on it. Statements are counted where the extension
//! `pg_stat_statements` is there.

use tokio_postgres::Client;

use crate::Result;
use crate::place::Fresh;
use crate::report::Figures;

/// The server's counters, read at a run's beginning.
pub(crate) struct Meter(Option<Server>);

struct Server {
    client: Client,
    statements: Option<f64>,
    bytes: f64,
}

impl Meter {
    /// Reads the counters; other stores than PostgreSQL have none.
    pub(crate) async fn start(fresh: &Fresh) -> Result<Self> {
        let Some(schema) = fresh.schema() else { return Ok(Self(None)) };
        let client = schema.connect().await?;
        let (statements, bytes) = (statements(&client).await?, bytes(&client).await?);
        Ok(Self(Some(Server { client, statements, bytes })))
    }

    /// What was counted since, per task.
    pub(crate) async fn per_task(self, tasks: u64) -> Result<Figures> {
        let Some(Server { client, statements: before, bytes: from }) = self.0 else {
            return Ok(Vec::new());
        };
        let mut figures =
            vec![("wal_bytes_per_task", (bytes(&client).await? - from) / tasks as f64)];
        if let (Some(before), Some(now)) = (before, statements(&client).await?) {
            figures.push(("statements_per_task", (now - before) / tasks as f64));
        }
        Ok(figures)
    }
}

async fn bytes(client: &Client) -> Result<f64> {
    let written = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8";
    Ok(client.query_one(written, &[]).await?.get(0))
}

async fn statements(client: &Client) -> Result<Option<f64>> {
    let known =
        "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
      WHERE extname = 'pg_stat_statements'";
    let Some(row) = client.query_opt(known, &[]).await? else { return Ok(None) };
    let schema: &str = row.get(0);
    let sum = format!(
        "SELECT coalesce(sum(calls), 0)::float8 FROM \"{schema}\".pg_stat_statements s
         JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()"
    );
    Ok(Some(client.query_one(&sum, &[]).await?.get(0)))
}
