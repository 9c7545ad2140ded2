//! The looks behind the pushes: what is under way is registered in Redis by the time of its next look, and whichever
//! bridge comes by when that is due looks. So a word that was lost, and a process that died, cost one look.
//!
//! `out` holds what Celery runs for homing: a look finds its result, or that its homing task has ended, and then asks
//! Celery to revoke it. `in` holds what homing runs for Celery: a look finds jobs that were ended from outside, without
//! their bodies, and has their callers told.

use std::sync::Arc;
use std::time::Duration;

use homing::{Reason, StoreError, Submission, TaskId, TaskView};
use redis::RedisResult;

use super::listen::{Delivery, tell};
use super::{Fault, Shared, consume, own_queue};
use crate::call::Order;
use crate::entry::{After, aftermath};
use crate::redis::DUE;
use crate::wire::{Command, Message, Meta};

/// Looks in one round.
const MOST: usize = 500;

pub(super) fn start(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        shared
            .again("looking at what is under way", |shared| async move {
                let out = look_out(&shared).await?;
                let found = look_in(&shared).await?;
                if out < MOST && found < MOST {
                    let pause = (shared.settings.look / 4).max(Duration::from_millis(50));
                    tokio::time::sleep(pause).await;
                }
                Ok(())
            })
            .await;
    });
}

async fn due(shared: &Shared, register: &str) -> RedisResult<Vec<String>> {
    let mut script = DUE.prepare_invoke();
    script.key(shared.results.keys.register(register));
    script.arg(MOST).arg(shared.settings.look.as_secs_f64());
    shared.results.script(&script).await
}

async fn strike_off(shared: &Shared, register: &str, member: &str) -> RedisResult<()> {
    let mut strike = redis::cmd("ZREM");
    strike.arg(shared.results.keys.register(register)).arg(member);
    shared.results.command(&strike).await
}

async fn found(shared: &Shared, task: impl Into<TaskId>) -> Result<Option<TaskView>, Fault> {
    match shared.homing.task(task).await {
        Ok(task) => Ok(Some(task)),
        Err(StoreError::Unknown { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Looks at everything that Celery runs for homing, due or not.
pub(super) async fn all(shared: &Arc<Shared>) -> Result<(), Fault> {
    let mut read = redis::cmd("ZRANGE");
    read.arg(shared.results.keys.register("out")).arg(0).arg(-1);
    let ids: Vec<String> = shared.results.command(&read).await?;
    for some in ids.chunks(MOST) {
        looked(shared, some).await?;
    }
    Ok(())
}

async fn look_out(shared: &Arc<Shared>) -> Result<usize, Fault> {
    let ids = due(shared, "out").await?;
    looked(shared, &ids).await?;
    Ok(ids.len())
}

/// Looks at tasks that Celery runs for homing.
async fn looked(shared: &Arc<Shared>, ids: &[String]) -> Result<(), Fault> {
    if ids.is_empty() {
        return Ok(());
    }
    let keys = &shared.results.keys;
    let mut read = redis::cmd("MGET");
    for id in ids {
        read.arg(keys.result(id));
    }
    let results: Vec<Option<Vec<u8>>> = shared.results.command(&read).await?;
    for (id, result) in ids.iter().zip(results) {
        let Some(task) = keys.task(id) else {
            strike_off(shared, "out", id).await?;
            continue;
        };
        let told = match &result {
            Some(text) => tell(shared, id, text).await?,
            None => Delivery::NotYet,
        };
        match told {
            Delivery::Woken => {}
            Delivery::Ended => strike_off(shared, "out", id).await?,
            Delivery::Unknown => forgotten(shared, id).await?,
            Delivery::NotYet => under_way(shared, id, task).await?,
        }
    }
    Ok(())
}

/// Nothing is known of the task in this store: it was removed, or belongs to another store. Nobody waits here.
async fn forgotten(shared: &Shared, id: &str) -> Result<(), Fault> {
    tracing::warn!(
        id,
        "the register names a task that the store does not know: it was removed, or two stores share a Redis without `BridgeBuilder::name`"
    );
    Ok(strike_off(shared, "out", id).await?)
}

/// A task that Celery has not ended: if nobody waits for it any more, it is revoked.
async fn under_way(shared: &Shared, id: &str, task: TaskId) -> Result<(), Fault> {
    let Some(view) = found(shared, task).await? else { return forgotten(shared, id).await };
    if !view.state.is_ended() {
        return Ok(());
    }
    let terminate = Order::of(&view.arguments).is_some_and(|order| order.terminate);
    let text = Command::revoke(id, terminate, shared.tick());
    let channel = shared.broker.keys.channel("celery.pidbox");
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(channel).arg(text);
    shared.broker.command::<()>(&publish).await?;
    Ok(strike_off(shared, "out", id).await?)
}

async fn look_in(shared: &Arc<Shared>) -> Result<usize, Fault> {
    let members = due(shared, "in").await?;
    for member in &members {
        let Some((retries, id)) = member.split_once('#') else {
            strike_off(shared, "in", member).await?;
            continue;
        };
        let job = consume::job_of(id, retries.parse().unwrap_or(0));
        // One that is not there yet was noted and not submitted: it is taken again with its message.
        let Some(view) = found(shared, job).await? else { continue };
        if !view.state.is_ended() {
            continue;
        }
        if let Some(after) = after(&view)
            && !(after.failure.reason == Reason::Error && has_ended(shared, id).await?)
        {
            let queue = own_queue(shared.settings.name.as_deref());
            let job = homing::JobId::named(&format!("celery-aftermath:{member}:{}", view.attempt));
            let call = aftermath(after).queue(queue);
            match shared.homing.submit_all([Submission::of(call).id(job)]).await {
                Ok(_) => {}
                Err(refused) => return Err(refused.error.into()),
            }
        }
        strike_off(shared, "in", member).await?;
    }
    Ok(members.len())
}

/// Whether the caller has been told of an end. A body that fails tells its caller first, all but one that cannot.
async fn has_ended(shared: &Shared, id: &str) -> RedisResult<bool> {
    let mut read = redis::cmd("GET");
    read.arg(shared.results.keys.result(id));
    let text: Option<Vec<u8>> = shared.results.command(&read).await?;
    Ok(text.is_some_and(|text| Meta::read(&text).is_ok_and(|meta| meta.status.is_final())))
}

/// What is left to do for a job that was ended without its body: its own end is struck off by the body itself.
fn after(view: &TaskView) -> Option<After> {
    #[derive(serde::Deserialize)]
    struct Arguments {
        message: Message,
    }
    let failure = view.failure.clone()?;
    let arguments: Arguments = serde_json::from_str(&view.arguments).ok()?;
    Some(After { message: arguments.message, failure })
}
