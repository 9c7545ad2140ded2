//! The rules' view of a transaction: each question is a statement, asked when the rule asks.
//!
//! Rows that a rule decides about are in hand: read once when they are taken up, written once when they are put
//! down. Mostly that is one row, with a child that it aborts a second.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use super::columns::{maybe_text, task_id, text, update};
use super::fault::{Fault, Result};
use super::task::Task;
use super::tx::Tx;
use crate::core::id::{JobId, Local, TaskId, Token};
use crate::core::link::is_followed;
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{self, Answer, SetCounts, Standing, Wait};
use crate::limits;
use crate::store::events::Swept;
use crate::store::rules::{Birth, Cascade, Ending, Ledger, Row, Rows, resumed, upkeep};
use crate::store::{Ended, Entry, LogLine, NewChild, NewJob, NewTask};

/// As [`Row::wake`]. The parents of ended children are woken without their rows being read.
const WAKE: &str =
    "UPDATE tasks SET state = 0, due = ?3, held_until = iif(holder IS NULL, NULL, ?4),
  timer = deadline WHERE job = ?1 AND local = ?2";

/// As [`Row::stall`], of a row that may not be readable.
const STAND_STILL: &str =
    "UPDATE tasks SET state = 0, worker = NULL, claim = NULL, holder = NULL, held_until = NULL,
  parked_worker = NULL, parked_claim = NULL, due = ?3, stalls = ?4, reason = ?5,
  timer = (SELECT min(time) FROM (SELECT deadline AS time
    UNION ALL SELECT iif(started IS NULL, expires, NULL)) WHERE time > ?6)
  WHERE job = ?1 AND local = ?2 AND state < 3";

/// A row that a rule decides about.
#[derive(Debug)]
pub(super) struct InHand {
    task: Task,
    changed: bool,
    /// How often it was taken up and not put down.
    times: u32,
}

impl Tx<'_> {
    fn in_hand(&mut self, id: TaskId) -> Option<&mut InHand> {
        self.hand.iter_mut().find(|own| own.task.id == id)
    }

    /// What a task waits for, if it is waiting.
    pub(super) fn waits_of(&self, task: TaskId) -> Result<Option<Vec<Wait>>> {
        let mut read = self.sql("SELECT state, waits FROM tasks WHERE job = ?1 AND local = ?2")?;
        let row: Option<(State, Option<String>)> = read
            .query_row(params![task.job, task.local], |row| Ok((row.get(0)?, maybe_text(row, 1)?)))
            .optional()?;
        match row {
            Some((State::Waiting, waits)) => Ok(Some(decode(waits.as_deref())?)),
            _ => Ok(None),
        }
    }

    /// The state of a task, as it is written: that of an open one in hand may be another.
    fn state(&self, id: TaskId) -> Result<Option<State>> {
        let mut read = self.sql("SELECT state FROM tasks WHERE job = ?1 AND local = ?2")?;
        let state = read.query_row(params![id.job, id.local], |row| row.get(0));
        Ok(state.optional()?)
    }

    /// As [`contain`](crate::store::rules::wake::contain), of a fault.
    pub(super) fn stand_still(&mut self, task: TaskId, fault: Fault) -> Result<()> {
        let what = Self::unreadable(fault)?;
        self.stall_unreadable(task, &what)
    }
}

/// Waits as they are stored.
pub(super) fn decode(waits: Option<&str>) -> Result<Vec<Wait>> {
    let Some(text) = waits else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|error| Fault::from(error).of(|| "its waits".to_owned()))
}

