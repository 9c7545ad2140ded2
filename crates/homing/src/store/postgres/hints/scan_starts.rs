//! Where the ready tasks of a level begin, so that a claim passes over none that are gone.
//!
//! A claim leaves a dead entry in the index of ready tasks. `VACUUM` removes it, but none that a snapshot
//! still sees: beside a long transaction, a backup say, every claim would pass over all that was claimed
//! since that began. So a store remembers for every level (a queue, a kind and a priority) the place
//! before which it has left nothing, and looks from there on. A commit that makes a task claimable says where:
//! in this process by [`ScanStarts::ready`], to others in the notification. A task of which nothing was said, because
//! a notification was lost or a transaction given up, is found by a look at everything: every second, or up to
//! every ten seconds where that takes long.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::clock::monotonic;
use crate::core::id::{JobId, Local};
use crate::core::time::Time;
use crate::limits;
use crate::store::Claim;
use crate::store::postgres::transaction::task::Task;

/// Levels that are remembered: as many queues as one worker may well serve. With more, everything is looked at.
const LEVELS: usize = 1024;
/// Levels that are named in one notification: it has room for no more beside the jobs.
const NAMED: usize = 8;
/// A look at everything may cost one part in so many of the time.
const SHARE: u32 = 20;
/// Though it is never put off for longer.
const LONGEST: Duration = Duration::from_secs(10);

/// Tasks that follow each other in the index: of one queue, kind and priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store::postgres) struct Level {
    pub(in crate::store::postgres) queue: String,
    pub(in crate::store::postgres) kind: String,
    pub(in crate::store::postgres) priority: i16,
}

impl Level {
    pub(in crate::store::postgres) fn of(task: &Task) -> Self {
        Self { queue: task.queue.clone(), kind: task.kind.clone(), priority: task.priority }
    }

    fn is_of(&self, task: &Task) -> bool {
        self.priority == task.priority && self.kind == task.kind && self.queue == task.queue
    }

    /// What stands for it in a notification. Two of one name would only be looked at together.
    fn name(&self) -> u64 {
        let mut hash = Sha256::new();
        for part in [self.queue.as_bytes(), &[0], self.kind.as_bytes(), &[0]] {
            hash.update(part);
        }
        hash.update(self.priority.to_be_bytes());
        let mut name = [0; 8];
        name.copy_from_slice(&hash.finalize()[..8]);
        u64::from_be_bytes(name)
    }
}

/// A place in the order of a level: a due time and an id, as the index has them.
pub(in crate::store::postgres) type Place = (Time, JobId, Local);

/// Where the tasks that are due at a time begin.
fn at(due: Time) -> Place {
    (due, JobId::from_bytes([0; 16]), Local::ROOT)
}

/// The place of a task.
pub(in crate::store::postgres) fn place(task: &Task) -> Place {
    (task.due, task.id.job, task.id.local)
}

/// From where on there is something to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    place: Place,
    /// Until when a part of it is one worker's alone.
    held: Time,
}

impl Start {
    fn merge(&mut self, other: Self) {
        self.place = self.place.min(other.place);
        self.held = self.held.max(other.held);
    }
}

/// What commits have made claimable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store::postgres) struct Ready {
    /// There is more than is known here.
    anything: bool,
    levels: HashMap<Level, Start>,
    /// As a notification names them.
    named: BTreeMap<u64, Start>,
}

impl Ready {
    pub(in crate::store::postgres) fn anything() -> Self {
        Self { anything: true, ..Self::default() }
    }

    pub(in crate::store::postgres) fn is_nothing(&self) -> bool {
        !self.anything && self.levels.is_empty() && self.named.is_empty()
    }

    /// The tasks of a transaction that it leaves to be claimed.
    pub(in crate::store::postgres) fn of<'t>(
        tasks: impl Iterator<Item = (&'t Task, Place)>,
    ) -> Self {
        let mut ready = Self::default();
        // Neighbours are mostly of one level.
        let mut last: Option<(Level, Start)> = None;
        for (task, place) in tasks {
            let held = task.held_until.filter(|_| task.holder.is_some());
            let from = Start { place, held: held.unwrap_or(Time(i64::MIN)) };
            match &mut last {
                Some((level, known)) if level.is_of(task) => known.merge(from),
                other => {
                    if let Some((level, from)) = other.replace((Level::of(task), from)) {
                        ready.add(level, from);
                    }
                }
            }
        }
        if let Some((level, from)) = last {
            ready.add(level, from);
        }
        ready
    }

