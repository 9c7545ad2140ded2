//! Static orchestration: `chain`, `group` and `chord` as calls that can be submitted or spawned.
//!
//! For those who know the work beforehand. They are ordinary tasks of kinds that every worker has
//! registered, on the same engine: a group is a set and a join, a chord a group and a call, a chain one call
//! after the other, a link a call that is followed by a job of its own. Each is a [`Call`] again, so each
//! stands wherever a call does. Where the work shows only at run time, write a task: [`ChordSet`] is the
//! chord whose header grows.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::link::LINK;
use crate::error::{Error, Invalid, Result};
use crate::limits;
use crate::task::call::{Call, Draft, Shape, Stored};
use crate::task::{Body, Definition, Input, Kind, Options, Parameter, StateType};

mod chain;
mod chord;
mod group;
mod link;
mod members;
mod run;

pub use chain::{ChainBuilder, chain};
pub use chord::{ChordSet, chord};
pub use group::group;
pub use members::Members;
pub use run::{replace, run};

macro_rules! combinator {
    ($(#[$doc:meta])* $marker:ident, $name:expr, $body:path) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $marker<T> {
            output: PhantomData<fn() -> T>,
        }

        impl<T: Serialize + DeserializeOwned + Send + 'static> Kind for $marker<T> {
            const NAME: &'static str = $name;
            type Output = T;

            fn options() -> Options {
                Options::default()
            }

            fn states() -> Vec<StateType> {
                Vec::new()
            }

            fn arguments() -> Vec<Parameter> {
                [PLAN, VALUE].map(Parameter::of::<serde_json::Value>).into()
            }

            fn body(input: Input) -> Body<T> {
                Box::pin(async move {
                    let value = $body(input.argument(PLAN)?, input.argument(VALUE)?).await?;
                    serde_json::from_value(value).map_err(|error| Error::from(error).fatal())
                })
            }
        }
    };
}

/// The argument that says what is to be done.
const PLAN: &str = "plan";
/// The argument that the value before becomes.
const VALUE: &str = "value";

combinator!(
    /// The kind of a [`chain`].
    Chain, "homing.chain", chain::body
);
combinator!(
    /// The kind of a [`group`].
    Group, "homing.group", group::body
);
combinator!(
    /// The kind of a [`chord`].
    Chord, "homing.chord", chord::body
);
combinator!(
    /// The kind of a call with [`on_success`](Call::on_success) or [`on_failure`](Call::on_failure).
    Link, LINK, link::body
);
combinator!(
    /// The kind of [`run`].
    Run, "homing.run", run::body
);

/// The kinds every worker has.
pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        Definition::of::<Chain<Value>>(),
        Definition::of::<Group<Value>>(),
        Definition::of::<Chord<Value>>(),
        Definition::of::<Link<Value>>(),
        Definition::of::<Run<Value>>(),
    ]
}

/// Whether tasks of this kind have nothing to say of their own: a failure below them is theirs as it is.
pub(crate) fn passes_failures_on(kind: &str) -> bool {
    ["homing.chain", "homing.group", "homing.chord", LINK, "homing.run"].contains(&kind)
}

/// A plan as a call of a combinator, `what`.
fn planned<K: Kind, L: Shape>(what: &str, plan: Result<impl Serialize, Invalid>) -> Call<K, L> {
    let arguments = plan.and_then(|plan| {
        let field = format!("the plan of a {what}");
        let tree = crate::core::encode::tree(&field, &plan)?;
        let list = Value::Object([(PLAN.to_owned(), tree)].into_iter().collect());
        let text = crate::core::encode::long_arguments(&list)?;
        let (length, limit) = (text.len(), limits::PAYLOAD);
        let hint = ": write a task that spawns the calls, which has no such limit";
        if length > limit {
            return Err(Invalid::TooLong { field, length, limit, hint });
        }
        Ok(text)
    });
    let mut draft = Draft::new(K::NAME, arguments, Options::default());
    draft.lacks = L::LACKS.then(|| VALUE.to_owned());
    Call::of(draft)
}
