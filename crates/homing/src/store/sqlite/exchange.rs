//! `exchange`: units first, then upkeep, then the claim.
//!
//! All of it is one verb on the writing thread, mostly in one transaction with the verbs that were queued beside it. So
//! nothing is locked but the database, and each part sees what the one before it did.

use rusqlite::params;

use super::columns::task_id;
use super::fault::Result;
use super::tx::Tx;
use crate::core::id::{TaskId, Token, WorkerId};
use crate::store::rules::unit::{self, Applied};
use crate::store::rules::wake;
use crate::store::{Exchange, Refusal, Reply, Unit};

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
        wake::wake_parents(self)?;
        let more = self.sweep(exchange.claim.max_crashes)?;
        wake::wake_parents(self)?;
        self.write_counts()?;
        reply.cancelled = self.notices(exchange.worker, exchange.number, exchange.acknowledged)?;
        // A worker that was given up must not take tasks under a dead id.
        let knows = self.knows(exchange.worker)?;
        if knows {
            self.hand_out_again(exchange.worker, exchange.acknowledged, &mut reply)?;
        }
        let mut lanes = self.lanes(exchange.worker, &exchange.claim)?;
        if knows {
            self.claim(exchange.worker, exchange.number, &mut lanes, &mut reply)?;
        }
        reply.next_due = if more {
            Some(self.now)
        } else {
            self.next_due(exchange.worker, &lanes, &reply.claimed)?
        };
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

    fn apply(&mut self, unit: &Unit) -> Result<Applied> {
        if self.end_without_reading(unit)? { Ok(Ok(None)) } else { unit::apply(self, unit) }
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