    /// There is something to claim at a place.
    pub(in crate::store::postgres) fn at(&mut self, level: Level, place: Place) {
        self.add(level, Start { place, held: Time(i64::MIN) });
    }

    fn add(&mut self, level: Level, from: Start) {
        self.levels.entry(level).and_modify(|known| known.merge(from)).or_insert(from);
    }

    pub(in crate::store::postgres) fn extend(&mut self, more: Self) {
        self.anything |= more.anything;
        for (level, from) in more.levels {
            self.add(level, from);
        }
        for (name, from) in more.named {
            self.named.entry(name).and_modify(|known| known.merge(from)).or_insert(from);
        }
    }

    /// Adds words to a notification. `false`: there is too much to say.
    pub(in crate::store::postgres) fn write(&self, payload: &mut String) -> bool {
        if self.anything || self.levels.len() > NAMED {
            return false;
        }
        for (level, Start { place, held }) in &self.levels {
            // Writing to a string cannot fail.
            let _ = write!(payload, " @{:x}:{}:{}", level.name(), place.0.0, held.0);
        }
        true
    }

    /// Reads a word of a notification.
    pub(in crate::store::postgres) fn read(&mut self, word: &str) -> Option<()> {
        let mut parts = word.strip_prefix('@')?.split(':');
        let name = u64::from_str_radix(parts.next()?, 16).ok()?;
        let mut time = || parts.next()?.parse().ok().map(Time);
        let from = Start { place: at(time()?), held: time()? };
        self.named.entry(name).and_modify(|known| known.merge(from)).or_insert(from);
        Some(())
    }
}

/// What a store remembers.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct ScanStarts(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    /// Queues and kinds of the last look at everything, and when the next one is due.
    lanes: Option<[Arc<[String]>; 2]>,
    next: Option<Instant>,
    levels: HashMap<Level, ScanStart>,
    /// Looks that have begun, with what has become claimable since.
    looks: BTreeMap<u64, AddedMeanwhile>,
    number: u64,
}

#[derive(Debug, Clone, Copy)]
struct ScanStart {
    name: u64,
    from: Place,
    /// Not raised before: what is one worker's alone is not seen by the others.
    held: Time,
}

#[derive(Debug, Default)]
struct AddedMeanwhile {
    anything: bool,
    levels: HashMap<Level, Place>,
}

/// A claim under way.
#[derive(Debug)]
pub(in crate::store::postgres) struct ClaimScan<'f> {
    scan_starts: &'f ScanStarts,
    number: u64,
    begun: Instant,
    /// Where to look, and from when on; `None`: everywhere.
    pub(in crate::store::postgres) levels: Option<Vec<(Level, Place)>>,
}

/// What a claim has found.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct ScanResult {
    /// By the server's clock, not after the look.
    pub(in crate::store::postgres) now: Time,
    /// Of a look at everything: all there is.
    pub(in crate::store::postgres) levels: Vec<Level>,
    /// Tasks by themselves, and bundles.
    pub(in crate::store::postgres) lists: [List; 2],
    /// Queues that were passed over.
    pub(in crate::store::postgres) paused: Vec<String>,
}

/// What was locked of one table.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct List {
    /// In their order, and whether each was taken.
    pub(in crate::store::postgres) places: Vec<(Level, Place, bool)>,
    /// Whether there may be more.
    pub(in crate::store::postgres) more: bool,
}

impl List {
    /// Of each level that something was locked of: the first place of what was left, and the last of all.
    fn by_level(&self) -> HashMap<&Level, (Option<Place>, Place)> {
        let mut seen: HashMap<&Level, (Option<Place>, Place)> = HashMap::new();
        for (level, place, taken) in &self.places {
            let (left, last) = seen.entry(level).or_insert((None, *place));
            *last = (*last).max(*place);
            if !taken {
                *left = Some(left.map_or(*place, |other| other.min(*place)));
            }
        }
        seen
    }

    /// Before which place nothing is left of a level of which so much was locked, if that is known.
    fn scan_start(&self, seen: Option<&(Option<Place>, Place)>, now: Time) -> Option<Place> {
        let empty = (!self.more).then(|| at(now));
        seen.and_then(|(left, _)| *left).or(empty).or(seen.map(|(_, last)| *last))
    }
}

/// Mostly one worker asks again, and there may be a thousand names.
fn is_same(names: &Arc<[String]>, others: &Arc<[String]>) -> bool {
    Arc::ptr_eq(names, others) || names == others
}

