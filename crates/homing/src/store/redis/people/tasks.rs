//! Tasks as people see them, and children by their states.

use std::collections::BTreeMap;

use super::super::link::connect::{Link, key_of};
use super::super::link::fault::Result;
use super::super::link::keys::{field, field_of};
use super::super::task::{self, Task};
use super::super::{pack, replay};
use super::View;
use crate::core::id::{Local, TaskId};
use crate::core::state::State;
use crate::store::SetRow;
use crate::store::read::{self, ChildCounts, TaskView};

/// Tasks whose views are made together.
const TOGETHER: usize = 100;

/// The sets of a task by their keys.
pub(in crate::store::redis) async fn set_rows(link: &Link, task: TaskId) -> Result<Vec<SetRow>> {
    let found = task::read(link, &[task]).await?;
    let Some(found) = found.first() else { return Ok(Vec::new()) };
    sets(link, found).await
}

async fn sets(link: &Link, task: &Task) -> Result<Vec<SetRow>> {
    if task.row.sets == 0 {
        return Ok(Vec::new());
    }
    let (key, local) = (key_of(link, task.id), task.id.local);
    let names = (1..=task.row.sets).map(|at| field_of(b't', local, &[&at.to_be_bytes()]));
    let found = link.fields(&key, &names.collect::<Vec<_>>()).await?;
    let mut sets = Vec::new();
    for blob in found.into_iter().flatten() {
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
    let waits = if row.state == State::Waiting {
        let kept = link.fields(&key_of(link, *id), &[field(b'w', id.local)]).await?;
        let kept = kept.into_iter().next().flatten();
        kept.as_deref().map(task::waits).transpose()?.unwrap_or_default()
    } else {
        Vec::new()
    };
    let outcome = row.outcome(*id)?;
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
        reason: row.reason.clone(),
        failure: failure.map(|text| read::failure(text, &birth.kind, *id, row.attempt)),
        value: outcome.filter(|_| row.state == State::Succeeded),
        progress: row.progress,
        tags: birth.tags.clone(),
        children,
    })
}

impl View<'_> {
    /// Set by set, page by page: the counts of a set say whether it is worth a look.
    pub(in crate::store::redis) async fn children_in(
        &self,
        task: TaskId,
        state: State,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
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
}
