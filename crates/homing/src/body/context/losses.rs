//! What a body was told of children that brought no value, and what it did from then on: what a job's retry
//! takes back, should the task fail for good.
//!
//! Every wait that tells the body of a loss or of a timeout makes a [`Moment`] first, and the error carries
//! it. If the task fails by that error, a retry goes back to that moment; if it fails by an error of the
//! body's own, to the first such moment of the run.
//!
//! A replay of a body without branches comes to the same moments. Branches are told in another order each time. So
//! what a retry leaves is what *this* run had come to by then: what others of its branches were just being told, and
//! what the record had for them further on, goes.

use super::set::SetState;
use super::{Context, Inner};
use crate::core::id::Local;
use crate::core::record::Moment;
use crate::error::JoinError;
use crate::store::Cause;

/// Lost children that one cause lists at most: with more told of, a retry goes back to the first of them.
const GIVEN: usize = 1000;
/// Entries that branches have not come to which one moment lists at most: with more, a retry takes nothing back.
const BEHIND: usize = 1000;
/// Aborts kept of one set: more are taken for one of the whole set.
const ABORTS: usize = 100;

/// What is kept of a run.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Children whose losses the body was told of or has borne, in order; at most one more than [`GIVEN`].
    given: Vec<Local>,
    /// The first moment that the body was told of.
    first: Option<Moment>,
    /// Sets that were spawned into since then, run by run.
    spawned: Vec<(Local, u32)>,
    total: u64,
    /// Aborts said so far.
    aborts: u64,
    /// Where signals brought values that the body does not take.
    bad_signals: Vec<String>,
}

impl Losses {
    fn give(&mut self, child: Local) {
        if self.given.len() <= GIVEN {
            self.given.push(child);
        }
    }

    fn spawn(&mut self, set: Local) {
        if self.first.is_none() {
            return;
        }
        self.total += 1;
        match self.spawned.last_mut() {
            Some((last, count)) if *last == set => *count += 1,
            _ => self.spawned.push((set, 1)),
        }
    }

    /// The sets that were spawned into after the first `before` spawns, and how often.
    fn spawned_after(&self, before: u64) -> Vec<(Local, u32)> {
        let (mut skipped, mut grown): (u64, Vec<(Local, u32)>) = (0, Vec::new());
        for (set, count) in &self.spawned {
            let skip = (before - skipped).min(u64::from(*count));
            skipped += skip;
            let count = count - skip as u32;
            match grown.iter_mut().find(|(own, _)| own == set) {
                _ if count == 0 => {}
                Some((_, more)) => *more += count,
                None => grown.push((*set, count)),
            }
        }
        grown
    }
}

impl Context {
    /// The moment before a wait says what it has come to.
    pub(crate) fn moment(&self, place: &str) -> Moment {
        let inner = self.lock();
        let (own, since) = (answered(place), inner.position());
        let beside = inner.branches.waiting().filter(|beside| *beside != own);
        let behind = inner.recall.behind(since, BEHIND + 1);
        let too_many = behind.len() > BEHIND;
        let places = std::iter::once(own).chain(beside).chain(behind);
        Moment {
            places: places.map(str::to_owned).collect(),
            since: Some(since),
            given: if too_many { usize::MAX } else { inner.losses.given.len() },
            spawned: inner.losses.total,
            aborts: inner.losses.aborts,
            closing: Vec::new(),
        }
    }

    /// The body is told of a loss: of this child, or of a wait that came to nothing.
    pub(crate) fn tell_loss(&self, moment: &Moment, child: Option<Local>) {
        let losses = &mut self.lock().losses;
        losses.first.get_or_insert_with(|| moment.clone());
        if let Some(child) = child {
            losses.give(child);
        }
    }

    /// The body is told that a signal brought no value it takes. A job's retry takes the answer back and does
    /// not send the value again.
    pub(crate) fn bad_signal(&self, place: &str, name: String, reason: String) -> JoinError {
        let moment = self.moment(place);
        self.tell_loss(&moment, None);
        let bad = &mut self.lock().losses.bad_signals;
        if bad.len() < GIVEN {
            bad.push(answered(place).to_owned());
        }
        JoinError::Signal { name, reason, moment: Box::new(moment) }
    }

    /// A wait has borne the losses of these children, or told the body that it had aborted them itself.
    pub(crate) fn bear_losses(&self, children: impl IntoIterator<Item = Local>) {
        let losses = &mut self.lock().losses;
        children.into_iter().for_each(|child| losses.give(child));
    }

    /// The body has spawned a child or found it again.
    pub(super) fn note_spawn(&self, set: Local) {
        self.lock().losses.spawn(set);
    }

    /// The body aborts children of a set with lower numbers, or one of them.
    pub(crate) fn note_abort(&self, set: Local, child: Option<Local>, below: u32) {
        let mut inner = self.lock();
        inner.losses.aborts += 1;
        let number = inner.losses.aborts;
        let state = inner.sets.entry(set).or_default();
        if state.aborts.len() >= ABORTS {
            state.aborts.clear();
            state.aborts.push((number, None, below));
            state.aborts_are_merged = true;
        } else {
            state.aborts.push((number, child, below));
        }
    }

    /// From here on the task waits for its children only.
    pub(crate) fn note_closing(&self) {
        self.lock().closing = true;
    }

