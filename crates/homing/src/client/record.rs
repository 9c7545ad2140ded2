//! Reading a task's record: what its body remembers, and when it was committed.

use std::fmt;

use serde::Serialize;

use super::Homing;
use crate::core::id::TaskId;
use crate::core::time::{Time, rfc3339};
use crate::limits;
use crate::store;
use crate::store::Entry;
use crate::store::read::Recorded;

/// An entry of a task's record, as people see it. See [`Homing::record`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EntryView {
    /// Its number among those of its task, from 1. A wait reserves its number when it begins, so an entry with a
    /// higher number may be older.
    pub number: u64,
    /// Its place in the body: `step:fetch#1` is the first time that the step `fetch` was come by.
    pub place: String,
    /// What is remembered there.
    pub what: EntryKind,
    /// The signal that answered the wait, if one did.
    pub signal: Option<String>,
    /// The value, as JSON: what a step gave, the value of a signal, what the body returned.
    pub value: Option<String>,
    /// When it was committed, by the store's clock. `None` if a version of homing wrote it that kept no times.
    #[serde(serialize_with = "rfc3339")]
    pub time: Option<Time>,
}

/// What an entry of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EntryKind {
    /// The value of a step or a transaction, the time that [`now`](crate::now) told, the instant at which a wait
    /// is over, what a wait saw that ran out of time.
    Value,
    /// The end of a wait: for children, a job, a signal, an instant. Its time is when the task was taken up again.
    Wait,
    /// A task was added to the set of the task's parent.
    Added,
    /// A job of its own was started.
    Detached,
    /// A signal was sent to another task.
    Signalled,
    /// The body returned; tasks of its sets may still be open.
    Returned,
}

impl EntryKind {
    /// The word for it, as `--json` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Wait => "wait",
            Self::Added => "added",
            Self::Detached => "detached",
            Self::Signalled => "signalled",
            Self::Returned => "returned",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Recorded> for EntryView {
    fn from(recorded: Recorded) -> Self {
        let Recorded { seq: number, place, entry, time } = recorded;
        let (what, value, signal) = match entry {
            Entry::Value(value) => (EntryKind::Value, Some(value), None),
            Entry::Answer(answer) => (EntryKind::Wait, answer.value, answer.signal),
            Entry::Added(_) => (EntryKind::Added, None, None),
            Entry::Detached(_) => (EntryKind::Detached, None, None),
            Entry::Signalled(_) => (EntryKind::Signalled, None, None),
            Entry::Returned { value, .. } => (EntryKind::Returned, Some(value), None),
        };
        Self { number, place, what, signal, value, time }
    }
}

impl Homing {
    /// A page of a task's record: what its body remembers, with numbers above `after`, in the order of the numbers.
    /// At most `limit` entries, at most [`limits::PAGE`], and no more than about [`limits::PAGE_BYTES`]; an empty
    /// page is the end. Children are no entries: [`sets`](Self::sets) has them.
    ///
    /// ```
    /// # use homing::{EntryKind, Homing, task};
    /// #[task]
    /// async fn greet(name: String) -> homing::Result<String> {
    ///     Ok(homing::step("greet", async || Ok(format!("Hello {name}"))).await?)
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let homing = Homing::open("memory:").await?;
    /// # homing.worker().register(greet).start().await?;
    /// let job = homing.submit(greet("Ada".to_owned())).await?;
    /// job.outcome().await?;
    /// let record = homing.record(job.id(), 0, 100).await?;
    /// assert_eq!(record[0].place, "step:greet#1");
    /// assert_eq!(record[0].value.as_deref(), Some(r#""Hello Ada""#));
    /// assert!(record[0].time.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store fails, or an entry does not decode: a newer version of homing has written it, or somebody else.
    /// An unknown task has no record.
    pub async fn record(
        &self,
        task: impl Into<TaskId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EntryView>, store::Error> {
        let limit = limit.clamp(1, limits::PAGE);
        let page = self.store.history(task.into(), after, limit).await?;
        Ok(page.into_iter().map(EntryView::from).collect())
    }
}
