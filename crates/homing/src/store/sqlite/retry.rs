//! `retry`: a failed job goes on, and what failed runs again.

use rusqlite::{OptionalExtension, Row, params};

use super::children::{BEHIND_PLACE, Cursor, numbered, placed};
use super::columns::{count, maybe_text};
use super::fault::{Fault, Result};
use super::finish::own_job;
use super::task::Task;
use super::tx::Tx;
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::State;
use crate::store::rules::retry::{self, LostChild};
use crate::store::{Amended, Cause, Retried, Retry};

/// What came after the loss: at the places of the waits and below them, from a number on, and what the body
/// returned.
macro_rules! after {
    ($verb:literal, $and:literal) => {
        concat!(
            $verb,
            " FROM records WHERE job = ?1 AND task = ?2",
            $and,
            " AND (seq >= ?3 OR substr(entry, 1, 12) = '{\"returned\":'
               OR EXISTS (SELECT 1 FROM json_each(?4) AS own WHERE place = own.value
                 OR substr(place, 1, length(own.value) + 1) = own.value || '/'))"
        )
    };
}

/// Signals that had been given out are older than those that were not: they come before them, as they were sent.
const SIGNALLED: &str = after!(
    "INSERT INTO signals (job, task, number, name, value)
       SELECT job, task,
         (SELECT coalesce(min(number), 0) FROM signals WHERE job = ?1 AND task = ?2)
           - row_number() OVER (ORDER BY seq DESC),
         entry ->> '$.answer.signal', entry ->> '$.answer.value'",
    " AND substr(entry, 1, 10) = '{\"answer\":' AND json_valid(entry)
      AND place NOT IN (SELECT value FROM json_each(?5))
      AND entry ->> '$.answer.signal' IS NOT NULL AND entry ->> '$.answer.value' IS NOT NULL"
);
const TAKE_BACK: &str = after!("DELETE", "");

by_name! {
    /// How a child ended.
    end_columns ended {
        state,
        cancelled_by,
        end = "coalesce(\"end\", 0)",
    }
}

by_name! {
    fallen_columns fallen {
        local,
        set = "\"set\"",
        number,
        end = end_columns!(),
    }
}

/// The children that failed or were cancelled: an index holds nothing else.
const FALLEN: &str = concat!(
    "SELECT ",
    fallen_columns!(),
    " FROM tasks INDEXED BY fallen WHERE job = ?1 AND parent = ?2 AND state >= 4"
);

const GO: [&str; 5] = [
    "DELETE FROM tasks WHERE job = ?1 AND local = ?2",
    FORGET_FAILURE,
    "DELETE FROM sets WHERE job = ?1 AND task = ?2",
    "DELETE FROM records WHERE job = ?1 AND task = ?2",
    "DELETE FROM signals WHERE job = ?1 AND task = ?2",
];

const FORGET_FAILURE: &str = "DELETE FROM failures WHERE job = ?1 AND local = ?2";

/// What a retry has done so far.
#[derive(Default)]
struct Done {
    reopened: Vec<TaskId>,
    taken_back: u64,
    removed: u64,
}