impl ScanStarts {
    fn known(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a claim is to look.
    pub(in crate::store::postgres) fn look(&self, claim: &Claim) -> ClaimScan<'_> {
        let mut known = self.known();
        known.number += 1;
        let number = known.number;
        known.looks.insert(number, AddedMeanwhile::default());
        let begun = monotonic();
        let same = known.lanes.as_ref().is_some_and(|[queues, kinds]| {
            is_same(queues, &claim.queues) && is_same(kinds, &claim.kinds)
        });
        let fresh = same && known.next.is_some_and(|next| begun < next);
        let own = |level: &Level| claim.serves(&level.queue, &level.kind);
        let levels = fresh.then(|| {
            let levels = known.levels.iter().filter(|(level, _)| own(level));
            levels.map(|(level, scan_start)| (level.clone(), scan_start.from)).collect()
        });
        ClaimScan { scan_starts: self, number, begun, levels }
    }

    /// Takes note of what has become claimable.
    pub(in crate::store::postgres) fn ready(&self, ready: &Ready) {
        let mut known = self.known();
        let Remembered { levels, looks, next, .. } = &mut *known;
        let mut lower = |level: &Level, scan_start: &mut ScanStart, from: Start| {
            scan_start.from = scan_start.from.min(from.place);
            scan_start.held = scan_start.held.max(from.held);
            for since in looks.values_mut() {
                let low = since.levels.entry(level.clone()).or_insert(from.place);
                *low = (*low).min(from.place);
            }
        };
        let mut anything = ready.anything;
        for (level, from) in &ready.levels {
            match levels.get_mut(level) {
                Some(scan_start) => lower(level, scan_start, *from),
                None => anything = true,
            }
        }
        for (name, from) in &ready.named {
            let found = levels.iter_mut().find(|(_, scan_start)| scan_start.name == *name);
            match found {
                Some((level, scan_start)) => lower(level, scan_start, *from),
                None => anything = true,
            }
        }
        if anything {
            *next = None;
            for since in looks.values_mut() {
                since.anything = true;
            }
        }
    }
}

impl ClaimScan<'_> {
    /// Takes note of what was found, once it is committed.
    pub(in crate::store::postgres) fn found(self, claim: &Claim, found: &ScanResult) {
        let mut known = self.scan_starts.known();
        let known = &mut *known;
        let since = known.looks.remove(&self.number).unwrap_or_default();
        let mut scanned: Vec<&Level> = match &self.levels {
            Some(levels) => levels.iter().map(|(level, _)| level).collect(),
            None => found.levels.iter().collect(),
        };
        scanned.retain(|level| !found.paused.contains(&level.queue));
        if self.levels.is_none() {
            let new = found.levels.iter().filter(|level| !known.levels.contains_key(level));
            if known.levels.len() + new.count() > LEVELS {
                known.levels.clear();
            }
            for level in found.levels.iter().take(LEVELS) {
                let (name, never) = (level.name(), Time(i64::MIN));
                let scan_start = ScanStart { name, from: at(never), held: never };
                // Whatever was known of where it begins is known anew below.
                known.levels.entry(level.clone()).or_insert(scan_start).from = at(never);
            }
            let whole = !since.anything && found.levels.len() <= LEVELS;
            let pause = (self.begun.elapsed() * SHARE).clamp(limits::POLL, LONGEST);
            known.next = whole.then(|| monotonic() + pause);
            known.lanes = Some([Arc::clone(&claim.queues), Arc::clone(&claim.kinds)]);
        }
        let seen = found.lists.each_ref().map(List::by_level);
        for level in scanned {
            let Some(scan_start) = known.levels.get_mut(level) else { continue };
            if found.now < scan_start.held {
                continue;
            }
            let [task, bundle] = &seen;
            let [tasks, bundles] = &found.lists;
            let task = tasks.scan_start(task.get(level), found.now);
            let bundle = bundles.scan_start(bundle.get(level), found.now);
            let Some(mut from) = task.zip(bundle).map(|(task, bundle)| task.min(bundle)) else {
                continue;
            };
            if let Some(low) = since.levels.get(level) {
                from = from.min(*low);
            }
            scan_start.from = scan_start.from.max(from);
        }
    }
}

impl Drop for ClaimScan<'_> {
    fn drop(&mut self) {
        self.scan_starts.known().looks.remove(&self.number);
    }
}
