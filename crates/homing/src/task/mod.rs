//! What `#[task]` makes of a function: a kind, with its options, its body and the states it wants.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::core::call::Options;
pub use crate::core::parameter::{Argument, Parameter};
pub use crate::core::state::Backoff;
use crate::error::{Error, Invalid, Result};
use crate::task::call::Call;

pub(crate) mod call;
pub(crate) mod job;

/// A kind of task. Implemented by `#[task]`, never by hand.
pub trait Kind: Send + Sync + 'static {
    /// The registered name.
    const NAME: &'static str;
    /// What the body returns when it succeeds.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// What the attribute says.
    fn options() -> Options;
    /// The states the body wants.
    fn states() -> Vec<StateType>;
    /// The arguments.
    fn arguments() -> Vec<Parameter>;
    /// The body, begun.
    fn body(input: Input) -> Body<Self::Output>;
    /// Whether calls of a kind of this name are calls of this one.
    #[doc(hidden)]
    fn is(kind: &str) -> bool {
        kind == Self::NAME
    }
}

/// A body that runs.
pub type Body<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// The result type of a body.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "the error of this result does not convert into `homing::Error`",
    note = "write `homing::Result<T>`, `anyhow::Result<T>`, or a `Result` whose error is `Send + Sync + 'static` \
        and a `std::error::Error`, a `Box<dyn Error + Send + Sync>` or a `String`"
)]
pub trait Returned {
    /// The value of success.
    type Value;
    /// The result with homing's error.
    fn into_result(self) -> Result<Self::Value>;
}

#[diagnostic::do_not_recommend]
impl<T, E: Into<Error>> Returned for std::result::Result<T, E> {
    type Value = T;
    fn into_result(self) -> Result<T> {
        self.map_err(Into::into)
    }
}

/// Something a worker has and a body wants: a connection pool, a client, settings.
///
/// Given to the worker with [`state`](crate::WorkerBuilder::state), once per type; each body gets a
/// clone. It is no part of the call and is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State<T>(pub T);

/// The type of a state a task wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateType {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl StateType {
    /// The type `T`.
    pub fn of<T: Clone + Send + Sync + 'static>() -> Self {
        Self { id: TypeId::of::<T>(), name: type_name::<T>() }
    }
}

/// The states of a worker, by type.
#[derive(Default, Clone)]
pub(crate) struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    pub(crate) fn add<T: Send + Sync + 'static>(&mut self, state: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(state));
    }

    pub(crate) fn has(&self, wanted: StateType) -> bool {
        self.0.contains_key(&wanted.id)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").field("len", &self.0.len()).finish()
    }
}

/// What a body is begun with.
#[derive(Debug)]
pub struct Input {
    /// Or why what was stored is no JSON.
    arguments: std::result::Result<Value, String>,
    states: Arc<States>,
}

impl Input {
    /// Arguments as they were stored, and the worker's states.
    pub(crate) fn new(arguments: &str, states: Arc<States>) -> Self {
        // What does not parse is reported by the first argument asked for.
        Self { arguments: crate::core::encode::parse(arguments), states }
    }

    /// One argument, or its default in a call from before there was such an argument.
    ///
    /// # Errors
    /// As [`argument`](Self::argument).
    pub fn argument_or_default<T: Argument + Default>(&self, name: &'static str) -> Result<T> {
        match &self.arguments {
            Ok(list) if list.get(name).is_none() => Ok(T::default()),
            _ => self.argument(name),
        }
    }

    /// One argument.
    ///
    /// # Errors
    /// What was stored does not decode: the task stands still until a worker comes that understands
    /// it.
    pub fn argument<T: Argument>(&self, name: &'static str) -> Result<T> {
        let undecodable = |what, reason| Error::from(Undecodable { what, reason });
        let list = self
            .arguments
            .as_ref()
            .map_err(|reason| undecodable("the argument list".to_owned(), reason.clone()))?;
        // An argument that came later is missing in calls from before it; it may be optional.
        let value = list.get(name).cloned().unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|error| undecodable(format!("the argument `{name}`"), error.to_string()))
    }

    /// One state.
    ///
    /// # Errors
    /// The worker was not given it; a worker checks that when it starts.
    pub fn state<T: Clone + Send + Sync + 'static>(&self) -> Result<State<T>> {
        let found = self.states.0.get(&TypeId::of::<T>()).and_then(|any| any.downcast_ref::<T>());
        let missing = || Error::msg(format!("the worker has no `State<{}>`", type_name::<T>()));
        found.cloned().map(State).ok_or_else(missing)
    }
}

/// Something stored that this program does not understand: drift, not a failure.
#[derive(Debug, thiserror::Error)]
#[error("{what} does not decode: {reason}")]
pub(crate) struct Undecodable {
    pub(crate) what: String,
    pub(crate) reason: String,
}

/// An argument on its way into a call.
pub fn encode<T: Argument>(value: T) -> std::result::Result<Value, Invalid> {
    crate::core::encode::owned_tree(crate::task::call::ARGUMENT, value)
}

/// A registered kind, its types erased.
#[derive(Clone)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<Parameter>,
    pub(crate) states: Vec<StateType>,
    pub(crate) options: Options,
    pub(crate) run: fn(Input) -> Body<String>,
}

impl Definition {
    pub(crate) fn of<K: Kind>() -> Self {
        let (arguments, states, options) = (K::arguments(), K::states(), K::options());
        Self { name: K::NAME, arguments, states, options, run: run::<K> }
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("name", &self.name).finish_non_exhaustive()
    }
}

fn run<K: Kind>(input: Input) -> Body<String> {
    Box::pin(async move {
        let value = K::body(input).await?;
        crate::core::encode::owned("the returned value", value)
            .map_err(|error| Error::from(error).fatal())
    })
}

/// A function that `#[task]` made: what [`register`](crate::WorkerBuilder::register) takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no task function",
    label = "not a function that `#[task]` stands on",
    note = "put `#[task]` on the `async fn`; then register the function itself, `.register(square)`, not a call of it \
        such as `square(1)`"
)]
pub trait Function<Arguments> {
    /// Its kind.
    type Kind: Kind;
}

macro_rules! function {
    ($($argument:ident)*) => {
        impl<F, K: Kind, $($argument),*> Function<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Call<K>,
        {
            type Kind = K;
        }
    };
}

function!();
function!(A);
function!(A B);
function!(A B C);
function!(A B C D);
function!(A B C D E);
function!(A B C D E G);
function!(A B C D E G H);
function!(A B C D E G H I);
function!(A B C D E G H I J);
function!(A B C D E G H I J L);
function!(A B C D E G H I J L M);
function!(A B C D E G H I J L M N);
