//! Calls whose kind is known at run time only: what they bring is known, and they are spawned by name.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, Draft};
use crate::error::{Error, Invalid};
use crate::task::{Body, Input, Kind, Options, Parameter, StateType};

/// The kind of an [`AnyCall`]: that of any task that brings a `T`.
#[derive(Debug)]
pub struct Any<T>(PhantomData<fn() -> T>);

/// A call of some task that brings a `T`: calls of unlike tasks in one list, a call that was
/// deserialized, a task of another program.
///
/// It is spawned, submitted and detached as any other. As with a typed call, a kind that no worker has
/// registered waits until one does. A value that is no `T` is [`JoinError::Undecodable`].
///
/// [`JoinError::Undecodable`]: crate::JoinError::Undecodable
///
/// ```
/// use homing::{AnyCall, task};
///
/// /// Runs what it is given.
/// #[task]
/// async fn twice(call: AnyCall<u64>) -> homing::Result<u64> {
///     let (one, other) = (homing::spawn(call.clone()).await?, homing::spawn(call).await?);
///     Ok(one.await? + other.await?)
/// }
///
/// # #[task] async fn square(n: u64) -> homing::Result<u64> { Ok(n * n) }
/// let typed = twice(square(3).any());
/// let named = twice(AnyCall::named("square", &serde_json::json!({"n": 3})));
/// # drop((typed, named));
/// ```
pub type AnyCall<T> = Call<Any<T>>;

impl<T: Serialize + DeserializeOwned + Send + 'static> Kind for Any<T> {
    const NAME: &'static str = "homing.any";
    type Output = T;

    fn options() -> Options {
        Options::default()
    }

    fn states() -> Vec<StateType> {
        Vec::new()
    }

    fn arguments() -> Vec<Parameter> {
        Vec::new()
    }

    fn body(_: Input) -> Body<T> {
        Box::pin(async { Err(Error::msg("a call of any kind runs under its own kind").fatal()) })
    }

    fn is(_: &str) -> bool {
        true
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> AnyCall<T> {
    /// A call by the name of its kind, with an object that has a field for each argument.
    ///
    /// What is wrong with the name or the arguments is told when the call is spawned or submitted.
    pub fn named<A: Serialize + ?Sized>(kind: &str, arguments: &A) -> Self {
        let arguments = crate::core::encode::list_tree(arguments).and_then(|tree| {
            if !tree.is_object() {
                let reason = "give an object with a field for each argument".to_owned();
                return Err(Invalid::NotJson { field: "the arguments".to_owned(), reason });
            }
            crate::core::encode::arguments(&tree)
        });
        Self::of(Draft::new(kind, arguments, Options::default()))
    }
}

impl<K: Kind, L> Call<K, L> {
    /// The same without its kind: what is left is what it brings.
    pub fn any(self) -> Call<Any<K::Output>, L> {
        Call::of(self.draft)
    }
}

/// The error of a name that is another kind's.
pub(super) fn another(kind: &str, wanted: &str) -> String {
    format!("a call of `{kind}` stands where a call of `{wanted}` is expected")
}