    /// What a job's retry takes back if the task fails now: by an error that told of a moment, or by one
    /// of the body's own. `None`: it goes on where it was. Too much was told for a list; or the closing join was ended by
    /// something else than a loss, a timeout say; or this run had been told of none when it was cut off on its way through
    /// the record, and nobody knows here of which losses that tells.
    pub(crate) fn cause(&self, moment: Option<&Moment>) -> Option<Box<Cause>> {
        let inner = self.lock();
        if let Some(Moment { places, closing, .. }) =
            moment.filter(|moment| !moment.closing.is_empty())
        {
            let (places, only) = (places.clone(), closing.clone());
            return Some(Box::new(Cause { places, only, ..Cause::default() }));
        }
        let losses = &inner.losses;
        let told = moment.filter(|moment| moment.given <= GIVEN).or(losses.first.as_ref());
        if inner.closing || (told.is_none() && inner.recall.is_left()) {
            return None;
        }
        let Some(moment) = told else {
            let given = losses.given.clone();
            // Who was just being told of a loss waits again.
            let places = inner.branches.waiting().map(|place| answered(place).to_owned()).collect();
            let aborted_before = inner.aborts_until(losses.aborts);
            return (given.len() <= GIVEN)
                .then(|| Box::new(Cause { places, given, aborted_before, ..Cause::default() }));
        };
        let given = losses.given.get(..moment.given).filter(|given| given.len() <= GIVEN)?;
        let issued = |set: Local| inner.sets.get(&set).map_or(0, |state| state.issued);
        let grown = losses.spawned_after(moment.spawned).into_iter();
        Some(Box::new(Cause {
            places: moment.places.clone(),
            since: moment.since,
            grown: grown.map(|(set, count)| (set, issued(set).saturating_sub(count))).collect(),
            only: Vec::new(),
            given: given.to_vec(),
            aborted: inner.aborts_after(moment.aborts),
            aborted_before: inner.aborts_until(moment.aborts),
            bad_signals: losses.bad_signals.clone(),
        }))
    }
}

impl Inner {
    /// Aborts that the body has said: the set, their number, and whom each hits. Where one stands for many, it hits more.
    fn aborts(&self) -> impl Iterator<Item = (&SetState, u64, (Local, Option<Local>, u32))> {
        self.sets.iter().flat_map(|(set, state)| {
            let aborts = state.aborts.iter();
            aborts.map(move |(number, child, below)| (state, *number, (*set, *child, *below)))
        })
    }

    /// Those after a number.
    fn aborts_after(&self, last: u64) -> Vec<(Local, Option<Local>, u32)> {
        let aborts = self.aborts().filter(|(_, number, _)| *number > last);
        aborts.map(|(.., hit)| hit).collect()
    }

    /// Those until a number, as far as it is known whom they hit. With too many for a list there are none. A retry reopens
    /// what it knows no abort of: too much rather than too little.
    fn aborts_until(&self, last: u64) -> Vec<(Local, Option<Local>, u32)> {
        let aborts =
            self.aborts().filter(|(set, number, _)| *number <= last && !set.aborts_are_merged);
        let aborts: Vec<_> = aborts.map(|(.., hit)| hit).collect();
        if aborts.len() > GIVEN { Vec::new() } else { aborts }
    }

    /// The number of the next entry that the body comes to, or writes.
    fn position(&self) -> u64 {
        self.recall.next().unwrap_or(self.next_seq + 1)
    }
}

/// The place at which the answer of a wait is recorded: of an arm of `select!` that of the whole.
fn answered(place: &str) -> &str {
    let arm = |(whole, arm): &(&str, &str)| {
        let name = whole.rsplit('/').next().unwrap_or(whole);
        name.starts_with("select!#") && arm.bytes().all(|byte| byte.is_ascii_digit())
    };
    place.rsplit_once('/').filter(arm).map_or(place, |(whole, _)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_answered_where_the_whole_is() {
        assert_eq!(answered("select!#2/1"), "select!#2");
        assert_eq!(answered("join!#1:0/select!#2/11"), "join!#1:0/select!#2");
        assert_eq!(answered("set#1.join_all#1"), "set#1.join_all#1");
        assert_eq!(answered("set:pages/7"), "set:pages/7");
    }

    #[test]
    fn spawns_are_counted_from_a_moment_on() {
        let set = |n| Local([n; 16]);
        let losses = Losses {
            spawned: vec![(set(1), 3), (set(2), 1), (set(1), 2)],
            total: 6,
            ..Losses::default()
        };
        assert_eq!(losses.spawned_after(0), [(set(1), 5), (set(2), 1)]);
        assert_eq!(losses.spawned_after(2), [(set(1), 3), (set(2), 1)]);
        assert_eq!(losses.spawned_after(4), [(set(1), 2)]);
        assert_eq!(losses.spawned_after(6), []);
    }

    /// A retry takes back what was spawned since the body was told of its first loss, set by set.
    #[test]
    fn spawns_since_a_loss_are_counted_by_set() {
        let [a, b] = [1, 2].map(|n| Local([n; 16]));
        let mut losses = Losses::default();
        losses.spawn(a);
        losses.first = Some(Moment::default());
        for set in [a, a, a, b, a, b, b] {
            losses.spawn(set);
        }
        assert_eq!(losses.total, 7);
        assert_eq!(losses.spawned_after(0), [(a, 4), (b, 3)]);
        assert_eq!(losses.spawned_after(2), [(a, 2), (b, 3)]);
        assert_eq!(losses.spawned_after(4), [(a, 1), (b, 2)]);
        assert!(losses.spawned_after(7).is_empty());
    }
}
