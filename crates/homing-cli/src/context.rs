//! What every command is given: the store, where to write, and how.

use homing::{FindError, Homing, IdPrefix, JobId, TaskId, Time};

use crate::output::Output;
use crate::{Error, Result};

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The store, opened; it existed.
    pub(crate) homing: Homing,
    /// The store's URL, as it was given.
    pub(crate) url: String,
    /// Whether programs read the output.
    pub(crate) json: bool,
    /// Standard output.
    pub(crate) out: Output,
}

impl Context {
    /// The time of the store's clock.
    pub(crate) fn now(&self) -> Time {
        self.homing.now().into()
    }

    /// The job or task that an id, whole or its beginning, means.
    pub(crate) async fn find(&self, id: &IdPrefix) -> Result<TaskId> {
        Ok(self.homing.find(id).await?)
    }

    /// As [`find`](Self::find), of a job.
    pub(crate) async fn find_job(&self, id: &IdPrefix) -> Result<JobId> {
        let found = self.find(id).await?;
        if found.is_root() {
            return Ok(found.job);
        }
        let message = format!("`{id}` is a task below a job's root");
        Err(Error::usage(message, "give the id of the job: what stands before the dot"))
    }

    /// What an action was done to, as the store keeps it: the id, where the text is one or its beginning; else the text,
    /// which is a queue, or an id of what is gone.
    pub(crate) async fn target(&self, text: Option<String>) -> Result<Option<String>> {
        let Some(id) = text.as_deref().and_then(|text| text.parse::<IdPrefix>().ok()) else {
            return Ok(text);
        };
        match self.homing.find(&id).await {
            Ok(found) => Ok(Some(found.to_string())),
            Err(FindError::Unknown { .. }) => Ok(text),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes an object where programs read, else a line for people.
    pub(crate) fn show(
        &self,
        object: &impl serde::Serialize,
        line: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json { self.out.json(object) } else { self.out.line(line()) }
    }
}
