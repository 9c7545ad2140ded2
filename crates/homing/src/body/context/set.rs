//! The sets of a running body: which children it has spawned, and which outcomes it was given.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::deliveries::{Deliveries, Next};
use super::takers::Takers;
use super::{Context, Halt};
use crate::core::id::{Local, TaskId};
use crate::core::names::in_place;
use crate::core::policy::FailurePolicy;
use crate::error::{Invalid, Misuse};
use crate::limits;
use crate::store::read::{bytes_of, is_full};
use crate::store::{Child, Event, NewChild};
use crate::task::call::Draft;

/// What stands at the end of a growing set's place.
pub(crate) const GROWING: &str = "~growing";

/// A set as the body sees it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Default)]
pub(crate) struct SetState {
    pub(crate) place: String,
    pub(crate) policy: FailurePolicy,
    /// Whether the set was created under this name before.
    pub(crate) named: bool,
    /// Whether members may add to it: then only the store knows how many there are.
    pub(crate) growing: bool,
    /// With how many children of the body's own a growing set was last found drained.
    drained: Option<u32>,
    /// Spawns so far in this run, and those among them without a place of their own.
    pub(crate) issued: u32,
    numbered: u32,
    /// Children spawned in this run that have places of their own.
    placed: HashSet<Local>,
    /// Children of an earlier run, loaded and not yet found again.
    known: HashMap<Local, (String, [u8; 16])>,
    next_page: u32,
    all_known: bool,
    /// Which ends were given to the body.
    pub(crate) ends: Deliveries,
    /// A wait has dealt with the whole set: how its open children end no longer matters.
    pub(crate) settled: bool,
    /// Every child had ended by then.
    pub(crate) ended: bool,
    /// Which branches were given ends.
    takers: Takers,
    /// Aborts said, each by its number: of one child, or of all with a lower number.
    pub(super) aborts: Vec<(u64, Option<Local>, u32)>,
    /// Whether one of them stands for many: it may hit children that none of these did.
    pub(super) aborts_are_merged: bool,
}

impl SetState {
    /// Children whose outcomes were not given to the body; of a growing set those that the body has spawned.
    pub(crate) fn left(&self) -> u64 {
        u64::from(self.issued).saturating_sub(self.ends.given_own())
    }

    /// Whether no outcome can come any more.
    pub(crate) fn is_over(&self) -> bool {
        if self.growing {
            self.issued == 0 || self.settled || self.drained == Some(self.issued)
        } else {
            self.left() == 0
        }
    }

    /// Whether a wait for one more of a growing set, answered when so many had ended, found that every member has
    /// ended and was given out.
    pub(crate) fn drains(&mut self, ended: u64) -> bool {
        let drains = ended <= self.ends.given();
        if drains {
            self.drained = Some(self.issued);
        }
        drains
    }

    /// Whether this run has spawned a child of the set that the store has or, of one that a member has added, the
    /// child that it goes back to.
    pub(crate) fn has_spawned(&self, set: Local, child: &Child) -> bool {
        if child.is_added() {
            return child.local.origin(child.number) < self.issued;
        }
        let last = child.local.last();
        let is_numbered = last < self.numbered && set.numbered(last) == child.local;
        is_numbered || self.placed.contains(&child.local)
    }

    /// The place of the same set if it grew, or if it did not.
    fn twin(&self) -> String {
        let plain = self.place.strip_suffix(GROWING).filter(|_| self.growing);
        plain.map_or_else(|| format!("{}{GROWING}", self.place), str::to_owned)
    }
}

/// A child that was spawned or found again.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) set: Local,
    pub(crate) child: TaskId,
    pub(crate) place: String,
}

impl Context {
    /// Makes a set known to the closing join.
    pub(crate) fn open_set(&self, place: &str, policy: FailurePolicy) -> Local {
        let set = self.task.set(place);
        let mut inner = self.lock();
        let fresh = inner.spawned_before == 0;
        let state = inner.sets.entry(set).or_default();
        if state.place.is_empty() {
            place.clone_into(&mut state.place);
            state.all_known = fresh;
            if !fresh {
                state.ends.expect_more();
            }
        }
        state.policy = policy;
        set
    }

