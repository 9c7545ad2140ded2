//! From Redis: messages are taken and noted in one script, and struck off once they are jobs. Between the two a message
//! stands among the noted ones; if this process dies, the next bridge takes it from there.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify, watch};

use super::{MOST, Refusal, Shared, into_store};
use crate::error::Fault;
use crate::point;
use crate::redis::{Link, TAKE};
use crate::wire::{Envelope, Message};

/// A noted message that has not become a job is taken again after so many looks' time.
const NOTED: u32 = 2;
/// How long the bridge waits at most between two looks at its queues.
const IDLE: Duration = Duration::from_millis(200);
/// How long one hint waits in the server.
const HINT: u64 = 30;

pub(super) fn start(shared: &Arc<Shared>, link: &Link) {
    let (shared, door) = (Arc::clone(shared), Arc::new(Door::default()));
    for queue in shared.settings.queues.clone() {
        let (shared, door, link) = (Arc::clone(&shared), Arc::clone(&door), link.clone());
        tokio::spawn(async move {
            let waits = |_| {
                let (door, queue, link) = (Arc::clone(&door), queue.clone(), link.clone());
                async move { hints(&link, &queue, &door).await }
            };
            shared.again("waiting for messages", waits).await;
        });
    }
    let (held, tags) = (Arc::new(Mutex::new(Held::default())), uuid::Uuid::now_v7());
    let link = link.clone();
    tokio::spawn(async move {
        let takes = |shared: Arc<Shared>| {
            let (door, held, link) = (Arc::clone(&door), Arc::clone(&held), link.clone());
            async move { round((&shared, &link), &mut *held.lock().await, (&tags, &door)).await }
        };
        shared.again("taking messages", takes).await;
    });
}

/// Between the loop that takes and those that wait for something to take.
#[derive(Debug, Default)]
struct Door {
    rang: Notify,
    /// How often nothing was found.
    idle: watch::Sender<u64>,
}

/// What the taking loop holds. Should the store be away, it takes no more until this is in it.
#[derive(Debug, Default)]
struct Held {
    turn: usize,
    taken: Vec<(String, Vec<u8>)>,
}

/// Once nothing is left: sits in the server until something comes into a queue, and leaves it where it is, the end of
/// a list moved to the end of the same list. What has a priority of its own is found by the looks.
async fn hints(link: &Link, queue: &str, door: &Door) -> Result<(), Fault> {
    let list = link.keys.queue(queue, 0);
    let mut connection = Box::pin(link.connect(Duration::from_secs(HINT + 10))).await?;
    let mut idle = door.idle.subscribe();
    loop {
        let mut command = redis::cmd("BLMOVE");
        command.arg(&list).arg(&list).arg("RIGHT").arg("RIGHT").arg(HINT);
        let found: redis::Value = command.query_async(&mut connection).await?;
        if found != redis::Value::Nil {
            idle.mark_unchanged();
            door.rang.notify_one();
            // Under load it would be told again and again what the taking loop knows. The sender is at the door.
            let _ = idle.changed().await;
        }
    }
}

/// Takes what there is; where there is nothing, waits for a hint.
async fn round(
    (shared, link): (&Arc<Shared>, &Link),
    held: &mut Held,
    (tags, door): (&uuid::Uuid, &Door),
) -> Result<(), Fault> {
    if held.taken.is_empty() {
        held.turn += 1;
        let tags = format!("{tags}:{}", held.turn);
        held.taken = take((shared, link), held.turn, &tags).await?;
        point::pass("taken");
    }
    if held.taken.is_empty() {
        door.idle.send_modify(|idle| *idle += 1);
        // A timeout is an ordinary look.
        let _ = tokio::time::timeout(IDLE, door.rang.notified()).await;
        return Ok(());
    }
    into_store(shared, held.taken.iter().map(|(_, text)| read(text))).await?;
    point::pass("submitted");
    strike_off(link, &held.taken).await?;
    held.taken.clear();
    point::pass("acknowledged");
    Ok(())
}

async fn take(
    (shared, link): (&Shared, &Link),
    turn: usize,
    tags: &str,
) -> RedisResult<Vec<(String, Vec<u8>)>> {
    let keys = &link.keys;
    let mut script = TAKE.prepare_invoke();
    script.key(keys.unacked()).key(keys.unacked_index());
    for list in keys.lists(&shared.settings.queues, turn) {
        script.key(list);
    }
    script.arg(MOST).arg((shared.settings.look * NOTED).as_secs_f64()).arg(tags);
    let flat: Vec<Vec<u8>> = link.script(&script).await?;
    let mut taken = Vec::new();
    let mut flat = flat.into_iter();
    while let (Some(tag), Some(text)) = (flat.next(), flat.next()) {
        taken.push((String::from_utf8_lossy(&tag).into_owned(), text));
    }
    Ok(taken)
}

async fn strike_off(link: &Link, taken: &[(String, Vec<u8>)]) -> RedisResult<()> {
    let keys = &link.keys;
    let (mut messages, mut times) = (redis::cmd("HDEL"), redis::cmd("ZREM"));
    messages.arg(keys.unacked());
    times.arg(keys.unacked_index());
    for (tag, _) in taken {
        messages.arg(tag);
        times.arg(tag);
    }
    let mut pipe = redis::pipe();
    pipe.add_command(messages).ignore().add_command(times).ignore();
    link.commands(&pipe).await
}

fn read(text: &[u8]) -> Result<Message, Refusal> {
    let envelope = Envelope::read(text).map_err(|refused| {
        let sender = Sender::of(text);
        let headers = json!({"id": sender.headers.id, "task": sender.headers.task});
        Refusal::of(refused, &headers, (sender.properties.correlation_id.as_deref(), None))
    })?;
    envelope.message().map_err(|refused| {
        let correlation = envelope.properties.others.get("correlation_id").and_then(Value::as_str);
        Refusal::of(refused, &envelope.headers, (correlation, None))
    })
}

/// Who waits for a message that is no envelope, as far as it says so: all else in it is passed over, however deep it is
/// nested.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sender {
    headers: Ids,
    properties: Ids,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ids {
    id: Option<String>,
    task: Option<String>,
    correlation_id: Option<String>,
}

impl Sender {
    fn of(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }
}
