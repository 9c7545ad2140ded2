//! A job's log: lines are written once, whatever is replayed, and capped per task.
//!
//! Lines are numbered in the order of commits, so that a reader who pages by number misses none: a transaction
//! that writes lines locks the row of the job's root until its commit, and the next one waits. Only transactions with
//! lines for the job do.

use std::collections::BTreeMap;

use crate::core::id::JobId;
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::transaction::tx::Tx;

/// Lines that were said before.
pub(super) const SAID: &str = "WITH w AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS w (job, task, key))
  SELECT w.job, w.task, w.key FROM w CROSS JOIN LATERAL (
      SELECT FROM homing.logs AS l
        WHERE l.job = w.job AND l.task = w.task AND l.key = w.key OFFSET 0) AS l
  UNION ALL SELECT w.job, w.task, w.key FROM w CROSS JOIN LATERAL (
      SELECT FROM homing.unsaid AS u
        WHERE u.job = w.job AND u.task = w.task AND u.key = w.key OFFSET 0) AS u";

/// The last of all locks in the one order, so that whoever holds it waits for nobody. In the order of jobs among themselves.
const HOLD: &str = "SELECT FROM homing.tasks
  WHERE job = ANY ($1::uuid[]) AND local = '00000000-0000-0000-0000-000000000000'
  ORDER BY job FOR NO KEY UPDATE";

/// After the lock, so that the last line is known. A job that is gone has no log.
const WRITE: &str = "WITH head AS MATERIALIZED (
    SELECT n.job, coalesce((SELECT max(l.number) FROM homing.logs AS l WHERE l.job = n.job), 0) AS before
    FROM unnest($1::uuid[]) AS n (job) JOIN homing.tasks AS r
      ON r.job = n.job AND r.local = '00000000-0000-0000-0000-000000000000')
  INSERT INTO homing.logs (job, number, task, key, time, level, message)
  SELECT job, head.before + l.turn, l.task, l.key, l.time, l.level, l.message
  FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::bigint[], $7::smallint[],
    $8::text[]) AS l (job, turn, task, key, time, level, message) JOIN head USING (job)";

const COUNT: &str = "INSERT INTO homing.unsaid (job, task, key)
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[])";

const RECOUNT: &str = "UPDATE homing.logs AS l SET message = d.message
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS d (job, task, key, message)
  WHERE l.job = d.job AND l.task = d.task AND l.key = d.key";

/// The statements that write a scene's lines.
pub(super) fn write<'s>(tx: &'s Tx<'_>, steps: &mut Vec<Statement<'s>>) {
    let mut heads: BTreeMap<JobId, i64> = BTreeMap::new();
    let mut lines = Vec::new();
    for said in &tx.lines {
        if let Some(line) = &said.line {
            let turn = heads.entry(said.task.job).or_default();
            *turn += 1;
            lines.push((said, *turn, line));
        }
    }
    if !lines.is_empty() {
        let jobs: Vec<JobId> = heads.into_keys().collect();
        let mut values = values![jobs.clone()];
        values.extend(arrays!(lines, (said, turn, (time, level, message)) =>
            said.task.job, *turn, said.task.local, said.key.as_ref(), *time, *level as i16, message.as_str()));
        steps.push(Statement::new(HOLD, values![jobs]));
        steps.push(Statement::new(WRITE, values));
    }
    let counted: Vec<_> = tx.lines.iter().filter(|said| said.line.is_none()).collect();
    if !counted.is_empty() {
        let values = arrays!(counted, said => said.task.job, said.task.local, said.key.as_ref());
        steps.push(Statement::new(COUNT, values));
    }
    if !tx.rewritten.is_empty() {
        let values = arrays!(tx.rewritten, ((task, key), message) =>
            task.job, task.local, key.as_str(), message.as_str());
        steps.push(Statement::new(RECOUNT, values));
    }
}
