//! Finished tasks in bulk: a real one, multiplied by the database itself.
//!
//! homing runs one task to its end; its rows, whatever their columns are, are copied under other ids
//! and earlier times. Only the names of ids and times are known here, so a new column needs no change.

use std::path::Path;
use std::time::Duration;

use homing::Homing;
use rusqlite::Connection;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::Result;
use crate::place::{Fresh, Schema};
use crate::tasks::{self, Bench};

/// Rows of one transaction.
const BATCH: u64 = 250_000;
/// Microseconds between the ends of two seeded tasks.
const APART: u64 = 40;
/// Tables with a row for every job, and what they call its id.
const TABLES: [(&str, &str); 2] = [("tasks", "job"), ("jobs", "id")];
/// Columns that hold an instant, in microseconds.
const TIMES: [&str; 4] = ["created", "started", "due", "ended"];

/// Runs a task to its end, to be multiplied.
pub(crate) async fn template(fresh: &Fresh) -> Result<()> {
    let homing = Homing::open(fresh.url()).await?;
    let worker = tasks::worker(&homing, &Bench::default(), 1, 0).start().await?;
    homing.submit(tasks::noop(tasks::text(0))).await?.outcome().await?;
    worker.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Makes `rows` finished tasks of the one that is there.
pub(crate) async fn multiply(fresh: &Fresh, rows: u64, deadline: Instant) -> Result<()> {
    if fresh.prefix().is_some() {
        return worked(fresh, rows, deadline).await;
    }
    if let Some(schema) = fresh.schema() {
        return in_schema(schema, rows, deadline).await;
    }
    let path = fresh.path().ok_or("the store has no file")?.to_owned();
    tokio::task::spawn_blocking(move || in_file(&path, rows, deadline)).await?
}

/// On Redis real tasks are worked: what copies keys there is no faster.
async fn worked(fresh: &Fresh, rows: u64, deadline: Instant) -> Result<()> {
    let homing = Homing::open(fresh.url()).await?;
    let worker = tasks::worker(&homing, &Bench::default(), 1000, 0).start().await?;
    let work = crate::throughput::drain(&homing, rows, tasks::WIDTH);
    match tokio::time::timeout_at(deadline, work).await {
        Ok(done) => drop(done?),
        Err(_) => return Err("the rows are not seeded in time; --timeout allows more".into()),
    }
    worker.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

fn in_file(path: &Path, rows: u64, deadline: Instant) -> Result<()> {
    let mut db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    // Nobody else uses the file, and a crash would only cost the bench.
    db.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -524288; PRAGMA temp_store = MEMORY",
    )?;
    let mut inserts = Vec::new();
    for (table, id) in TABLES {
        // Moved out of the way: ids then only grow, and a page that is full stays so.
        db.execute_batch(&format!(
            "CREATE TEMP TABLE template_{table} AS SELECT * FROM main.{table}; DELETE FROM main.{table}"
        ))?;
        let found: i64 =
            db.query_row(&format!("SELECT count(*) FROM template_{table}"), (), |row| row.get(0))?;
        if found != 1 {
            return Err(format!("expected one row in {table}, found {found}").into());
        }
        inserts.push(insert(&db, table, id)?);
    }
    let newest: i64 = db.query_row("SELECT ended FROM template_tasks", (), |row| row.get(0))?;
    let oldest = newest - (rows * APART) as i64;
    let mut next = 0;
    while next < rows {
        if Instant::now() > deadline {
            return Err(format!("{next} of {rows} rows are seeded; --timeout allows more").into());
        }
        let end = rows.min(next + BATCH);
        let tx = db.transaction()?;
        for insert in &inserts {
            tx.execute(insert, [next as i64, end as i64 - 1, oldest])?;
        }
        tx.commit()?;
        next = end;
    }
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
    drop(db);
    // What is still on its way to the disk would slow the first runs.
    std::fs::File::open(path)?.sync_all()?;
    Ok(())
}

/// The statement that fills a table with copies number ?1 to ?2, of which number 0 ended at ?3.
fn insert(db: &Connection, table: &str, id: &str) -> Result<String> {
    let mut columns = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let columns: Vec<String> =
        columns.query_map([table], |row| row.get(0))?.collect::<std::result::Result<_, _>>()?;
    let at = format!("(?3 + n.i * {APART})");
    // UUID version 7: milliseconds, then what makes it unique.
    let key = format!("unhex(printf('%012x7%03x8%015x', {at} / 1000, n.i & 4095, n.i))");
    let value = |column: &String| match column.as_str() {
        name if name == id => key.clone(),
        name if TIMES.contains(&name) => format!("iif(t.\"{name}\" IS NULL, NULL, {at})"),
        name => format!("t.\"{name}\""),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    Ok(format!(
        "WITH RECURSIVE n(i) AS (VALUES (?1) UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
         INSERT INTO main.{table} (\"{}\") SELECT {} FROM n, template_{table} t",
        columns.join("\", \""),
        values.join(", ")
    ))
}

/// As [`in_file`], in a schema of a PostgreSQL database: every table that holds a row of the job.
async fn in_schema(schema: &Schema, rows: u64, deadline: Instant) -> Result<()> {
    let client = schema.connect().await?;
    // A crash would only cost the bench.
    client.batch_execute("SET synchronous_commit = off").await?;
    let with_jobs = "SELECT table_name::text FROM information_schema.columns
      WHERE table_schema = $1 AND column_name = 'job'";
    let mut inserts = Vec::new();
    for row in client.query(with_jobs, &[&schema.name]).await? {
        let table: &str = row.get(0);
        let count = format!("SELECT count(*) FROM {table}");
        match client.query_one(&count, &[]).await?.get(0) {
            0_i64 => continue,
            1 => {}
            more => return Err(format!("expected one row in {table}, found {more}").into()),
        }
        let template = format!(
            "CREATE TEMP TABLE template_{table} AS SELECT * FROM {table}; DELETE FROM {table}"
        );
        client.batch_execute(&template).await?;
        inserts.push(client.prepare(&insert_in_schema(&client, schema, table).await?).await?);
    }
    let newest: i64 = client.query_one("SELECT ended FROM template_ended", &[]).await?.get(0);
    let oldest = newest - (rows * APART) as i64;
    let mut next = 0;
    while next < rows {
        if Instant::now() > deadline {
            return Err(format!("{next} of {rows} rows are seeded; --timeout allows more").into());
        }
        let end = rows.min(next + BATCH);
        for insert in &inserts {
            client.execute(insert, &[&(next as i64), &(end as i64 - 1), &oldest]).await?;
        }
        next = end;
    }
    // What a server in use has long since done.
    client.batch_execute("VACUUM ANALYZE").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}

/// As [`insert`], for PostgreSQL.
async fn insert_in_schema(client: &Client, schema: &Schema, table: &str) -> Result<String> {
    let columns = "SELECT column_name::text FROM information_schema.columns
      WHERE table_schema = $1 AND table_name = $2";
    let rows = client.query(columns, &[&schema.name, &table]).await?;
    let columns: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    let at = format!("($3::bigint + n.i * {APART})");
    let key = format!(
        "(lpad(to_hex({at} / 1000), 12, '0') || '7' || lpad(to_hex(n.i & 4095), 3, '0') || '8'
          || lpad(to_hex(n.i), 15, '0'))::uuid"
    );
    let value = |column: &&str| match *column {
        "job" => key.clone(),
        name if TIMES.contains(&name) => {
            format!("CASE WHEN t.\"{name}\" IS NULL THEN NULL ELSE {at} END")
        }
        name => format!("t.\"{name}\""),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    Ok(format!(
        "INSERT INTO {table} (\"{}\") SELECT {}
         FROM generate_series($1::bigint, $2::bigint) AS n (i), template_{table} t",
        columns.join("\", \""),
        values.join(", ")
    ))
}
