//! Results of tasks that Celery runs for homing, heard as they are stored: a push that wakes those that wait. It may
//! be lost: `look` stands behind it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use homing::{StoreError, SubmitError};
use redis::RedisResult;
use tokio::sync::mpsc;

use super::{Fault, Shared, look};
use crate::call::{HEARD, Heard, Word};

/// After so long without a word the connection is taken for dead and made anew.
const SILENCE: Duration = Duration::from_mins(1);

/// How many results are told side by side: the store commits them together.
const LANES: usize = 32;
/// How many may wait in each lane, before the server's words wait.
const WAITING: usize = 64;

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
    let lanes: Vec<_> = (0..LANES).map(|_| lane(shared)).collect();
    let mut messages = listener.on_message();
    loop {
        // What nobody had to say is no fault: the connection is made anew, and whatever was said meanwhile is found
        // by the next look.
        let Ok(heard) = tokio::time::timeout(SILENCE, messages.next()).await else { return Ok(()) };
        let Some(message) = heard else {
            return Err(Fault::Silent("the connection that hears results was closed"));
        };
        let Some(id) = shared.results.keys.of_result(message.get_channel_name()) else { continue };
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let lane = &lanes[hasher.finish() as usize % LANES];
        // A lane ends with its sender only.
        let _ = lane.send((id.to_owned(), message.get_payload_bytes().to_vec())).await;
    }
}

/// Tells what is heard of some tasks, in order: many are told side by side, and what is told of one stays in order.
fn lane(shared: &Arc<Shared>) -> mpsc::Sender<(String, Vec<u8>)> {
    let (sender, mut receiver) = mpsc::channel::<(String, Vec<u8>)>(WAITING);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        while let Some((id, text)) = receiver.recv().await {
            if let Err(error) = tell(&shared, &id, &text).await {
                tracing::warn!(%error, id, "a result of Celery's was heard and could not be told: the next look tells it");
            }
        }
    });
    sender
}

/// Tells a task of a result, if it is one for good. Whether the task is known and was told, or has ended.
pub(super) async fn tell(shared: &Shared, id: &str, text: &[u8]) -> Result<Delivery, Fault> {
    let Some(task) = shared.results.keys.task(id) else { return Ok(Delivery::Unknown) };
    let heard = Heard::read(text);
    if !heard.is_final() {
        return Ok(Delivery::NotYet);
    }
    let word = Word { id: id.to_owned(), heard };
    let told = match shared.homing.signal(task, HEARD, &word).await {
        // What homing cannot keep must not keep others from being told.
        Err(SubmitError::Invalid(why)) => {
            let word = Word { heard: Heard::Unreadable(why.to_string()), ..word };
            shared.homing.signal(task, HEARD, &word).await
        }
        told => told,
    };
    match told {
        Ok(told) if told.is_sent() => {}
        Ok(_) => return Ok(Delivery::Ended),
        Err(SubmitError::Store(StoreError::Unknown { .. })) => return Ok(Delivery::Unknown),
        Err(other) => return Err(other.into()),
    }
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