impl Tx<'_> {
    /// `None` if the job is unknown.
    pub(super) fn retry(&mut self, job: JobId, preview: bool) -> Result<Option<Retry>> {
        let Some(root) = Task::read(self.db, job.root())? else { return Ok(None) };
        if let Some(refusal) = retry::refusal(root.state) {
            return Ok(Some(refusal));
        }
        if self.is_pruning(job)? {
            return Ok(Some(Retry::Removing));
        }
        if let Some(holder) = self.holder_of(root.key.as_deref())? {
            return Ok(Some(Retry::Held(holder)));
        }
        // Cancellations still on their way down would hit what is reopened.
        while self.cascade()? {}
        if !preview {
            self.effects.ready = true;
            return Ok(Some(Retry::Done(self.reopen_job(&root)?)));
        }
        // A preview does what the retry would, and is rolled back. It has a view of its own, so that nothing of it is
        // said or counted.
        self.write_counts()?;
        self.db.execute_batch("SAVEPOINT preview")?;
        let mut copy = Tx::new(self.db, self.shared);
        let done = copy.reopen_job(&root);
        drop(copy);
        self.db.execute_batch("ROLLBACK TO preview; RELEASE preview")?;
        Ok(Some(Retry::Done(done?)))
    }

    /// Other arguments for a task that stands still. `None` if it is unknown.
    pub(super) fn amend(&mut self, task: TaskId, arguments: &str) -> Result<Option<Amended>> {
        let mut read = self.sql("SELECT state, stalls FROM tasks WHERE job = ?1 AND local = ?2")?;
        let row = read.query_row(params![task.job, task.local], |row| {
            Ok((row.get::<_, State>(0)?, row.get::<_, u32>(1)?))
        });
        let Some((state, stalls)) = row.optional()? else { return Ok(None) };
        if state.is_ended() {
            return Ok(Some(Amended::Ended));
        }
        if state != State::Pending || stalls == 0 {
            return Ok(Some(Amended::NotStalled));
        }
        self.sql("UPDATE tasks SET arguments = ?3, due = ?4 WHERE job = ?1 AND local = ?2")?
            .execute(params![task.job, task.local, arguments, self.now])?;
        self.effects.ready = true;
        Ok(Some(Amended::Done))
    }

    /// From the root downwards. A child is taken out of its set's counts before it is reopened, as it will be counted
    /// again when it ends again.
    fn reopen_job(&mut self, root: &Task) -> Result<Retried> {
        let job = root.id.job;
        let mut done = Done::default();
        let mut open = vec![root.id];
        while let Some(task) = open.pop() {
            done.reopened.push(task);
            let cause = self.reopen(task)?;
            if let Some(cause) = &cause {
                self.take_back(task, cause, &mut done)?;
            }
            for child in self.children_to_reopen(task, cause.as_ref())? {
                let id = TaskId { job, local: child.local };
                self.uncount(task, &child)?;
                open.push(id);
            }
        }
        if let Some(key) = &root.key {
            let mut take = self.sql("INSERT INTO keys (\"key\", job) VALUES (?1, ?2)")?;
            take.execute(params![key, job])?;
        }
        self.write_counts()?;
        self.sql(concat!(
            "UPDATE jobs SET fallen = NULL,
               errors = EXISTS (SELECT 1 FROM sets WHERE job = ?1 AND failed > 0) WHERE ",
            own_job!()
        ))?
        .execute(params![job, Local::ROOT])?;
        Ok(Retried::of(done.reopened, done.taken_back, done.removed))
    }

    /// Whether a prune has removed a part of the job: it cannot be reopened any more.
    fn is_pruning(&self, job: JobId) -> Result<bool> {
        let mut find = self.sql(
            "SELECT pruning FROM jobs WHERE id = ?1
             AND created = (SELECT created FROM tasks WHERE job = ?1 AND local = ?2)",
        )?;
        let pruning = find.query_row(params![job, Local::ROOT], |row| row.get(0)).optional()?;
        Ok(pruning.unwrap_or(false))
    }

    /// Makes an ended task pending, with a fresh budget. What brought it down, if its body was told of a loss.
    fn reopen(&mut self, task: TaskId) -> Result<Option<Cause>> {
        let mut read = self.sql("SELECT cause FROM tasks WHERE job = ?1 AND local = ?2")?;
        let cause: Option<Option<String>> = read
            .query_row(params![task.job, task.local], |row| maybe_text(row, 0))
            .optional()
            .map_err(|error| Fault::from(error).of(|| format!("the row of task {task}")))?;
        let Some(cause) = cause else { return Ok(None) };
        self.sql(
            "UPDATE tasks SET state = 0, due = ?3, attempt = attempt + 1, failures = 0, crashes = 0, at_once = 0,
               stalls = 0, outcome = NULL, cancelled_by = NULL, ended = NULL, \"end\" = NULL,
               expires = NULL, deadline = NULL, timer = NULL, parked_worker = NULL,
               parked_claim = NULL, cause = NULL WHERE job = ?1 AND local = ?2",
        )?
        .execute(params![task.job, task.local, self.now])?;
        self.sql(FORGET_FAILURE)?.execute(params![task.job, task.local])?;
        let cause = cause.as_deref().map(serde_json::from_str).transpose();
        cause.map_err(|error| Fault::from(error).of(|| format!("why task {task} failed")))
    }

    /// Takes back what came after the loss: entries of the record and children. A signal that was an answer is
    /// sent again, unless the body does not take its value.
    fn take_back(&mut self, task: TaskId, cause: &Cause, done: &mut Done) -> Result<()> {
        let since = cause.since.map_or(i64::MAX, super::columns::above);
        let places = crate::core::encode::json(&cause.places);
        let bad = crate::core::encode::json(&cause.bad_signals);
        let sent =
            self.sql(SIGNALLED)?.execute(params![task.job, task.local, since, places, bad])?;
        if sent > 0 {
            self.signals_sent();
        }
        let gone = self.sql(TAKE_BACK)?.execute(params![task.job, task.local, since, places])?;
        done.taken_back += gone as u64;
        for (set, kept) in &cause.grown {
            for child in self.ended_children(task, *set)? {
                if child.origin() >= *kept {
                    self.uncount(task, &child)?;
                    self.count(task, *set, |counts| {
                        less(&mut counts.spawned);
                        if child.is_added() {
                            less(&mut counts.added);
                        }
                    })?;
                    self.remove_tree(TaskId { job: task.job, local: child.local }, done)?;
                }
            }
        }
        Ok(())
    }

    /// Removes a task and everything below it.
    fn remove_tree(&mut self, task: TaskId, done: &mut Done) -> Result<()> {
        self.write_counts()?;
        let mut tree = vec![task.local];
        while let Some(local) = tree.pop() {
            let task = TaskId { job: task.job, local };
            for row in self.sets_of(task, None, usize::MAX)? {
                let children = self.ended_children(task, row.set)?.into_iter();
                tree.extend(children.map(|child| child.local));
            }
            for sql in GO {
                self.sql(sql)?.execute(params![task.job, local])?;
            }
            self.forget_counts(task);
            done.removed += 1;
        }
        Ok(())
    }

    fn children_to_reopen(&self, task: TaskId, cause: Option<&Cause>) -> Result<Vec<LostChild>> {
        let mut find = self.sql(FALLEN)?;
        let found = find.query_map(params![task.job, task.local], |row| {
            let place = Cursor { number: row.get(fallen::number)?, local: row.get(fallen::local)? };
            lost(place, row.get(fallen::set)?, row, fallen::end)
        })?;
        let mut lost = found.collect::<rusqlite::Result<Vec<_>>>()?;
        lost.retain(|child| child.is_reopened(cause));
        Ok(lost)
    }

    /// The ended children of a set.
    fn ended_children(&self, task: TaskId, set: Local) -> Result<Vec<LostChild>> {
        let sql = (numbered!(end_columns!()), placed!(end_columns!()));
        let read = |place, row: &Row<'_>| lost(place, set, row, BEHIND_PLACE);
        let children = self.merged((task, set), (0, usize::MAX), sql, read)?.into_iter();
        Ok(children.map(|(_, child)| child).filter(|child| child.state.is_ended()).collect())
    }

    /// Takes an ended child out of its set's counts.
    fn uncount(&mut self, parent: TaskId, child: &LostChild) -> Result<()> {
        let (job, set) = (parent.job, child.set);
        self.sql("UPDATE tasks SET \"end\" = NULL WHERE job = ?1 AND local = ?2")?
            .execute(params![job, child.local])?;
        let last: Option<i64> = self
            .sql(
                "SELECT max(\"end\") FROM tasks INDEXED BY ends
                 WHERE job = ?1 AND \"set\" = ?2 AND \"end\" IS NOT NULL",
            )?
            .query_row(params![job, set], |row| row.get(0))?;
        self.count(parent, set, |counts| {
            less(child.count_in(counts));
            counts.last_end = last.unwrap_or(0) as u64;
        })?;
        Ok(())
    }
}

/// A child and how it ended, of which the columns begin with the one called `first`.
fn lost(place: Cursor, set: Local, row: &Row<'_>, first: usize) -> rusqlite::Result<LostChild> {
    Ok(LostChild {
        local: place.local,
        set,
        number: place.number,
        end: count(row, first + ended::end)?,
        state: row.get(first + ended::state)?,
        by: row.get(first + ended::cancelled_by)?,
    })
}

/// One less of what should be there: rows and counts that differ are for `check` to find.
fn less(count: &mut u64) {
    *count = count.saturating_sub(1);
}
