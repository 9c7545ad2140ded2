//! Jobs as people see them: their counts, how far they are, their lists and their logs.

use super::super::link::fault::Result;
use super::super::link::keys::field;
use super::super::outcome;
use super::super::pack::{self, List};
use super::super::task::{Row, Task};
use super::View;
use crate::core::failure::bounded;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::log::{Level, Line, failed_text};
use crate::core::state::State;
use crate::core::time::Time;
use crate::limits;
use crate::store::read::{self, Counts, JobFilter, JobView, Neighbours, Partly, Status};

/// Jobs that are read together for a list.
const TOGETHER: usize = 100;

/// What stands beside the tasks in a job's hash: what people read of it, and how many tasks are in which state.
fn names() -> [Vec<u8>; 4] {
    [b"j".to_vec(), b"n".to_vec(), field(b'b', Local::ROOT), field(b'o', Local::ROOT)]
}

/// A job that has never had more than its root has no counts: the root says it all.
fn counts_of(root: &Row) -> (Counts, bool, Partly) {
    let mut counts = Counts::default();
    let of_state = match root.state {
        State::Pending => &mut counts.pending,
        State::Running => &mut counts.running,
        State::Waiting => &mut counts.waiting,
        State::Succeeded => &mut counts.succeeded,
        State::Failed => &mut counts.failed,
        State::Cancelled => &mut counts.cancelled,
    };
    *of_state = 1;
    let is_at_work = matches!(root.state, State::Running | State::Waiting);
    let share = if is_at_work { root.share } else { 0 };
    (counts, root.state == State::Pending && root.stalls > 0, Partly::of_millionths(share))
}

fn counts(blob: &[u8]) -> Result<(Counts, bool, Partly)> {
    let value = pack::parse(blob)?;
    let mut list = List::of(&value)?;
    let counts = Counts {
        pending: list.count()?,
        running: list.count()?,
        waiting: list.count()?,
        succeeded: list.count()?,
        failed: list.count()?,
        cancelled: list.count()?,
    };
    Ok((counts, list.number()? > 0, Partly::of_millionths(list.count()?)))
}

/// Title, key and origin.
type About = (Option<String>, Option<String>, Option<TaskId>);

/// See `about` in `submit.rs`.
fn about(blob: &[u8]) -> Result<About> {
    let about = pack::parse(blob)?;
    let mut about = List::of(&about)?;
    let (title, key) = (about.maybe_text()?, about.maybe_text()?);
    Ok((title, key, about.maybe_bytes()?.map(pack::task).transpose()?))
}

fn view(id: JobId, found: &[Option<Vec<u8>>]) -> Result<Option<JobView>> {
    let [about, numbers, Some(birth), Some(row)] = found else { return Ok(None) };
    // One that does not decode is not shown; the audit names it.
    let Ok(Task { birth, row, .. }) = Task::from(id.root(), birth, row) else { return Ok(None) };
    let (title, key, origin) = about.as_deref().map(self::about).transpose()?.unwrap_or_default();
    let (counts, stalled, partly) = match numbers {
        Some(numbers) => counts(numbers)?,
        None => counts_of(&row),
    };
    let fallen = row.outcome(id.root()).filter(|_| row.state > State::Succeeded);
    // A root that failed is no error below it.
    let errors = counts.failed > u64::from(row.state == State::Failed);
    Ok(Some(JobView {
        id,
        title,
        key,
        tags: birth.tags,
        queue: birth.queue,
        status: Status::of(row.state, errors, stalled),
        progress: read::progress(row.state, row.progress, &counts, partly),
        told: row.progress.is_some(),
        counts,
        origin,
        created: row.created,
        started: row.started,
        ended: row.ended,
        failure: fallen.map(|text| read::failure(&text, &birth.kind, id.root(), row.attempt)),
        kind: birth.kind,
    }))
}

