//! The source of chance: the same numbers from the same seed, everywhere.
//!
//! Every choice of a history or a simulation comes from here, so that a seed is all that is needed to repeat it.

use std::sync::Arc;

/// A small generator: the same numbers from the same seed, everywhere.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len() as u64) as usize]
    }

    pub(crate) fn pick_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| *self.pick(of))
    }

    /// Some queues; now and then so many more that a store does not look into each.
    pub(crate) fn served(&mut self, of: &[&str]) -> Arc<[String]> {
        let queues = self.some_of(of);
        if !self.one_in(4) {
            return queues;
        }
        let idle = (0..40).map(|n| format!("idle {n:02}"));
        let mut queues: Vec<String> = queues.iter().cloned().chain(idle).collect();
        queues.sort_unstable();
        queues.into()
    }

    /// Some of a list, mostly all.
    pub(crate) fn some_of(&mut self, of: &[&str]) -> Arc<[String]> {
        let some: Vec<String> =
            of.iter().filter(|_| !self.one_in(4)).map(|name| (*name).to_owned()).collect();
        some.into()
    }
}
