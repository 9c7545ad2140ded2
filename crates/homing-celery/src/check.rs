//! What can be seen of a Celery application from its broker: the server's settings, and what its workers say of
//! themselves. Reads only, but for the queue in which the answers come, which it removes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use homing::TaskView;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bridge::{Broker, Results};
use crate::error::{Fault, StartError};
use crate::rabbit::{Rabbit, read};
use crate::redis::Link;
use crate::wire::{Command, Envelope, Letter, Meta, REPLIES, Refused};

/// By what a bridge of homing's is known among workers.
pub(crate) const BRIDGE: &str = "homing_bridge";

/// Schemes of result backends that the bridge reads.
const KNOWN: [&str; 3] = ["redis:", "rediss:", "sentinel:"];

/// How often a task was sent again, as far as anybody looks.
const MOST_SENT: u32 = 100;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// As it should be.
    Good,
    /// It works, with something to know.
    Warning,
    /// The bridge does not work with it.
    Bad,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        })
    }
}

/// Something that was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What it is about: the server's location, or a worker's name.
    pub subject: String,
    /// What was found.
    pub text: String,
}

impl Finding {
    fn new(level: Level, subject: &str, text: impl Into<String>) -> Self {
        Self { level, subject: subject.to_owned(), text: text.into() }
    }
}

/// Asks all workers of a Celery application whether they are there. Brings the names of those that answer within this
/// time; bridges of homing's are among them. On RabbitMQ nobody knows how many will answer, and it takes that long.
///
/// # Errors
/// The URL is refused, the server cannot be reached or is a Redis Cluster.
pub async fn ping(broker: &str, patience: Duration) -> Result<Vec<String>, StartError> {
    let broker = Broker::reach(broker, None).await?;
    let asked = ask(&broker, ("ping", json!({})), patience).await;
    Ok(asked.map_err(unreachable(&broker))?.known.into_keys().collect())
}

/// Looks whether a Celery application is one that the bridge works with: the server's version and settings, and, of
/// each worker that answers within this time, its serializers, its result backend and whatever else matters.
///
/// # Errors
/// As [`ping`].
pub async fn check(broker: &str, patience: Duration) -> Result<Vec<Finding>, StartError> {
    let broker = Broker::reach(broker, None).await?;
    let mut findings = match &broker {
        Broker::Redis(link) => server(link).await.map_err(unreachable(&broker))?,
        Broker::Rabbit(_) => vec![Finding::new(Level::Good, broker.location(), "RabbitMQ")],
    };
    // Without the defaults, which hold numbers that JSON has not: what is absent is as Celery has it.
    let asked = ask(&broker, ("conf", json!({})), patience).await;
    let Answers { known, unreadable } = asked.map_err(unreachable(&broker))?;
    for refused in &unreadable {
        let text = format!("a worker answers what cannot be read: {refused}");
        findings.push(Finding::new(Level::Bad, broker.location(), text));
    }
    if known.is_empty() && unreadable.is_empty() {
        let text = "no worker answered: start one to have its settings checked too. One whose `accept_content` has no \"json\" hears nothing that homing sends";
        findings.push(Finding::new(Level::Warning, broker.location(), text));
    }
    for (name, conf) in &known {
        if conf.get(BRIDGE).is_some() {
            findings.push(Finding::new(Level::Good, name, "a bridge of homing's"));
        } else {
            findings.extend(worker(name, conf, &broker));
        }
    }
    Ok(findings)
}

