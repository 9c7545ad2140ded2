//! What people have done.

use super::Shared;
use super::link::fault::Result;
use super::link::pipeline::values;
use super::transaction::columns::{above, count, limit};
use crate::limits;
use crate::store::read::actions::{ActionFilter, ActionView, NewAction};

by_name! {
    columns at {
        number,
        time,
        who,
        verb,
        target,
        result,
    }
}

/// One statement, which commits by itself. The oldest have the lowest numbers: those beyond their age are few, as each
/// action forgets some.
const BEGIN: &str = concat!(
    "WITH now AS (SELECT ",
    super::now!(),
    " AS now), gone AS (DELETE FROM homing.actions WHERE time < (SELECT now FROM now) - $5::bigint
       AND number IN (SELECT number FROM homing.actions ORDER BY number LIMIT $6))
     INSERT INTO homing.actions (time, who, verb, target) SELECT now, $2, $3, $4 FROM now
     RETURNING number"
);

const END: &str = "UPDATE homing.actions SET result = $2 WHERE number = $1";

const ACTIONS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM homing.actions WHERE number < $1 AND ($2::text IS NULL OR who = $2)
    AND ($3::text IS NULL OR target = $3) ORDER BY number DESC LIMIT $4"
);

impl Shared {
    /// Keeps that somebody is about to do something, and forgets what is old.
    pub(super) async fn begin_action(&self, action: &NewAction) -> Result<u64> {
        let NewAction { who, verb, target } = action;
        let kept = i64::try_from(limits::ACTIONS_KEPT.as_micros()).unwrap_or(i64::MAX);
        let forgotten = limit(limits::ACTIONS_FORGOTTEN);
        let now = self.manual_now();
        let rows = self
            .transaction(async |session| {
                let values = values![now, who.as_str(), *verb, target.as_str(), kept, forgotten];
                session.one(BEGIN, values).await
            })
            .await?;
        rows.first().map_or(Ok(0), |row| count(row, 0))
    }

    pub(super) async fn end_action(&self, number: u64, result: &str) -> Result<()> {
        let number = above(number);
        self.transaction(async |session| session.one(END, values![number, result]).await).await?;
        Ok(())
    }

    pub(super) async fn actions(&self, filter: &ActionFilter) -> Result<Vec<ActionView>> {
        let before = above(filter.before.unwrap_or(u64::MAX));
        let (who, target) = (filter.who.as_deref(), filter.target.as_deref());
        let rows = self.read(ACTIONS, values![before, who, target, limit(filter.rows())]).await?;
        let view = |row: &tokio_postgres::Row| {
            Ok(ActionView {
                number: count(row, at::number)?,
                time: row.try_get(at::time)?,
                who: row.try_get(at::who)?,
                verb: row.try_get(at::verb)?,
                target: row.try_get(at::target)?,
                result: row.try_get(at::result)?,
            })
        };
        rows.iter().map(view).collect()
    }
}
