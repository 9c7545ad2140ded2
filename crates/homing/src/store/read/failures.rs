//! Failures over all jobs: which are asked for, and what stores answer.

use crate::core::fingerprint::Fingerprint;
use crate::core::id::TaskId;
use crate::core::time::Time;

/// Which failures to group. See [`Homing::failures`](crate::Homing::failures).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureFilter {
    /// Only tasks of this kind.
    pub kind: Option<String>,
    /// Only tasks that failed at or after this instant.
    pub since: Option<Time>,
    /// How many groups at most, those that failed last first; zero, or more than
    /// [`limits::PAGE`](crate::limits::PAGE), is that.
    pub limit: usize,
}

impl FailureFilter {
    /// Groups of the list.
    pub(crate) fn rows(&self) -> usize {
        if self.limit == 0 { crate::limits::PAGE } else { self.limit.min(crate::limits::PAGE) }
    }
}

/// Failed tasks that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alike {
    /// What they have in common.
    pub fingerprint: Fingerprint,
    /// How many.
    pub count: u64,
    /// When the first failed.
    pub first: Time,
    /// When the last failed.
    pub last: Time,
    /// The last.
    pub latest: TaskId,
}

/// Groups failed tasks: what a store does that has no index of fingerprints.
pub(crate) fn grouped(
    failed: impl IntoIterator<Item = (Fingerprint, Time, TaskId)>,
    filter: &FailureFilter,
) -> Vec<Alike> {
    let mut groups: std::collections::BTreeMap<Fingerprint, Alike> =
        std::collections::BTreeMap::new();
    let (from, to) = Fingerprint::range(filter.kind.as_deref());
    for (fingerprint, time, task) in failed {
        let is_of_kind = from <= fingerprint && fingerprint <= to;
        if !is_of_kind || filter.since.is_some_and(|since| time < since) {
            continue;
        }
        let fresh = Alike { fingerprint, count: 0, first: time, last: time, latest: task };
        let group = groups.entry(fingerprint).or_insert(fresh);
        group.count += 1;
        group.first = group.first.min(time);
        (group.last, group.latest) = (group.last, group.latest).max((time, task));
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| (std::cmp::Reverse(group.last), group.fingerprint));
    groups.truncate(filter.rows());
    groups
}

/// A page of those that are alike, the last to fail first.
pub(crate) fn page_alike(
    failed: impl IntoIterator<Item = (Fingerprint, Time, TaskId)>,
    wanted: Fingerprint,
    before: Option<(Time, TaskId)>,
    limit: usize,
) -> Vec<(Time, TaskId)> {
    let alike = failed.into_iter().filter(|(fingerprint, ..)| *fingerprint == wanted);
    let mut alike: Vec<_> = alike.map(|(_, time, task)| (time, task)).collect();
    alike.retain(|own| before.is_none_or(|before| *own < before));
    alike.sort_unstable_by(|a, b| b.cmp(a));
    alike.truncate(limit);
    alike
}
