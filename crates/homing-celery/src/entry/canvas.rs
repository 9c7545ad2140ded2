//! What follows a task: callbacks, the chain's next, error callbacks. Each is sent under a fixed id, once.

use homing::{JobId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{End, results};
use crate::bridge::Shared;
use crate::error::Fault;
use crate::wire::{Embed, Headers, Message, Signature, Status, iso};

/// The longest name of a queue: AMQP has no longer one.
const QUEUE: usize = 255;

/// What has become of what follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sent {
    /// It was sent; as `children` of the result.
    Children(Value),
    /// It cannot be sent, and why. Nothing was.
    Refused(String),
}

/// Messages on their way, each with the queue it goes to.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    messages: Vec<(String, Message)>,
    children: Vec<Value>,
}

/// Whom the messages come from, and in which workflow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender<'m> {
    pub(super) shared: &'m Shared,
    pub(super) message: &'m Message,
}

/// Sends the chain's next and the callbacks, each given the value.
pub(super) async fn follow(shared: &Shared, message: &Message, value: &Value) -> Result<Sent> {
    let sender = Sender { shared, message };
    let mut out = Outgoing::default();
    let mut planned = Ok(());
    for (n, callback) in message.embed.callbacks.iter().enumerate() {
        let place = format!("callback {n}");
        planned = planned.and_then(|()| out.add(sender, callback, (&place, Some(value))));
    }
    if let Some((next, rest)) = message.embed.chain.split_last() {
        let mut next = next.clone();
        if !rest.is_empty() {
            next.options.insert("chain".to_owned(), json!(rest));
        }
        planned = planned.and_then(|()| out.add(sender, &next, ("next", Some(value))));
    }
    if let Err(why) = planned {
        return Ok(Sent::Refused(why));
    }
    out.route(shared).await?;
    out.publish(shared).await?;
    Ok(Sent::Children(Value::Array(out.children)))
}

/// Marks the rest of the chain as failed and calls the error callbacks, each with the failed task's id.
pub(super) async fn fail(shared: &Shared, message: &Message, end: &End) -> Result<()> {
    if matches!(end, End::Raised(..)) {
        fail_chain(shared, &message.embed.chain, end, message).await?;
    }
    let id = message.headers.id.clone();
    call_errbacks(Sender { shared, message }, &message.embed.errbacks, &id).await
}

/// Error callbacks get one argument, the id of what failed.
pub(super) async fn call_errbacks(
    sender: Sender<'_>,
    errbacks: &[Signature],
    failed: &str,
) -> Result<()> {
    let mut out = Outgoing::default();
    for (n, errback) in errbacks.iter().enumerate() {
        let place = format!("errback {n} of {failed}");
        let id = Value::from(failed);
        if let Err(why) = out.add(sender, errback, (&place, Some(&id))) {
            tracing::warn!(why, task = failed, "an error callback is not called");
        }
    }
    out.route(sender.shared).await?;
    Ok(out.publish(sender.shared).await?)
}

/// Tasks of a chain that will never run have failed too: somebody may wait for the last.
pub(super) async fn fail_chain(
    shared: &Shared,
    chain: &[Signature],
    end: &End,
    message: &Message,
) -> Result<()> {
    for link in chain {
        let Some(id) = link.option("task_id") else { continue };
        let mut meta = results::meta(id, Status::Failure, end.result());
        meta.traceback = end.traceback().map(str::to_owned);
        meta.date_done = Some(super::now_iso(shared));
        meta.group_id = link.option("group_id").map(str::to_owned);
        let reply_to = link.option("reply_to").or(message.reply_to.as_deref());
        results::put(shared, &meta, reply_to).await?;
        let bodies = link.signatures("chord").unwrap_or_default();
        if let Some(body) = bodies.first() {
            let member = member(link, id, message);
            Box::pin(super::chord::count(shared, &member, end, body)).await?;
        }
    }
    Ok(())
}

/// A link of a chain as the member of a chord that it would have been.
fn member(link: &Signature, id: &str, message: &Message) -> Message {
    let headers = Headers {
        id: id.to_owned(),
        task: link.task.clone(),
        group: link.option("group_id").map(str::to_owned),
        group_index: link.options.get("group_index").and_then(Value::as_u64),
        root_id: message.headers.root_id.clone(),
        ..Headers::default()
    };
    let (args, kwargs) = (Vec::new(), Map::new());
    Message {
        headers,
        args,
        kwargs,
        embed: Embed::default(),
        priority: message.priority,
        reply_to: message.reply_to.clone(),
    }
}

