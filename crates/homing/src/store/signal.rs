//! What becomes of a signal from outside, by the waits of its task as they stand in the transaction that keeps it.
//!
//! Pure: each store reads the waits and asks, so that all refuse alike and none reads twice. Signals of bodies to
//! tasks of their own jobs are events of units and are not asked about: nobody is there to hear a refusal.

use serde_json::Value;

use crate::core::schema;
use crate::core::wait::{Condition, Wait};

/// What became of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The task was parked and waited for a signal of this name: it has it.
    Awaited,
    /// It is kept for a wait to come.
    Kept {
        /// The names of the signals that the task was parked for.
        waits_for: Vec<String>,
    },
    /// The task had ended: nothing was kept.
    Ended,
    /// The task waits for a value of another type, and why this is none: nothing was kept.
    Misfit(String),
}

impl Sent {
    /// What becomes of a signal to an open task that waits so; a task that is not parked has no waits.
    pub(crate) fn to(waits: &[Wait], signal: &str, value: &str) -> Self {
        let arms = waits.iter().flat_map(|wait| &wait.arms);
        let known: Vec<_> = arms.filter_map(signalled).collect();
        let awaited: Vec<_> = known.iter().filter(|(name, _)| *name == signal).collect();
        if awaited.is_empty() {
            let waits_for = known.iter().map(|(name, _)| (*name).to_owned()).collect();
            return Self::Kept { waits_for };
        }
        let schemas = awaited.into_iter().map(|(_, schema)| *schema);
        misfit(schemas, value).map_or(Self::Awaited, Self::Misfit)
    }
}

/// The signal that an arm waits for, and what values it takes, if that is known.
fn signalled(arm: &Condition) -> Option<(&str, Option<&Value>)> {
    match arm {
        Condition::Signal { name, schema } => Some((name, schema.as_deref())),
        _ => None,
    }
}

/// Why none of the waits takes a value; `None` if one may.
fn misfit<'s>(schemas: impl Iterator<Item = Option<&'s Value>>, value: &str) -> Option<String> {
    let value: Value = crate::core::encode::parse(value).ok()?;
    let misfits: Option<Vec<String>> =
        schemas.map(|schema| schema::misfit(schema?, &value)).collect();
    misfits?.into_iter().next()
}
