//! `job`: how long `homing job` and `homing why` take on a job of very many tasks, and how much memory,
//! each in a process of its own.
//!
//! The job is one parent that waits, with children of which 0.1 % have failed and 9.9 % are open. homing
//! makes one child of each sort; the database multiplies their rows, whatever the columns are, under the
//! ids that further children of the set would have.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use homing::{Cursor, Homing, JobId, TaskState};
use homing_cli::App;
use rusqlite::{Connection, params};
use tokio::process::Command;
use tokio::time::Instant;

use crate::report::{Figures, Report};
use crate::rounds::{Common, progress};
use crate::tasks::{self, Bench};
use crate::{Result, parked};

/// Rows of one transaction.
const BATCH: u64 = 250_000;
const MIB: f64 = 1024.0 * 1024.0;

/// What the process that shows the job is told: what `homing` is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) async fn run(common: &Common) -> Result<Report> {
    let children = common.children(1_000_000);
    let report = common.report("job", None, Some(children));
    let mut report = report.note("the limit is not what these are held against");
    let fresh = common.store.fresh().await?;
    let file = fresh.path().map(Path::to_owned);
    let path = file.ok_or("the job is seeded in a file: give `sqlite:PATH`")?;
    progress(&format!("job: seeding {children} children"));
    let begun = Instant::now();
    let job = common.bounded(template(fresh.url())).await?;
    let deadline = begun + common.patience();
    tokio::task::spawn_blocking(move || multiply(&path, children, deadline)).await??;
    check(fresh.url(), job, children).await?;
    report = report.setting("seeded_in_seconds", begun.elapsed().as_secs());
    for number in 0..=common.runs(3) {
        progress(&format!("job: run {} of {}", number + 1, common.runs(3) + 1));
        let mut figures = Figures::new();
        for (verb, seconds, peak) in
            [("job", "job_seconds", "job_peak_mib"), ("why", "why_seconds", "why_peak_mib")]
        {
            let (took, bytes) = common.bounded(show(fresh.url(), verb, job)).await?;
            figures.extend([(seconds, took), (peak, bytes as f64 / MIB)]);
        }
        if number > 0 {
            report.add(figures, None);
        }
    }
    Ok(report)
}

/// A parent that waits, and a child of each sort: succeeded, failed, pending.
async fn template(url: &str) -> Result<JobId> {
    let homing = Homing::open(url).await?;
    let worker = tasks::worker(&homing, &Bench::default(), 2, 0).start().await?;
    let job = homing.submit(tasks::sorts()).title("a wide job").await?.id();
    let settled = async || -> Result<bool> {
        let root = homing.task(job).await?;
        Ok(root.state == TaskState::Waiting && root.children.ended() == 2)
    };
    while !settled().await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.shutdown(Duration::from_secs(5)).await;
    Ok(job)
}

/// Makes children number 0 to `children` - 1 of the three that are there.
fn multiply(path: &Path, children: u64, deadline: Instant) -> Result<()> {
    let mut db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    // Nobody else uses the file, and a crash would only cost the bench.
    db.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -524288; PRAGMA temp_store = MEMORY;
         CREATE TEMP TABLE template AS SELECT * FROM main.tasks WHERE parent IS NOT NULL;
         DELETE FROM main.tasks WHERE parent IS NOT NULL",
    )?;
    let insert = insert(&db)?;
    let mut next = 0;
    while next < children {
        if Instant::now() > deadline {
            let message = format!("{next} of {children} rows are seeded; --timeout allows more");
            return Err(message.into());
        }
        let end = children.min(next + BATCH);
        let tx = db.transaction()?;
        tx.execute(&insert, [next as i64, end as i64 - 1])?;
        tx.commit()?;
        next = end;
    }
    let count = |state: i64| -> Result<i64> {
        let count = "SELECT count(*) FROM tasks WHERE parent IS NOT NULL AND state = ?1";
        Ok(db.query_row(count, [state], |row| row.get(0))?)
    };
    db.execute(
        "UPDATE sets SET spawned = ?1, succeeded = ?2, failed = ?3, last_end = ?1",
        params![children as i64, count(3)?, count(4)?],
    )?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
    drop(db);
    std::fs::File::open(path)?.sync_all()?;
    Ok(())
}

/// The statement that makes children number ?1 to ?2. A child's key is its set's and its number.
fn insert(db: &Connection) -> Result<String> {
    let mut columns = db.prepare("SELECT name FROM pragma_table_info('tasks')")?;
    let columns: Vec<String> =
        columns.query_map((), |row| row.get(0))?.collect::<std::result::Result<_, _>>()?;
    let value = |column: &String| match column.as_str() {
        "local" => "unhex(substr(hex(t.local), 1, 24) || printf('%08x', n.i))".to_owned(),
        "number" => "n.i".to_owned(),
        "end" => "iif(t.\"end\" IS NULL, NULL, n.i + 1)".to_owned(),
        name => format!("t.\"{name}\""),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    Ok(format!(
        "WITH RECURSIVE n(i) AS (VALUES (?1) UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
         INSERT INTO main.tasks (\"{}\") SELECT {} FROM n JOIN template t ON t.state =
           CASE WHEN n.i % 1000 = 999 THEN 4 WHEN n.i % 1000 < 99 THEN 0 ELSE 3 END",
        columns.join("\", \""),
        values.join(", ")
    ))
}

/// What was seeded is a sound store, and the job has the children it is to have.
async fn check(url: &str, job: JobId, children: u64) -> Result<()> {
    let homing = Homing::open_existing(url).await?;
    if let Some(breach) = homing.check().await?.first() {
        return Err(format!("the seeded store is broken: {}", breach.what).into());
    }
    let counted = homing.task(job).await?.children.spawned;
    let (page, _) = homing.children(job, Cursor::default(), 3).await?;
    if counted != children || page.len() != 3.min(children as usize) {
        return Err(format!("the job has {counted} children instead of {children}").into());
    }
    Ok(())
}

/// Shows the job as `homing` does: the seconds from the start of the process to its end, and the most
/// memory it had.
async fn show(url: &str, verb: &str, job: JobId) -> Result<(f64, u64)> {
    let begun = Instant::now();
    let output = Command::new(std::env::current_exe()?)
        .args(["show", "--", "homing", "--store", url, verb, &job.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    let told = String::from_utf8_lossy(&output.stderr);
    let peak = told.trim().parse().map_err(|_| format!("`homing {verb}` failed: {told}"))?;
    if !String::from_utf8_lossy(&output.stdout).contains(&job.to_string()) {
        return Err(format!("`homing {verb}` did not show the job").into());
    }
    Ok((seconds, peak))
}

/// The process that shows the job, and says on stderr how much memory it had.
pub(crate) async fn homing(args: Args) -> Result<()> {
    // What went wrong has been said on stderr, where a number is expected.
    let _ = homing_cli::run_with(App::new("homing"), args.arguments).await;
    crate::process::say(&parked::peak()?.to_string())
}
