//! The queues, and the workers and kinds that serve them.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::super::columns::{count, text};
use super::super::fault::Result;
use super::super::tx::Tx;
use crate::core::id::{JobId, WorkerId};
use crate::core::parameter::Parameter;
use crate::store::columns::kind;
use crate::store::read::{KindView, QueueView, WorkerView, words};

by_name! {
    lane_columns lane {
        queue,
        kind,
    }
}

/// From each pair to the next along the index.
const NEXT_LANE: &str = concat!(
    "SELECT ",
    lane_columns!(),
    " FROM tasks INDEXED BY ready
      WHERE state = 0 AND (queue, kind) > (?1, ?2) AND crashes < ?3
      ORDER BY queue, kind LIMIT 1"
);

by_name! {
    queue_columns queue {
        name = "queue",
        ready = "sum(due <= ?1)",
        scheduled = "sum(due > ?1)",
        oldest = "min(iif(due <= ?1, due, NULL))",
    }
}

const QUEUES: &str = concat!(
    "SELECT ",
    queue_columns!(),
    " FROM tasks INDEXED BY ready WHERE state = 0 GROUP BY queue"
);

by_name! {
    worker_columns worker {
        id,
        name,
        kinds,
        queues,
        slots,
        resident,
        started,
        heartbeat,
        ended,
    }
}

const WORKERS: &str = concat!("SELECT ", worker_columns!(), " FROM workers ORDER BY id");

const KINDS: &str = concat!("SELECT ", kind_columns!(), " FROM kinds ORDER BY name");

impl Tx<'_> {
    pub(in crate::store::sqlite) fn pending_kinds(&self) -> Result<Vec<(String, String)>> {
        let mut next = self.sql(NEXT_LANE)?;
        let mut pairs: Vec<(String, String)> = Vec::new();
        while pairs.len() < crate::limits::PAGE {
            let (queue, kind) = pairs.last().map_or(("", ""), |(queue, kind)| (queue, kind));
            let found = next.query_row(params![queue, kind, crate::limits::SUSPECT], |row| {
                Ok((text(row, lane::queue)?, text(row, lane::kind)?))
            });
            match found.optional()? {
                Some(pair) => pairs.push(pair),
                None => break,
            }
        }
        Ok(pairs)
    }

    pub(in crate::store::sqlite) fn queues(&self) -> Result<Vec<QueueView>> {
        let mut queues = BTreeMap::new();
        let mut read = self.sql(QUEUES)?;
        for view in read.query_map([self.now], |row| {
            Ok(QueueView {
                name: row.get(queue::name)?,
                ready: count(row, queue::ready)?,
                scheduled: count(row, queue::scheduled)?,
                oldest: row.get(queue::oldest)?,
                stalled: 0,
                paused: false,
            })
        })? {
            let view = view?;
            queues.insert(view.name.clone(), view);
        }
        let mut read = self.sql(
            "SELECT queue, count(*) FROM tasks INDEXED BY stalled WHERE stalls > 0 AND state = 0
             GROUP BY queue",
        )?;
        for row in read.query_map((), |row| Ok((row.get::<_, String>(0)?, count(row, 1)?)))? {
            let (name, stalled) = row?;
            queues.entry(name).and_modify(|queue: &mut QueueView| queue.stalled = stalled);
        }
        let mut read = self.sql("SELECT queue FROM paused")?;
        for name in read.query_map((), |row| row.get::<_, String>(0))? {
            let name = name?;
            let fresh =
                QueueView { name, ready: 0, scheduled: 0, oldest: None, stalled: 0, paused: true };
            queues.entry(fresh.name.clone()).or_insert(fresh).paused = true;
        }
        Ok(queues.into_values().collect())
    }

    pub(in crate::store::sqlite) fn workers(&self) -> Result<Vec<WorkerView>> {
        let mut held: BTreeMap<WorkerId, u32> = BTreeMap::new();
        // Never more rows than all workers have slots.
        let mut running = self.sql(
            "SELECT worker, count(*) FROM tasks INDEXED BY running WHERE state = 1 GROUP BY worker",
        )?;
        for row in running.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))? {
            let (worker, tasks) = row?;
            held.insert(worker, tasks);
        }
        let mut read = self.sql(WORKERS)?;
        let mut rows = read.query(())?;
        let mut workers = Vec::new();
        while let Some(row) = rows.next()? {
            let id = row.get(worker::id)?;
            workers.push(WorkerView {
                id,
                name: text(row, worker::name)?,
                kinds: words(text(row, worker::kinds)?),
                queues: words(text(row, worker::queues)?),
                slots: row.get(worker::slots)?,
                running: held.get(&id).copied().unwrap_or(0),
                resident: row.get(worker::resident)?,
                started: row.get(worker::started)?,
                heartbeat: row.get(worker::heartbeat)?,
                ended: count(row, worker::ended)?,
                // A row that can be read was written after its lock was taken.
                alive: !self.shared.locks.is_dead(id)?,
            });
        }
        Ok(workers)
    }

    pub(in crate::store::sqlite) fn holder(&self, key: &str) -> Result<Option<JobId>> {
        let mut read = self.sql("SELECT job FROM keys WHERE \"key\" = ?1")?;
        Ok(read.query_row([key], |row| row.get(0)).optional()?)
    }

    pub(in crate::store::sqlite) fn kinds(&self) -> Result<Vec<KindView>> {
        let mut read = self.sql(KINDS)?;
        let mut rows = read.query(())?;
        let mut kinds = Vec::new();
        while let Some(row) = rows.next()? {
            let arguments = words(text(row, kind::arguments)?);
            let arguments = arguments.iter().map(|text| Parameter::from_text(text)).collect();
            kinds.push(KindView { name: text(row, kind::name)?, arguments });
        }
        Ok(kinds)
    }
}
