//! What the first round trip of an exchange brings, beside the rows of its units.

use super::ready::Candidates;
use crate::core::id::{TaskId, Token};
use crate::core::state::State;
use crate::core::time::Time;
use crate::store::postgres::hints::scan_starts::{self, Level, List, ScanResult};
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Statement, add};
use crate::store::postgres::transaction::columns::{small, task_id};
use crate::store::postgres::transaction::task::Task;
use crate::store::postgres::transaction::tx::Tx;

/// What the first round trip brings beside the scene.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) known: bool,
    pub(super) upkeep: bool,
    pub(super) paused: Vec<String>,
    /// Tasks claimed under exchanges whose replies never arrived.
    pub(super) again: Vec<TaskId>,
    pub(super) notices: Vec<(TaskId, Token, Option<u64>)>,
    pub(super) next_due: Option<Time>,
    /// As the former, if the claim is full.
    pub(super) next_upkeep: Option<Time>,
    /// Candidates whose waits are to be answered, and nothing is known of what they wait for.
    pub(super) unread: Vec<TaskId>,
    /// What was locked to be claimed, where something was looked for.
    pub(super) ready: Option<Locked>,
}

/// Ready tasks that were locked, and bundles by their keys, in their order.
#[derive(Debug, Default)]
pub(super) struct Locked {
    /// What there is, where everything was looked at.
    pub(super) levels: Vec<Level>,
    pub(super) tasks: Vec<TaskId>,
    pub(super) bundles: Vec<TaskId>,
    /// Whether there may be more tasks, and bundles.
    pub(super) more: [bool; 2],
    /// Tasks that may have to wait for slots of their own, and their crashes in a row; `None`: nobody asked.
    pub(super) left: Option<Vec<(TaskId, u32)>>,
}

/// Where the answers about ready tasks are.
pub(super) struct ReadyAnswers {
    pub(super) levels: Vec<usize>,
    pub(super) bundles: usize,
    pub(super) ready: usize,
}

impl ReadyAnswers {
    pub(super) fn of<'e>(candidates: &Candidates<'e>, steps: &mut Vec<Statement<'e>>) -> Self {
        let levels = [candidates.levels(), candidates.bundled_levels()];
        let levels = levels.into_iter().flatten().map(|step| add(steps, step)).collect();
        let bundles = add(steps, candidates.bundles());
        let ready = add(steps, candidates.ready());
        Self { levels, bundles, ready }
    }
}

type Answers = [Vec<tokio_postgres::Row>];

impl Looked {
    /// What was found and what of it is left, where something was looked for.
    pub(super) fn found(&self, tx: &Tx<'_>) -> Option<ScanResult> {
        let Locked { levels, tasks, bundles, more, .. } = self.ready.as_ref()?;
        let tasks = tasks.iter().filter_map(|task| {
            let row = &tx.rows.get(task)?.task;
            Some((Level::of(row), scan_starts::place(row), row.state != State::Pending))
        });
        let tasks = List { places: tasks.collect(), more: more[0] };
        let bundles = List { places: tx.found_bundles(bundles), more: more[1] };
        let (levels, paused) = (levels.clone(), self.paused.clone());
        Some(ScanResult { now: tx.now, levels, lists: [tasks, bundles], paused })
    }

    /// Reads tasks of lost replies: rows, and bundles.
    pub(super) fn read_again(
        &mut self,
        rows: [&[tokio_postgres::Row]; 2],
        tx: &mut Tx<'_>,
    ) -> Result<()> {
        for row in rows[0] {
            let task = Task::of(row)?;
            self.again.push(task.id);
            tx.add(task);
        }
        for row in rows[1] {
            let key = tx.add_bundle(row)?;
            self.again.extend(tx.members(key));
        }
        self.again.sort_unstable();
        Ok(())
    }

    /// Reads what was locked to be claimed.
    pub(super) fn read_ready(
        &mut self,
        asked: &ReadyAnswers,
        candidates: &Candidates<'_>,
        answers: &Answers,
        tx: &mut Tx<'_>,
    ) -> Result<()> {
        let mut locked = Locked::default();
        for row in asked.levels.iter().flat_map(|at| &answers[*at]) {
            let (queue, kind) = (row.try_get(0)?, row.try_get(1)?);
            let level = Level { queue, kind, priority: row.try_get(2)? };
            if !locked.levels.contains(&level) {
                locked.levels.push(level);
            }
        }
        for row in &answers[asked.bundles] {
            locked.bundles.push(tx.add_bundle(row)?);
        }
        self.read_candidates(&answers[asked.ready], tx)?;
        let tasks = answers[asked.ready].iter().map(|row| task_id(row, 0));
        locked.tasks = tasks.collect::<Result<_>>()?;
        // Behind what was locked of the bundles there may be others, which had no part or are held.
        let more_bundles = !locked.bundles.is_empty();
        // Nothing that must begin at once is known of yet.
        locked.left = (candidates.claim.ahead > 0).then(Vec::new);
        locked.more = [locked.tasks.len() >= candidates.limit(), more_bundles];
        self.ready = Some(locked);
        Ok(())
    }

    /// Reads tasks that must begin at once: those that were locked, and those for which there may be no slot.
    pub(super) fn read_at_once(
        &mut self,
        (direct, left): (usize, Option<usize>),
        answers: &Answers,
        tx: &mut Tx<'_>,
    ) -> Result<()> {
        self.read_candidates(&answers[direct], tx)?;
        if let (Some(at), Some(locked)) = (left, &mut self.ready) {
            let left = answers[at].iter().map(|row| Ok((task_id(row, 0)?, small(row, 2)?)));
            locked.left = Some(left.collect::<Result<_>>()?);
        }
        Ok(())
    }

    fn read_candidates(&mut self, rows: &[tokio_postgres::Row], tx: &mut Tx<'_>) -> Result<()> {
        for row in rows {
            let task = Task::of(row)?;
            if !tx.rows.contains_key(&task.id) && !task.waits.is_empty() {
                self.unread.push(task.id);
            }
            tx.add(task);
        }
        Ok(())
    }
}
