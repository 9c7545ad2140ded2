//! What people watch.
//!
//! The counts of a job come from the counts of its sets and from indexes that hold open tasks only: a
//! job of a million tasks is as quick to show as one of ten.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};

use super::columns::{above, count, limit, maybe_text, progress, text};
use super::fault::Result;
use super::ledger::decode;
use super::tx::Tx;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::log::{Level, Line};
use crate::core::parameter::Parameter;
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::read::{
    ChildCounts, Counts, JobFilter, JobView, KindView, PageBytes, Partly, QueueView, Settled,
    Status, TaskView, WorkerView, failure, unreadable_text, words,
};

/// The tasks of a job that run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Running {
    tasks: u64,
    partly: Partly,
}

const TASK: &str =
    "SELECT parent, \"set\", number, kind, arguments, queue, priority, state, attempt,
  failures, crashes, due, created, started, ended, worker, waits, reason, outcome, progress_done,
  progress_total, stalls, expires, deadline, coalesce(tags, (SELECT jobs.tags FROM jobs
    WHERE jobs.created = tasks.created AND jobs.id = tasks.job AND tasks.parent IS NULL))
  FROM tasks WHERE job = ?1 AND local = ?2";

const JOB: &str = "SELECT title, root.\"key\", jobs.tags, origin_job, origin_local, errors,
    EXISTS (SELECT 1 FROM tasks AS still INDEXED BY stalled
      WHERE still.job = ?1 AND still.stalls > 0 AND still.state = 0)
  FROM tasks AS root JOIN jobs ON jobs.created = root.created AND jobs.id = root.job
  WHERE root.job = ?1 AND root.local = ?2";

/// A page of a list. What a filter asks of the status is asked of the root's state and the job's
/// errors. The second bound says again what the third says, in a form that leads into the key.
pub(super) const JOBS: &str = "SELECT jobs.id FROM jobs
  CROSS JOIN tasks AS root ON root.job = jobs.id AND root.local = ?1
  WHERE jobs.created >= ?2 AND jobs.created < ?3 AND (jobs.created, jobs.id) < (?4, ?5)
    AND (?6 IS NULL OR root.kind = ?6) AND (?7 IS NULL OR root.queue = ?7)
    AND (?8 IS NULL OR instr(lower(coalesce(title, '')), lower(?8)) > 0)
    AND (?9 IS NULL OR CASE WHEN json_valid(jobs.tags)
      THEN EXISTS (SELECT 1 FROM json_each(jobs.tags) WHERE value = ?9) ELSE jobs.tags = ?9 END)
    AND (?10 IS NULL OR root.state BETWEEN ?10 AND ?11) AND (?12 IS NULL OR errors = ?12)
    AND (?14 IS NULL OR ?14 = EXISTS (SELECT 1 FROM tasks AS still INDEXED BY stalled
      WHERE still.job = jobs.id AND still.stalls > 0 AND still.state = 0))
  ORDER BY jobs.created DESC, jobs.id DESC LIMIT ?13";

/// Children in a state. Each but the last reads an index of few rows: of those that run, that wait in the
/// job, that are ready, that fell. Among those that succeeded it takes the first it comes across.
pub(super) fn children_sql(state: State) -> &'static str {
    macro_rules! find {
        ($index:literal, $state:literal) => {
            concat!(
                "SELECT local FROM tasks ",
                $index,
                " WHERE job = ?1 AND parent = ?2 AND ",
                $state,
                " LIMIT ?3"
            )
        };
    }
    match state {
        State::Pending => find!("INDEXED BY ready", "state = 0"),
        State::Running => find!("INDEXED BY running", "state = 1"),
        State::Waiting => find!("INDEXED BY waiting", "state = 2"),
        State::Succeeded => find!("", "state = 3"),
        // The bound that the index has is said again, for the planner's sake.
        State::Failed => find!("INDEXED BY fallen", "state = 4 AND state >= 4"),
        State::Cancelled => find!("INDEXED BY fallen", "state = 5 AND state >= 4"),
    }
}

