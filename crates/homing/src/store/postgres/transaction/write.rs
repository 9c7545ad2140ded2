//! Writing: everything a scene has come to, a statement per table and not per task.

use std::sync::OnceLock;

use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::wait::SetCounts;
use crate::store::postgres::ended;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::{Session, Statement, Value, arrays, values};
use crate::store::postgres::link::table::table;
use crate::store::postgres::log;
use crate::store::postgres::transaction::bundle::{self, BundleWrites};
use crate::store::postgres::transaction::task;
use crate::store::postgres::transaction::tx::{ChangedCounts, Effects, Tx};
use crate::store::{Entry, NewJob};

/// An entry that is there already was told by an earlier exchange whose reply was lost, or by an earlier run.
const RECORD: &str = "INSERT INTO homing.records (job, task, seq, place, entry, time)
  SELECT *, $6::bigint FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[])
  ON CONFLICT DO NOTHING";

const ANSWER: &str = "INSERT INTO homing.records (job, task, seq, place, entry, time)
  SELECT *, $6::bigint FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[])
  ON CONFLICT (job, task, seq) DO UPDATE
    SET place = excluded.place, entry = excluded.entry, time = excluded.time";

const SEND: &str = "INSERT INTO homing.signals (job, task, number, name, value)
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[])";

/// Under the lock of the job's root, so that the root cannot end between the look at it and this row.
const WATCH: &str = "INSERT INTO homing.watchers (job, waiter_job, waiter)
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) ON CONFLICT DO NOTHING";

/// The jobs have ended. Who waited for them is locked in this transaction, and is looked at in it.
const UNWATCH: &str = "DELETE FROM homing.watchers WHERE job = ANY ($1::uuid[])";

/// Values that have answered waits.
const TAKE: &str = "DELETE FROM homing.signals AS s
  USING unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (job, task, number)
  WHERE s.job = t.job AND s.task = t.task AND s.number = t.number";

/// What was sent to tasks that have succeeded.
const FORGET: &str =
    "DELETE FROM homing.signals AS s USING unnest($1::uuid[], $2::uuid[]) AS t (job, task)
  WHERE s.job = t.job AND s.task = t.task";

/// Before any key is taken: the job that takes one may begin in the transaction in which its holder ends.
const FREE: &str =
    "DELETE FROM homing.keys AS k USING unnest($1::text[], $2::uuid[]) AS f (key, job)
  WHERE k.key = f.key AND k.job = f.job";

/// A key that another transaction took meanwhile is a conflict: the verb runs again and sees it.
const HOLD: &str =
    "INSERT INTO homing.keys (key, job) SELECT * FROM unnest($1::text[], $2::uuid[])";

const CASCADE: &str = "INSERT INTO homing.cascades (job, number, task, \"set\", below, by)
  SELECT job, nextval('homing.numbers'), task, \"set\", below, by FROM (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::smallint[])
      WITH ORDINALITY AS new (job, task, \"set\", below, by, turn) ORDER BY turn) AS new";

const NOTICE: &str = "INSERT INTO homing.notices (job, number, worker, local, claim, told)
  SELECT job, nextval('homing.numbers'), worker, local, claim, told FROM (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[])
      WITH ORDINALITY AS new (job, local, worker, claim, told, turn) ORDER BY turn) AS new";