/// What Celery has last said of a task of homing's that it runs, in one sentence; `None` if the task is no [`call`].
///
/// [`call`]: crate::call
///
/// # Errors
/// The URL of the result backend is refused, or the server cannot be reached. Over `rpc://` nothing can be read twice.
pub async fn said(results: &str, task: &TaskView) -> Result<Option<String>, StartError> {
    let name = task.queue.strip_prefix("homing.celery").map(|rest| rest.trim_start_matches('.'));
    let Some(name) = name.filter(|_| task.kind == crate::call::KIND) else { return Ok(None) };
    let name = Some(name).filter(|name| !name.is_empty());
    let (results, keys) = Results::alone(results, name).await?;
    let mut last = None;
    // Each time that it was sent has an id of its own.
    for again in 0..=MOST_SENT {
        let id = keys.celery_id(task.id, again);
        let text = results.get(&id).await.map_err(|fault| StartError::Unreachable {
            what: "the result backend",
            location: results.redis().map_or("", |link| link.location()).to_owned(),
            reason: fault.to_string(),
        })?;
        match text {
            Some(text) => last = Some((id, text)),
            None if again > 0 => break,
            None => {}
        }
    }
    Ok(Some(match last {
        None => "Celery has said nothing of it, or has forgotten it".to_owned(),
        Some((id, text)) => match Meta::read(&text) {
            Ok(meta) => format!("Celery's last word of {id} is {}", meta.status.name()),
            Err(why) => format!("Celery's last word of {id} cannot be read: {why}"),
        },
    }))
}

fn unreachable(broker: &Broker) -> impl Fn(Fault) -> StartError + use<> {
    let location = broker.location().to_owned();
    move |fault| StartError::Unreachable {
        what: "the broker",
        location: location.clone(),
        reason: fault.to_string(),
    }
}

/// The server itself.
async fn server(link: &Link) -> Result<Vec<Finding>, Fault> {
    let info: String = link.command(redis::cmd("INFO").arg("everything")).await?;
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    let mut findings = Vec::new();
    let mut found = |level, text: String| findings.push(Finding::new(level, link.location(), text));
    let version = field("redis_version").unwrap_or("?");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < (6, 2) {
        found(Level::Bad, format!("Redis {version}: the bridge needs 6.2 or newer"));
    } else {
        found(Level::Good, format!("Redis {version}"));
    }
    match field("maxmemory_policy") {
        Some("noeviction") => found(Level::Good, "`maxmemory-policy noeviction`".to_owned()),
        Some(policy) => found(
            Level::Warning,
            format!("`maxmemory-policy {policy}` may drop messages and results: set `noeviction`"),
        ),
        None => {}
    }
    if field("aof_enabled") == Some("0") && field("rdb_last_save_time").is_some() {
        let text = "`appendonly no`: messages and results since the last snapshot are lost when the server is killed";
        found(Level::Warning, text.to_owned());
    }
    Ok(findings)
}

/// What a worker says of its settings.
fn worker(name: &str, conf: &Value, broker: &Broker) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |level, text: String| findings.push(Finding::new(level, name, text));
    let text = |setting: &str| conf.get(setting).and_then(Value::as_str);
    for setting in ["task_serializer", "result_serializer"] {
        match text(setting) {
            Some("json") | None => {}
            Some(other) => {
                found(Level::Bad, format!("`{setting} = \"{other}\"`: set it to \"json\""));
            }
        }
    }
    for setting in ["task_compression", "result_compression"] {
        if let Some(method) = text(setting) {
            found(Level::Bad, format!("`{setting} = \"{method}\"`: remove it"));
        }
    }
    if conf.get("task_protocol").and_then(Value::as_u64) == Some(1) {
        found(Level::Bad, "`task_protocol = 1`: set it to 2".to_owned());
    }
    match text("result_backend") {
        None | Some("" | "disabled") => found(
            Level::Warning,
            "no `result_backend`: a parent in homing cannot wait for this worker's tasks"
                .to_owned(),
        ),
        Some(url) if KNOWN.iter().any(|known| url.starts_with(known)) => {}
        Some(url) if url.starts_with("rpc") && matches!(broker, Broker::Rabbit(_)) => found(
            Level::Warning,
            "`result_backend` is `rpc://`: a result that is not fetched at once may be lost, and there are no chords; redis: keeps both"
                .to_owned(),
        ),
        Some(url) => {
            let scheme = url.split(':').next().unwrap_or_default();
            let text = format!(
                "`result_backend` is `{scheme}:`, which the bridge does not read: use redis:"
            );
            found(Level::Bad, text);
        }
    }
    if conf.get("task_track_started") != Some(&Value::Bool(true)) {
        let text = "`task_track_started` is off: a task that runs for long cannot be told from one that was lost";
        found(Level::Warning, text.to_owned());
    }
    if let Some(options) = conf.get("broker_transport_options").and_then(Value::as_object)
        && matches!(broker, Broker::Redis(_))
    {
        for option in ["global_keyprefix", "priority_steps", "sep"] {
            if let Some(value) = options.get(option) {
                let text = format!(
                    "`{option}` is {value} in `broker_transport_options`: say it in the bridge's URL too"
                );
                found(Level::Warning, text);
            }
        }
    }
    if findings.iter().all(|finding| finding.level != Level::Bad) {
        findings.insert(0, Finding::new(Level::Good, name, "the bridge works with it"));
    }
    findings
}

