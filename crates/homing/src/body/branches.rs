//! Branches of a body that run beside each other: `join!` and `join_all`.
//!
//! Each branch has its own places and at most one open durable operation; steps in one run beside
//! steps and waits in another. All are polled with the same waker, so the worker sees what they wait
//! for.

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{MaybeDone, maybe_done};

use crate::body::context::{Context, InBranch, current};

/// Branches about to be opened at a place.
#[doc(hidden)]
#[derive(Debug)]
pub struct Group {
    context: Option<Arc<Context>>,
    place: String,
    branches: usize,
}

impl Group {
    /// Opens a group. Outside a task its branches are plain futures.
    pub fn begin(verb: &'static str) -> Self {
        let context = current(verb).ok();
        let place = context.as_ref().map(|context| context.place(verb)).unwrap_or_default();
        Self { context, place, branches: 0 }
    }

    /// Puts a future into the next branch.
    pub fn branch<F: IntoFuture>(&mut self, future: F) -> Branch<F::IntoFuture> {
        let future = future.into_future();
        let number = self.branches;
        self.branches += 1;
        maybe_done(match &self.context {
            Some(context) => {
                let prefix = format!("{}[{number}]/", self.place);
                Either::Inside(context.branch(prefix, future))
            }
            None => Either::Outside(Box::pin(future)),
        })
    }

    /// Waits until all branches are done, while the place they stand at is taken.
    pub async fn all(self, mut poll: impl FnMut(&mut std::task::Context<'_>) -> bool) {
        let _op = match &self.context {
            Some(context) => Some(context.begin_group(&self.place).await),
            None => None,
        };
        poll_fn(|cx| if poll(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// A future in its branch, or what it brought.
#[doc(hidden)]
#[expect(unreachable_pub, reason = "it stands in the signatures of hidden functions")]
pub type Branch<F> = MaybeDone<Either<F>>;

/// A future inside or outside a task.
#[doc(hidden)]
pub enum Either<F> {
    /// In a branch of its own.
    Inside(InBranch<F>),
    /// As it is.
    Outside(Pin<Box<F>>),
}

impl<F> std::fmt::Debug for Either<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Branch")
    }
}

impl<F: Future> Future for Either<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<F::Output> {
        match &mut *self {
            Self::Inside(future) => Pin::new(future).poll(cx),
            Self::Outside(future) => future.as_mut().poll(cx),
        }
    }
}

/// Polls a branch; `true` when it is done.
#[doc(hidden)]
pub fn poll_branch<F: Future>(branch: &mut Branch<F>, cx: &mut std::task::Context<'_>) -> bool {
    Pin::new(branch).poll(cx).is_ready()
}

/// Takes what a branch brought.
#[doc(hidden)]
pub fn take_branch<F: Future>(branch: &mut Branch<F>) -> F::Output {
    match Pin::new(branch).take_output() {
        Some(output) => output,
        None => unreachable!("every branch is done and its output is taken once"),
    }
}

/// Runs branches beside each other and returns their outputs in order.
///
/// Each branch has its own places, so its steps and waits are found again whatever the others do. Use
/// this, not `futures::join_all`, whose way of polling hides what a body waits for.
///
/// At most [`limits::BRANCHES`](crate::limits::BRANCHES) branches are open at once in a task: with more it fails, as
/// misused. A park writes down what each branch waits for; for more than that spawn children into a
/// [`JoinSet`](crate::JoinSet), which has no such limit.
///
/// # Durability
/// The branches must be the same in number and order on a replay.
pub async fn join_all<F: IntoFuture>(branches: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut group = Group::begin("join_all");
    let mut branches: Vec<_> = branches.into_iter().map(|future| group.branch(future)).collect();
    group
        .all(|cx| {
            let mut done = true;
            for branch in &mut branches {
                done &= poll_branch(branch, cx);
            }
            done
        })
        .await;
    branches.iter_mut().map(take_branch).collect()
}

/// Runs up to eight branches beside each other and returns a tuple of their outputs.
///
/// As [`join_all`](crate::join_all), for branches of different types.
#[macro_export]
macro_rules! join {
    ($($branch:expr),+ $(,)?) => {
        $crate::__join!([a b c d e f g h] [] $({$branch})+)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __join {
    ([$name:ident $($names:ident)*] [$($done:tt)*] {$branch:expr} $($rest:tt)*) => {
        $crate::__join!([$($names)*] [$($done)* {$name} {$branch}] $($rest)*)
    };
    ([$($names:ident)*] [$({$name:ident} {$branch:expr})+]) => {{
        let mut group = $crate::__private::Group::begin("join!");
        $(let mut $name = group.branch($branch);)+
        group
            .all(|cx| {
                let mut done = true;
                $(done &= $crate::__private::poll_branch(&mut $name, cx);)+
                done
            })
            .await;
        ($($crate::__private::take_branch(&mut $name)),+ ,)
    }};
}
