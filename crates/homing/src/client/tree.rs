//! Reading a job's tree, page by page, never whole.

use super::Homing;
use crate::core::id::{Local, TaskId};
use crate::core::log::Line;
use crate::core::state::State;
use crate::limits;
use crate::store;
use crate::store::read::TaskView;

/// Where a walk over a task's children stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    set: Option<Local>,
    number: u32,
}

impl Homing {
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