impl Outgoing {
    /// Adds what a signature is, given a value; or says why it cannot be sent.
    pub(super) fn add(
        &mut self,
        sender: Sender<'_>,
        signature: &Signature,
        (place, value): (&str, Option<&Value>),
    ) -> Result<(), String> {
        match signature.canvas().map(str::to_owned).as_deref() {
            None => self.plain(sender, signature, (place, value)),
            Some("chain") => self.chain(sender, signature, (place, value)),
            Some("group") => self.group(sender, signature, (place, value)),
            Some("chord") => self.chord(sender, signature, (place, value)),
            Some(other) => Err(format!(
                "homing sends no `{other}` of Celery's after a task of its own (`{}`): put a Celery task between them",
                signature.task
            )),
        }
    }

    fn plain(
        &mut self,
        sender: Sender<'_>,
        signature: &Signature,
        (place, value): (&str, Option<&Value>),
    ) -> Result<(), String> {
        let message = sender.compose(signature, (place, value))?;
        self.children.push(json!([[message.headers.id, null], null]));
        let queue = signature.option("queue").unwrap_or_default().to_owned();
        self.messages.push((queue, message));
        Ok(())
    }

    /// The first of a chain, the others on their way behind it.
    fn chain(
        &mut self,
        sender: Sender<'_>,
        signature: &Signature,
        (place, value): (&str, Option<&Value>),
    ) -> Result<(), String> {
        let mut tasks = tasks(signature)?;
        if let Some(last) = tasks.last_mut() {
            for name in ["task_id", "link", "chord", "group_id", "group_index", "chain"] {
                if let Some(value) = signature.options.get(name) {
                    last.options.entry(name).or_insert_with(|| value.clone());
                }
            }
        }
        if let Some(errbacks) = signature.options.get("link_error") {
            for task in &mut tasks {
                task.options.entry("link_error").or_insert_with(|| errbacks.clone());
            }
        }
        tasks.reverse();
        let Some(mut first) = tasks.pop() else { return Err("an empty chain follows".to_owned()) };
        if !tasks.is_empty() {
            first.options.insert("chain".to_owned(), json!(tasks));
        }
        self.add(sender, &first, (place, value))
    }

    fn group(
        &mut self,
        sender: Sender<'_>,
        signature: &Signature,
        (place, value): (&str, Option<&Value>),
    ) -> Result<(), String> {
        let group = signature.option("task_id").map_or_else(|| sender.id(place), str::to_owned);
        let mut own = Self::default();
        for (n, mut member) in tasks(signature)?.into_iter().enumerate() {
            let place = format!("{place} {n}");
            member.options.insert("group_id".to_owned(), Value::from(group.as_str()));
            member.options.insert("group_index".to_owned(), Value::from(n));
            own.add(sender, &member, (&place, value))?;
        }
        self.messages.extend(own.messages);
        self.children.push(json!([[group, null], own.children]));
        Ok(())
    }

    /// A chord is expanded by a Celery worker, which knows how many members there are.
    fn chord(
        &mut self,
        sender: Sender<'_>,
        signature: &Signature,
        (place, value): (&str, Option<&Value>),
    ) -> Result<(), String> {
        let mut forwarded = signature.clone();
        "celery.chord".clone_into(&mut forwarded.task);
        forwarded.subtask_type = None;
        if let Some(value) = value.filter(|_| !signature.immutable) {
            forwarded.kwargs.insert("partial_args".to_owned(), json!([value]));
        }
        // Celery's own task takes the members, and not the group that they come in.
        let header = forwarded.kwargs.get("header").cloned().unwrap_or_default();
        if let Ok(group) = serde_json::from_value::<Signature>(header) {
            forwarded.kwargs.insert("header".to_owned(), json!(tasks(&group)?));
        }
        forwarded.immutable = true;
        // Its id is that of the body: what is sent is the task that makes the chord.
        forwarded.options.remove("task_id");
        let message = sender.compose(&forwarded, (place, None))?;
        let body =
            forwarded.kwargs.get("body").and_then(|body| body["options"]["task_id"].as_str());
        let child = body.map_or_else(|| message.headers.id.clone(), str::to_owned);
        self.children.push(json!([[child, null], null]));
        let queue = sender.shared.settings.default_queue.clone();
        let queue = signature.option("queue").map_or(queue, str::to_owned);
        self.messages.push((queue, message));
        Ok(())
    }

