//! What replays page through, and what bodies and clients ask. By key, always on the primary.

use super::link::connect::{Link, key_of};
use super::link::fault::Result;
use super::link::keys::{field, field_of};
use super::people::tasks;
use super::task::{self, Row, Task};
use super::waits;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::wait::SetCounts;
use crate::limits;
use crate::store::read::{PageBytes, Recorded, Settled, TaskView};
use crate::store::{Child, Entry, SetRow};

/// A store, read.
#[derive(Debug)]
pub(super) struct View<'l>(pub(super) &'l Link);

/// Fields asked for at once, where some of them may not be there.
const WINDOW: u64 = 1000;
/// Fields asked for before it is known how many there are: a round trip costs more.
const GUESS: u64 = 30;

impl View<'_> {
    pub(super) async fn record(
        &self,
        task: TaskId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String, Entry)>> {
        Ok(self.history(task, after, limit).await?.into_iter().map(Recorded::timeless).collect())
    }

    pub(super) async fn history(
        &self,
        task: TaskId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>> {
        let name = |seq: u64| field_of(b'r', task.local, &[&seq.to_be_bytes()]);
        let (mut page, mut bytes, mut from) = (Vec::new(), PageBytes::default(), after + 1);
        // The row, which says how many there are, and what most tasks have at most.
        let first: Vec<_> = std::iter::once(field(b'o', task.local))
            .chain((from..from + GUESS).map(name))
            .collect();
        let mut found = self.0.fields(&key_of(self.0, task), &first).await?;
        let Some(row) = found.remove(0) else { return Ok(page) };
        let last = Row::from(&row)?.records;
        while from <= last {
            let to = last.min(from + (found.len() as u64).max(1) - 1);
            for (seq, blob) in (from..=to).zip(std::mem::take(&mut found)) {
                let Some(blob) = blob else { continue };
                let whose = || format!("entry {seq} of the record of task {task}");
                let (place, entry) =
                    waits::entry_from(&blob, seq).map_err(|fault| fault.of(whose))?;
                if page.len() == limit || !bytes.take(crate::core::encode::json(&entry).len()) {
                    return Ok(page);
                }
                page.push(Recorded { seq, place, entry, time: waits::recorded_at(&blob) });
            }
            from = to + 1;
            let names: Vec<_> = (from..=last.min(to + WINDOW)).map(name).collect();
            found = self.0.fields(&key_of(self.0, task), &names).await?;
        }
        Ok(page)
    }

    async fn counted(&self, task: TaskId, set: Local) -> Result<Option<(SetCounts, u32)>> {
        let name = field_of(b's', task.local, &[&set.0]);
        let found = self.0.fields(&key_of(self.0, task), &[name]).await?;
        found.into_iter().next().flatten().map(|blob| task::counts(&blob)).transpose()
    }

    pub(super) async fn set_counts(&self, task: TaskId, set: Local) -> Result<SetCounts> {
        Ok(self.counted(task, set).await?.map_or_else(SetCounts::default, |(counts, _)| counts))
    }

    /// The children of a set from a number on, with their outcomes.
    pub(super) async fn of_set(
        &self,
        task: TaskId,
        set: Local,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Task>> {
        let Some((counts, numbers)) = self.counted(task, set).await? else { return Ok(Vec::new()) };
        let added = u64::from(limits::CHILDREN) + counts.last_added;
        let spans =
            [(u64::from(from), u64::from(numbers)), (u64::from(from.max(limits::CHILDREN)), added)];
        let mut page = Vec::new();
        for (from, to) in spans {
            let mut at = from;
            while at < to && page.len() < limit {
                let end = to.min(at + WINDOW);
                let numbers: Vec<u32> = (at..end).filter_map(|n| n.try_into().ok()).collect();
                page.extend(self.numbered(task, set, &numbers).await?);
                at = end;
            }
        }
        page.truncate(limit);
        Ok(page)
    }

    /// Those children of a set that have some numbers. The key of one follows from the number, those of others are kept.
    async fn numbered(&self, task: TaskId, set: Local, numbers: &[u32]) -> Result<Vec<Task>> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let key = key_of(self.0, task);
        let name = |number: &u32| field_of(b'c', task.local, &[&set.0, &number.to_be_bytes()]);
        let numbered = |number: &u32| {
            let local = set.numbered(*number);
            [field(b'b', local), field(b'o', local)]
        };
        let mut ask = redis::pipe();
        ask.cmd("HMGET").arg(&key).arg(numbers.iter().map(name).collect::<Vec<_>>());
        ask.cmd("HMGET").arg(&key).arg(numbers.iter().flat_map(numbered).collect::<Vec<_>>());
        let found: Vec<Vec<Option<Vec<u8>>>> = self.0.commands(&ask).await?;
        let [kept, rows] = found.as_slice() else { return Ok(Vec::new()) };
        let mut children = Vec::with_capacity(numbers.len());
        for ((number, kept), row) in numbers.iter().zip(kept).zip(rows.chunks_exact(2)) {
            let first = children.len();
            if let [Some(birth), Some(row)] = row {
                let id = TaskId { job: task.job, local: set.numbered(*number) };
                children.extend(Task::from(id, birth, row).ok());
            }
            if let Some(kept) = kept {
                let ids: Result<Vec<_>> = kept
                    .chunks(16)
                    .map(|own| {
                        let local = Local(super::pack::sixteen(own)?);
                        Ok(TaskId { job: task.job, local })
                    })
                    .collect();
                children.extend(task::read(self.0, &ids?).await?);
            }
            // Another child may have the key that follows from a number.
            let own = |child: &Task| {
                child.birth.parent == Some(task.local) && child.birth.set == Some((set, *number))
            };
            let mut of_number = children.split_off(first);
            of_number.retain(own);
            of_number.sort_unstable_by_key(|child: &Task| child.id);
            children.append(&mut of_number);
        }
        Ok(children)
    }

    pub(super) async fn children(
        &self,
        task: TaskId,
        set: Local,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Child>> {
        let mut page = Vec::new();
        for child in self.of_set(task, set, from, limit).await? {
            let child = child.child();
            page.extend(child.map(|child| Child {
                end: None,
                cancelled_by: None,
                outcome: None,
                ..child
            }));
        }
        Ok(page)
    }

    pub(super) async fn ends(
        &self,
        task: TaskId,
        set: Local,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Child>> {
        let last = self.set_counts(task, set).await?.last_end;
        let (mut page, mut bytes, mut from) = (Vec::new(), PageBytes::default(), after + 1);
        while from <= last {
            let to = last.min(from + WINDOW.min(limit as u64) - 1);
            let name = |end: u64| field_of(b'd', task.local, &[&set.0, &end.to_be_bytes()]);
            let names: Vec<_> = (from..=to).map(name).collect();
            let found = self.0.fields(&key_of(self.0, task), &names).await?;
            let mut ids = Vec::new();
            for blob in found.into_iter().flatten() {
                ids.push(TaskId { job: task.job, local: Local(super::pack::sixteen(&blob)?) });
            }
            for child in task::read(self.0, &ids).await? {
                let Some(child) = child.child() else { continue };
                let size = child.outcome.as_ref().map_or(0, String::len);
                if page.len() == limit || !bytes.take(size) {
                    return Ok(page);
                }
                page.push(child);
            }
            from = to + 1;
        }
        Ok(page)
    }

    pub(super) async fn child(&self, id: TaskId) -> Result<Option<Child>> {
        Ok(task::read(self.0, &[id]).await?.first().and_then(Task::child))
    }

    pub(super) async fn sets_of(
        &self,
        task: TaskId,
        after: Option<Local>,
        limit: usize,
    ) -> Result<Vec<SetRow>> {
        let mut sets = tasks::set_rows(self.0, task).await?;
        sets.retain(|row| after.is_none_or(|after| row.set > after));
        sets.truncate(limit);
        Ok(sets)
    }

    pub(super) async fn overdue(&self, jobs: &[JobId]) -> Result<Vec<JobId>> {
        let now = self.0.clock.now();
        let mut overdue = self.roots(jobs).await?;
        overdue.retain(|(_, row)| row.is_overdue(now));
        Ok(overdue.into_iter().map(|(job, _)| job).collect())
    }

    /// The rows of the roots of jobs, those that there are.
    async fn roots(&self, jobs: &[JobId]) -> Result<Vec<(JobId, Row)>> {
        let mut ask = redis::pipe();
        for job in jobs {
            ask.hget(self.0.lane.job(*job), field(b'o', Local::ROOT));
        }
        let found: Vec<Option<Vec<u8>>> = self.0.commands(&ask).await?;
        let mut rows = Vec::with_capacity(jobs.len());
        for (job, blob) in jobs.iter().zip(found) {
            if let Some(blob) = blob {
                rows.push((*job, Row::from(&blob)?));
            }
        }
        Ok(rows)
    }

    pub(super) async fn outcomes(&self, jobs: &[JobId]) -> Result<Vec<(JobId, Settled)>> {
        let mut bytes = PageBytes::default();
        let mut settled = Vec::new();
        for (job, row) in self.roots(jobs).await? {
            let outcome = row.outcome(job.root()).filter(|outcome| bytes.take(outcome.len()));
            settled.push((job, Settled { state: row.state, outcome }));
        }
        Ok(settled)
    }

    pub(super) async fn holder(&self, key: &str) -> Result<Option<JobId>> {
        let keys = self.0.lane.key("keys");
        let found: Option<Vec<u8>> =
            self.0.command(redis::cmd("HGET").arg(keys).arg(key.as_bytes())).await?;
        found.as_deref().map(super::pack::job).transpose()
    }

    pub(super) async fn task_view(&self, id: TaskId) -> Result<Option<TaskView>> {
        Ok(self.task_views(&[id]).await?.pop())
    }

    pub(super) async fn task_views(&self, ids: &[TaskId]) -> Result<Vec<TaskView>> {
        tasks::views(self.0, ids).await
    }
}
