//! Branches: each has its own places and at most one open durable operation.
//!
//! The body itself is the first branch; `join!`, `join_all` and the like open more. Which branch is
//! current is set around each poll of a branch's future.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use super::log::Deferred;
use super::{Context, Halt};
use crate::error::Misuse;
use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Branches {
    all: Vec<Branch>,
    current: usize,
}

#[derive(Debug, Default)]
pub(super) struct Branch {
    prefix: String,
    is_closed: bool,
    /// The open operation's place, and whether it is a step.
    open: Option<(String, bool)>,
    /// Operations done, which numbers the log lines between them.
    pub(super) operations: u64,
    pub(super) lines: u64,
    pub(super) deferred: Vec<Deferred>,
}

impl Branches {
    pub(super) fn current(&mut self) -> &mut Branch {
        if self.all.is_empty() {
            self.all.push(Branch::default());
        }
        let last = self.all.len() - 1;
        &mut self.all[self.current.min(last)]
    }

    pub(super) fn shrink(&mut self) {
        self.all.shrink_to_fit();
    }

    pub(super) fn prefix(&self) -> &str {
        self.all.get(self.current).map_or("", |branch| &branch.prefix)
    }

    /// The first operation that is open.
    pub(super) fn first_open(&self) -> Option<&str> {
        let mut open = self.all.iter().filter_map(|branch| branch.open.as_ref());
        open.next().map(|(place, _)| place.as_str())
    }

    /// Where branches wait, or are being told of what they waited for.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &str> {
        let open = self.all.iter().filter_map(|branch| branch.open.as_ref());
        open.filter(|(_, step)| !step).map(|(place, _)| place.as_str())
    }

    pub(super) fn is_main(&self) -> bool {
        self.current == 0
    }

    fn open(&mut self, prefix: String) -> usize {
        self.current();
        self.all.push(Branch { prefix, ..Branch::default() });
        self.all.len() - 1
    }

    /// Numbers of branches that are open stay as they are; a body may open and close any number in the long run.
    fn close(&mut self, number: usize) {
        self.all[number].is_closed = true;
        while self.all.last().is_some_and(|last| last.is_closed) {
            self.all.pop();
        }
    }

    /// How many are open beside the body itself.
    fn count(&self) -> usize {
        self.all.iter().skip(1).filter(|branch| !branch.is_closed).count()
    }
}

/// An open operation; closes when dropped.
#[derive(Debug)]
pub(crate) struct Op {
    context: Arc<Context>,
    branch: usize,
}

impl Drop for Op {
    fn drop(&mut self) {
        let mut inner = self.context.lock();
        if let Some(branch) = inner.branches.all.get_mut(self.branch) {
            branch.open = None;
            branch.operations += 1;
            branch.lines = 0;
        }
    }
}

impl Context {
    /// Opens an operation in the current branch. A second one beside it ends the task.
    pub(crate) async fn begin(self: &Arc<Self>, place: &str, step: bool) -> Op {
        let misuse = {
            let mut inner = self.lock();
            let id = inner.branches.current;
            let in_work = inner.in_work;
            let branch = inner.branches.current();
            match &branch.open {
                None => {
                    branch.open = Some((place.to_owned(), step));
                    return Op { context: Arc::clone(self), branch: id };
                }
                Some((step, true)) if in_work => {
                    Misuse::InsideStep { step: step.clone(), inner: place.to_owned() }
                }
                // Beside a step, as `tokio::join!` over steps would have it.
                Some((first, _)) => {
                    Misuse::TwoAtOnce { first: first.clone(), second: place.to_owned() }
                }
            }
        };
        self.halt(Halt::Misuse(misuse)).await
    }

    /// Opens the operation at which branches stand that have been opened.
    pub(crate) async fn begin_group(self: &Arc<Self>, place: &str) -> Op {
        let open = self.lock().branches.count();
        if open > limits::BRANCHES {
            let place = place.to_owned();
            return self.halt(Halt::Misuse(Misuse::TooManyBranches { place, open })).await;
        }
        self.begin(place, false).await
    }

    /// Puts a future into a branch of its own.
    pub(crate) fn branch<F>(self: &Arc<Self>, prefix: String, future: F) -> InBranch<F> {
        let branch = self.lock().branches.open(prefix);
        InBranch { context: Arc::clone(self), branch, future: Box::pin(future) }
    }
}

/// A future in a branch of its own.
#[doc(hidden)]
#[derive(Debug)]
pub struct InBranch<F> {
    context: Arc<Context>,
    branch: usize,
    future: Pin<Box<F>>,
}

impl<F> Drop for InBranch<F> {
    fn drop(&mut self) {
        self.context.lock().branches.close(self.branch);
    }
}

impl<F: Future> Future for InBranch<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let outer = std::mem::replace(&mut self.context.lock().branches.current, self.branch);
        let poll = self.future.as_mut().poll(cx);
        let mut inner = self.context.lock();
        if poll.is_ready() {
            // No operation will show any more whether its last lines were said before; said again under
            // the same names they are kept once.
            inner.settle_lines(false);
        }
        inner.branches.current = outer;
        drop(inner);
        poll
    }
}
