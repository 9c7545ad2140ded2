//! What `--json` prints and `/api/v1` answers: objects, each with a `type`. The names are part of the interface;
//! `docs/cli.schema.json` describes them, and the tests hold every command and every answer to it.
//!
//! Instants are strings by RFC 3339, in UTC; what is absent is `null`.

use homing::{JobId, TaskId};
use serde::Serialize;
use serde_json::Value;

mod acts;
mod samples;
mod store;
mod tasks;
mod write;

pub use acts::{Action, Retried, action, not_retried, retried};
pub use samples::{Sample, sample};
pub use store::{Queue, Store, Worker, breach, kind, queue, store, worker};
pub use tasks::{
    Children, Entry, FailureGroup, Job, LogLine, Progress, Reason, Task, Why, entry, failure_group,
    job, line, log_line, task,
};
pub use write::write;

/// An object of a line.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Object<'a> {
    /// A job's record.
    Job(Box<Job<'a>>),
    /// A task.
    Task(Box<Task<'a>>),
    /// Children of a task that are not shown.
    Omitted {
        /// Their parent.
        parent: TaskId,
        /// Levels below the task that was asked for.
        depth: usize,
        /// How many.
        count: u64,
    },
    /// There are more: the argument of `--after` that shows them.
    Next {
        /// The last job of this page.
        after: JobId,
    },
    /// Failed tasks that are alike.
    FailureGroup(FailureGroup<'a>),
    /// What somebody has done.
    Action(Action<'a>),
    /// Why a task is where it is.
    Why(Box<Why<'a>>),
    /// A line of a log.
    Line(LogLine<'a>),
    /// An entry of a task's record.
    Entry(Entry<'a>),
    /// A queue.
    Queue(Queue<'a>),
    /// A worker.
    Worker(Worker<'a>),
    /// What a worker has done in a minute.
    Sample(Sample<'a>),
    /// A kind.
    Kind {
        /// Its name.
        name: &'a str,
        /// Its arguments.
        arguments: &'a [homing::task::Parameter],
    },
    /// A job was submitted, or one with its key or id was there.
    Submitted {
        /// The job.
        id: JobId,
        /// Its kind.
        kind: &'a str,
    },
    /// A verb was done. `changed` is false if there was nothing to do.
    Done {
        /// The verb.
        verb: &'static str,
        /// The task or queue.
        target: String,
        /// Whether there was anything to do.
        changed: bool,
    },
    /// A task was replayed.
    Verified(&'a homing::Verified),
    /// A job was retried, or would be, or not.
    Retried(Box<Retried<'a>>),
    /// Jobs were removed.
    Pruned {
        /// How many.
        jobs: u64,
    },
    /// A broken invariant.
    Breach {
        /// The task it concerns.
        task: TaskId,
        /// What is wrong with it.
        what: &'a str,
    },
    /// The end of a check.
    Checked {
        /// How many breaches were found.
        breaches: usize,
    },
    /// A store.
    Store(Store<'a>),
    /// A store was brought up to date.
    Migrated {
        /// The store.
        url: &'a str,
        /// The version that its schema had.
        from: i64,
        /// The version that it has.
        to: i64,
    },
}

/// Stored JSON; what is none is shown as the text it is.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
