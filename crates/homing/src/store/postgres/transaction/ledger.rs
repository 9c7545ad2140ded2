//! The rules' view of a transaction: what was locked and read answers, and what is to be written is kept.
//!
//! No question here goes to the server. What a rule may ask for, [`LoadPlan`](super::load_plan::LoadPlan) has read.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::core::id::{JobId, Local, TaskId, Token};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{Answer, SetCounts, Standing, Wait};
use crate::store::events::Swept;
use crate::store::postgres::ended;
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::transaction::task::{Newborn, Task};
use crate::store::postgres::transaction::tx::{LockedTask, Said, Tx};
use crate::store::rules::{Birth, Cascade, Ending, Ledger, Row, Rows};
use crate::store::{Ended, Entry, LogLine, NewChild, NewJob, NewTask, Unit};

impl Rows for Tx<'_> {
    type Error = Fault;

    fn now(&self) -> Time {
        self.now
    }

    fn take_up(&mut self, id: TaskId) -> Result<bool> {
        Ok(self.task(id).is_some())
    }

    fn row(&self, id: TaskId) -> Option<&Row> {
        self.task(id).map(|task| &**task)
    }

    fn change(&mut self, id: TaskId) -> Option<&mut Row> {
        self.change_task(id).map(|task| &mut **task)
    }

    fn put_down(&mut self, _: TaskId) -> Result<()> {
        Ok(())
    }

    fn waits(&mut self, id: TaskId) -> Result<Option<Vec<Wait>>> {
        if self.task(id).is_none_or(|row| row.state != State::Waiting) {
            return Ok(None);
        }
        if let Some(what) = self.what_is_unreadable(id) {
            return Err(Fault::Unreadable(what.to_owned()));
        }
        Ok(self.task(id).map(|row| row.waits.clone()))
    }

    fn wake(&mut self, id: TaskId) -> Result<()> {
        let now = self.now;
        if let Some(row) = self.change(id) {
            row.wake(now);
        }
        Ok(())
    }

    fn unreadable(fault: Fault) -> Result<String> {
        if let Fault::Unreadable(what) = fault { Ok(what) } else { Err(fault) }
    }

    fn stall_unreadable(&mut self, id: TaskId, what: &str) -> Result<()> {
        self.stand_still(id, what);
        Ok(())
    }

    fn counts(&mut self, parent: TaskId, set: Local) -> Result<SetCounts> {
        Ok(self.counts_of(parent, set))
    }

    fn has_ended(&mut self, id: TaskId) -> Result<bool> {
        let ends_here = self.rows.get(&id).is_some_and(|known| known.task.state.is_ended());
        Ok(ends_here || self.over.contains(&id))
    }

    fn signal(&mut self, to: TaskId, name: &str, take: bool) -> Result<Option<String>> {
        let mut sent = self.signals.range((to, i64::MIN)..=(to, i64::MAX));
        let found = sent.find(|(_, (own, _))| own == name);
        let found = found.map(|(key, (_, value))| (*key, value.clone()));
        if let Some((key, _)) = found.as_ref().filter(|_| take) {
            self.signals.remove(key);
            self.taken.push(*key);
        }
        Ok(found.map(|(_, value)| value))
    }

    fn standing(&mut self, job: JobId) -> Result<Standing> {
        let root = job.root();
        if self.task(root).is_some() {
            return Ok(Standing::Open);
        }
        // Ended here, or before.
        if self.rows.contains_key(&root)
            && let Some(ended) = self.ended.iter().find(|ended| ended.task.id == root)
        {
            return Ok(Standing::of(ended.task.state, Some(ended.outcome.clone())));
        }
        // What was not read is of no moment here.
        Ok(self.standing.get(&job).cloned().unwrap_or(Standing::Open))
    }

    fn answered(&mut self, id: TaskId, wait: &Wait) -> Result<Option<Answer>> {
        let recorded = self.records.get(&(id, wait.seq)).filter(|(place, _)| *place == wait.place);
        Ok(match recorded {
            Some((_, Entry::Answer(answer))) => Some(answer.clone()),
            _ => None,
        })
    }

    fn record_answer(&mut self, id: TaskId, answer: &Answer) -> Result<()> {
        self.answers.push((id, answer.clone()));
        Ok(())
    }

    fn parents_to_check(&mut self) -> &mut BTreeSet<(TaskId, Local)> {
        &mut self.parents_to_check
    }

    fn jobs_to_check(&mut self) -> &mut BTreeSet<JobId> {
        &mut self.jobs_over
    }

    fn watchers(&mut self, job: JobId) -> Result<Vec<TaskId>> {
        let nobody = JobId::from_bytes([0; 16]).root();
        let watchers = self.watchers.range((job, nobody)..).take_while(|(own, _)| *own == job);
        Ok(watchers.map(|(_, waiter)| *waiter).collect())
    }
}

