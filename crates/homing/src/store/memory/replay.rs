//! What replays page through.

use super::{Data, Task};
use crate::core::id::{Local, TaskId};
use crate::core::time::Time;
use crate::core::wait::SetCounts;
use crate::store::read::{PageBytes, Recorded};
use crate::store::{Child, Entry, SetRow};

impl Data {
    pub(super) fn record(
        &self,
        task: TaskId,
        after: u64,
        limit: usize,
    ) -> Vec<(u64, String, Entry)> {
        self.history(task, after, limit).into_iter().map(Recorded::timeless).collect()
    }

    pub(super) fn history(&self, task: TaskId, after: u64, limit: usize) -> Vec<Recorded> {
        let mut bytes = PageBytes::default();
        let entries = self.records.range((task, after + 1)..=(task, u64::MAX)).take(limit);
        let size = |entry: &Entry| crate::core::encode::json(entry).len();
        let entries = entries.take_while(|(_, (_, entry, _))| bytes.take(size(entry)));
        let recorded =
            |((_, seq), (place, entry, time)): (&(TaskId, u64), &(String, Entry, Time))| {
                let (place, entry) = (place.clone(), entry.clone());
                Recorded { seq: *seq, place, entry, time: Some(*time) }
            };
        entries.map(recorded).collect()
    }

    pub(super) fn children(&self, task: TaskId, set: Local, from: u32, limit: usize) -> Vec<Child> {
        let page = self.tasks.children(task, set, from).take(limit);
        let page = page.filter_map(|(id, _)| self.child(id));
        page.map(|child| Child { end: None, cancelled_by: None, outcome: None, ..child }).collect()
    }

    pub(super) fn ends(&self, task: TaskId, set: Local, after: u64, limit: usize) -> Vec<Child> {
        let page = self.tasks.ends(task, set, after).take(limit);
        let page = page.filter_map(|id| self.child(id));
        let mut bytes = PageBytes::default();
        let size = |child: &Child| child.outcome.as_ref().map_or(0, String::len);
        page.take_while(|child| bytes.take(size(child))).collect()
    }

    pub(super) fn child(&self, id: TaskId) -> Option<Child> {
        let row: &Task = self.tasks.get(&id)?;
        Some(Child {
            local: id.local,
            number: row.set?.1,
            kind: row.kind.clone(),
            hash: row.hash,
            state: row.state,
            end: row.end,
            cancelled_by: row.cancelled_by,
            outcome: row.outcome.clone(),
        })
    }

    pub(super) fn set_counts(&self, task: TaskId, set: Local) -> SetCounts {
        self.sets.get(&(task, set)).copied().unwrap_or_default()
    }

    pub(super) fn sets_of(&self, task: TaskId, after: Option<Local>, limit: usize) -> Vec<SetRow> {
        let sets = self.sets.range((task, Local::ROOT)..).take_while(|((own, _), _)| *own == task);
        let sets = sets.filter(|((_, set), _)| after.is_none_or(|after| *set > after)).take(limit);
        sets.map(|((_, set), counts)| SetRow { set: *set, counts: *counts }).collect()
    }
}
