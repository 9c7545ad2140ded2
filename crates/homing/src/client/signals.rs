//! Signals from outside: what is known of the wait they are for is checked first.

use serde::Serialize;
use serde_json::Value;

use super::Homing;
use crate::core::id::TaskId;
use crate::core::schema;
use crate::core::state::State;
use crate::core::wait::Condition;
use crate::error::{Invalid, Misuse, SubmitError};
use crate::store;
use crate::store::read::TaskView;
use crate::task::call::name;

/// What became of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signalled {
    /// The task was parked and waited for a signal of this name.
    Awaited,
    /// It is kept until the body waits for a signal of this name, which it may never do.
    Kept {
        /// The names of the signals that the task was parked for: perhaps one of them was meant. None, if it
        /// ran, was pending or waited for something else.
        waits_for: Vec<String>,
    },
    /// The task had ended: nothing was kept.
    Ended,
}

impl Signalled {
    /// Whether the store has kept the signal for the body.
    pub fn is_sent(&self) -> bool {
        *self != Self::Ended
    }
}

impl Homing {
    /// Sends a value to a task that waits, or will wait, for it with [`signal`](crate::signal), and says whether
    /// it waited.
    ///
    /// While the task is parked for a signal of this name, its type is known: a value that cannot be of it is
    /// refused. Else the value is kept, and an error of the wait that takes it should it not fit.
    ///
    /// # Errors
    /// A name or value that is refused; an unknown task. Nothing was sent then.
    pub async fn signal<T: Serialize + ?Sized>(
        &self,
        task: impl Into<TaskId>,
        signal: &str,
        value: &T,
    ) -> Result<Signalled, SubmitError> {
        name("the signal's name", signal)?;
        let field = "the signal's value";
        let text = crate::core::encode::value(field, value)?;
        let id = task.into();
        // Only to tell a mistake from what is meant: the task may go on meanwhile. A body that signals its own
        // job's tasks is told at once where one is not committed yet.
        let view = if crate::body::context::is_of_own_job(id) {
            None
        } else {
            self.store.task(id).await?.filter(|view| view.state == State::Waiting)
        };
        let waits = view.as_ref().map(waits).unwrap_or_default();
        let awaited: Vec<_> = waits.iter().filter(|(name, _)| *name == signal).collect();
        if let Some(reason) = refusal(&awaited, &text) {
            let field = format!("the value of the signal `{signal}`");
            return Err(Invalid::Mismatch { field, reason }.into());
        }
        match self.store.signal(id, signal.to_owned(), text).await {
            // In a body: the child may be on its way.
            Err(store::Error::Unknown { .. }) if crate::body::context::is_of_own_job(id) => {
                Err(Misuse::NotYet { id }.into())
            }
            Ok(true) if awaited.is_empty() => {
                let waits_for = waits.iter().map(|(name, _)| (*name).to_owned()).collect();
                Ok(Signalled::Kept { waits_for })
            }
            Ok(true) => Ok(Signalled::Awaited),
            Ok(false) => Ok(Signalled::Ended),
            Err(error) => Err(error.into()),
        }
    }
}

/// The signals that a parked task waits for, and what values each takes, if that is known.
fn waits(view: &TaskView) -> Vec<(&str, Option<&Value>)> {
    let arms = view.waits.iter().flat_map(|wait| &wait.arms);
    let mut signals = Vec::new();
    for arm in arms {
        if let Condition::Signal { name, schema } = arm {
            signals.push((name.as_str(), schema.as_deref()));
        }
    }
    signals
}

/// Why none of the waits takes a value; `None` if one may, or there is none.
fn refusal(awaited: &[&(&str, Option<&Value>)], value: &str) -> Option<String> {
    if awaited.is_empty() {
        return None;
    }
    let value: Value = crate::core::encode::parse(value).ok()?;
    let mut misfits = Vec::new();
    for (_, schema) in awaited {
        misfits.push(schema::misfit((*schema)?, &value)?);
    }
    misfits.into_iter().next()
}
