//! Whether a call is whole, or lacks the argument that the task before it brings.
//!
//! What follows a task is stored before that task has run, so it is data and never code: a closure would
//! have to be stored, and cannot be. So nothing here is implemented for functions and closures.

use std::marker::PhantomData;

use super::Call;
use crate::task::Kind;

/// The shape of a call that has all its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Whole;

/// The shape of a call that lacks its first argument, an `In`.
#[derive(Debug, Clone, Copy)]
pub struct Lacks<In>(PhantomData<fn(In)>);

/// A call that lacks its first argument: the rest of its arguments and its options, given beforehand.
///
/// `#[task] async fn add(x: i64, y: i64)` makes `add::with(y)` of it; a task of one argument has `with()`.
/// It is what follows a value: after `then`, as a chord's body, `on_success`, `on_failure`, and, where a
/// group or a chain is to follow a value, its members or its first link. All options of a call apply.
///
/// ```
/// use homing::{chain, group, task};
///
/// #[task]
/// async fn add(x: i64, y: i64) -> homing::Result<i64> {
///     Ok(x + y)
/// }
///
/// #[task]
/// async fn sum(of: Vec<i64>) -> homing::Result<i64> {
///     Ok(of.iter().sum())
/// }
///
/// let call = chain(add(4, 4))
///     .then(add::with(8).priority(9)) // given 8, brings 16
///     .then(group([add::with(1), add::with(2)])) // each given 16
///     .then(sum::with())
///     .call();
/// # drop(call);
/// ```
pub type Partial<In, K> = Call<K, Lacks<In>>;

/// [`Whole`] or [`Lacks`].
pub trait Shape: sealed::Sealed + 'static {
    /// Whether the first argument is still to come.
    #[doc(hidden)]
    const LACKS: bool;
}

impl Shape for Whole {
    const LACKS: bool = false;
}

impl<In: 'static> Shape for Lacks<In> {
    const LACKS: bool = true;
}

/// What can follow a value of type `In`: a [`Partial`] call, which is given it, or a whole call, which is
/// not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't follow a value of type `{In}`",
    label = "expected a call that lacks a `{In}`, made by `TASK::with(..)`, or a whole call",
    note = "what follows is stored beforehand, so it can't be a function or a closure: of `#[task] async fn add(x: i64, y: i64)` write `add::with(8)`, of `#[task] async fn parse(text: String)` write `parse::with()`",
    note = "a whole call, such as `clean_up()`, follows without being given the value"
)]
pub trait Next<In>: sealed::Sealed {
    /// The kind of the call.
    type Kind: Kind;
    /// Its shape.
    type Lacks: Shape;
    /// The call.
    #[doc(hidden)]
    fn next(self) -> Call<Self::Kind, Self::Lacks>;
}

impl<In: 'static, K: Kind> Next<In> for Call<K, Lacks<In>> {
    type Kind = K;
    type Lacks = Lacks<In>;

    fn next(self) -> Self {
        self
    }
}

impl<In, K: Kind> Next<In> for Call<K, Whole> {
    type Kind = K;
    type Lacks = Whole;

    fn next(self) -> Self {
        self
    }
}

impl<K: Kind> Call<K> {
    /// The same as a call that lacks an `In` and does nothing with it, to stand in a group beside calls
    /// that are given the value.
    pub fn ignoring<In>(self) -> Partial<In, K> {
        let mut call = Call::of(self.draft);
        call.draft.lacks = Some(String::new());
        call
    }
}

mod sealed {
    /// Of this crate alone.
    pub trait Sealed {}

    impl Sealed for super::Whole {}
    impl<In> Sealed for super::Lacks<In> {}
    impl<K: super::Kind, L> Sealed for super::Call<K, L> {}
}