/// A line of a log. See `write_line` in `ends.lua`.
fn line(job: JobId, number: u64, blob: &[u8]) -> Result<Line> {
    let value = pack::parse(blob)?;
    let mut list = List::of(&value)?;
    let (time, level, local) = (list.time()?, Level::from_code(list.number()?), list.local()?);
    let task = TaskId { job, local };
    let message = match list.number()? {
        0 => list.text()?,
        1 => {
            let mut says = list.list()?;
            let (attempt, worker) = (says.number()?, says.text()?);
            bounded(&format!("attempt {attempt} crashed: its worker {worker} was gone"))
        }
        2 => {
            let blob = list.bytes()?;
            failed_text(&outcome::failure(blob.get(1..).unwrap_or_default(), task)?)
        }
        _ => format!("{} more lines of this task were dropped", list.number()?),
    };
    Ok(Line { number, time, level, task, message })
}

impl View<'_> {
    pub(in crate::store::redis) async fn job_view(&self, id: JobId) -> Result<Option<JobView>> {
        view(id, &self.0.fields(&self.0.lane.job(id), &names()).await?)
    }

    async fn job_views(&self, ids: &[JobId]) -> Result<Vec<JobView>> {
        let mut ask = redis::pipe();
        for id in ids {
            ask.cmd("HMGET").arg(self.0.lane.job(*id)).arg(&names());
        }
        let found: Vec<Vec<Option<Vec<u8>>>> = self.0.commands(&ask).await?;
        let views = ids.iter().zip(&found).filter_map(|(id, found)| view(*id, found).transpose());
        views.collect()
    }

    pub(in crate::store::redis) async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobView>> {
        // The list goes on below the last of the page before; jobs of its own instant are passed over.
        let until = filter.until.map(|until| Time(until.0.saturating_sub(1)));
        let from = [until, filter.after.map(|(created, _)| created)].into_iter().flatten().min();
        let from = from.map_or_else(|| "+inf".to_owned(), |time| time.0.to_string());
        let since = filter.since.map_or_else(|| "-inf".to_owned(), |since| since.0.to_string());
        if matches!(filter.status, Some(Status::Failed | Status::CompletedWithErrors))
            && let Some(page) = self.of_failed(filter).await?
        {
            return Ok(page);
        }
        let (mut page, mut passed) = (Vec::new(), 0);
        loop {
            let mut ask = redis::cmd("ZREVRANGEBYSCORE");
            ask.arg(self.0.lane.key("jobs")).arg(&from).arg(&since);
            ask.arg("LIMIT").arg(passed).arg(TOGETHER);
            let ids: Vec<Vec<u8>> = self.0.command(&ask).await?;
            let ids: Vec<JobId> = ids.iter().map(|id| pack::job(id)).collect::<Result<_>>()?;
            let views = self.job_views(&ids).await?;
            page.extend(views.into_iter().filter(|view| filter.admits(view)));
            passed += ids.len();
            if ids.len() < TOGETHER || page.len() >= filter.rows() {
                page.truncate(filter.rows());
                return Ok(page);
            }
        }
    }

    /// A page of those jobs in which a task has failed, if there are so few of them that all are looked at.
    async fn of_failed(&self, filter: &JobFilter) -> Result<Option<Vec<JobView>>> {
        let failed = self.0.lane.key("failed");
        let count: usize = self.0.command(redis::cmd("ZCARD").arg(&failed)).await?;
        if count > limits::FAILURES {
            return Ok(None);
        }
        let ids: Vec<Vec<u8>> =
            self.0.command(redis::cmd("ZRANGE").arg(&failed).arg(0).arg(-1)).await?;
        let ids: Vec<JobId> = ids.iter().map(|id| pack::job(id)).collect::<Result<_>>()?;
        let mut page = Vec::new();
        for some in ids.chunks(TOGETHER) {
            let views = self.job_views(some).await?;
            page.extend(views.into_iter().filter(|view| filter.admits(view)));
            page.sort_unstable_by_key(|view: &JobView| std::cmp::Reverse((view.created, view.id)));
            page.truncate(filter.rows());
        }
        Ok(Some(page))
    }

    pub(in crate::store::redis) async fn jobs_between(
        &self,
        from: JobId,
        to: JobId,
        limit: usize,
    ) -> Result<Vec<JobId>> {
        let bound = |id: JobId| [b"[", id.as_bytes().as_slice()].concat();
        let mut ask = redis::cmd("ZRANGEBYLEX");
        ask.arg(self.0.lane.key("ids")).arg(bound(from)).arg(bound(to));
        let ids: Vec<Vec<u8>> = self.0.command(ask.arg("LIMIT").arg(0).arg(limit)).await?;
        ids.iter().map(|id| pack::job(id)).collect()
    }

    /// A scan of the job: no index knows the order of its tasks.
    pub(in crate::store::redis) async fn tasks_between(
        &self,
        job: JobId,
        from: Local,
        to: Local,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        let mut found = Vec::new();
        let mut cursor = 0u64;
        loop {
            let mut ask = redis::cmd("HSCAN");
            ask.arg(self.0.lane.job(job)).arg(cursor).arg("COUNT").arg(TOGETHER);
            let (next, pairs): (u64, Vec<Vec<u8>>) = self.0.command(&ask).await?;
            for name in pairs.iter().step_by(2) {
                if let Some((b'o', local)) = name.split_first()
                    && let Ok(local) = pack::sixteen(local).map(Local)
                    && from <= local
                    && local <= to
                {
                    found.push(TaskId { job, local });
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        found.sort_unstable();
        // A scan may name a field twice.
        found.dedup();
        found.truncate(limit);
        Ok(found)
    }

    pub(in crate::store::redis) async fn neighbours(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<Neighbours>> {
        let mut ask = redis::pipe();
        for job in jobs {
            let bound = [b"(", job.as_bytes().as_slice()].concat();
            let ids = self.0.lane.key("ids");
            ask.cmd("ZREVRANGEBYLEX").arg(&ids).arg(&bound).arg("-").arg("LIMIT").arg(0).arg(1);
            ask.cmd("ZRANGEBYLEX").arg(&ids).arg(&bound).arg("+").arg("LIMIT").arg(0).arg(1);
        }
        let found: Vec<Vec<Vec<u8>>> = self.0.commands(&ask).await?;
        let one = |ids: &Vec<Vec<u8>>| ids.first().map(|id| pack::job(id)).transpose();
        found.chunks_exact(2).map(|pair| Ok((one(&pair[0])?, one(&pair[1])?))).collect()
    }

    pub(in crate::store::redis) async fn log(
        &self,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Line>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let last = after.saturating_add(limit as u64 - 1);
        let lines: Vec<Vec<u8>> = self
            .0
            .command(redis::cmd("LRANGE").arg(self.0.lane.log(job)).arg(after).arg(last))
            .await?;
        let numbered = lines.iter().zip(after + 1..);
        numbered.map(|(blob, number)| line(job, number, blob)).collect()
    }

    pub(in crate::store::redis) async fn last_line(&self, job: JobId) -> Result<u64> {
        self.0.command(redis::cmd("LLEN").arg(self.0.lane.log(job))).await
    }

    pub(in crate::store::redis) async fn failed_attempts(
        &self,
        task: TaskId,
        limit: usize,
    ) -> Result<Vec<Line>> {
        let key = self.0.lane.job(task.job);
        let kept = self.0.fields(&key, &[field(b'f', task.local)]).await?;
        let kept = kept.into_iter().next().flatten().unwrap_or_default();
        let numbers = kept.chunks_exact(4).map(|four| match *four {
            [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
            _ => 0,
        });
        let numbers: Vec<u32> = numbers.collect();
        let numbers = &numbers[numbers.len().saturating_sub(limit)..];
        let mut ask = redis::pipe();
        for number in numbers {
            ask.cmd("LINDEX").arg(self.0.lane.log(task.job)).arg(i64::from(*number) - 1);
        }
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let found: Vec<Option<Vec<u8>>> = self.0.commands(&ask).await?;
        let lines = numbers.iter().zip(found).filter_map(|(number, blob)| Some((*number, blob?)));
        lines.map(|(number, blob)| line(task.job, number.into(), &blob)).collect()
    }
}
