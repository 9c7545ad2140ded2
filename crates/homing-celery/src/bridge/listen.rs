//! Results of tasks that Celery runs for homing, heard as they are stored: a push that wakes those that wait. It may
//! be lost: `look` stands behind it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use homing::{StoreError, SubmitError, TaskId};
use redis::RedisResult;

use super::{Fault, Shared, look};
use crate::call::{HEARD, Heard};

/// After so long without a word the connection is taken for dead and made anew.
const SILENCE: Duration = Duration::from_mins(1);

pub(super) fn start(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        shared.again("listening to results", |shared| async move { results(&shared).await }).await;
    });
}

async fn results(shared: &Arc<Shared>) -> Result<(), Fault> {
    let mut listener = shared.results.listener().await?;
    listener.psubscribe(shared.results.keys.results_pattern()).await?;
    // Whatever was told while nobody listened: a bridge that died, or a connection.
    look::all(shared).await?;
    let mut messages = listener.on_message();
    loop {
        // What nobody had to say is no fault: the connection is made anew, and whatever was said meanwhile is found
        // by the next look.
        let Ok(heard) = tokio::time::timeout(SILENCE, messages.next()).await else { return Ok(()) };
        let Some(message) = heard else {
            return Err(Fault::Silent("the connection that hears results was closed"));
        };
        let keys = &shared.results.keys;
        let task = keys.of_result(message.get_channel_name()).and_then(|id| keys.task(id));
        if let Some(task) = task {
            tell(shared, task, message.get_payload_bytes()).await?;
        }
    }
}

/// Tells a task of a result, if it is one for good. Whether the task is known and was told, or has ended.
pub(super) async fn tell(shared: &Shared, task: TaskId, text: &[u8]) -> Result<Delivery, Fault> {
    let heard = Heard::read(text);
    if !heard.is_final() {
        return Ok(Delivery::NotYet);
    }
    let told = match shared.homing.signal(task, HEARD, &heard).await {
        // What homing cannot keep must not keep others from being told.
        Err(SubmitError::Invalid(why)) => {
            let heard = Heard::Unreadable(why.to_string());
            shared.homing.signal(task, HEARD, &heard).await
        }
        told => told,
    };
    match told {
        Ok(told) if told.is_sent() => {}
        Ok(_) => return Ok(Delivery::Ended),
        Err(SubmitError::Store(StoreError::Unknown { .. })) => return Ok(Delivery::Unknown),
        Err(other) => return Err(other.into()),
    }
    let id = shared.results.keys.celery_id(task);
    let mut strike = redis::cmd("ZREM");
    strike.arg(shared.results.keys.register("out")).arg(id);
    // If it stays, the next look strikes it off.
    let _: RedisResult<()> = shared.results.command(&strike).await;
    Ok(Delivery::Woken)
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is none for good.
    NotYet,
    /// The task was told.
    Woken,
    /// The task had ended.
    Ended,
    /// The store does not know the task.
    Unknown,
}