impl Rows for Tx<'_> {
    type Error = Fault;

    fn now(&self) -> Time {
        self.now
    }

    fn take_up(&mut self, id: TaskId) -> Result<bool> {
        if let Some(own) = self.in_hand(id) {
            let open = !own.task.state.is_ended();
            own.times += u32::from(open);
            return Ok(open);
        }
        let task = Task::read(self.db, id)?.filter(|task| !task.state.is_ended());
        let Some(task) = task else { return Ok(false) };
        self.hand.push(InHand { task, changed: false, times: 1 });
        Ok(true)
    }

    fn row(&self, id: TaskId) -> Option<&Row> {
        let rows = self.hand.iter().map(|own| &*own.task);
        rows.filter(|row| !row.state.is_ended()).find(|row| row.id == id)
    }

    fn change(&mut self, id: TaskId) -> Option<&mut Row> {
        let own = self.in_hand(id).filter(|own| !own.task.state.is_ended())?;
        own.changed = true;
        Some(&mut own.task)
    }

    fn put_down(&mut self, id: TaskId) -> Result<()> {
        let Some(at) = self.hand.iter().position(|own| own.task.id == id) else { return Ok(()) };
        self.hand[at].times -= 1;
        if self.hand[at].times > 0 {
            return Ok(());
        }
        let InHand { task, changed, .. } = self.hand.remove(at);
        if changed && !task.state.is_ended() {
            self.effects.ready |= task.state == State::Pending;
            task.write(self.db)?;
        }
        Ok(())
    }

    fn waits(&mut self, id: TaskId) -> Result<Option<Vec<Wait>>> {
        match self.in_hand(id) {
            Some(own) if own.task.state == State::Waiting => {
                decode(own.task.waits.as_deref()).map(Some)
            }
            Some(_) => Ok(None),
            None => self.waits_of(id),
        }
    }

    fn wake(&mut self, id: TaskId) -> Result<()> {
        let now = self.now;
        if let Some(row) = self.change(id) {
            row.wake(now);
            return Ok(());
        }
        let (due, held_until) = (resumed(now), now.after(limits::HOLD));
        self.sql(WAKE)?.execute(params![id.job, id.local, due, held_until])?;
        self.effects.ready = true;
        Ok(())
    }

    fn unreadable(fault: Fault) -> Result<String> {
        if fault.is_unreadable() { Ok(fault.to_string()) } else { Err(fault) }
    }

    fn stall_unreadable(&mut self, id: TaskId, what: &str) -> Result<()> {
        self.hand.retain(|own| own.task.id != id);
        let (job, local) = (id.job, id.local);
        let mut read = self.sql("SELECT stalls FROM tasks WHERE job = ?1 AND local = ?2")?;
        let stalls: u32 = read.query_row(params![job, local], |row| row.get(0)).unwrap_or_default();
        let (reason, pause) = upkeep::standstill(id, None, stalls, what);
        let due = self.now.after(pause);
        let stalls = stalls.saturating_add(1);
        self.sql(STAND_STILL)?.execute(params![job, local, due, stalls, reason, self.now])?;
        Ok(())
    }

    fn counts(&mut self, parent: TaskId, set: Local) -> Result<SetCounts> {
        self.set_counts(parent, set)
    }

    fn has_ended(&mut self, id: TaskId) -> Result<bool> {
        Ok(self.state(id)?.is_some_and(State::is_ended))
    }

    fn signal(&mut self, to: TaskId, name: &str, take: bool) -> Result<Option<String>> {
        let found: Option<(i64, String)> = self
            .sql(
                "SELECT number, value FROM signals WHERE job = ?1 AND task = ?2 AND name = ?3
                 ORDER BY number LIMIT 1",
            )?
            .query_row(params![to.job, to.local, name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((number, _)) = found.as_ref().filter(|_| take) {
            let mut forget =
                self.sql("DELETE FROM signals WHERE job = ?1 AND task = ?2 AND number = ?3")?;
            forget.execute(params![to.job, to.local, number])?;
        }
        Ok(found.map(|(_, value)| value))
    }

    fn standing(&mut self, job: JobId) -> Result<Standing> {
        let mut read =
            self.sql("SELECT state, outcome FROM tasks WHERE job = ?1 AND local = ?2")?;
        let root = read
            .query_row(params![job, Local::ROOT], |row| Ok(Standing::of(row.get(0)?, row.get(1)?)));
        Ok(root.optional()?.unwrap_or(Standing::Unknown))
    }

    fn answered(&mut self, id: TaskId, wait: &Wait) -> Result<Option<Answer>> {
        let entry: Option<String> = self
            .sql("SELECT entry FROM records WHERE job = ?1 AND task = ?2 AND seq = ?3")?
            .query_row(params![id.job, id.local, wait.seq as i64], |row| text(row, 0))
            .optional()?;
        let Some(entry) = entry else { return Ok(None) };
        let entry = serde_json::from_str(&entry);
        let whose = || format!("entry {} of its record", wait.seq);
        match entry.map_err(|error| Fault::from(error).of(whose))? {
            Entry::Answer(answer) if answer.place == wait.place => Ok(Some(answer)),
            _ => Ok(None),
        }
    }

    fn record_answer(&mut self, id: TaskId, answer: &Answer) -> Result<()> {
        let entry = crate::core::encode::json(&Entry::Answer(answer.clone()));
        let mut write = self.sql(
            "INSERT OR REPLACE INTO records (job, task, seq, place, entry, time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let (seq, now) = (answer.seq as i64, self.now);
        write.execute(params![id.job, id.local, seq, answer.place, entry, now])?;
        Ok(())
    }

    fn parents_to_check(&mut self) -> &mut BTreeSet<(TaskId, Local)> {
        &mut self.parents_to_check
    }

    fn jobs_to_check(&mut self) -> &mut BTreeSet<JobId> {
        &mut self.over
    }

    /// They are woken in this transaction, so their rows go in it.
    fn watchers(&mut self, job: JobId) -> Result<Vec<TaskId>> {
        let mut find =
            self.sql("DELETE FROM watchers WHERE job = ?1 RETURNING waiter_job, waiter")?;
        let rows = find.query_map([job], |row| task_id(row, 0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl<'e> Ledger<'e> for Tx<'_> {
    fn record(&mut self, id: TaskId, seq: u64, place: &'e str, entry: &'e Entry) -> Result<bool> {
        let mut write = self.sql(
            "INSERT OR IGNORE INTO records (job, task, seq, place, entry, time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let entry = crate::core::encode::json(entry);
        let values = params![id.job, id.local, seq as i64, place, entry, self.now];
        Ok(write.execute(values)? == 1)
    }

    fn other_call(&mut self, parent: TaskId, child: &NewChild) -> Result<Option<(String, String)>> {
        // The first children of a set need no look.
        if self.set_counts(parent, child.set)?.spawned == 0 {
            return Ok(None);
        }
        let mut find =
            self.sql("SELECT kind, hash, arguments FROM tasks WHERE job = ?1 AND local = ?2")?;
        let mut rows = find.query(params![parent.job, child.local])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let kind = row.get_ref(0)?.as_str().unwrap_or_default();
        if kind == child.task.kind && row.get::<_, [u8; 16]>(1)? == child.task.hash {
            return Ok(None);
        }
        let arguments = row.get_ref(2)?.as_str().unwrap_or_default();
        Ok(Some((kind.to_owned(), arguments.to_owned())))
    }

    /// A child that is there already was spawned by an earlier run of the body, or by an exchange whose reply was lost.
    fn spawn(&mut self, id: TaskId, birth: Birth, new: &'e NewTask) -> Result<bool> {
        self.insert(id, new, Some(birth), None)
    }

    /// Not where a cancellation on its way means the member that adds: nothing joins behind it.
    fn takes_members(&mut self, parent: TaskId, set: Local, origin: u32) -> Result<bool> {
        let mut find = self.sql(
            "SELECT state < 3 AND NOT EXISTS (SELECT 1 FROM cascades AS c
               WHERE c.job = t.job AND c.task = t.local AND (c.\"set\" IS NULL OR c.\"set\" = ?3)
                 AND c.below > ?4)
             FROM tasks AS t WHERE job = ?1 AND local = ?2",
        )?;
        let open = find
            .query_row(params![parent.job, parent.local, set, origin], |row| row.get(0))
            .optional()?;
        Ok(open == Some(true))
    }

    fn change_counts(
        &mut self,
        parent: TaskId,
        set: Local,
        how: impl FnOnce(&mut SetCounts),
    ) -> Result<SetCounts> {
        self.count(parent, set, how)
    }

    /// A job that is there already was detached by an earlier run of the body.
    fn detach(&mut self, job: &'e NewJob) -> Result<()> {
        self.submit(job).map(drop)
    }

    fn has_fallen(&mut self, id: TaskId) -> Result<bool> {
        let state = self.state(id)?;
        Ok(matches!(state, Some(State::Failed | State::Cancelled)))
    }

    /// Numbered by the statement that writes it: there is one writer, so the numbers are in the order of the commits.
    fn keep_signal(&mut self, to: TaskId, name: &'e str, value: &'e str) -> Result<()> {
        self.sql(
            "INSERT INTO signals (job, task, number, name, value)
             SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4 FROM signals
             WHERE job = ?1 AND task = ?2",
        )?
        .execute(params![to.job, to.local, name, value])?;
        self.signals_sent();
        Ok(())
    }

    fn set_waits(&mut self, id: TaskId, waits: &[Wait]) -> Result<()> {
        if let Some(own) = self.in_hand(id) {
            own.task.waits = Some(crate::core::encode::json(&waits));
            own.task.wake = wait::earliest(waits);
        }
        Ok(())
    }

    fn watch(&mut self, id: TaskId, job: JobId) -> Result<()> {
        self.watched();
        let mut watch = self
            .sql("INSERT OR IGNORE INTO watchers (job, waiter_job, waiter) VALUES (?1, ?2, ?3)")?;
        watch.execute(params![job, id.job, id.local])?;
        Ok(())
    }

    fn write_line(&mut self, id: TaskId, line: Cow<'e, LogLine>) -> Result<bool> {
        self.insert_line(id, &line)
    }

    fn count_line(&mut self, id: TaskId, key: Cow<'e, str>) -> Result<bool> {
        self.insert_unsaid(id, &key)
    }

    fn rewrite_line(&mut self, id: TaskId, line: LogLine) -> Result<()> {
        let mut update =
            self.sql("UPDATE logs SET message = ?4 WHERE job = ?1 AND task = ?2 AND \"key\" = ?3")?;
        update.execute(params![id.job, id.local, line.key, line.message])?;
        Ok(())
    }

    fn has_open_children(&mut self, id: TaskId) -> Result<bool> {
        // Whether they are open, the cascade sees.
        Ok(self.spawned(id)? > 0)
    }

    fn add_cascade(&mut self, cascade: Cascade) -> Result<()> {
        let Cascade { task, set, below, by } = cascade;
        let mut add = self.sql(
            "INSERT INTO cascades (job, task, \"set\", below, by) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        add.execute(params![task.job, task.local, set, below, by])?;
        Ok(())
    }

    /// In a row, since a reply that told of it might be lost: it is told until the worker acknowledges it.
    fn queue_cancellation_notice(&mut self, id: TaskId, token: Token) -> Result<()> {
        self.sql(
            "INSERT INTO notices (worker, number, job, local, claim)
             SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM notices WHERE worker = ?1",
        )?
        .execute(params![token.worker, id.job, id.local, token.claim as i64])?;
        self.effects.noticed = true;
        Ok(())
    }

    fn forget_signals(&mut self, id: TaskId) -> Result<()> {
        if self.has_signals()? {
            let mut forget = self.sql("DELETE FROM signals WHERE job = ?1 AND task = ?2")?;
            forget.execute(params![id.job, id.local])?;
        }
        Ok(())
    }

    fn link_arguments(&mut self, id: TaskId) -> Result<Option<String>> {
        if self.row(id).is_none_or(|row| !is_followed(&row.kind)) {
            return Ok(None);
        }
        let mut read = self.sql("SELECT arguments FROM tasks WHERE job = ?1 AND local = ?2")?;
        Ok(read.query_row(params![id.job, id.local], |row| row.get(0))?)
    }

    fn end(&mut self, id: TaskId, end: Option<u64>, ending: Ending<'e>) -> Result<()> {
        let (now, db) = (self.now, self.db);
        let Some(own) = self.in_hand(id) else { return Ok(()) };
        own.task.state = ending.state;
        let row = &own.task;
        update!(|sql| db.prepare_cached(sql)?, "UPDATE tasks SET ", {
            state = ending.state,
            outcome = ending.outcome,
            cancelled_by = ending.by,
            cause = ending.cause,
            ended = now,
            end = end.map(|end| end as i64),
            failures = row.failures,
            crashes = row.crashes,
            stalls = row.stalls,
            progress_done = row.progress.map(|(done, _)| done as i64),
            progress_total = row.progress.map(|(_, total)| total as i64),
            lines = row.lines,
            dropped = row.dropped as i64,
            started = row.started,
        }, ", worker = NULL, claim = NULL, holder = NULL, held_until = NULL, waits = NULL, timer = NULL
            WHERE job = ? AND local = ?", [id.job, id.local])?;
        if let Some(fingerprint) = ending.fingerprint(id) {
            let mut keep = self.sql(
                "INSERT INTO failures (job, local, fingerprint, ended) VALUES (?1, ?2, ?3, ?4)",
            )?;
            keep.execute(params![id.job, id.local, fingerprint, now])?;
        }
        self.mark_job(id, ending.state)
    }

    fn end_job(&mut self, root: TaskId, ended: Ended) -> Result<()> {
        if let Some(key) = self.row(root).and_then(|row| row.key.as_ref()) {
            let mut free = self.sql("DELETE FROM keys WHERE \"key\" = ?1 AND job = ?2")?;
            free.execute(params![key, root.job])?;
        }
        self.effects.ended.push(ended);
        self.job_ended(root.job)
    }

    fn follow(&mut self, job: NewJob) -> Result<()> {
        self.submit(&job).map(drop)
    }

    fn tell(&mut self, swept: Swept) {
        self.effects.swept.push(swept);
    }
}