    /// Reads or changes a set's state.
    pub(crate) fn with_set<T>(&self, set: Local, how: impl FnOnce(&mut SetState) -> T) -> T {
        how(self.lock().sets.entry(set).or_default())
    }

    /// The current branch is about to be given ends of a set: the next in order, or a handle's. Ends the
    /// task where a replay could give them otherwise.
    pub(crate) async fn take_ends(&self, set: Local, in_order: bool) {
        let misuse = {
            let mut inner = self.lock();
            let branch = inner.branches.prefix().to_owned();
            let state = inner.sets.entry(set).or_default();
            // The body's own branch runs beside no other.
            let alone = branch.is_empty() || state.takers.take(&branch, in_order);
            (!alone).then(|| Misuse::SetInBranches { set: state.place.clone() })
        };
        if let Some(misuse) = misuse {
            self.halt::<()>(Halt::Misuse(misuse)).await;
        }
    }

    /// The sets opened so far, in no particular order.
    pub(crate) fn sets(&self) -> Vec<Local> {
        self.lock().sets.keys().copied().collect()
    }

    /// Whether an end that was not given is at hand; loads a page where there may be one (`must`: is one).
    pub(crate) async fn next_end(self: &Arc<Self>, set: Local, must: bool) -> bool {
        loop {
            let after = match self.with_set(set, |state| state.ends.next(must)) {
                Next::AtHand => return true,
                Next::None => return false,
                Next::Load(after) => after,
            };
            let page = self.ends(set, after).await;
            let (full, nothing) = (is_full(page.len(), bytes_of(&page)), page.is_empty());
            self.with_set(set, |state| state.ends.load(page, full));
            if nothing {
                return false;
            }
        }
    }

    /// Ends the task as drifted where the store has more children in a set than this run has spawned:
    /// the first run had spawned all of them before it came to the wait at `place`.
    pub(crate) async fn check_members(self: &Arc<Self>, set: Local, place: &str) {
        if self.unfound() == 0 {
            return;
        }
        let task = self.task;
        let counts = self.fetch(move |store| async move { store.set(task, set).await }).await;
        let (old, new) = (counts.own(), self.with_set(set, |state| u64::from(state.issued)));
        if old > new {
            let text = format!("expected a wait for {old} children, got one for {new}");
            self.drift::<()>(place, &text).await;
        }
        // A child that is new in this run made all that are recorded known. Those that are left were not
        // spawned, though the number may be right.
        let left_out =
            self.with_set(set, |state| if state.all_known { state.known.len() } else { 0 });
        if left_out > 0 {
            let text = format!("expected a wait for {left_out} more children, which are recorded");
            self.drift::<()>(place, &text).await;
        }
    }

    /// Ends the task as drifted where the child whose end a wait is about to give is not one of this run's.
    pub(crate) async fn check_spawned(self: &Arc<Self>, set: Local, place: &str, child: &Child) {
        if !self.with_set(set, |state| state.has_spawned(set, child)) {
            let text = "expected a spawn of the next child to end, got none: its kind is";
            self.drift::<()>(place, &format!("{text} {}", child.kind)).await;
        }
    }

    /// Children in the store that this run has not found again.
    pub(crate) fn unfound(&self) -> u64 {
        let inner = self.lock();
        inner.spawned_before.saturating_sub(inner.found_again)
    }