impl<'e> Ledger<'e> for Tx<'e> {
    fn accept(&mut self, unit: &'e Unit) -> Result<bool> {
        if let Some(what) = self.what_is_unreadable(unit.task).map(str::to_owned) {
            // Nobody can go on with it before it is mended: it is taken from the worker. SQLite, which reads as it
            // goes, finds it in the middle and rolls the unit back.
            self.stand_still(unit.task, &what);
            return Ok(false);
        }
        self.leave_bundle(unit);
        Ok(true)
    }

    fn record(&mut self, id: TaskId, seq: u64, place: &'e str, entry: &'e Entry) -> Result<bool> {
        // Entries that decide about something were read; the others the server keeps from being written twice.
        let new = !self.records.contains_key(&(id, seq));
        if new {
            self.entries.push((id, seq, place, entry));
        }
        Ok(new)
    }

    fn other_call(&mut self, parent: TaskId, child: &NewChild) -> Result<Option<(String, String)>> {
        let id = TaskId { job: parent.job, local: child.local };
        let Some(old) = self.siblings.get(&id) else { return Ok(None) };
        if old.kind == child.task.kind && old.hash == child.task.hash {
            return Ok(None);
        }
        Ok(Some((old.kind.clone(), old.arguments.clone().unwrap_or_default())))
    }

    fn spawn(&mut self, id: TaskId, birth: Birth, new: &'e NewTask) -> Result<bool> {
        if self.siblings.contains_key(&id) || self.rows.contains_key(&id) {
            return Ok(false);
        }
        let birth = Some(birth);
        self.newborns.push(Newborn { id, birth, new, job: None });
        self.rows.insert(id, LockedTask::newborn(Task::born(id, new, birth, self.now)));
        Ok(true)
    }

    fn takes_members(&mut self, parent: TaskId, set: Local, origin: u32) -> Result<bool> {
        let falls = |(own, of, below): (TaskId, Option<Local>, u32)| {
            own == parent && of.is_none_or(|of| of == set) && origin < below
        };
        let here = self.cascades.iter().map(|cascade| (cascade.task, cascade.set, cascade.below));
        let falling = here.chain(self.descending.iter().copied()).any(falls);
        Ok(self.task(parent).is_some() && !falling)
    }

    fn change_counts(
        &mut self,
        parent: TaskId,
        set: Local,
        how: impl FnOnce(&mut SetCounts),
    ) -> Result<SetCounts> {
        let counted = self.sets.entry((parent, set)).or_default();
        counted.changed = true;
        how(&mut counted.counts);
        Ok(counted.counts)
    }

    fn detach(&mut self, job: &'e NewJob) -> Result<()> {
        self.submit(job);
        Ok(())
    }

    fn has_fallen(&mut self, id: TaskId) -> Result<bool> {
        let falls_here = self
            .rows
            .get(&id)
            .is_some_and(|known| matches!(known.task.state, State::Failed | State::Cancelled));
        Ok(falls_here || self.fallen.contains(&id))
    }

    fn keep_signal(&mut self, to: TaskId, name: &'e str, value: &'e str) -> Result<()> {
        let number = self
            .numbers
            .pop_front()
            .ok_or_else(|| Fault::Other("there is no number for a signal".to_owned()))?;
        if let Some(row) = self.change_task(to) {
            row.signalled = true;
        }
        self.sent.push((to, number, name, value));
        self.signals.insert((to, number), (name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn set_waits(&mut self, id: TaskId, waits: &[Wait]) -> Result<()> {
        if let Some(row) = self.change_task(id) {
            row.waits = waits.to_vec();
            row.unreadable = None;
        }
        Ok(())
    }

    fn watch(&mut self, id: TaskId, job: JobId) -> Result<()> {
        if !self.rows.contains_key(&job.root()) {
            // It came to be, or was opened again, after the rows were locked.
            return Err(Fault::Stale);
        }
        self.watching.push((job, id));
        self.watchers.insert((job, id));
        Ok(())
    }

    fn write_line(&mut self, id: TaskId, line: Cow<'e, LogLine>) -> Result<bool> {
        let new = self.said.insert((id, line.key.clone()));
        if new {
            let (time, level) = (line.time, line.level);
            let (key, message) = match line {
                Cow::Borrowed(line) => (Cow::Borrowed(line.key.as_str()), line.message.clone()),
                Cow::Owned(line) => (Cow::Owned(line.key), line.message),
            };
            self.lines.push(Said { task: id, key, line: Some((time, level, message)) });
        }
        Ok(new)
    }

    fn count_line(&mut self, id: TaskId, key: Cow<'e, str>) -> Result<bool> {
        let new = self.said.insert((id, key.clone().into_owned()));
        if new {
            self.lines.push(Said { task: id, key, line: None });
        }
        Ok(new)
    }

    fn rewrite_line(&mut self, id: TaskId, line: LogLine) -> Result<()> {
        self.rewritten.insert((id, line.key), line.message);
        Ok(())
    }

    fn has_open_children(&mut self, id: TaskId) -> Result<bool> {
        let born_here = |known: &LockedTask| {
            known.newborn && known.task.parent() == Some(id) && !known.task.state.is_ended()
        };
        Ok(self.above.contains(&id)
            || (!self.newborns.is_empty() && self.rows.values().any(born_here)))
    }

    fn add_cascade(&mut self, cascade: Cascade) -> Result<()> {
        self.cascades.push(cascade);
        Ok(())
    }

    fn queue_cancellation_notice(&mut self, id: TaskId, token: Token) -> Result<()> {
        self.notices.push((id, token));
        self.effects.noticed = true;
        Ok(())
    }

    fn forget_signals(&mut self, id: TaskId) -> Result<()> {
        if self.change_task(id).is_some_and(|row| std::mem::take(&mut row.signalled)) {
            self.taken.push((id, i64::MAX));
        }
        Ok(())
    }

    fn link_arguments(&mut self, id: TaskId) -> Result<Option<String>> {
        Ok(self.task(id).and_then(|row| row.link.clone()))
    }

    fn end(&mut self, id: TaskId, end: Option<u64>, ending: Ending<'e>) -> Result<()> {
        let fingerprint = ending.fingerprint(id);
        let Ending { state, outcome, by, cause } = ending;
        let Some(row) = self.change_task(id) else { return Ok(()) };
        row.state = state;
        row.waits.clear();
        let (task, outcome) = (row.clone(), outcome.into_owned());
        self.ended.push(ended::Ended { task, end, by, cause, fingerprint, outcome });
        Ok(())
    }

    fn end_job(&mut self, root: TaskId, ended: Ended) -> Result<()> {
        if let Some(key) = self.task(root).and_then(|row| row.key.clone()) {
            if self.holders.get(&key) == Some(&root.job) {
                self.holders.remove(&key);
            }
            self.freed.push((key, root.job));
        }
        self.jobs_over.insert(root.job);
        self.effects.ended.push(ended);
        Ok(())
    }

    fn follow(&mut self, job: NewJob) -> Result<()> {
        let root = job.id.root();
        let born = Task::born(root, &job.task, None, self.now);
        self.rows.insert(root, LockedTask::newborn(born));
        self.followers.push(job);
        Ok(())
    }

    fn tell(&mut self, swept: Swept) {
        self.effects.swept.push(swept);
    }
}