impl Tx<'_> {
    pub(super) fn task_view(&self, id: TaskId) -> Result<Option<TaskView>> {
        let mut read = self.sql(TASK)?;
        let mut rows = read.query(params![id.job, id.local])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let mut view = task_view(row, id)?;
        view.children = self.child_counts(id)?;
        view.tags = maybe_text(row, 24)?.map(words).unwrap_or_default();
        if view.state == State::Waiting {
            match decode(maybe_text(row, 16)?.as_deref()) {
                Ok(waits) => view.waits = waits,
                Err(fault) => view.reason = Some(unreadable_text(id, &fault.to_string())),
            }
        }
        let outcome = maybe_text(row, 18)?;
        match view.state {
            State::Succeeded => view.value = outcome,
            State::Failed | State::Cancelled => {
                view.failure = outcome.map(|text| failure(&text, &view.kind, id, view.attempt));
            }
            _ => {}
        }
        Ok(Some(view))
    }

    fn child_counts(&self, task: TaskId) -> Result<ChildCounts> {
        let mut sum = self.sql(
            "SELECT coalesce(sum(spawned), 0), coalesce(sum(succeeded), 0),
               coalesce(sum(failed), 0), coalesce(sum(cancelled + aborted), 0)
             FROM sets WHERE job = ?1 AND task = ?2",
        )?;
        Ok(sum.query_row(params![task.job, task.local], |row| {
            Ok(ChildCounts {
                spawned: count(row, 0)?,
                succeeded: count(row, 1)?,
                failed: count(row, 2)?,
                cancelled: count(row, 3)?,
            })
        })?)
    }

    pub(super) fn children_in(
        &self,
        task: TaskId,
        state: State,
        rows: usize,
    ) -> Result<Vec<TaskId>> {
        if state == State::Pending && !self.few_are_ready(self.child_counts(task)?.spawned)? {
            return self.pending_children(task, rows);
        }
        let mut find = self.sql(children_sql(state))?;
        let found = find.query_map(params![task.job, task.local, limit(rows)], |row| {
            Ok(TaskId { job: task.job, local: row.get(0)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether fewer tasks are ready or scheduled, in all jobs, than a task has children.
    fn few_are_ready(&self, children: u64) -> Result<bool> {
        let mut some = self.sql(
            "SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY ready WHERE state = 0 LIMIT ?1)",
        )?;
        let ready = some.query_row([above(children)], |row| count(row, 0))?;
        Ok(ready < children)
    }

    /// The first pending children of a task, read from among its children.
    fn pending_children(&self, task: TaskId, rows: usize) -> Result<Vec<TaskId>> {
        let mut pending = Vec::new();
        for set in self.sets_of(task, None, usize::MAX)? {
            let (mut after, mut more) = (None, set.counts.spawned > set.counts.ended());
            while more && pending.len() < rows {
                let (page, last) = self.states_after(task, set.set, after)?;
                more = !last;
                after = page.last().map(|(cursor, _)| *cursor).or(after);
                let found = page.into_iter().filter(|(_, state)| *state == State::Pending);
                pending.extend(found.map(|(at, _)| TaskId { job: task.job, local: at.local }));
            }
        }
        pending.truncate(rows);
        Ok(pending)
    }

    pub(super) fn outcomes(&self, jobs: &[JobId]) -> Result<Vec<(JobId, Settled)>> {
        let mut read =
            self.sql("SELECT state, outcome FROM tasks WHERE job = ?1 AND local = ?2")?;
        let (mut found, mut bytes) = (Vec::with_capacity(jobs.len()), PageBytes::default());
        for job in jobs {
            let settled = read.query_row(params![job, Local::ROOT], |row| {
                let outcome = maybe_text(row, 1)?;
                let outcome = outcome.filter(|outcome| bytes.take(outcome.len()));
                Ok(Settled { state: row.get(0)?, outcome })
            });
            found.extend(settled.optional()?.map(|settled| (*job, settled)));
        }
        Ok(found)
    }

    pub(super) fn overdue(&self, jobs: &[JobId]) -> Result<Vec<JobId>> {
        let mut read = self.sql(
            "SELECT EXISTS (SELECT 1 FROM tasks WHERE job = ?1 AND local = ?2 AND state <= 2
               AND (deadline <= ?3 OR (state = 0 AND started IS NULL AND expires <= ?3)))",
        )?;
        let mut overdue = Vec::new();
        for job in jobs {
            if read.query_row(params![job, Local::ROOT, self.now], |row| row.get(0))? {
                overdue.push(*job);
            }
        }
        Ok(overdue)
    }

    fn counts(
        &self,
        root: &TaskView,
        running: Option<&BTreeMap<JobId, Running>>,
    ) -> Result<(Counts, Partly)> {
        let job = root.id.job;
        let mut partly = Partly::default();
        let mut counts = Counts::default();
        let spawned = self
            .sql(
                "SELECT coalesce(sum(spawned), 0), coalesce(sum(succeeded), 0),
                   coalesce(sum(failed), 0), coalesce(sum(cancelled + aborted), 0)
                 FROM sets WHERE job = ?1",
            )?
            .query_row([job], |row| {
                counts.succeeded = count(row, 1)?;
                counts.failed = count(row, 2)?;
                counts.cancelled = count(row, 3)?;
                count(row, 0)
            })?;
        match root.state {
            State::Succeeded => counts.succeeded += 1,
            State::Failed => counts.failed += 1,
            State::Cancelled => counts.cancelled += 1,
            State::Pending | State::Running | State::Waiting => {}
        }
        let open = (spawned + 1).saturating_sub(counts.ended());
        if open > 0 {
            counts.waiting = self
                .sql("SELECT count(*) FROM tasks INDEXED BY waiting WHERE state = 2 AND job = ?1")?
                .query_row([job], |row| count(row, 0))?;
            let of_job = match running {
                Some(running) => running.get(&job).copied(),
                None => self.running()?.get(&job).copied(),
            };
            (counts.running, partly) = of_job.map(|of| (of.tasks, of.partly)).unwrap_or_default();
            self.add_waiting(job, &mut partly)?;
        }
        counts.pending = open.saturating_sub(counts.waiting + counts.running);
        Ok((counts, partly))
    }

    /// How many tasks of each job run, and how far they are: never more rows than all workers have slots.
    fn running(&self) -> Result<BTreeMap<JobId, Running>> {
        let mut read = self.sql(
            "SELECT job, progress_done, progress_total FROM tasks INDEXED BY running WHERE state = 1",
        )?;
        let mut running: BTreeMap<JobId, Running> = BTreeMap::new();
        for row in read.query_map((), |row| Ok((row.get(0)?, progress(row, (1, 2))?)))? {
            let (job, told) = row?;
            let of_job = running.entry(job).or_default();
            of_job.tasks += 1;
            of_job.partly.add(told);
        }
        Ok(running)
    }

    /// Adds how far the tasks of a job are that wait: of a page of them, so that a wide tree costs no more.
    fn add_waiting(&self, job: JobId, partly: &mut Partly) -> Result<()> {
        let mut read = self.sql(
            "SELECT progress_done, progress_total FROM tasks INDEXED BY waiting
             WHERE state = 2 AND job = ?1 LIMIT ?2",
        )?;
        for told in
            read.query_map(params![job, limit(limits::PAGE)], |row| progress(row, (0, 1)))?
        {
            partly.add(told?);
        }
        Ok(())
    }

    pub(super) fn job_view(
        &self,
        id: JobId,
        running: Option<&BTreeMap<JobId, Running>>,
    ) -> Result<Option<JobView>> {
        let Some(root) = self.task_view(id.root())? else { return Ok(None) };
        let (counts, partly) = self.counts(&root, running)?;
        let mut read = self.sql(JOB)?;
        let mut rows = read.query(params![id, Local::ROOT])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let tags = maybe_text(row, 2)?;
        let origin: Option<JobId> = row.get(3)?;
        Ok(Some(JobView {
            id,
            kind: root.kind,
            title: maybe_text(row, 0)?,
            key: maybe_text(row, 1)?,
            tags: tags.map(words).unwrap_or_default(),
            queue: root.queue,
            status: Status::of(root.state, row.get(5)?, row.get(6)?),
            progress: crate::store::read::progress(root.state, root.progress, &counts, partly),
            told: root.progress.is_some(),
            counts,
            origin: match origin {
                Some(job) => Some(TaskId { job, local: row.get(4)? }),
                None => None,
            },
            created: root.created,
            started: root.started,
            ended: root.ended,
            failure: root.failure,
        }))
    }

    pub(super) fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobView>> {
        let (from, to, errors, stalled) = filter.asked_of_status();
        let highest = (Time::NEVER, JobId::from_bytes([0xff; 16]));
        let after = filter.after.unwrap_or(highest);
        let rows = filter.rows();
        let mut list = self.sql(JOBS)?;
        let ids = list.query_map(
            params![
                Local::ROOT,
                filter.since.unwrap_or(Time(i64::MIN)),
                filter.until.unwrap_or(Time::NEVER).min(Time(after.0.0.saturating_add(1))),
                after.0,
                after.1,
                filter.kind,
                filter.queue,
                filter.title,
                filter.tag,
                from,
                to,
                errors,
                limit(rows),
                stalled
            ],
            |row| row.get(0),
        )?;
        let ids = ids.collect::<rusqlite::Result<Vec<JobId>>>()?;
        let running = self.running()?;
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            jobs.extend(self.job_view(id, Some(&running))?);
        }
        Ok(jobs)
    }

    pub(super) fn log(&self, job: JobId, after: u64, rows: usize) -> Result<Vec<Line>> {
        let mut read = self.sql(
            "SELECT number, time, level, task, message FROM logs
             WHERE job = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
        )?;
        let lines = read.query_map(params![job, above(after), limit(rows)], |row| {
            Ok(Line {
                number: count(row, 0)?,
                time: row.get(1)?,
                level: Level::from_code(row.get(2)?),
                task: TaskId { job, local: row.get(3)? },
                message: text(row, 4)?,
            })
        })?;
        Ok(lines.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn last_line(&self, job: JobId) -> Result<u64> {
        let mut last = self.sql("SELECT coalesce(max(number), 0) FROM logs WHERE job = ?1")?;
        Ok(last.query_row([job], |row| count(row, 0))?)
    }

    pub(super) fn pending_kinds(&self) -> Result<Vec<(String, String)>> {
        let mut next = self.sql(
            "SELECT queue, kind FROM tasks INDEXED BY ready
             WHERE state = 0 AND (queue, kind) > (?1, ?2) AND crashes < ?3
             ORDER BY queue, kind LIMIT 1",
        )?;
        let mut pairs: Vec<(String, String)> = Vec::new();
        while pairs.len() < crate::limits::PAGE {
            let (queue, kind) = pairs.last().map_or(("", ""), |(queue, kind)| (queue, kind));
            let found = next.query_row(params![queue, kind, crate::limits::SUSPECT], |row| {
                Ok((text(row, 0)?, text(row, 1)?))
            });
            match found.optional()? {
                Some(pair) => pairs.push(pair),
                None => break,
            }
        }
        Ok(pairs)
    }

    pub(super) fn queues(&self) -> Result<Vec<QueueView>> {
        let mut queues = BTreeMap::new();
        let mut read = self.sql(
            "SELECT queue, sum(due <= ?1), sum(due > ?1), min(iif(due <= ?1, due, NULL))
             FROM tasks INDEXED BY ready WHERE state = 0 GROUP BY queue",
        )?;
        for view in read.query_map([self.now], |row| {
            Ok(QueueView {
                name: row.get(0)?,
                ready: count(row, 1)?,
                scheduled: count(row, 2)?,
                oldest: row.get(3)?,
                stalled: 0,
                paused: false,
            })
        })? {
            let view = view?;
            queues.insert(view.name.clone(), view);
        }
        let mut read = self.sql(
            "SELECT queue, count(*) FROM tasks INDEXED BY stalled WHERE stalls > 0 AND state = 0
             GROUP BY queue",
        )?;
        for row in read.query_map((), |row| Ok((row.get::<_, String>(0)?, count(row, 1)?)))? {
            let (name, stalled) = row?;
            queues.entry(name).and_modify(|queue: &mut QueueView| queue.stalled = stalled);
        }
        let mut read = self.sql("SELECT queue FROM paused")?;
        for name in read.query_map((), |row| row.get::<_, String>(0))? {
            let name = name?;
            let fresh =
                QueueView { name, ready: 0, scheduled: 0, oldest: None, stalled: 0, paused: true };
            queues.entry(fresh.name.clone()).or_insert(fresh).paused = true;
        }
        Ok(queues.into_values().collect())
    }

    pub(super) fn workers(&self) -> Result<Vec<WorkerView>> {
        let mut held: BTreeMap<WorkerId, u32> = BTreeMap::new();
        // Never more rows than all workers have slots.
        let mut running = self.sql(
            "SELECT worker, count(*) FROM tasks INDEXED BY running WHERE state = 1 GROUP BY worker",
        )?;
        for row in running.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))? {
            let (worker, tasks) = row?;
            held.insert(worker, tasks);
        }
        let mut read = self.sql(
            "SELECT id, name, kinds, queues, slots, resident, started, heartbeat, ended
             FROM workers ORDER BY id",
        )?;
        let mut rows = read.query(())?;
        let mut workers = Vec::new();
        while let Some(row) = rows.next()? {
            let (kinds, queues) = (text(row, 2)?, text(row, 3)?);
            let id = row.get(0)?;
            workers.push(WorkerView {
                id,
                name: text(row, 1)?,
                kinds: words(kinds),
                queues: words(queues),
                slots: row.get(4)?,
                running: held.get(&id).copied().unwrap_or(0),
                resident: row.get(5)?,
                started: row.get(6)?,
                heartbeat: row.get(7)?,
                ended: count(row, 8)?,
                // A row that can be read was written after its lock was taken.
                alive: !self.shared.locks.is_dead(id)?,
            });
        }
        Ok(workers)
    }

    pub(super) fn holder(&self, key: &str) -> Result<Option<JobId>> {
        let mut read = self.sql("SELECT job FROM keys WHERE \"key\" = ?1")?;
        Ok(read.query_row([key], |row| row.get(0)).optional()?)
    }

    pub(super) fn kinds(&self) -> Result<Vec<KindView>> {
        let mut read = self.sql("SELECT name, arguments FROM kinds ORDER BY name")?;
        let mut rows = read.query(())?;
        let mut kinds = Vec::new();
        while let Some(row) = rows.next()? {
            let arguments = words(text(row, 1)?);
            let arguments = arguments.iter().map(|text| Parameter::from_text(text)).collect();
            kinds.push(KindView { name: text(row, 0)?, arguments });
        }
        Ok(kinds)
    }
}

fn task_view(row: &Row<'_>, id: TaskId) -> rusqlite::Result<TaskView> {
    let parent: Option<Local> = row.get(0)?;
    let (set, number): (Option<Local>, Option<u32>) = (row.get(1)?, row.get(2)?);
    Ok(TaskView {
        id,
        parent: parent.map(|local| TaskId { job: id.job, local }),
        set: set.zip(number),
        kind: text(row, 3)?,
        arguments: text(row, 4)?,
        queue: text(row, 5)?,
        priority: row.get(6)?,
        state: row.get(7)?,
        attempt: row.get(8)?,
        failures: row.get(9)?,
        crashes: row.get(10)?,
        due: row.get(11)?,
        created: row.get(12)?,
        started: row.get(13)?,
        ended: row.get(14)?,
        worker: row.get::<_, Option<WorkerId>>(15)?,
        waits: Vec::new(),
        reason: maybe_text(row, 17)?,
        value: None,
        failure: None,
        progress: progress(row, (19, 20))?,
        stalls: row.get(21)?,
        expires: row.get(22)?,
        deadline: row.get(23)?,
        tags: Vec::new(),
        children: ChildCounts::default(),
    })
}