impl Tx<'_> {
    /// The statements that write all this. Notices for `told` are given in the reply to the exchange of
    /// that number.
    pub(in crate::store::postgres) fn steps(
        &self,
        partings: &BundleWrites,
        told: Option<(WorkerId, u64)>,
    ) -> Vec<Statement<'_>> {
        let mut steps = Vec::new();
        if !self.freed.is_empty() {
            steps.push(Statement::new(FREE, arrays!(self.freed, (key, job) => key.as_str(), *job)));
        }
        self.write_births(&mut steps);
        let leaving = self.leaving(partings);
        if !leaving.is_empty() {
            steps.push(task::open(&leaving));
        }
        partings.steps(self.now, &mut steps);
        let moved = self.moved();
        if !moved.is_empty() {
            steps.push(task::moved(&moved));
        }
        for (token, begun) in self.begun() {
            steps.push(task::begun(&begun, token, self.now));
        }
        if !self.ended.is_empty() {
            let own_row = |ended: &&ended::Ended| {
                self.rows.get(&ended.task.id).is_some_and(|known| known.bundle.is_none())
            };
            let closed: Vec<_> = self.ended.iter().filter(own_row).collect();
            if !closed.is_empty() {
                steps.push(ended::close(&closed));
            }
            steps.push(ended::end(&self.ended, self.now));
        }
        self.write_counts(&mut steps);
        self.write_records(&mut steps);
        self.write_signals(&mut steps);
        self.write_watchers(&mut steps);
        if !self.cascades.is_empty() {
            steps.push(Statement::new(
                CASCADE,
                arrays!(self.cascades, c =>
                    c.task.job, c.task.local, c.set, i64::from(c.below), c.by),
            ));
        }
        if !self.notices.is_empty() {
            let number = |worker| told.filter(|(own, _)| *own == worker).map(|(_, n)| n as i64);
            steps.push(Statement::new(
                NOTICE,
                arrays!(self.notices, (task, token) =>
                    task.job, task.local, token.worker, token.claim as i64, number(token.worker)),
            ));
        }
        log::write(self, &mut steps);
        steps
    }

    fn write_births<'s>(&'s self, steps: &mut Vec<Statement<'s>>) {
        let mut opened = self.born();
        let bundles = self.bundled(&opened);
        let births = bundle::births(&bundles);
        if !self.newborns.is_empty() {
            steps.push(task::bear(&self.newborns, &births, self.now));
        }
        if !self.followers.is_empty() {
            let newborn = |job: &'s NewJob| {
                let (id, new) = (job.id.root(), &job.task);
                task::Newborn { id, birth: None, new, job: Some(job) }
            };
            let newborns: Vec<_> = self.followers.iter().map(newborn).collect();
            steps.push(task::bear(&newborns, &births, self.now));
        }
        if !self.keys.is_empty() {
            let mut keys = self.keys.clone();
            keys.sort_unstable();
            steps.push(Statement::new(HOLD, arrays!(keys, (key, job) => *key, *job)));
        }
        if !bundles.is_empty() {
            steps.push(bundle::bear(&bundles));
        }
        opened.retain(|task| !births.contains_key(&task.id));
        if !opened.is_empty() {
            steps.push(task::open(&opened));
        }
    }

    fn write_counts<'s>(&'s self, steps: &mut Vec<Statement<'s>>) {
        static COUNT: OnceLock<String> = OnceLock::new();
        let changed = self.sets.iter().filter(|(_, counted)| counted.changed);
        let mut changed: Vec<((TaskId, Local), SetCounts)> =
            changed.map(|(key, ChangedCounts { counts, .. })| (*key, *counts)).collect();
        if changed.is_empty() {
            return;
        }
        changed.sort_unstable_by_key(|(key, _)| *key);
        let rows = table!(changed, ((task, of), counts) =>
            job: uuid = task.job,
            task: uuid = task.local,
            set: uuid = *of,
            spawned: bigint = counts.spawned as i64,
            succeeded: bigint = counts.succeeded as i64,
            failed: bigint = counts.failed as i64,
            cancelled: bigint = counts.cancelled as i64,
            aborted: bigint = counts.aborted as i64,
            last_end: bigint = counts.last_end as i64,
            added: bigint = counts.added as i64,
            last_added: bigint = counts.last_added as i64,
        );
        steps.push(rows.statement(&COUNT, |n| {
            let (names, values, rows) = (n.names(), n.of("n"), n.rows("n"));
            let counts = n.assigned("excluded", 3);
            format!(
                "INSERT INTO homing.sets ({names}) SELECT {values} FROM {rows}
                 ON CONFLICT (job, task, \"set\") DO UPDATE SET {counts}"
            )
        }));
    }

    fn write_records<'s>(&'s self, steps: &mut Vec<Statement<'s>>) {
        let mut write = |sql, mut values: Vec<Value<'s>>| {
            values.push(Box::new(self.now));
            steps.push(Statement::new(sql, values));
        };
        if !self.entries.is_empty() {
            let entries = arrays!(self.entries, (task, seq, place, entry) =>
                task.job, task.local, *seq as i64, *place, crate::core::encode::json(*entry));
            write(RECORD, entries);
        }
        if !self.answers.is_empty() {
            let answers = arrays!(self.answers, (task, answer) =>
                task.job, task.local, answer.seq as i64, answer.place.as_str(),
                crate::core::encode::json(&Entry::Answer(answer.clone())));
            write(ANSWER, answers);
        }
    }

    fn write_watchers<'s>(&'s self, steps: &mut Vec<Statement<'s>>) {
        if !self.watching.is_empty() {
            let values = arrays!(self.watching, (job, waiter) => *job, waiter.job, waiter.local);
            steps.push(Statement::new(WATCH, values));
        }
        let ended =
            |job: &JobId| self.rows.get(&job.root()).is_some_and(|root| root.task.state.is_ended());
        let mut over: Vec<JobId> = self.watchers.iter().map(|(job, _)| *job).collect();
        over.dedup();
        over.retain(ended);
        if !over.is_empty() {
            steps.push(Statement::new(UNWATCH, values![over]));
        }
    }

    fn write_signals<'s>(&'s self, steps: &mut Vec<Statement<'s>>) {
        if !self.sent.is_empty() {
            let values = arrays!(self.sent, (to, number, name, value) =>
                to.job, to.local, *number, *name, *value);
            steps.push(Statement::new(SEND, values));
        }
        let (all, some): (Vec<_>, Vec<_>) =
            self.taken.iter().copied().partition(|(_, number)| *number == i64::MAX);
        if !some.is_empty() {
            let values = arrays!(some, (task, number) => task.job, task.local, *number);
            steps.push(Statement::new(TAKE, values));
        }
        if !all.is_empty() {
            steps.push(Statement::new(FORGET, arrays!(all, (task, _) => task.job, task.local)));
        }
    }

    /// Writes everything and commits, in one round trip. Returns what is to be said of it.
    pub(in crate::store::postgres) async fn commit(self, session: &Session<'_>) -> Result<Effects> {
        let mut steps = self.steps(&self.partings(), None);
        steps.push(Statement::plain("COMMIT"));
        session.run(steps).await?;
        Ok(self.effects())
    }
}
