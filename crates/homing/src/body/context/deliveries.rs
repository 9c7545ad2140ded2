//! Which ends of a set's children were given to the body.
//!
//! Ends are given in their order by `join_next`, one by one by handles, and all at once by the verbs
//! that deal with a whole set. Every verb asks and changes this one type, so an end is given once however
//! the verbs are mixed. A child is known here by its end number: the n-th child of a set to end has the
//! number n, and a job's retry leaves gaps where it took numbers back.

use std::collections::{BTreeMap, VecDeque};

use crate::body::join_set::is_lost;
use crate::core::state::State;
use crate::store::Child;

/// The ends of one set, as far as the body has seen them.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// Every end up to this number was given.
    watermark: u64,
    /// Ends beyond it that handles were given, and whether they were losses.
    beyond: BTreeMap<u64, bool>,
    /// How many were given, and how many of them were losses and successes.
    given: u64,
    lost: u64,
    succeeded: u64,
    /// How many of them the body had spawned itself.
    own: u64,
    /// A verb has dealt with the whole set: nothing is left to give.
    whole: bool,
    /// Ended children loaded and not yet given, in their order.
    page: VecDeque<Child>,
    /// Whether there may be more ended children than the page had.
    more: bool,
}

/// Where to look for ends that were not given yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// One is loaded.
    AtHand,
    /// Ends above this number must be loaded to know.
    Load(u64),
    /// As far as is known, there are none.
    None,
}

impl Deliveries {
    /// Where nothing was loaded yet, though the store may have ends from before.
    pub(crate) fn expect_more(&mut self) {
        self.more = true;
    }

    /// How many ends were given.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// How many of them the body had spawned itself: all, unless the set is a growing one.
    pub(crate) fn given_own(&self) -> u64 {
        self.own
    }

    /// How many of them were losses.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// How many of them were successes.
    pub(crate) fn succeeded(&self) -> u64 {
        self.succeeded
    }

    /// The end number up to which everything was given.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// The ends beyond the watermark that were given and were losses, in order.
    pub(crate) fn lost_beyond(&self) -> Vec<u64> {
        self.beyond.iter().filter(|(_, lost)| **lost).map(|(end, _)| *end).collect()
    }

    /// The ends beyond the watermark that were given, in order.
    pub(crate) fn given_beyond(&self) -> Vec<u64> {
        self.beyond.keys().copied().collect()
    }

    /// Whether an end was given.
    fn has(&self, end: u64) -> bool {
        self.whole || end <= self.watermark || self.beyond.contains_key(&end)
    }

    fn count(&mut self, child: &Child) {
        self.given += 1;
        self.own += u64::from(!child.is_added());
        self.lost += u64::from(is_lost(child));
        self.succeeded += u64::from(child.state == State::Succeeded);
    }

    /// A handle gives its child's end: again, perhaps, which changes nothing.
    pub(crate) fn give_one(&mut self, child: &Child) {
        let Some(end) = child.end.filter(|end| !self.has(*end)) else { return };
        self.count(child);
        self.beyond.insert(end, is_lost(child));
        while self.beyond.remove(&(self.watermark + 1)).is_some() {
            self.watermark += 1;
        }
    }

    /// The lowest end that was not given, if it is loaded.
    pub(crate) fn give_next(&mut self) -> Option<Child> {
        if self.next(false) != Next::AtHand {
            return None;
        }
        let child = self.page.pop_front()?;
        self.count(&child);
        // Whatever is below was given, or was taken back by a job's retry.
        self.pass(child.end.unwrap_or(self.watermark));
        Some(child)
    }

    /// Everything up to an end was given, or does not exist.
    fn pass(&mut self, end: u64) {
        if end > self.watermark {
            self.watermark = end;
            self.beyond = self.beyond.split_off(&(end + 1));
        }
    }

    /// A verb has given or written off every child there is.
    pub(crate) fn give_all(&mut self, children: u64) {
        (self.whole, self.given, self.own) = (true, children, children);
        self.page.clear();
        self.more = false;
    }

