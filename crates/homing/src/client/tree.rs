//! Reading a job's tree, page by page, never whole.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::Homing;
use crate::core::id::{InvalidId, Local, TaskId};
use crate::core::log::Line;
use crate::core::state::State;
use crate::limits;
use crate::store::read::{ChildCounts, TaskView};
use crate::store::{self, SetRow};

/// Where a walk over a task's children stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    set: Option<Local>,
    number: u32,
}

/// A set of a task's children, as people see it. See [`Homing::sets`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SetView {
    /// The set, among those of its task.
    pub key: SetKey,
    /// Its children, counted.
    pub children: ChildCounts,
    /// How many of them the task's own body has spawned; other members have added the rest.
    pub own: u64,
}

/// Names a set among those of one task; stable, and the same in every process. Prints as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SetKey(Local);

impl fmt::Display for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SetKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let key = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        let key = key.ok_or_else(|| InvalidId::new(text))?;
        Ok(Self(Local(key.to_be_bytes()).set()))
    }
}

impl TaskView {
    /// The set among those of its parent that the task belongs to, and its number there; a root has none.
    pub fn place(&self) -> Option<(SetKey, u32)> {
        self.set.map(|(set, number)| (SetKey(set), number))
    }
}

impl Homing {
    /// The sets of a task's children with keys above `after`, in the order of their keys: at most `limit`, and at
    /// most [`limits::PAGE`]. A task has a set for each [`JoinSet`](crate::JoinSet) it has spawned into, and one
    /// for each [`spawn`](fn@crate::spawn) that stands alone.
    ///
    /// # Errors
    /// The store fails. An unknown task has no sets.
    pub async fn sets(
        &self,
        task: impl Into<TaskId>,
        after: Option<SetKey>,
        limit: usize,
    ) -> Result<Vec<SetView>, store::Error> {
        let limit = limit.clamp(1, limits::PAGE);
        let rows = self.store.sets(task.into(), after.map(|key| key.0), limit).await?;
        let view = |row: SetRow| {
            let mut children = ChildCounts::default();
            children.add(&row.counts);
            SetView { key: SetKey(row.set), children, own: row.counts.own() }
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// A window over a set: its children from the `from`-th on, counted from 0 in the order in which they were
    /// spawned, at most `limit` and at most [`limits::PAGE`]. A look into the key, so that the 734,512th child
    /// costs what the first does. Those that other members have added follow the body's own.
    ///
    /// ```
    /// # use homing::{Homing, JoinSet, task};
    /// # #[task]
    /// # async fn leaf(n: u64) -> homing::Result<u64> { Ok(n) }
    /// # #[task]
    /// # async fn wide() -> homing::Result<u64> {
    /// #     let mut set = JoinSet::new();
    /// #     for n in 0..50 { set.spawn(leaf(n)).await?; }
    /// #     Ok(set.join_all().await?.len() as u64)
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let homing = Homing::open("memory:").await?;
    /// # homing.worker().register(wide).register(leaf).start().await?;
    /// let job = homing.submit(wide()).await?;
    /// job.outcome().await?;
    /// let set = homing.sets(job.id(), None, 10).await?.remove(0);
    /// assert_eq!(set.children.spawned, 50);
    /// let window = homing.window(job.id(), set.key, 40, 3).await?;
    /// let arguments: Vec<&str> = window.iter().map(|task| task.arguments.as_str()).collect();
    /// assert_eq!(arguments, [r#"{"n":40}"#, r#"{"n":41}"#, r#"{"n":42}"#]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store fails. An unknown task or set has no children.
    pub async fn window(
        &self,
        task: impl Into<TaskId>,
        set: SetKey,
        from: u64,
        limit: usize,
    ) -> Result<Vec<TaskView>, store::Error> {
        let task = task.into();
        let limit = limit.clamp(1, limits::PAGE);
        let own = self.store.set(task, set.0).await?.own();
        // Numbers are dense; those of added members begin where the body's must end.
        let number = if from < own { from } else { u64::from(limits::CHILDREN) + (from - own) };
        let Ok(number) = u32::try_from(number) else { return Ok(Vec::new()) };
        let page = self.store.children(task, set.0, number, limit).await?;
        let ids = page.iter().map(|child| TaskId { job: task.job, local: child.local });
        self.store.tasks(ids.collect()).await
    }

    /// A page of a task's children in the order of their sets and numbers, and the cursor of the next
    /// page; `None` when there is none. Start with the default cursor.
    ///
    /// # Errors
    /// The store fails. An unknown task has no children.
    pub async fn children(
        &self,
        task: impl Into<TaskId>,
        cursor: Cursor,
        limit: usize,
    ) -> Result<(Vec<TaskView>, Option<Cursor>), store::Error> {
        let task = task.into();
        let limit = limit.clamp(1, limits::PAGE);
        let set = match cursor.set {
            Some(set) => set,
            None => match self.store.sets(task, None, 1).await?.first() {
                Some(row) => row.set,
                None => return Ok((Vec::new(), None)),
            },
        };
        let page = self.store.children(task, set, cursor.number, limit).await?;
        let next = match page.last() {
            Some(last) if page.len() == limit => {
                Some(Cursor { set: Some(set), number: last.number + 1 })
            }
            _ => {
                let next = self.store.sets(task, Some(set), 1).await?;
                next.first().map(|row| Cursor { set: Some(row.set), number: 0 })
            }
        };
        let ids = page.iter().map(|child| TaskId { job: task.job, local: child.local });
        Ok((self.store.tasks(ids.collect()).await?, next))
    }

    /// Why a task's attempts failed or crashed, why it expired or passed its deadline, and why it stood still:
    /// the last `limit` lines of its job's log that tell of that, in order; at most [`limits::PAGE`]. A line is
    /// written in the transaction that records the failure or counts the crash, an error if the task ends by it
    /// and a warning otherwise. A reason to stand still is written once for each attempt.
    ///
    /// # Errors
    /// The store fails. An unknown task has no attempts.
    pub async fn failed_attempts(
        &self,
        task: impl Into<TaskId>,
        limit: usize,
    ) -> Result<Vec<Line>, store::Error> {
        self.store.failed_attempts(task.into(), limit.clamp(1, limits::PAGE)).await
    }

    /// Some children of a task that are in a state, over all its sets: at most `limit`, and at most
    /// [`limits::PAGE`]. Quick however many children there are, except for those that succeeded, of
    /// which it takes the first it comes across. Which come first is the store's choice.
    ///
    /// # Errors
    /// The store fails. An unknown task has no children.
    pub async fn children_in(
        &self,
        task: impl Into<TaskId>,
        state: State,
        limit: usize,
    ) -> Result<Vec<TaskView>, store::Error> {
        let limit = limit.clamp(1, limits::PAGE);
        let ids = self.store.children_in(task.into(), state, limit).await?;
        self.store.tasks(ids).await
    }
}
