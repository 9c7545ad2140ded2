//! `exchange`: units first, then upkeep, then the claim.

use rusqlite::{OptionalExtension, params};

use super::columns::{task_id, text};
use super::fault::{Fault, Result};
use super::finish::WaitFacts;
use super::task::{Birth, Task};
use super::tx::Tx;
use crate::core::id::{TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::wait::SetCounts;
use crate::core::wait::{Answer, Wait};
use crate::store::rules::resumed;
use crate::store::{
    Abort, Addition, CancelledBy, End, Entry, Event, Exchange, NewChild, Refusal, Reply, Signalled,
    Unit,
};

/// What became of a unit: the answers of a park that is satisfied already, or why it was refused.
type Applied = std::result::Result<Option<Vec<Answer>>, Refusal>;

impl Tx<'_> {
    pub(super) fn exchange(&mut self, exchange: &Exchange) -> Result<Reply> {
        let mut reply = Reply::default();
        for unit in &exchange.units {
            let applied = if self.careful { self.apply_alone(unit)? } else { self.apply(unit)? };
            match applied {
                Ok(None) => {}
                Ok(Some(answers)) => reply.ready.push((unit.task, answers)),
                Err(refusal) => reply.refused.push((unit.task, refusal)),
            }
        }
        self.wake_parents()?;
        reply.more = self.sweep(exchange.claim.max_crashes)?;
        self.wake_parents()?;
        self.write_counts()?;
        reply.cancelled = self.notices(exchange.worker, exchange.number, exchange.acknowledged)?;
        // A worker that was given up must not take tasks under a dead id.
        if self.knows(exchange.worker)? {
            self.hand_out_again(exchange.worker, exchange.acknowledged, &mut reply)?;
            self.claim(exchange.worker, exchange.number, &exchange.claim, &mut reply)?;
        }
        reply.next_due = self.next_due(exchange.worker, &exchange.claim)?;
        Ok(reply)
    }

    /// Applies a unit so that only the unit is lost if the database cannot hold it.
    fn apply_alone(&mut self, unit: &Unit) -> Result<Applied> {
        let before = self.before();
        self.db.execute_batch("SAVEPOINT unit")?;
        let applied = match self.apply(unit) {
            Err(fault) if fault.is_of_the_data() => {
                self.db.execute_batch("ROLLBACK TO unit")?;
                self.restore(before);
                Ok(Err(if fault.is_unreadable() {
                    // Nobody can go on with it before it is mended: it is taken from the worker.
                    self.stand_still(unit.task, fault)?;
                    Refusal::Lost
                } else {
                    Refusal::Unfit(fault.to_string())
                }))
            }
            applied => applied,
        };
        self.db.execute_batch("RELEASE unit")?;
        applied
    }

    /// Applies a unit whole or, with a refusal, not at all. Whatever may refuse it is looked at first.
    fn apply(&mut self, unit: &Unit) -> Result<Applied> {
        if self.done(unit)? {
            return Ok(Ok(None));
        }
        let Some(mut row) = Task::read(self.db, unit.task)? else { return Ok(Err(Refusal::Lost)) };
        if row.state != State::Running || row.token != Some(unit.token) {
            return Ok(Err(Refusal::Lost));
        }
        for event in &unit.events {
            let refusal = match event {
                Event::Spawn(child) => self.drift(unit.task, child)?,
                Event::Add(addition) => self.no_growth(unit.task, addition)?,
                _ => None,
            };
            if let Some(refusal) = refusal {
                return Ok(Err(refusal));
            }
        }
        let mut moves = Moves { changed: unit.renew, answers: None };
        if unit.renew {
            row.renew();
        }
        for event in &unit.events {
            moves.answers = None;
            self.happen(&mut row, event, &mut moves)?;
        }
        if moves.changed {
            row.write(self.db)?;
        }
        Ok(Ok(moves.answers))
    }

    /// Whether a child exists at the place with another call.
    fn drift(&mut self, task: TaskId, child: &NewChild) -> Result<Option<Refusal>> {
        // The first children of a set need no look.
        if self.set_counts(task, child.set)?.spawned == 0 {
            return Ok(None);
        }
        let mut find =
            self.sql("SELECT kind, hash, arguments FROM tasks WHERE job = ?1 AND local = ?2")?;
        let mut rows = find.query(params![task.job, child.local])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let new = &child.task;
        let kind = row.get_ref(0)?.as_str().unwrap_or_default();
        if kind == new.kind && row.get::<_, [u8; 16]>(1)? == new.hash {
            return Ok(None);
        }
        let arguments = row.get_ref(2)?.as_str().unwrap_or_default();
        let text = crate::core::replay::drift_text(kind, arguments, &new.kind, &new.arguments);
        Ok(Some(Refusal::Drift(text)))
    }

    fn happen(&mut self, row: &mut Task, event: &Event, moves: &mut Moves) -> Result<()> {
        match event {
            Event::Record { seq, place, entry } => {
                self.record_once(row.id, *seq, place, entry)?;
            }
            Event::Spawn(child) => self.spawn(row, child)?,
            Event::Add(addition) => self.add_sibling(row, addition)?,
            Event::Detach(job) => {
                self.submit(job)?;
            }
            Event::Signal(signal) => self.signal_once(row.id, signal)?,
            Event::Abort(abort) => self.abort(row.id, *abort)?,
            Event::Log(line) => moves.changed |= self.say(row, line)?,
            Event::Progress { done, total } => {
                row.progress = Some((*done, *total));
                moves.changed = true;
            }
            Event::Park { waits, resident } => {
                moves.answers = self.park(row, waits, *resident)?;
                moves.changed |= moves.answers.is_none();
            }
            Event::End(end) => {
                self.end(row, end)?;
                moves.changed = false;
            }
            Event::Retry { failure, due } => {
                row.retry(failure, *due);
                moves.changed = self.released();
            }
            Event::Stall { reason, due } => {
                row.stall(reason.clone(), *due);
                moves.changed = self.released();
            }
            Event::HandBack => {
                row.release(resumed(self.now));
                moves.changed = self.released();
            }
        }
        Ok(())
    }

    fn end(&mut self, row: &mut Task, end: &End) -> Result<()> {
        // The worker's own word needs no notice: it knows.
        row.token = None;
        match end {
            End::Succeeded(value) => self.finish(row, State::Succeeded, value, None, None)?,
            End::Failed { failure, cause } => {
                let outcome = crate::core::encode::json(failure);
                let cause = cause.as_ref().map(crate::core::encode::json);
                self.finish(row, State::Failed, &outcome, None, cause)?
            }
        };
        Ok(())
    }

    /// A task became pending; its row is to be written. Always `true`.
    pub(super) fn released(&mut self) -> bool {
        self.effects.ready = true;
        true
    }

    /// Whether it was not there before.
    fn record_once(&self, task: TaskId, seq: u64, place: &str, entry: &Entry) -> Result<bool> {
        let mut write = self.sql(
            "INSERT OR IGNORE INTO records (job, task, seq, place, entry) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        let entry = crate::core::encode::json(entry);
        Ok(write.execute(params![task.job, task.local, seq as i64, place, entry])? == 1)
    }

    fn signal_once(&mut self, task: TaskId, signal: &Signalled) -> Result<()> {
        let Signalled { seq, place, entry, to, name, value } = signal;
        if self.record_once(task, *seq, place, entry)? {
            self.signal(TaskId { job: task.job, local: *to }, name, value)?;
        }
        Ok(())
    }

    fn spawn(&mut self, row: &Task, child: &NewChild) -> Result<()> {
        let id = TaskId { job: row.id.job, local: child.local };
        let NewChild { set, number, .. } = *child;
        let birth = Birth { parent: row.id, set, number, depth: row.depth + 1 };
        if self.insert(id, &child.task, Some(birth), None)? {
            self.change_counts(row.id, set, |counts| counts.spawned += 1)?;
        }
        Ok(())
    }

    /// Refuses what would join a set behind a cancellation, or of a parent that has ended.
    fn no_growth(&mut self, task: TaskId, addition: &Addition) -> Result<Option<Refusal>> {
        let Addition { parent, set, .. } = *addition;
        let mut find = self.sql(
            "SELECT state < 3 AND NOT EXISTS (SELECT 1 FROM cascades AS c
               WHERE c.job = t.job AND c.task = t.local AND (c.\"set\" IS NULL OR c.\"set\" = ?3)
                 AND c.below > ?4)
             FROM tasks AS t WHERE job = ?1 AND local = ?2",
        )?;
        let open = find
            .query_row(params![task.job, parent, set, addition.origin()], |row| row.get(0))
            .optional()?;
        if open != Some(true) {
            return Ok(Some(Refusal::Lost));
        }
        let counts = self.set_counts(TaskId { job: task.job, local: parent }, set)?;
        Ok(counts.next_added().is_none().then(Addition::too_many))
    }

    fn add_sibling(&mut self, row: &Task, addition: &Addition) -> Result<()> {
        let Addition { seq, place, entry, parent, set, local, task } = addition;
        let (job, parent) = (row.id.job, TaskId { job: row.id.job, local: *parent });
        if !self.record_once(row.id, *seq, place, entry)? {
            return Ok(());
        }
        let Some(number) = self.set_counts(parent, *set)?.next_added() else { return Ok(()) };
        let birth = Birth { parent, set: *set, number, depth: row.depth };
        if self.insert(TaskId { job, local: *local }, task, Some(birth), None)? {
            self.change_counts(parent, *set, SetCounts::add)?;
        }
        Ok(())
    }

    fn abort(&mut self, task: TaskId, abort: Abort) -> Result<()> {
        let by = if abort.policy { CancelledBy::Policy } else { CancelledBy::Abort };
        match abort.child {
            Some(local) => self.cancel_as(TaskId { job: task.job, local }, by).map(|_| ()),
            None => self.add_cascade(task, Some(abort.set), abort.below, by),
        }
    }

    fn park(
        &mut self,
        row: &mut Task,
        waits: &[Wait],
        resident: bool,
    ) -> Result<Option<Vec<Answer>>> {
        let answers = self.answer(row.id, waits)?;
        if !answers.is_empty() {
            return Ok(Some(answers));
        }
        let jobs = crate::core::wait::open_jobs(waits, &mut WaitFacts { tx: self, task: row.id })?;
        self.watch(row.id, &jobs)?;
        row.park(resident);
        row.waits = Some(crate::core::encode::json(&waits));
        row.wake = crate::core::wait::earliest(waits);
        Ok(None)
    }

    /// Answers what is satisfied and records the answers. A wait may have been answered already, in a
    /// reply that never arrived: then that answer stands, and no second signal is taken for it.
    pub(super) fn answer(&mut self, task: TaskId, waits: &[Wait]) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for wait in waits {
            if let Some(answer) = self.answered(task, wait)? {
                answers.push(answer);
                continue;
            }
            let facts = &mut WaitFacts { tx: self, task };
            for answer in crate::core::wait::answers(std::slice::from_ref(wait), facts)? {
                let entry = crate::core::encode::json(&Entry::Answer(answer.clone()));
                self.sql(
                    "INSERT OR REPLACE INTO records (job, task, seq, place, entry)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    task.job,
                    task.local,
                    answer.seq as i64,
                    answer.place,
                    entry
                ])?;
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    fn answered(&self, task: TaskId, wait: &Wait) -> Result<Option<Answer>> {
        let entry: Option<String> = self
            .sql("SELECT entry FROM records WHERE job = ?1 AND task = ?2 AND seq = ?3")?
            .query_row(params![task.job, task.local, wait.seq as i64], |row| text(row, 0))
            .optional()?;
        let Some(entry) = entry else { return Ok(None) };
        let entry = serde_json::from_str(&entry);
        let whose = || format!("entry {} of its record", wait.seq);
        match entry.map_err(|error| Fault::from(error).of(whose))? {
            Entry::Answer(answer) if answer.place == wait.place => Ok(Some(answer)),
            _ => Ok(None),
        }
    }

    /// Tasks that ended under the worker's hands, until a reply that says so has arrived.
    fn notices(
        &self,
        worker: WorkerId,
        number: u64,
        acknowledged: u64,
    ) -> Result<Vec<(TaskId, Token)>> {
        // Mostly there are none, and a look costs less than two writes of nothing.
        let mut any = self.sql("SELECT EXISTS (SELECT 1 FROM notices WHERE worker = ?1)")?;
        if !any.query_row([worker], |row| row.get(0))? {
            return Ok(Vec::new());
        }
        self.sql("DELETE FROM notices WHERE worker = ?1 AND told <= ?2")?
            .execute(params![worker, acknowledged as i64])?;
        self.sql("UPDATE notices SET told = ?2 WHERE worker = ?1 AND told IS NULL")?
            .execute(params![worker, number as i64])?;
        let mut read =
            self.sql("SELECT job, local, claim FROM notices WHERE worker = ?1 ORDER BY number")?;
        let rows = read.query_map([worker], |row| {
            let claim = row.get::<_, i64>(2)? as u64;
            Ok((task_id(row, 0)?, Token { worker, claim }))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// What a unit's events lead to, beside what is written at once.
struct Moves {
    /// Whether the row is to be written.
    changed: bool,
    answers: Option<Vec<Answer>>,
}
