//! Tasks as people see them, and children by their states.

use std::collections::BTreeMap;

use super::super::link::connect::{Link, key_of};
use super::super::link::fault::{Fault, Result};
use super::super::link::keys::{field, field_of};
use super::super::task::{self, Row, Task};
use super::super::{pack, replay};
use super::View;
use crate::core::id::{Local, TaskId};
use crate::core::state::State;
use crate::store::SetRow;
use crate::store::read::{self, ChildCounts, Recorded, TaskView};

/// Sets asked for before it is known how many there are: a round trip costs more.
const GUESS: u32 = 4;

/// Tasks whose views are made together.
const TOGETHER: usize = 100;

/// The sets of a task by their keys.
pub(in crate::store::redis) async fn set_rows(link: &Link, task: TaskId) -> Result<Vec<SetRow>> {
    let name = |at: u32| field_of(b't', task.local, &[&at.to_be_bytes()]);
    // The row, which says how many there are, and what most tasks have at most.
    let mut first = vec![field(b'o', task.local)];
    first.extend((1..=GUESS).map(name));
    let mut found = link.fields(&key_of(link, task), &first).await?;
    let Some(row) = found.remove(0).and_then(|row| Row::from(&row).ok()) else {
        return Ok(Vec::new());
    };
    let more: Vec<_> = (GUESS + 1..=row.sets).map(name).collect();
    found.extend(link.fields(&key_of(link, task), &more).await?);
    counted(link, task, found).await
}

async fn sets(link: &Link, task: &Task) -> Result<Vec<SetRow>> {
    let local = task.id.local;
    let names = (1..=task.row.sets).map(|at| field_of(b't', local, &[&at.to_be_bytes()]));
    let found = link.fields(&key_of(link, task.id), &names.collect::<Vec<_>>()).await?;
    counted(link, task.id, found).await
}

/// The sets of a task that have these keys, in their order.
async fn counted(link: &Link, task: TaskId, keys: Vec<Option<Vec<u8>>>) -> Result<Vec<SetRow>> {
    let (key, local) = (key_of(link, task), task.local);
    let mut sets = Vec::new();
    for blob in keys.into_iter().flatten() {
        sets.push(Local(pack::sixteen(&blob)?));
    }
    sets.sort_unstable();
    let names: Vec<_> = sets.iter().map(|set| field_of(b's', local, &[&set.0])).collect();
    let found = link.fields(&key, &names).await?;
    let mut rows = Vec::with_capacity(sets.len());
    for (set, blob) in sets.into_iter().zip(found) {
        if let Some(blob) = blob {
            rows.push(SetRow { set, counts: task::counts(&blob)?.0 });
        }
    }
    Ok(rows)
}

/// Views of tasks, in the order asked; unknown ones are left out.
pub(in crate::store::redis) async fn views(link: &Link, ids: &[TaskId]) -> Result<Vec<TaskView>> {
    let mut by_job: BTreeMap<_, Vec<TaskId>> = BTreeMap::new();
    for id in ids {
        by_job.entry(id.job).or_default().push(*id);
    }
    let mut known = BTreeMap::new();
    for of_job in by_job.values() {
        for some in of_job.chunks(TOGETHER) {
            for task in task::read(link, some).await? {
                known.insert(task.id, view(link, &task).await?);
            }
        }
    }
    Ok(ids.iter().filter_map(|id| known.get(id).cloned()).collect())
}

async fn view(link: &Link, task: &Task) -> Result<TaskView> {
    let Task { id, birth, row } = task;
    let mut children = ChildCounts::default();
    sets(link, task).await?.iter().for_each(|set| children.add(&set.counts));
    let (mut waits, mut reason) = (Vec::new(), row.reason(*id));
    if row.state == State::Waiting {
        let kept = link.fields(&key_of(link, *id), &[field(b'w', id.local)]).await?;
        let kept = kept.into_iter().next().flatten();
        match kept.as_deref().map(task::waits).transpose() {
            Ok(kept) => waits = kept.unwrap_or_default(),
            Err(Fault::Unreadable(what)) => reason = Some(read::unreadable_text(*id, &what)),
            Err(other) => return Err(other),
        }
    }
    let outcome = row.outcome(*id);
    let fallen = matches!(row.state, State::Failed | State::Cancelled);
    let failure = outcome.as_ref().filter(|_| fallen);
    Ok(TaskView {
        id: *id,
        parent: birth.parent.map(|local| TaskId { job: id.job, local }),
        set: birth.set,
        kind: birth.kind.clone(),
        arguments: birth.arguments.clone(),
        queue: birth.queue.clone(),
        priority: birth.priority,
        state: row.state,
        attempt: row.attempt,
        failures: row.failures,
        crashes: row.crashes,
        stalls: row.stalls,
        due: row.due,
        expires: row.expires,
        deadline: row.deadline,
        created: row.created,
        started: row.started,
        ended: row.ended,
        worker: row.token.map(|token| token.worker),
        waits,
        reason,
        failure: failure.map(|text| read::failure(text, &birth.kind, *id, row.attempt)),
        value: outcome.filter(|_| row.state == State::Succeeded),
        progress: row.progress,
        tags: birth.tags.clone(),
        children,
    })
}

impl View<'_> {
    pub(in crate::store::redis) async fn history(
        &self,
        task: TaskId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>> {
        replay::View(self.0).history(task, after, limit).await
    }

    /// Set by set, page by page: the counts of a set say whether it is worth a look.
    pub(in crate::store::redis) async fn children_in(
        &self,
        task: TaskId,
        state: State,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        if matches!(state, State::Failed | State::Cancelled) {
            return self.fallen(task, state, limit).await;
        }
        let mut found = Vec::new();
        for SetRow { set, counts } in set_rows(self.0, task).await? {
            let there = match state {
                State::Succeeded => counts.succeeded,
                State::Failed => counts.failed,
                State::Cancelled => counts.cancelled + counts.aborted,
                State::Pending | State::Running | State::Waiting => counts.spawned - counts.ended(),
            };
            let (mut from, mut seen) = (Some(0), 0);
            while let Some(at) = from
                && seen < there
                && found.len() < limit
            {
                let page = replay::View(self.0).of_set(task, set, at, crate::limits::PAGE).await?;
                from = page.last().and_then(|last| last.birth.set?.1.checked_add(1));
                for child in page.iter().filter(|child| child.row.state == state) {
                    seen += 1;
                    found.push(child.id);
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The children that fell have an index of their own.
    async fn fallen(&self, task: TaskId, state: State, limit: usize) -> Result<Vec<TaskId>> {
        let (mut found, mut from) = (Vec::new(), [b"[", task.local.0.as_slice()].concat());
        let to = [b"[", task.local.0.as_slice(), &[0xff; 64]].concat();
        while found.len() < limit {
            let mut ask = redis::cmd("ZRANGEBYLEX");
            ask.arg(self.0.lane.fallen(task.job)).arg(&from).arg(&to);
            let page: Vec<Vec<u8>> =
                self.0.command(ask.arg("LIMIT").arg(0).arg(crate::limits::PAGE)).await?;
            let Some(last) = page.last() else { break };
            from = [b"(", last.as_slice()].concat();
            let mut ids = Vec::with_capacity(page.len());
            for member in &page {
                // Parent, set, number, child.
                let local = Local(pack::sixteen(member.get(36..).unwrap_or_default())?);
                ids.push(TaskId { job: task.job, local });
            }
            let children = task::read(self.0, &ids).await?;
            found.extend(children.iter().filter(|own| own.row.state == state).map(|own| own.id));
        }
        found.truncate(limit);
        Ok(found)
    }
}
