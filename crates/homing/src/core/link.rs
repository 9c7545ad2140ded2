//! A call that is followed by a job of its own, at rest; and what a store starts where it ends without success.

use serde::{Deserialize, Serialize};

use crate::core::call::{Draft, Stored};
use crate::core::failure::Failure;
use crate::core::id::{JobId, TaskId};
use crate::core::new_task::NewJob;
use crate::core::time::Time;

/// The kind of a call with something that follows its end.
pub(crate) const LINK: &str = "homing.link";

#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) call: Stored,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_success: Option<Stored>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_failure: Option<Stored>,
}

#[derive(Deserialize)]
struct Arguments {
    plan: Plan,
}

pub(crate) fn linked_already(draft: &Draft) -> Option<Plan> {
    let text = draft.arguments.as_ref().ok()?;
    serde_json::from_str(text).ok().map(|arguments: Arguments| arguments.plan)
}

/// The job that follows a link's end without success, from the link's arguments and its outcome.
///
/// For stores: to be inserted in the transaction that ends the link.
pub(crate) fn job_after_failure(
    task: TaskId,
    arguments: &str,
    outcome: &str,
    now: Time,
) -> Option<NewJob> {
    match follower(task, arguments, outcome, now) {
        Ok(job) => job,
        Err(reason) => {
            // Only arguments that no call of this library made come here.
            tracing::error!(%task, reason, "what follows the failure cannot be read, and is not started");
            None
        }
    }
}

fn follower(
    task: TaskId,
    arguments: &str,
    outcome: &str,
    now: Time,
) -> Result<Option<NewJob>, String> {
    let Plan { call, on_failure, .. } =
        crate::core::encode::parse::<Arguments>(arguments).map(|arguments| arguments.plan)?;
    let Some(next) = on_failure else { return Ok(None) };
    let mut failure: Failure = crate::core::encode::parse(outcome)?;
    if failure.kind == LINK {
        // Ended as a whole: what people know is the call.
        failure.kind = call.kind;
    }
    let failure = serde_json::to_value(&failure).map_err(|error| error.to_string())?;
    // The failure comes on top of what was checked when the call was made.
    let draft = next.unbounded(&failure);
    let new = draft.fix(now, "default", 0).map_err(|error| error.to_string())?;
    let (id, origin) = (JobId::fresh(), Some(task));
    Ok(Some(NewJob { id, task: new, title: None, key: None, origin }))
}
