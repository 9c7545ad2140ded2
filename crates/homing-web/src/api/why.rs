//! Why a task is where it is, followed down to what everything hangs on.

use homing::log::Line;
use homing::{TaskId, TaskState};
use homing_view::json::Reason;
use homing_view::why::{hangs_on, reason};

use crate::problem::Result;
use crate::site::Cx;

/// Levels below the task that was asked for.
const LEVELS: usize = 8;

/// One task on the way.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) id: TaskId,
    pub(crate) kind: String,
    pub(crate) state: TaskState,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) attempts: Vec<Line>,
}

/// Follows what a task waits for, or failed of.
pub(crate) async fn follow(cx: &Cx, task: TaskId) -> Result<Vec<Step>> {
    let (mut next, mut steps) = (Some(task), Vec::new());
    while let Some(id) = next
        && steps.len() <= LEVELS
    {
        let why = cx.homing().why(id).await?;
        let now = cx.site.now();
        next = why.because.iter().find_map(hangs_on);
        let reasons = why.because.iter().map(|because| reason(because, &why.task, now)).collect();
        let (kind, state) = (why.task.kind, why.task.state);
        steps.push(Step { id, kind, state, reasons, attempts: why.attempts });
    }
    Ok(steps)
}