/// What workers have answered.
#[derive(Debug, Default)]
struct Answers {
    known: BTreeMap<String, Value>,
    unreadable: Vec<Refused>,
}

/// Sends a command to all workers, and collects what they answer, by their names.
async fn ask(
    broker: &Broker,
    (method, arguments): (&str, Value),
    patience: Duration,
) -> Result<Answers, Fault> {
    let oid = uuid::Uuid::now_v7().to_string();
    let command = Command::ask(method, arguments, &oid);
    match broker {
        Broker::Redis(link) => over_redis(link, (&command, &oid), patience).await,
        Broker::Rabbit(rabbit) => over_rabbit(rabbit, (&command, &oid), patience).await,
    }
}

impl Answers {
    fn add(&mut self, body: Result<Vec<u8>, Refused>) {
        match body {
            Ok(body) => {
                let answer: BTreeMap<String, Value> =
                    serde_json::from_slice(&body).unwrap_or_default();
                self.known.extend(answer);
            }
            Err(refused) => self.unreadable.push(refused),
        }
    }
}

async fn over_rabbit(
    rabbit: &Rabbit,
    (command, oid): (&Letter, &str),
    patience: Duration,
) -> Result<Answers, Fault> {
    let mut replies = rabbit.hear(REPLIES, oid).await?;
    rabbit.broadcast(command).await?;
    let mut answers = Answers::default();
    let until = Instant::now() + patience;
    while let Ok(delivery) = tokio::time::timeout_at(until, replies.next()).await {
        let delivery = delivery?;
        answers.add(read(&delivery).map(|(_, text)| text.to_vec()));
        replies.acknowledge(&delivery).await?;
    }
    Ok(answers)
}

async fn over_redis(
    link: &Link,
    (command, oid): (&Letter, &str),
    patience: Duration,
) -> Result<Answers, Fault> {
    let keys = &link.keys;
    let queue = format!("{oid}.{REPLIES}");
    let (binding, list) = (keys.binding(REPLIES), keys.queue(&queue, 0));
    let member = keys.member(oid, &queue);
    let mut pipe = redis::pipe();
    pipe.sadd(&binding, &member).ignore();
    pipe.publish(keys.channel(&command.exchange), command.envelope());
    let (heard,): (u64,) = link.commands(&pipe).await?;
    let mut answers = Answers::default();
    let until = Instant::now() + patience;
    let mut connection = Box::pin(link.connect(patience + Duration::from_secs(5))).await?;
    // As many may answer as have heard it; some of these may be no workers.
    while ((answers.known.len() + answers.unreadable.len()) as u64) < heard {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let mut pop = redis::cmd("BRPOP");
        pop.arg(&list).arg(left.as_secs_f64().max(0.01));
        let popped: Option<(String, Vec<u8>)> = pop.query_async(&mut connection).await?;
        let Some((_, text)) = popped else { break };
        answers.add(Envelope::read(&text).and_then(|envelope| envelope.bytes()));
    }
    let mut pipe = redis::pipe();
    pipe.srem(&binding, &member).ignore().del(&list).ignore();
    link.commands::<()>(&pipe).await?;
    Ok(answers)
}
