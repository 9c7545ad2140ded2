//! Counts of what is open in a body.

use super::{Context, Inner};

/// A count in the context that is one higher while this lives.
pub(crate) struct CountGuard<'a> {
    context: &'a Context,
    which: fn(&mut Inner) -> &mut usize,
}

impl<'a> CountGuard<'a> {
    pub(super) fn new(context: &'a Context, which: fn(&mut Inner) -> &mut usize) -> Self {
        *which(&mut context.lock()) += 1;
        Self { context, which }
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        *(self.which)(&mut self.context.lock()) -= 1;
    }
}
