//! Every default and limit in one place; `docs/limits.md` is checked against this file.
//!
//! Each limit ends in a clear error or in backpressure, never in silent truncation.

use std::time::Duration;

/// Largest value of one argument list, outcome, step or signal, in bytes of JSON.
pub const PAYLOAD: usize = 1024 * 1024;
/// Deepest nesting of a value: lists, maps and structs within each other.
pub const DEPTH: usize = 100;
/// How deep a value is measured; what is deeper is refused unmeasured.
pub const DEPTH_MEASURED: usize = 256;
/// Longest name: kind, queue, step, place, signal, tag, in bytes.
pub const NAME: usize = 200;
/// Longest title or unique key of a job, in bytes.
pub const TITLE: usize = 1000;
/// Most tags on a job.
pub const TAGS: usize = 20;
/// Longest message of an error or log line kept, in bytes; longer ones end in a count of what is left out.
pub const MESSAGE: usize = 8 * 1024;
/// Longest chain of error sources kept.
pub const SOURCES: usize = 16;
/// Spawns of one task that may wait for their commit; the next `spawn` waits.
pub const UNFLUSHED_SPAWNS: usize = 4096;
/// Most bytes of unflushed spawns of one task; the next `spawn` waits.
pub const UNFLUSHED_BYTES: usize = 4 * 1024 * 1024;
/// Log lines of one task that may wait for their commit; the next are dropped, and one line counts them.
pub const UNFLUSHED_LINES: usize = 16_384;
/// Most bytes of such log lines of one task.
pub const UNFLUSHED_LINE_BYTES: usize = 8 * 1024 * 1024;
/// Branches of `join!` and `join_all` that are open at once in one task.
pub const BRANCHES: usize = 1000;
/// Most children one set may have.
pub const CHILDREN: u32 = 1 << 31;
/// Most outcomes that `join_all` and `join_settled` return at once; streams have no limit.
pub const JOIN_ALL: u64 = 100_000;
/// Events of one exchange before the rest waits for the next.
pub const EXCHANGE_EVENTS: usize = 4096;
/// Bytes of one exchange before the rest waits for the next.
pub const EXCHANGE_BYTES: usize = 8 * 1024 * 1024;
/// Tasks claimed by one exchange.
pub const CLAIM: usize = 1000;
/// Rows on one page of a reading verb.
pub const PAGE: usize = 1000;
/// Bytes of values on one page of a reading verb, and of arguments in one transaction of `submit_all`: the
/// row that reaches this is the page's last.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Log lines kept of one task; one more line counts those dropped.
pub const LOG_LINES: u32 = 10_000;
/// Tasks ended by one transaction of a cancellation that goes down a tree.
pub const CASCADE: usize = 500;
/// Jobs removed by one transaction of `prune`.
pub const PRUNE_JOBS: usize = 100;
/// Rows removed by one transaction of `prune`.
pub const PRUNE_ROWS: usize = 10_000;

/// Tasks that a job's retry names of those it has reopened.
pub const RETRIED: usize = 100;

