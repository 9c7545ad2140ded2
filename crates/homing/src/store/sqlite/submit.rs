//! `submit`: jobs come into being.

use rusqlite::{OptionalExtension, params};

use super::fault::Result;
use super::tx::Tx;
use crate::core::id::JobId;
use crate::store::rules::upkeep;
use crate::store::{NewJob, Submitted};

/// What only people ask of a job. Every job has such a row, also one without a title: to do without it there has not been
/// tried.
const JOB: &str =
    "INSERT INTO jobs (created, id, title, tags, origin_job, origin_local, errors, pruning, kind)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7)";

impl Tx<'_> {
    /// A submission from outside: no worker may live to end what is overdue.
    pub(super) fn submit_anew(&mut self, job: &NewJob) -> Result<Submitted> {
        if job.key.is_some() && self.known(job)?.is_none() {
            self.holder_of(job.key.as_deref())?;
        }
        self.submit(job)
    }

    pub(super) fn submit(&mut self, job: &NewJob) -> Result<Submitted> {
        if let Some(holder) = job.key.as_deref().map_or(Ok(None), |key| self.holder(key))? {
            // Whether the id is known decides before the key does: a client that lost the reply to its submission asks
            // again with both.
            return Ok(self.known(job)?.unwrap_or(Submitted::Existing(holder)));
        }
        if !self.insert(job.id.root(), &job.task, None, job.key.as_deref())? {
            return Ok(self.known(job)?.unwrap_or(Submitted::Existing(job.id)));
        }
        if let Some(key) = &job.key {
            let mut take = self.sql("INSERT INTO keys (\"key\", job) VALUES (?1, ?2)")?;
            take.execute(params![key, job.id])?;
        }
        let tags = words(&job.task.tags);
        let now = self.now;
        self.kept(JOB)?.execute(params![
            now,
            job.id,
            job.title,
            tags,
            job.origin.map(|origin| origin.job),
            job.origin.map(|origin| origin.local),
            job.task.kind
        ])?;
        self.note_kind(&job.task.kind)?;
        Ok(Submitted::New(job.id))
    }

    /// The open job that holds a key. One that is past its expiry or its deadline is ended.
    pub(super) fn holder_of(&mut self, key: Option<&str>) -> Result<Option<JobId>> {
        let Some(holder) = key.map_or(Ok(None), |key| self.holder(key))? else { return Ok(None) };
        Ok((!upkeep::end_if_overdue(self, holder.root())?).then_some(holder))
    }

    /// What a job to be is answered if its id is taken.
    fn known(&self, job: &NewJob) -> Result<Option<Submitted>> {
        let root = job.id.root();
        let mut find =
            self.sql("SELECT kind = ?3 AND hash = ?4 FROM tasks WHERE job = ?1 AND local = ?2")?;
        let same = find
            .query_row(params![root.job, root.local, job.task.kind, job.task.hash], |row| {
                row.get(0)
            })
            .optional()?;
        let answer = |same| {
            if same { Submitted::Existing(job.id) } else { Submitted::Conflict(job.id) }
        };
        Ok(same.map(answer))
    }
}

/// Tags as they are stored.
pub(super) fn words(tags: &[String]) -> Option<String> {
    (!tags.is_empty()).then(|| crate::core::encode::json(&tags))
}
