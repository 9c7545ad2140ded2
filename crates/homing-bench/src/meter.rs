//! What a run costs a PostgreSQL server in bytes of write-ahead log.
//!
//! The server counts for everybody: run nothing else on it.

use tokio_postgres::Client;

use crate::Result;
use crate::place::Fresh;
use crate::report::Figures;

/// The server's counter, read at a run's beginning.
pub(crate) struct Meter(Option<Server>);

struct Server {
    client: Client,
    bytes: f64,
}

impl Meter {
    /// Reads the counter; other stores than PostgreSQL have none.
    pub(crate) async fn start(fresh: &Fresh) -> Result<Self> {
        let Some(schema) = fresh.schema() else { return Ok(Self(None)) };
        let client = schema.connect().await?;
        let bytes = bytes(&client).await?;
        Ok(Self(Some(Server { client, bytes })))
    }

    /// What was counted since, per task.
    pub(crate) async fn per_task(self, tasks: u64) -> Result<Figures> {
        let Some(Server { client, bytes: from }) = self.0 else { return Ok(Vec::new()) };
        Ok(vec![("wal_bytes_per_task", (bytes(&client).await? - from) / tasks as f64)])
    }
}

async fn bytes(client: &Client) -> Result<f64> {
    let written = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8";
    Ok(client.query_one(written, &[]).await?.get(0))
}