/// Retries of a task beyond its first attempt.
pub const RETRIES: u32 = 3;
/// Attempts a task may make in all, however often its budget is renewed.
pub const MAX_ATTEMPTS: u32 = 1000;
/// Failed tasks that are looked at for [`Homing::failures`](crate::Homing::failures) on Redis, those of the jobs in
/// which a task failed last. On the other stores all of them are.
pub const FAILURES: usize = 10_000;
/// How long it is kept what people have done, see [`Homing::actions`](crate::Homing::actions).
pub const ACTIONS_KEPT: Duration = Duration::from_hours(2160);
/// Actions beyond their age that each further one forgets, at most.
pub const ACTIONS_FORGOTTEN: usize = 100;
/// How long it is kept what workers did minute by minute, see [`Homing::samples`](crate::Homing::samples).
pub const SAMPLES_KEPT: Duration = Duration::from_hours(168);
/// Samples beyond their age that each further one forgets, at most.
pub const SAMPLES_FORGOTTEN: usize = 100;
/// Pairs of a queue and a kind that a sample tells apart.
pub const SAMPLE_PARTS: usize = 64;
/// Samples that a worker keeps while its store is away.
pub const SAMPLES_HELD: usize = 60;
/// Shortest pause before a retry; it doubles with every failure in a row.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest pause before a retry.
pub const BACKOFF_MAX: Duration = Duration::from_mins(10);
/// Worker deaths in a row, with nothing new recorded, after which a task fails.
pub const MAX_CRASHES: u32 = 5;
/// Worker deaths in a row from which a task is a suspect.
pub const SUSPECT: u32 = 2;
/// How long a worker's lease lasts without a heartbeat.
pub const LEASE: Duration = Duration::from_secs(15);
/// Shortest lease: with a shorter one a healthy worker would be given up between two heartbeats.
pub const LEASE_MIN: Duration = Duration::from_millis(250);
/// Longest lease: for so long a dead worker's tasks wait for another.
pub const LEASE_MAX: Duration = Duration::from_hours(24);
/// Slots of a worker.
pub const CONCURRENCY: usize = 64;
/// Most slots of a worker.
pub const CONCURRENCY_MAX: usize = 1_000_000;
/// How long a task may hold its slot for its worker to fetch others ahead of the slots.
pub const SHORT: Duration = Duration::from_millis(100);
/// How long a task that was fetched ahead waits for a slot before its worker gives it back.
pub const AHEAD: Duration = Duration::from_millis(500);
/// Parked futures a worker keeps in memory.
pub const RESIDENT: usize = 10_000;
/// How long a parked future stays in memory.
pub const RESIDENT_AGE: Duration = Duration::from_mins(10);
/// How long resumed work waits for the worker that still has its future.
pub const HOLD: Duration = Duration::from_millis(50);
/// How long plain I/O may be seen beside a durable wait before it is a misuse.
pub const FOREIGN: Duration = Duration::from_millis(50);
/// How much older than new work resumed work counts.
pub const RESUMED_AGE: Duration = Duration::from_mins(1);
/// How long a cancelled body may run on before it is dropped.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long a worker that shuts down tries, once its patience is over, to hand back what it holds.
pub const LEAVE: Duration = Duration::from_secs(5);
/// How often a worker that was given a retention removes the jobs whose time is over.
pub const RETENTION_PASS: Duration = Duration::from_mins(10);
/// How often an idle worker looks at a store whose hints may have been lost.
pub const POLL: Duration = Duration::from_secs(1);
/// Longest pause before a task stopped by drift is tried again.
pub const STALL_MAX: Duration = Duration::from_mins(5);
/// PostgreSQL: connections of one open store at most, the listening one aside.
pub const POSTGRES_POOL: usize = 8;
/// PostgreSQL: how long a verb waits for a connection, attempts to connect included.
pub const POSTGRES_POOL_TIMEOUT: Duration = Duration::from_secs(10);
/// PostgreSQL: how long one attempt to connect may take.
pub const POSTGRES_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// PostgreSQL: how long a transaction may stand idle, its process frozen say, before the server ends it
/// and frees its locks.
pub const POSTGRES_IDLE: Duration = Duration::from_secs(15);
/// PostgreSQL: this many similar tasks created in one transaction share one row until they go ways of their own.
pub const POSTGRES_BUNDLE: usize = 8;
/// PostgreSQL: tasks in one such row at most; with more it would not lie in one piece.
pub const POSTGRES_BUNDLE_MOST: usize = 100;
/// PostgreSQL: shortest pause between two notifications of one process; what happens meanwhile shares one.
pub const POSTGRES_NOTIFY: Duration = Duration::from_millis(5);
/// PostgreSQL: for so long a worker's session must be gone before the worker is given up without waiting for its
/// lease. Longer than a process takes to connect again.
pub const POSTGRES_SESSION_GRACE: Duration = Duration::from_millis(500);
/// PostgreSQL: a process gives nobody up for a lost session before its own is so old. What made it new may have taken all
/// sessions.
pub const POSTGRES_SESSION_TRUST: Duration = Duration::from_secs(5);