    /// Spawns a child into a set, or finds it again.
    pub(crate) async fn spawn(
        self: &Arc<Self>,
        set: Local,
        draft: Draft,
    ) -> Result<Spawned, Misuse> {
        let own_place = draft.place.clone();
        let mut task = draft.fix(self.now(), &self.queue, self.priority)?;
        let (place, number, numbered) = self.with_set(set, |state| {
            task.policy.grows = state.growing;
            let place = match &own_place {
                Some(name) => format!("{}@{}", state.place, in_place(name)),
                None => format!("{}[{}]", state.place, state.numbered),
            };
            (place, state.issued, state.numbered)
        });
        if number >= limits::CHILDREN {
            let (count, limit) = (number as usize, limits::CHILDREN as usize);
            return Err(Invalid::TooMany { field: "children of a set", count, limit }.into());
        }
        let _op = self.begin(&place, false).await;
        let own_place = own_place.map(|name| set.placed(&name));
        let first = self.with_set(set, |state| {
            state.issued += 1;
            state.numbered += u32::from(own_place.is_none());
            own_place.is_none_or(|local| state.placed.insert(local))
        });
        if !first {
            return self.halt(Halt::Misuse(Misuse::DoubledPlace { place })).await;
        }
        self.note_spawn(set);
        let local = own_place.unwrap_or_else(|| set.numbered(numbered));
        let child = TaskId { job: self.task.job, local };
        if let Some((kind, hash)) = self.find_again(set, local).await {
            if kind != task.kind || hash != task.hash {
                self.report_drift(&place, child, &task.kind, &task.arguments).await;
            }
            let mut inner = self.lock();
            inner.found_again += 1;
            inner.settle_lines(true);
        } else {
            if number == 0 && self.unfound() > 0 {
                self.check_growth(set, &place).await;
            }
            let mut inner = self.lock();
            inner.recall.is_past();
            inner.renews();
            inner.settle_lines(false);
            inner.push(Event::Spawn(Box::new(NewChild { local, set, number, task })));
        }
        self.hold_back().await;
        Ok(Spawned { set, child, place })
    }

    /// Ends the task as drifted where an earlier run has spawned into the same set, but that grew and this does not,
    /// or the other way round.
    async fn check_growth(self: &Arc<Self>, set: Local, place: &str) {
        let (twin, grows) = self.with_set(set, |state| (state.twin(), state.growing));
        let (task, twin) = (self.task, self.task.set(&twin));
        let counts = self.fetch(move |store| async move { store.set(task, twin).await }).await;
        if counts.spawned > 0 {
            let (old, new) =
                if grows { ("does not grow", "grows") } else { ("grows", "does not grow") };
            let text = format!("expected a set that {old}, got one that {new}");
            self.drift::<()>(place, &text).await;
        }
    }

    /// The kind and the hash of a child of an earlier run.
    async fn find_again(self: &Arc<Self>, set: Local, local: Local) -> Option<(String, [u8; 16])> {
        loop {
            if self.unfound() == 0 {
                return None;
            }
            let (found, next) = self.with_set(set, |state| {
                (state.known.remove(&local), (!state.all_known).then_some(state.next_page))
            });
            if found.is_some() {
                return found;
            }
            let from = next?;
            let task = self.task;
            let page = self
                .fetch(
                    move |store| async move { store.children(task, set, from, limits::PAGE).await },
                )
                .await;
            self.with_set(set, |state| {
                // Behind the body's own children there are those that members have added.
                let last = page.last().is_none_or(Child::is_added);
                state.all_known = last || page.len() < limits::PAGE;
                for child in page.into_iter().filter(|child| !child.is_added()) {
                    state.next_page = child.number + 1;
                    state.known.insert(child.local, (child.kind, child.hash));
                }
            });
        }
    }

    async fn report_drift(self: &Arc<Self>, place: &str, child: TaskId, kind: &str, args: &str) {
        let old = self.fetch(move |store| async move { store.task(child).await }).await;
        let (old_kind, old_args) =
            old.map_or_else(Default::default, |old| (old.kind, old.arguments));
        let text = crate::core::replay::drift_text(&old_kind, &old_args, kind, args);
        self.drift::<()>(place, &text).await;
    }

    /// Backpressure: hands over full batches, and waits when too many spawns are on their way.
    pub(super) async fn hold_back(&self) {
        let (many, full) = {
            let inner = self.lock();
            let many = !inner.is_flushed_to(limits::UNFLUSHED_SPAWNS - 1, limits::UNFLUSHED_BYTES);
            let full = inner.events.len() >= limits::UNFLUSHED_SPAWNS / 4
                || inner.bytes >= limits::UNFLUSHED_BYTES / 4;
            (many, full)
        };
        if full || many {
            self.hand_over().await;
        }
        if many {
            self.await_worker(|inner| {
                let half = (limits::UNFLUSHED_SPAWNS / 2, limits::UNFLUSHED_BYTES / 2);
                inner.is_flushed_to(half.0, half.1).then_some(())
            })
            .await;
        }
    }

    /// Waits until every spawn so far is committed: a step must not run before.
    pub(crate) async fn commit_spawns(&self) {
        if self.lock().unflushed() > 0 {
            self.commit().await;
        }
    }
}
