//! Results of tasks that Celery runs for homing, heard as they are stored: a push that wakes those that wait. It may
//! be lost: `look` stands behind it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use homing::{StoreError, SubmitError};
use tokio::sync::mpsc;

use super::{OUT, Results, Shared, look};
use crate::call::{HEARD, Heard, Word};
use crate::error::Fault;
use crate::rabbit::Rabbit;
use crate::redis::Link;

/// After so long without a word the connection is taken for dead and made anew.
const SILENCE: Duration = Duration::from_mins(1);

/// Results that are taken from a queue at once.
const MOST: usize = 100;
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
    match &shared.results {
        Results::Redis(link) => over_redis(shared, link).await,
        Results::Rpc(rabbit) => over_rabbit(shared, rabbit).await,
    }
}

/// Results that are sent to our queue. Each is acknowledged once its task was told, so none is lost on the way from the
/// server to the store.
async fn over_rabbit(shared: &Arc<Shared>, rabbit: &Rabbit) -> Result<(), Fault> {
    let expires = shared.settings.result_expires;
    let queue = shared.keys.replies();
    let mut consumer = rabbit.consume_results(&queue, (expires, MOST as u16)).await?;
    loop {
        let heard = consumer.batch(MOST).await?;
        // Of one task only the last word is one for good, and that there are two is no matter: the first is recorded.
        let told = heard.iter().map(|delivery| async move {
            let Some(id) = delivery.properties.correlation_id() else { return Ok(()) };
            tell(shared, id.as_str(), &delivery.data).await.map(drop)
        });
        futures_util::future::try_join_all(told).await?;
        if let Some(last) = heard.last() {
            consumer.acknowledge(last).await?;
        }
    }
}

async fn over_redis(shared: &Arc<Shared>, link: &Link) -> Result<(), Fault> {
    let mut listener = link.listener().await?;
    listener.psubscribe(link.keys.results_pattern()).await?;
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
        let Some(id) = link.keys.of_result(message.get_channel_name()) else { continue };
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
    let Some(task) = shared.keys.task(id) else { return Ok(Delivery::Unknown) };
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
    // If it stays, the next look strikes it off.
    let _ = shared.notes.strike(OUT, &[id]).await;
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
