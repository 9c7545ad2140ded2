//! `heartbeat` and `leave`: workers come and go. A lock, not the lease, says who lives.

use rusqlite::{OptionalExtension, params};

use super::fault::Result;
use super::tx::Tx;
use crate::core::id::WorkerId;
use crate::store::Heartbeat;
use crate::store::rules::{upkeep, wake};

impl Tx<'_> {
    pub(super) fn heartbeat(&mut self, told: &Heartbeat) -> Result<bool> {
        let known = self.knows(told.worker)?;
        if !known && !told.first {
            return Ok(false);
        }
        // Before the row: whoever sees the row without the lock takes the worker for dead.
        self.shared.locks.take(told.worker)?;
        let values = params![
            told.worker,
            told.name,
            crate::core::encode::json(&told.kinds),
            crate::core::encode::json(&told.queues),
            told.slots,
            told.running,
            told.resident,
            self.now,
            told.ended as i64
        ];
        if known {
            self.sql(
                "UPDATE workers SET name = ?2, kinds = ?3, queues = ?4, slots = ?5, running = ?6,
                   resident = ?7, heartbeat = ?8, ended = ?9 WHERE id = ?1",
            )?
            .execute(values)?;
            return Ok(true);
        }
        self.sql(
            "INSERT INTO workers (id, name, kinds, queues, slots, running, resident, started,
               heartbeat, ended)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9)",
        )?
        .execute(values)?;
        let mut learn =
            self.sql("INSERT OR REPLACE INTO kinds (name, arguments) VALUES (?1, ?2)")?;
        for (kind, arguments) in told.kinds.iter().zip(told.arguments.iter()) {
            learn.execute([kind, &crate::core::encode::json(arguments)])?;
        }
        Ok(true)
    }

    /// What the worker still holds goes to others at once, and counts no crash.
    pub(super) fn leave(&mut self, worker: WorkerId) -> Result<()> {
        self.forget_worker(worker)?;
        for task in self.held_by(worker)? {
            let left = upkeep::leave(self, task, worker);
            wake::contain(self, task, left)?;
        }
        Ok(())
    }

    /// Whether the worker has a row. One that was given up has none, and is given no tasks.
    pub(super) fn knows(&self, worker: WorkerId) -> Result<bool> {
        let mut find = self.sql("SELECT 1 FROM workers WHERE id = ?1")?;
        Ok(find.query_row([worker], |_| Ok(())).optional()?.is_some())
    }

    /// Removes a worker's row and what it was to be told; its lock goes after the commit.
    pub(super) fn forget_worker(&mut self, worker: WorkerId) -> Result<()> {
        self.sql("DELETE FROM workers WHERE id = ?1")?.execute([worker])?;
        self.sql("DELETE FROM notices WHERE worker = ?1")?.execute([worker])?;
        self.effects.gone.push(worker);
        Ok(())
    }
}
