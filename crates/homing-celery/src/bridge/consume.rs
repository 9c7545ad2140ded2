//! Messages in: taken and noted in one script, submitted as jobs in one transaction, then struck off.
//!
//! A job's id is that of the message, so whatever is taken twice is one job. Between the script and the transaction a
//! message stands among the noted ones; if this process dies, the next bridge takes it from there.

use std::sync::Arc;
use std::time::Duration;

use homing::{JobId, Submission, SubmitError};
use redis::RedisResult;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify, watch};

use super::{Fault, Shared, own_queue};
use crate::entry::{entry, refuse};
use crate::point;
use crate::redis::TAKE;
use crate::wire::{Envelope, Event, Message, Refused};

/// Messages that are taken at once.
const MOST: usize = 100;
/// A noted message that has not become a job is taken again after so many looks' time.
const NOTED: u32 = 2;
/// How long the bridge waits at most between two looks at its queues.
const IDLE: Duration = Duration::from_millis(200);
/// How long one hint waits in the server.
const HINT: u64 = 30;

pub(super) fn start(shared: &Arc<Shared>) {
    if shared.settings.queues.is_empty() {
        return;
    }
    let (shared, door) = (Arc::clone(shared), Arc::new(Door::default()));
    for queue in shared.settings.queues.clone() {
        let (shared, door) = (Arc::clone(&shared), Arc::clone(&door));
        tokio::spawn(async move {
            let waits = |shared: Arc<Shared>| {
                let (door, queue) = (Arc::clone(&door), queue.clone());
                async move { hints(&shared, &queue, &door).await }
            };
            shared.again("waiting for messages", waits).await;
        });
    }
    let (held, tags) = (Arc::new(Mutex::new(Held::default())), uuid::Uuid::now_v7());
    tokio::spawn(async move {
        let takes = |shared: Arc<Shared>| {
            let (door, held) = (Arc::clone(&door), Arc::clone(&held));
            async move { round(&shared, &mut *held.lock().await, (&tags, &door)).await }
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
async fn hints(shared: &Shared, queue: &str, door: &Door) -> Result<(), Fault> {
    let list = shared.broker.keys.queue(queue, 0);
    let mut connection = Box::pin(shared.broker.connect(Duration::from_secs(HINT + 10))).await?;
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
    shared: &Arc<Shared>,
    held: &mut Held,
    (tags, door): (&uuid::Uuid, &Door),
) -> Result<(), Fault> {
    if held.taken.is_empty() {
        held.turn += 1;
        held.taken = take(shared, held.turn, &format!("{tags}:{}", held.turn)).await?;
        point::pass("taken");
    }
    if held.taken.is_empty() {
        door.idle.send_modify(|idle| *idle += 1);
        // A timeout is an ordinary look.
        let _ = tokio::time::timeout(IDLE, door.rang.notified()).await;
        return Ok(());
    }
    let (mut jobs, mut refused) = (Vec::new(), Vec::new());
    for (_, text) in &held.taken {
        match read(text) {
            Ok(message) => jobs.push(message),
            Err(refusal) => refused.push(refusal),
        }
    }
    submit(shared, jobs).await?;
    for refusal in refused {
        refuse(shared, refusal).await?;
    }
    point::pass("submitted");
    strike_off(shared, &held.taken).await?;
    held.taken.clear();
    point::pass("acknowledged");
    Ok(())
}

async fn take(shared: &Shared, turn: usize, tags: &str) -> RedisResult<Vec<(String, Vec<u8>)>> {
    let keys = &shared.broker.keys;
    let mut script = TAKE.prepare_invoke();
    script.key(keys.unacked()).key(keys.unacked_index());
    for list in keys.lists(&shared.settings.queues, turn) {
        script.key(list);
    }
    script.arg(MOST).arg((shared.settings.look * NOTED).as_secs_f64()).arg(tags);
    let flat: Vec<Vec<u8>> = shared.broker.script(&script).await?;
    let mut taken = Vec::new();
    let mut flat = flat.into_iter();
    while let (Some(tag), Some(text)) = (flat.next(), flat.next()) {
        taken.push((String::from_utf8_lossy(&tag).into_owned(), text));
    }
    Ok(taken)
}

async fn strike_off(shared: &Shared, taken: &[(String, Vec<u8>)]) -> RedisResult<()> {
    let keys = &shared.broker.keys;
    let (mut messages, mut times) = (redis::cmd("HDEL"), redis::cmd("ZREM"));
    messages.arg(keys.unacked());
    times.arg(keys.unacked_index());
    for (tag, _) in taken {
        messages.arg(tag);
        times.arg(tag);
    }
    let mut pipe = redis::pipe();
    pipe.add_command(messages).ignore().add_command(times).ignore();
    shared.broker.commands(&pipe).await
}

/// What is known of a message that is not taken.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) refused: Refused,
    /// The id of the task that its caller waits for, if it says one.
    pub(crate) id: Option<String>,
    pub(crate) task: Option<String>,
}

fn read(text: &[u8]) -> Result<Message, Refusal> {
    let nothing = |refused| Refusal { refused, id: None, task: None };
    let envelope = Envelope::read(text).map_err(nothing)?;
    envelope.message().map_err(|refused| {
        let header = |name: &str| envelope.headers.get(name)?.as_str().map(str::to_owned);
        let others = &envelope.properties.others;
        let correlation = || others.get("correlation_id")?.as_str().map(str::to_owned);
        Refusal { refused, id: header("id").or_else(correlation), task: header("task") }
    })
}

/// The job that a message becomes. Celery sends a task again under the same id: each time is a job of its own.
pub(crate) fn job_of(id: &str, retries: u64) -> JobId {
    match retries {
        0 => JobId::named(&format!("celery:{id}")),
        retries => JobId::named(&format!("celery:{id}#{retries}")),
    }
}

fn submission(shared: &Shared, message: Message) -> Submission<entry> {
    let queue = own_queue(shared.settings.name.as_deref());
    let (id, title) =
        (job_of(&message.headers.id, message.headers.retries), message.headers.task.clone());
    // On Redis Celery's 0 goes first, here the higher number.
    let priority = -i16::from(message.priority);
    Submission::of(entry(message).queue(queue).priority(priority)).id(id).title(title)
}

/// Submits messages as jobs: all at once, or, if one of them is refused, one by one.
async fn submit(shared: &Arc<Shared>, messages: Vec<Message>) -> Result<(), Fault> {
    if messages.is_empty() {
        return Ok(());
    }
    // First, so that whatever becomes of the job somebody looks at it.
    note(shared, &messages).await?;
    let all: Vec<_> = messages.iter().map(|message| submission(shared, message.clone())).collect();
    if shared.homing.submit_all(all).await.is_err() {
        for message in &messages {
            one(shared, message).await?;
        }
    }
    shared.tell(messages.iter().map(received).collect()).await;
    Ok(())
}

async fn note(shared: &Shared, messages: &[Message]) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    let next = shared.seconds() + shared.settings.look.as_secs_f64();
    for message in messages {
        let register = shared.results.keys.register("in");
        let member = format!("{}#{}", message.headers.retries, message.headers.id);
        pipe.zadd(register, member, next).ignore();
    }
    shared.results.commands(&pipe).await
}

async fn one(shared: &Arc<Shared>, message: &Message) -> Result<(), Fault> {
    let refused = match shared.homing.submit_all([submission(shared, message.clone())]).await {
        Ok(_) => return Ok(()),
        Err(refused) => refused.error,
    };
    match refused {
        SubmitError::Conflict { id } => {
            // The first stands: its caller waits for that one's result.
            tracing::warn!(
                job = %id,
                task = message.headers.task,
                id = message.headers.id,
                "two messages of Celery's have one id and differ: the first is run, the second is not"
            );
            Ok(())
        }
        SubmitError::Invalid(invalid) => {
            let refused = Refused::field("the message", invalid.to_string());
            let headers = &message.headers;
            let (id, task) = (Some(headers.id.clone()), Some(headers.task.clone()));
            Ok(refuse(shared, Refusal { refused, id, task }).await?)
        }
        other => Err(other.into()),
    }
}

fn received(message: &Message) -> Event {
    let headers = &message.headers;
    Event::new(
        "task-received",
        json!({
            "uuid": headers.id,
            "name": headers.task,
            "args": headers.argsrepr.clone().unwrap_or_else(|| Value::from(message.args.clone()).to_string()),
            "kwargs": headers.kwargsrepr.clone().unwrap_or_else(|| json!(message.kwargs).to_string()),
            "root_id": headers.root_id,
            "parent_id": headers.parent_id,
            "retries": headers.retries,
            "eta": headers.eta,
            "expires": headers.expires,
        }),
    )
}
