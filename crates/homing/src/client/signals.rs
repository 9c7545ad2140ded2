//! Signals from outside: the store checks what is known of the wait they are for, in the transaction that keeps
//! them.

use serde::Serialize;

use super::Homing;
use crate::core::id::TaskId;
use crate::error::{Invalid, Misuse, SubmitError};
use crate::store::{self, Sent};
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
        let act = async {
            match self.store.signal(id, signal.to_owned(), text).await {
                // In a body: the child may be on its way.
                Err(store::Error::Unknown { .. }) if crate::body::context::is_of_own_job(id) => {
                    Err(Misuse::NotYet { id }.into())
                }
                Ok(Sent::Awaited) => Ok(Signalled::Awaited),
                Ok(Sent::Kept { waits_for }) => Ok(Signalled::Kept { waits_for }),
                Ok(Sent::Ended) => Ok(Signalled::Ended),
                Ok(Sent::Misfit(reason)) => {
                    let field = format!("the value of the signal `{signal}`");
                    Err(Invalid::Mismatch { field, reason }.into())
                }
                Err(error) => Err(error.into()),
            }
        };
        let told = |sent: &Signalled| match sent {
            Signalled::Awaited => format!("`{signal}`: it waited for it"),
            Signalled::Kept { .. } => format!("`{signal}`: kept"),
            Signalled::Ended => format!("`{signal}`: it had ended"),
        };
        self.noted(("signal", id), act, told).await
    }
}