    /// Finds the queues of those that name none.
    pub(super) async fn route(&mut self, shared: &Shared) -> Result<()> {
        for (queue, message) in &mut self.messages {
            if queue.is_empty() {
                *queue = route(shared, &message.headers.task).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn publish(&self, shared: &Shared) -> Result<(), Fault> {
        for (queue, message) in &self.messages {
            shared.send(queue, message).await?;
        }
        Ok(())
    }
}

/// The members of a group, the links of a chain.
fn tasks(signature: &Signature) -> Result<Vec<Signature>, String> {
    let tasks = signature.kwargs.get("tasks").cloned().unwrap_or_default();
    serde_json::from_value(tasks).map_err(|error| {
        format!("the tasks of a `{}` that follows cannot be read: {error}", signature.task)
    })
}

/// The queue of a task that names none: as the bridge was told, homing's for homing's tasks, else Celery's default.
pub(crate) async fn route(shared: &Shared, task: &str) -> Result<String, homing::StoreError> {
    let settings = &shared.settings;
    let fits = |(pattern, _): &&(String, String)| match pattern.strip_suffix('*') {
        Some(begin) => task.starts_with(begin),
        None => task == pattern,
    };
    if let Some((_, queue)) = settings.routes.iter().find(fits) {
        return Ok(queue.clone());
    }
    let own = settings.queues.first();
    match own.filter(|_| !task.starts_with("homing.")) {
        Some(own) if shared.kinds().await?.iter().any(|kind| kind.name == task) => Ok(own.clone()),
        _ => Ok(settings.default_queue.clone()),
    }
}

impl Sender<'_> {
    /// The id of what is sent from a place, if nobody has given it one.
    fn id(&self, place: &str) -> String {
        JobId::named(&format!("celery:{}/{place}", self.message.headers.id)).to_string()
    }

    /// The message that a signature is.
    fn compose(
        &self,
        signature: &Signature,
        (place, value): (&str, Option<&Value>),
    ) -> Result<Message, String> {
        let told =
            |why: String| format!("`{}`, which follows, cannot be sent: {why}", signature.task);
        let text = |name: &str| signature.option(name).map(str::to_owned);
        let number = |name: &str| signature.options.get(name).and_then(Value::as_f64);
        let from = &self.message.headers;
        let id = text("task_id").unwrap_or_else(|| self.id(place));
        let headers = Headers {
            lang: "py".to_owned(),
            task: signature.task.clone(),
            shadow: text("shadow"),
            eta: text("eta").or_else(|| self.after(number("countdown"))),
            expires: text("expires").or_else(|| self.after(number("expires"))),
            group: text("group_id"),
            group_index: signature.options.get("group_index").and_then(Value::as_u64),
            timelimit: (number("time_limit"), number("soft_time_limit")),
            root_id: Some(from.root_id.clone().unwrap_or_else(|| from.id.clone())),
            parent_id: Some(from.id.clone()),
            origin: Some(self.shared.settings.hostname.clone()),
            ignore_result: signature.options.get("ignore_result").and_then(Value::as_bool),
            stamped_headers: from.stamped_headers.clone(),
            stamps: from.stamps.clone(),
            others: signature
                .options
                .get("headers")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            id,
            ..Headers::default()
        };
        headers.check().map_err(|refused| told(refused.to_string()))?;
        let odd = |queue: &str| queue.len() > QUEUE || queue.chars().any(char::is_control);
        for option in ["queue", "reply_to"] {
            if signature.option(option).is_some_and(odd) {
                return Err(told(format!(
                    "its option `{option}` must be at most {QUEUE} bytes, no control characters"
                )));
            }
        }
        let list = |name| signature.signatures(name).map_err(told);
        let embed = Embed {
            callbacks: list("link")?,
            errbacks: list("link_error")?,
            chain: list("chain")?,
            chord: list("chord")?.pop(),
        };
        let message = Message {
            headers,
            args: signature.arguments(value),
            kwargs: signature.kwargs.clone(),
            embed,
            priority: number("priority").map_or(0, |priority| priority.clamp(0.0, 255.0) as u8),
            // Whoever waits for the first may wait for what follows.
            reply_to: text("reply_to").or_else(|| self.message.reply_to.clone()),
        };
        self.shared.broker.carries(&message).map_err(|refused| told(refused.to_string()))?;
        Ok(message)
    }

    fn after(&self, seconds: Option<f64>) -> Option<String> {
        let seconds = seconds.filter(|seconds| (0.0..1e9).contains(seconds))?;
        Some(iso(self.shared.homing.now() + std::time::Duration::from_secs_f64(seconds)))
    }
}
