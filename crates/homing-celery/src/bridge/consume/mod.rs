//! Messages in: taken from the broker, submitted as jobs in one transaction, and acknowledged after it.
//!
//! A job's id is that of the message, so whatever is taken twice is one job. A message that is taken and not yet a job
//! is still the broker's, or stands among those that are noted: if this process dies, the next bridge takes it.

use std::sync::Arc;

use homing::{JobId, Submission, SubmitError};
use serde_json::{Value, json};

use super::{Broker, IN, Shared, own_queue};
use crate::entry::{ended, entry, refuse};
use crate::error::Fault;
use crate::wire::{Event, Message, Refused};

mod rabbit;
mod redis;

/// Messages that are taken at once.
const MOST: usize = 100;

pub(super) fn start(shared: &Arc<Shared>) {
    if shared.settings.queues.is_empty() {
        return;
    }
    match &shared.broker {
        Broker::Redis(link) => redis::start(shared, link),
        Broker::Rabbit(rabbit) => rabbit::start(shared, rabbit),
    }
}

/// What is known of a message that is not taken.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) refused: Refused,
    /// The id of the task that its caller waits for, if it says one.
    pub(crate) id: Option<String>,
    pub(crate) task: Option<String>,
    /// The queue in which its caller waits.
    pub(crate) reply_to: Option<String>,
}

impl Refusal {
    /// Of a message with these headers, and with what its properties say: `correlation_id` and `reply_to`.
    fn of(
        refused: Refused,
        headers: &Value,
        (correlation_id, reply_to): (Option<&str>, Option<&str>),
    ) -> Self {
        let header = |name: &str| headers.get(name).and_then(Value::as_str);
        let id = header("id").or(correlation_id).map(str::to_owned);
        let task = header("task").map(str::to_owned);
        Self { refused, id, task, reply_to: reply_to.map(str::to_owned) }
    }
}

/// Makes jobs of messages, and tells the callers of those that are refused. After it all of them may be acknowledged.
async fn into_store(
    shared: &Arc<Shared>,
    messages: impl Iterator<Item = Result<Message, Refusal>>,
) -> Result<(), Fault> {
    let (mut jobs, mut refused) = (Vec::new(), Vec::new());
    for message in messages {
        match message {
            Ok(message) => jobs.push(message),
            Err(refusal) => refused.push(refusal),
        }
    }
    submit(shared, jobs).await?;
    for refusal in refused {
        refuse(shared, refusal).await?;
    }
    Ok(())
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
    // On Redis Celery's 0 goes first, on RabbitMQ and here the highest.
    let priority = match &shared.broker {
        Broker::Redis(_) => -i16::from(message.priority),
        Broker::Rabbit(_) => i16::from(message.priority),
    };
    // Recorded with the end of a job that is cancelled, or ends without its body in whatever way.
    let next = serde_json::to_value(ended(id).queue(queue.as_str())).ok();
    Submission::of(entry(message, next).queue(queue).priority(priority)).id(id).title(title)
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

async fn note(shared: &Shared, messages: &[Message]) -> Result<(), Fault> {
    let next = shared.seconds() + shared.settings.look.as_secs_f64();
    let members: Vec<String> = messages.iter().map(member).collect();
    shared.notes.enter(IN, &members, (next, false)).await
}

/// What the register calls a message.
pub(crate) fn member(message: &Message) -> String {
    format!("{}#{}", message.headers.retries, message.headers.id)
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
            let reply_to = message.reply_to.clone();
            refuse(shared, Refusal { refused, id, task, reply_to }).await
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
