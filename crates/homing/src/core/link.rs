//! A call that is followed by a job of its own, at rest; and what a store starts where it ends without success.
//!
//! A link says in its plan what follows. Tasks of the bridge to Celery say it among their own arguments, as
//! `on_failure`: a link around each would be a task more for each message.

use serde::{Deserialize, Serialize};

use crate::core::call::{Draft, Stored};
use crate::core::failure::Failure;
use crate::core::id::{JobId, TaskId};
use crate::core::new_task::NewJob;
use crate::core::time::Time;

/// The kind of a call with something that follows its end.
pub(crate) const LINK: &str = "homing.link";

/// What the kinds of the bridge to Celery begin with. Scripts and statements have both names too.
const BRIDGE: &str = "homing.celery.";

/// Whether arguments of tasks of this kind may say what follows an end without success.
pub(crate) fn is_followed(kind: &str) -> bool {
    kind == LINK || kind.starts_with(BRIDGE)
}

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
    plan: Option<Plan>,
    on_failure: Option<Stored>,
}

pub(crate) fn linked_already(draft: &Draft) -> Option<Plan> {
    let text = draft.arguments.as_ref().ok()?;
    serde_json::from_str(text).ok().and_then(|arguments: Arguments| arguments.plan)
}

/// The job that follows the end without success of a task of a [followed](is_followed) kind, if there is one, from the
/// task's arguments and its outcome.
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
    let Arguments { plan, on_failure } = crate::core::encode::parse::<Arguments>(arguments)?;
    let (call, next) = match plan {
        Some(Plan { call, on_failure, .. }) => (Some(call), on_failure),
        None => (None, on_failure),
    };
    let Some(next) = next else { return Ok(None) };
    let mut failure: Failure = crate::core::encode::parse(outcome)?;
    if let Some(call) = call.filter(|_| failure.kind == LINK) {
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
