//! The queues, and the workers and kinds that serve them.

use tokio_postgres::Row;

use super::super::Shared;
use crate::core::id::JobId;
use crate::core::parameter::Parameter;
use crate::limits;
use crate::store::columns::kind;
use crate::store::postgres::link::fault::Result;
use crate::store::postgres::link::pipeline::values;
use crate::store::postgres::now;
use crate::store::postgres::transaction::bundle::members;
use crate::store::postgres::transaction::columns::{count, limit, small};
use crate::store::read::{KindView, QueueView, WorkerView};

by_name! {
    queue_columns queue {
        name = "coalesce(q.queue, p.queue) COLLATE \"C\" AS name",
        ready = "coalesce(q.ready, 0)",
        scheduled = "coalesce(q.scheduled, 0)",
        oldest = "q.oldest",
        paused = "p.queue IS NOT NULL",
        stalled = "coalesce(q.stalled, 0)",
    }
}

const QUEUES: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT ",
    now!(),
    " AS now)
  SELECT ",
    queue_columns!(),
    "
  FROM (SELECT o.queue, count(*) FILTER (WHERE o.due <= c.now) AS ready,
      count(*) FILTER (WHERE o.due > c.now) AS scheduled,
      min(o.due) FILTER (WHERE o.due <= c.now) AS oldest,
      count(*) FILTER (WHERE o.stalls > 0) AS stalled
    FROM (SELECT queue, due, stalls FROM homing.open WHERE state = 0
        UNION ALL SELECT b.queue, b.due, 0 FROM homing.bundles AS b ",
    members!(),
    " WHERE b.worker IS NULL) AS o
      CROSS JOIN clock AS c GROUP BY o.queue) AS q
    FULL JOIN homing.paused AS p ON p.queue = q.queue
  ORDER BY name"
);

by_name! {
    worker_columns worker {
        id,
        name,
        kinds,
        queues,
        slots,
        running = "((SELECT count(*) FROM homing.open AS o WHERE o.state = 1 AND o.worker = w.id)
      + (SELECT coalesce(sum(b.here), 0) FROM homing.bundles AS b WHERE b.worker = w.id))::integer",
        resident,
        started,
        heartbeat,
        ended,
        alive = concat!("heartbeat + lease >= ", now!(), " AND id <> ALL ($2::uuid[])"),
    }
}

const WORKERS: &str =
    concat!("SELECT ", worker_columns!(), " FROM homing.workers AS w ORDER BY id");

/// From each pair to the next along the index; bundles are few. In the order of bytes only at the end: the
/// index has another where the database's collation has.
const PENDING_KINDS: &str = "WITH RECURSIVE pair AS (
    (SELECT queue, kind FROM homing.open WHERE state = 0 AND crashes = 0 AND NOT at_once ORDER BY queue, kind LIMIT 1)
    UNION ALL SELECT n.queue, n.kind FROM pair CROSS JOIN LATERAL (
      SELECT queue, kind FROM homing.open
      WHERE state = 0 AND crashes = 0 AND NOT at_once AND (queue, kind) > (pair.queue, pair.kind)
      ORDER BY queue, kind LIMIT 1) AS n)
  SELECT queue COLLATE \"C\" AS queue, kind COLLATE \"C\" AS kind FROM pair
  UNION SELECT queue COLLATE \"C\", kind COLLATE \"C\" FROM homing.bundles WHERE worker IS NULL
  UNION SELECT queue COLLATE \"C\", kind COLLATE \"C\" FROM homing.open
    WHERE state = 0 AND (crashes > 0 OR at_once) AND crashes < 2
  ORDER BY queue, kind LIMIT $1";

const KINDS: &str =
    concat!("SELECT ", kind_columns!(), " FROM homing.kinds ORDER BY name COLLATE \"C\"");

const HOLDER: &str = "SELECT job FROM homing.keys WHERE key = $1";

impl Shared {
    pub(in crate::store::postgres) async fn queues(&self) -> Result<Vec<QueueView>> {
        let rows = self.read(QUEUES, values![self.manual_now()]).await?;
        let view = |row: &Row| {
            Ok(QueueView {
                name: row.try_get(queue::name)?,
                ready: count(row, queue::ready)?,
                scheduled: count(row, queue::scheduled)?,
                oldest: row.try_get(queue::oldest)?,
                paused: row.try_get(queue::paused)?,
                stalled: count(row, queue::stalled)?,
            })
        };
        rows.iter().map(view).collect()
    }

    pub(in crate::store::postgres) async fn pending_kinds(&self) -> Result<Vec<(String, String)>> {
        let rows = self.read(PENDING_KINDS, values![limit(limits::PAGE)]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    pub(in crate::store::postgres) async fn workers(&self) -> Result<Vec<WorkerView>> {
        let rows = self.read(WORKERS, values![self.manual_now(), self.killed()]).await?;
        let view = |row: &Row| {
            Ok(WorkerView {
                id: row.try_get(worker::id)?,
                name: row.try_get(worker::name)?,
                kinds: row.try_get(worker::kinds)?,
                queues: row.try_get(worker::queues)?,
                slots: small(row, worker::slots)?,
                running: small(row, worker::running)?,
                resident: small(row, worker::resident)?,
                started: row.try_get(worker::started)?,
                heartbeat: row.try_get(worker::heartbeat)?,
                ended: count(row, worker::ended)?,
                alive: row.try_get(worker::alive)?,
            })
        };
        rows.iter().map(view).collect()
    }

    pub(in crate::store::postgres) async fn kinds(&self) -> Result<Vec<KindView>> {
        let rows = self.read(KINDS, values![]).await?;
        let view = |row: &Row| {
            let arguments: Vec<&str> = row.try_get(kind::arguments)?;
            let arguments = arguments.into_iter().map(Parameter::from_text).collect();
            Ok(KindView { name: row.try_get(kind::name)?, arguments })
        };
        rows.iter().map(view).collect()
    }

    pub(in crate::store::postgres) async fn holder(&self, key: &str) -> Result<Option<JobId>> {
        let rows = self.read(HOLDER, values![key]).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }
}