    /// Where the next end is to be found; `must`: one is known to exist.
    pub(crate) fn next(&mut self, must: bool) -> Next {
        while let Some(end) = self.page.front().map(|child| child.end) {
            let Some(end) = end.filter(|end| self.has(*end)) else { return Next::AtHand };
            self.page.pop_front();
            // It was the lowest above the watermark, so the next page begins beyond it: a page of nothing
            // but ends that handles gave would be loaded for ever.
            self.pass(end);
        }
        if self.whole || !(self.more || must) {
            return Next::None;
        }
        Next::Load(self.watermark)
    }

    /// Adds a page of ends above the watermark; `more` may follow.
    pub(crate) fn load(&mut self, page: Vec<Child>, more: bool) {
        self.page = page.into();
        self.more = more;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::id::JobId;

    fn child(number: u32, end: u64) -> Child {
        Child {
            local: JobId::named("set").root().set("s").numbered(number),
            number,
            kind: "leaf".to_owned(),
            hash: [0; 16],
            state: if end.is_multiple_of(3) { State::Failed } else { State::Succeeded },
            end: Some(end),
            cancelled_by: None,
            outcome: None,
        }
    }

    /// As `join_next` finds its child: from the page, or from a load of at most `size` ends.
    fn next(deliveries: &mut Deliveries, ended: &[Child], size: usize) -> Option<u64> {
        loop {
            match deliveries.next(false) {
                Next::AtHand => return deliveries.give_next()?.end,
                Next::None => return None,
                Next::Load(after) => {
                    let above = ended.iter().filter(|child| child.end > Some(after));
                    let page: Vec<Child> = above.take(size).cloned().collect();
                    let more = page.len() == size;
                    deliveries.load(page, more);
                }
            }
        }
    }

    /// Any mixture of `join_next`, handles and new ends agrees with a set of numbers.
    #[test]
    fn an_end_is_given_once_in_whatever_order_the_verbs_are_mixed() {
        for seed in 0..2_000_u64 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut roll = |below: u64| {
                random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                (random >> 33) % below
            };
            let (mut deliveries, mut model) = (Deliveries::default(), BTreeSet::new());
            let (mut ended, mut last) = (Vec::new(), 0);
            for _ in 0..40 {
                match roll(4) {
                    0 | 1 => {
                        // A gap where a retry took a number back.
                        last += 1 + u64::from(roll(5) == 0);
                        ended.push(child(last as u32, last));
                        deliveries.expect_more();
                    }
                    2 => {
                        let expected = ended.iter().filter_map(|child| child.end);
                        let expected = expected.filter(|end| !model.contains(end)).min();
                        let size = 1 + roll(3) as usize;
                        assert_eq!(next(&mut deliveries, &ended, size), expected, "seed {seed}");
                        model.extend(expected);
                    }
                    _ if ended.is_empty() => {}
                    _ => {
                        let chosen = &ended[roll(ended.len() as u64) as usize];
                        deliveries.give_one(chosen);
                        model.extend(chosen.end);
                    }
                }
                let losses = model.iter().filter(|end| end.is_multiple_of(3)).count() as u64;
                let given = model.len() as u64;
                assert_eq!((deliveries.given(), deliveries.lost()), (given, losses), "seed {seed}");
                assert_eq!(deliveries.succeeded(), given - losses, "seed {seed}");
                let beyond: Vec<u64> = model.range(deliveries.watermark() + 1..).copied().collect();
                assert_eq!(deliveries.given_beyond(), beyond, "seed {seed}");
                let fallen: Vec<u64> =
                    beyond.into_iter().filter(|end| end.is_multiple_of(3)).collect();
                assert_eq!(deliveries.lost_beyond(), fallen, "seed {seed}");
                let below = ended.iter().filter(|child| child.end <= Some(deliveries.watermark()));
                assert!(below.filter_map(|child| child.end).all(|end| model.contains(&end)));
            }
        }
    }
}
