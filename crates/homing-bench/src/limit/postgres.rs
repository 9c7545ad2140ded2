//! The raw limit of PostgreSQL: array parameters, one prepared statement a phase, as many connections as
//! the machines of this project have cores.

use std::ops::Range;

use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::{BATCH, COMMITS, Commit, READY, RUNNING, fresh_id};
use crate::place::Schema;
use crate::{Result, tasks};

/// Connections that share the tasks: more gain nothing on two cores.
pub(super) const CONNECTIONS: u64 = 2;

/// What any queue keeps of a task, and the one index that finds the next.
const SCHEMA: &str = "
CREATE TABLE tasks (
  id uuid PRIMARY KEY,
  queue text NOT NULL,
  kind text NOT NULL,
  priority int2 NOT NULL,
  state int2 NOT NULL,           -- 0 ready, 1 running, 2 ended
  due timestamptz NOT NULL,
  attempt int4 NOT NULL,
  worker uuid,
  hash uuid NOT NULL,
  created timestamptz NOT NULL,
  started timestamptz,
  ended timestamptz,
  arguments text NOT NULL,
  outcome text
) WITH (fillfactor = 70);
CREATE INDEX ready ON tasks (queue, priority DESC, due, id) WHERE state = 0;";

const INSERT: &str = "INSERT INTO tasks
  (id, queue, kind, priority, state, due, attempt, hash, created, arguments)
  SELECT id, $4, 'noop', 0, $3, now(), 1, id, now(), arguments
  FROM unnest($1::uuid[], $2::text[]) AS new (id, arguments)";
const CLAIM: &str = "WITH next AS MATERIALIZED (
    SELECT id FROM tasks WHERE state = 0 AND queue = $3
    ORDER BY priority DESC, due, id LIMIT $1 FOR UPDATE SKIP LOCKED)
  UPDATE tasks SET state = 1, worker = $2, started = now() FROM next
  WHERE tasks.id = next.id RETURNING tasks.id, kind, attempt, arguments";
const COMPLETE: &str =
    "UPDATE tasks SET state = 2, worker = NULL, ended = now(), outcome = done.outcome
  FROM unnest($1::uuid[], $2::text[]) AS done (id, outcome) WHERE tasks.id = done.id";

/// Tasks per second in batches, over several connections: as three writes, or as two.
pub(super) async fn batches(
    schema: &Schema,
    connections: u64,
    (tasks, width): (u64, usize),
    claimed: bool,
) -> Result<f64> {
    schema.connect().await?.batch_execute(SCHEMA).await?;
    let mut tables = Vec::new();
    for number in 0..connections {
        tables.push(Table { width, ..Table::open(schema, &number.to_string()).await? });
    }
    let begun = Instant::now();
    let mut working = JoinSet::new();
    let share = tasks.div_ceil(connections);
    for (number, table) in (0..).zip(tables) {
        let numbers = tasks.min(number * share)..tasks.min((number + 1) * share);
        working.spawn(async move { table.work(numbers, claimed).await });
    }
    while let Some(worked) = working.join_next().await {
        worked??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    verify(schema, tasks).await?;
    Ok(tasks as f64 / seconds)
}

/// Tasks per second as three transactions of one row.
pub(super) async fn singly(schema: &Schema, tasks: u64) -> Result<f64> {
    schema.connect().await?.batch_execute(SCHEMA).await?;
    let table = Table::open(schema, "default").await?;
    let begun = Instant::now();
    for number in 0..tasks {
        table.insert(number..number + 1, READY).await?;
        let ids = table.claim(1).await?;
        table.complete(&ids).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    verify(schema, tasks).await?;
    Ok(tasks as f64 / seconds)
}

/// Transactions that insert one row each, each after a pause.
pub(super) async fn commit(schema: &Schema, pause: Duration) -> Result<Commit> {
    let client = schema.connect().await?;
    client
        .batch_execute(
            &SCHEMA
                .replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
                .replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"),
        )
        .await?;
    let table = Table::open(schema, "default").await?;
    let mut samples = Vec::new();
    for number in 0..COMMITS {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        table.insert(number..number + 1, RUNNING).await?;
        samples.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Commit::of(&samples)
}

async fn verify(schema: &Schema, tasks: u64) -> Result<()> {
    let count = "SELECT count(*) FROM tasks WHERE state = 2 AND outcome IS NOT NULL";
    let ended: i64 = schema.connect().await?.query_one(count, &[]).await?.get(0);
    if ended == tasks as i64 {
        return Ok(());
    }
    Err(format!("the limit is wrong: {ended} of {tasks} tasks were completed").into())
}

/// A queue as bare as it gets, over one connection.
struct Table {
    client: Client,
    queue: String,
    worker: Uuid,
    /// How wide payloads are.
    width: usize,
    insert: Statement,
    claim: Statement,
    complete: Statement,
}

impl Table {
    /// A queue of its own keeps each connection's batches whole.
    async fn open(schema: &Schema, queue: &str) -> Result<Self> {
        let queue = queue.to_owned();
        let client = schema.connect().await?;
        let insert = client.prepare(INSERT).await?;
        let claim = client.prepare(CLAIM).await?;
        let complete = client.prepare(COMPLETE).await?;
        let (worker, width) = (Uuid::from_bytes(fresh_id()), tasks::WIDTH);
        Ok(Self { client, queue, worker, width, insert, claim, complete })
    }

    async fn work(&self, numbers: Range<u64>, claimed: bool) -> Result<()> {
        let mut next = numbers.start;
        while next < numbers.end {
            let batch = next..numbers.end.min(next + BATCH);
            next = batch.end;
            let size = batch.end - batch.start;
            let ids = if claimed {
                self.insert(batch, READY).await?;
                self.claim(size).await?
            } else {
                self.insert(batch, RUNNING).await?
            };
            self.complete(&ids).await?;
        }
        Ok(())
    }

    async fn insert(&self, numbers: Range<u64>, state: i64) -> Result<Vec<Uuid>> {
        let (mut ids, mut arguments) = (Vec::new(), Vec::new());
        for number in numbers {
            ids.push(Uuid::from_bytes(fresh_id()));
            arguments.push(format!("{{\"text\":\"{}\"}}", tasks::wide(number, self.width)));
        }
        self.client
            .execute(&self.insert, &[&ids, &arguments, &(state as i16), &self.queue])
            .await?;
        Ok(ids)
    }

    async fn claim(&self, size: u64) -> Result<Vec<Uuid>> {
        let rows =
            self.client.query(&self.claim, &[&(size as i64), &self.worker, &self.queue]).await?;
        let read = |row: &tokio_postgres::Row| {
            // All that a worker needs is read.
            let (_, _, _): (&str, i32, &str) = (row.get(1), row.get(2), row.get(3));
            row.get(0)
        };
        Ok(rows.iter().map(read).collect())
    }

    async fn complete(&self, ids: &[Uuid]) -> Result<()> {
        let outcomes: Vec<String> = (0..)
            .zip(ids)
            .map(|(number, _)| format!("\"{}\"", tasks::wide(number, self.width)))
            .collect();
        self.client.execute(&self.complete, &[&ids, &outcomes]).await?;
        Ok(())
    }
}
