//! What a run costs a server: PostgreSQL in bytes of write-ahead log; Redis in memory, processor time and commands.
//!
//! A server counts for everybody: run nothing else on it.

use redis::aio::MultiplexedConnection;
use tokio::time::Duration;
use tokio_postgres::Client;

use crate::Result;
use crate::place::Fresh;
use crate::report::Figures;

/// A server's counters, read at a run's beginning.
pub(crate) enum Meter {
    /// A store without a server has none.
    None,
    Postgres(Client, f64),
    Redis(MultiplexedConnection, Info),
}

impl Meter {
    /// Reads the counters.
    pub(crate) async fn start(fresh: &Fresh) -> Result<Self> {
        if let Some(schema) = fresh.schema() {
            let client = schema.connect().await?;
            let bytes = bytes(&client).await?;
            return Ok(Self::Postgres(client, bytes));
        }
        let Some(prefix) = fresh.prefix() else { return Ok(Self::None) };
        let mut server = prefix.connect().await?;
        let mut info = Info::of(&mut server).await?;
        // The stores of earlier runs are freed in the background, and would be counted as gained.
        while info.freed_later > 0.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            info = Info::of(&mut server).await?;
        }
        Ok(Self::Redis(server, info))
    }

    /// What was counted since, per task.
    pub(crate) async fn per_task(self, tasks: u64) -> Result<Figures> {
        let per_task = |from: f64, to: f64| (to - from) / tasks as f64;
        Ok(match self {
            Self::None => Vec::new(),
            Self::Postgres(client, from) => {
                vec![("wal_bytes_per_task", per_task(from, bytes(&client).await?))]
            }
            Self::Redis(mut server, from) => {
                let to = Info::of(&mut server).await?;
                vec![
                    ("memory_bytes_per_task", per_task(from.memory, to.memory)),
                    ("server_cpu_us_per_task", per_task(from.cpu, to.cpu) * 1e6),
                    ("commands_per_task", per_task(from.commands, to.commands)),
                ]
            }
        })
    }
}

async fn bytes(client: &Client) -> Result<f64> {
    let written = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8";
    Ok(client.query_one(written, &[]).await?.get(0))
}

/// What a Redis server says of itself.
#[derive(Debug)]
pub(crate) struct Info {
    /// Bytes that its data takes, and what it needs besides.
    memory: f64,
    /// Seconds of processor time.
    cpu: f64,
    /// Commands of clients, and those that scripts have called.
    commands: f64,
    /// Keys that were removed and are not freed yet.
    freed_later: f64,
}

impl Info {
    async fn of(server: &mut MultiplexedConnection) -> Result<Self> {
        let text: String = redis::cmd("INFO").arg("everything").query_async(server).await?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.and_then(|number| number.parse::<f64>().ok());
            number.ok_or_else(|| format!("the server does not say its `{name}`"))
        };
        Ok(Self {
            memory: number("used_memory")?,
            cpu: number("used_cpu_user")? + number("used_cpu_sys")?,
            commands: number("total_commands_processed")?,
            freed_later: number("lazyfree_pending_objects")?,
        })
    }
}
