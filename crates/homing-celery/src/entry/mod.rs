//! A message of Celery's as a job: the user's task is its child, and every outward effect is a step.
//!
//! The order is Celery's own: what follows goes out before the result, which names it; then the chord, then error
//! callbacks. Each effect may be repeated: what is sent has a fixed id and a mark, a result that is a success stays, a
//! member counts once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use homing::task::State;
use homing::{
    AnyCall, Failure, JobId, JoinError, Reason, StepError, StoreError, TaskView, select, step, task,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::bridge::{IN, Shared, Way, member};
use crate::point;
use crate::wire::{Event, Message, Raised, Status, iso};

mod arguments;
mod canvas;
mod chord;
mod results;

pub(crate) use canvas::route;
pub(crate) use results::refuse;

/// The kind of a message's job.
pub(crate) const ENTRY: &str = "homing.celery.entry";
/// The signal that a revoked task is sent.
pub(crate) const REVOKE: &str = "revoke";
/// How long a task whose kind nobody has registered waits before it looks again.
const LOOK: Duration = Duration::from_secs(1);

/// How a task has ended, as its caller is to be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// With a value.
    Value(Value),
    /// With an exception, and what Python would show of it.
    Raised(Raised, Option<String>),
    /// Revoked, expired or terminated.
    Revoked(String),
}

impl End {
    fn status(&self) -> Status {
        match self {
            Self::Value(_) => Status::Success,
            Self::Raised(..) => Status::Failure,
            Self::Revoked(_) => Status::Revoked,
        }
    }

    /// What stands in the result.
    fn result(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Raised(raised, _) => raised.value(),
            Self::Revoked(why) => {
                Raised::new("TaskRevokedError", "celery.exceptions", why.as_str()).value()
            }
        }
    }

    fn traceback(&self) -> Option<&str> {
        if let Self::Raised(_, traceback) = self { traceback.as_deref() } else { None }
    }

    /// The end that a failure of homing's is to Celery.
    fn of(failure: &Failure, message: &Message) -> Self {
        let homing = |class| Raised::new(class, "homing", failure.told());
        let raised = match failure.reason {
            Reason::Cancelled => return Self::Revoked("terminated".to_owned()),
            Reason::Expired => return Self::Revoked("expired".to_owned()),
            Reason::Timeout | Reason::Deadline => {
                let limit = message.headers.timelimit.0;
                let limit = limit.map_or_else(|| Value::from(failure.told()), Value::from);
                Raised::new("TimeLimitExceeded", "billiard.exceptions", limit)
            }
            Reason::Panic => homing("HomingPanic"),
            _ => homing("HomingFailure"),
        };
        let Failure { kind, id, attempt, .. } = failure;
        let mut lines = vec![format!("homing task {kind} {id}, attempt {attempt}")];
        lines.push(failure.message.clone());
        lines.extend(failure.sources.iter().map(|source| format!("  caused by: {source}")));
        Self::Raised(raised, Some(lines.join("\n")))
    }
}

/// What is known once a task is about to begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Begun {
    /// It is to run, with these arguments.
    Run(Map<String, Value>),
    /// It is not.
    Not(End),
    /// No worker has registered its name yet.
    Wait,
}

/// A task that a Celery client has called.
#[task(
    kind = "homing.celery.entry",
    retries = 4294967295,
    max_attempts = 4294967295,
    backoff = "200ms..30s"
)]
pub(crate) async fn entry(
    message: Message,
    on_failure: Option<Value>,
    State(way): State<Way>,
) -> homing::Result<()> {
    // The store's: what follows an end without success.
    drop(on_failure);
    let shared = way.0;
    let _active = shared.begun(&message.headers.id, shown(&shared, &message));
    let mut failure = None;
    let end = match begin(&shared, &message).await? {
        Begun::Run(arguments) => match run(&message, &arguments, &shared).await? {
            Ok(value) => End::Value(value),
            Err(Revocation::Asked) => End::Revoked("revoked".to_owned()),
            Err(Revocation::Failed(error)) => {
                let end = error.failure().map(|failure| End::of(failure, &message));
                let Some(end) = end else { return Err(error.into()) };
                failure = Some(error);
                end
            }
        },
        Begun::Not(end) => end,
        // `begin` waits itself.
        Begun::Wait => return Err(homing::Error::msg("a wait that is over is no answer")),
    };
    let end = finish(&shared, &message, end).await?;
    done(&shared, &message).await;
    match (failure, end) {
        (_, End::Value(_)) => Ok(()),
        // The job has failed as its task has, so that people see it and may retry it.
        (Some(failure), _) => Err(failure.into()),
        (None, End::Raised(raised, _)) => Err(homing::Error::msg(raised.repr()).fatal()),
        (None, End::Revoked(why)) => {
            Err(homing::Error::msg(format!("Celery's task was revoked: {why}")).fatal())
        }
    }
}

/// What is left to do for a job that was ended from outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct After {
    pub(crate) message: Message,
    pub(crate) failure: Failure,
}

/// Tells the caller of a task whose job was ended without its body: cancelled by a person, or given up.
#[task(
    kind = "homing.celery.aftermath",
    retries = 4294967295,
    max_attempts = 4294967295,
    backoff = "200ms..30s"
)]
pub(crate) async fn aftermath(after: After, State(way): State<Way>) -> homing::Result<()> {
    let end = End::of(&after.failure, &after.message);
    finish(&way.0, &after.message, end).await?;
    Ok(())
}

/// The job of a message has ended without success: where its body could not tell its caller, this does. The store has
/// recorded this job with that end.
#[task(
    kind = "homing.celery.ended",
    retries = 4294967295,
    max_attempts = 4294967295,
    backoff = "200ms..30s"
)]
pub(crate) async fn ended(job: JobId, State(way): State<Way>) -> homing::Result<()> {
    let view = match way.0.homing.task(job).await {
        Ok(view) => view,
        // Removed since.
        Err(StoreError::Unknown { .. }) => return Ok(()),
        Err(other) => return Err(other.into()),
    };
    let Some(failure) = view.failure.clone() else { return Ok(()) };
    let Some(message) = message_of(&view) else { return Ok(()) };
    let told = step("told", || async {
        Ok(failure.reason == Reason::Error && way.0.has_told(&message.headers.id).await?)
    });
    if !told.await? {
        let end = End::of(&failure, &message);
        finish(&way.0, &message, end).await?;
        done(&way.0, &message).await;
    }
    Ok(())
}

/// The message that a job was.
pub(crate) fn message_of(view: &TaskView) -> Option<Message> {
    #[derive(Deserialize)]
    struct Arguments {
        message: Message,
    }
    let arguments: Arguments = serde_json::from_str(&view.arguments).ok()?;
    Some(arguments.message)
}

/// As `celery inspect active` shows it.
fn shown(shared: &Shared, message: &Message) -> Value {
    json!({
        "id": message.headers.id,
        "name": message.headers.task,
        "args": message.args,
        "kwargs": message.kwargs,
        "type": message.headers.task,
        "hostname": shared.settings.hostname,
        "time_start": shared.seconds(),
        "acknowledged": true,
        "delivery_info": {"redelivered": false, "priority": message.priority},
        "worker_pid": std::process::id(),
    })
}

/// Waits until the task may begin, and for a worker that knows it.
async fn begin(shared: &Arc<Shared>, message: &Message) -> homing::Result<Begun> {
    let revoked = || Begun::Not(End::Revoked("revoked".to_owned()));
    // Without an instant in the message none is remembered: each is a row.
    let rest = match message.headers.eta() {
        Some(eta) => eta.duration_since(homing::now().await?).ok(),
        None => None,
    };
    if let Some(rest) = rest {
        select! {
            slept = homing::sleep(rest) => slept?,
            asked = homing::signal::<bool>(REVOKE) => {
                asked?;
                return Ok(revoked());
            }
        }
    }
    let mut waited = Duration::ZERO;
    loop {
        let last = waited >= shared.settings.wait_for_kind;
        let begun = step("begin", || async {
            let begun = arguments::look(shared, message, last).await?;
            point::pass("begun");
            Ok(begun)
        });
        let begun = begun.await?;
        let Begun::Wait = begun else { return Ok(begun) };
        waited += LOOK;
        select! {
            slept = homing::sleep(LOOK) => slept?,
            asked = homing::signal::<bool>(REVOKE) => {
                asked?;
                return Ok(revoked());
            }
        }
    }
}

/// Why a task has no value.
enum Revocation {
    Asked,
    Failed(JoinError),
}

/// Spawns the user's task and waits for it, parked.
async fn run(
    message: &Message,
    arguments: &Map<String, Value>,
    shared: &Shared,
) -> homing::Result<Result<Value, Revocation>> {
    let mut call = AnyCall::<Value>::named(&message.headers.task, arguments);
    call = call.queue(shared.settings.runs_on.as_str());
    if let Some(limit) = message.headers.timelimit.0 {
        call = call.timeout(Duration::from_secs_f64(limit));
    }
    if let Some(expires) = message.headers.expires() {
        let rest = expires.duration_since(homing::now().await?).unwrap_or_default();
        call = call.expires(rest.max(Duration::from_millis(1)));
    }
    let child = homing::spawn(call).await?;
    let ended = select! {
        ended = &child => ended,
        asked = homing::signal::<bool>(REVOKE) => {
            asked?;
            child.abort();
            return Ok(Err(Revocation::Asked));
        }
    };
    match ended {
        Ok(value) => Ok(Ok(value)),
        Err(error @ JoinError::Failed { .. }) => Ok(Err(Revocation::Failed(error))),
        Err(other) => Err(other.into()),
    }
}

/// All that Celery is told of an end; brings the end that it was told.
async fn finish(shared: &Arc<Shared>, message: &Message, mut end: End) -> Result<End, StepError> {
    let mut children = Value::Array(Vec::new());
    let embed = &message.embed;
    if let End::Value(value) = &end
        && !(embed.callbacks.is_empty() && embed.chain.is_empty())
    {
        let sent = step("callbacks", || async {
            let sent = canvas::follow(shared, message, value).await?;
            point::pass("callbacks");
            Ok(sent)
        });
        match sent.await? {
            canvas::Sent::Children(ids) => children = ids,
            canvas::Sent::Refused(why) => end = End::Raised(refusal(&why), None),
        }
    }
    let result = || async {
        results::store(shared, message, &end, &children).await?;
        point::pass("result");
        Ok(())
    };
    step("result", result).await?;
    if let Some(body) = &embed.chord {
        let counted = step("chord", || async {
            chord::count(shared, message, &end, body).await?;
            point::pass("chord");
            Ok(())
        });
        counted.await?;
    }
    let failing = !(embed.errbacks.is_empty() && embed.chain.is_empty());
    if failing && !matches!(end, End::Value(_)) {
        step("errbacks", || async {
            canvas::fail(shared, message, &end).await?;
            point::pass("errbacks");
            Ok(())
        })
        .await?;
    }
    shared.counted(&message.headers.task);
    Ok(end)
}

fn refusal(why: &str) -> Raised {
    Raised::new("NotImplementedError", "builtins", why)
}

/// The register of what is under way needs to know no more of it. If this is lost, the next look finds it out.
async fn done(shared: &Shared, message: &Message) {
    shared.forget_retries(&message.headers.id);
    let struck = shared.notes.strike(IN, &[&member(message)]).await;
    if let Err(error) = struck {
        tracing::debug!(%error, "a task that has ended stays in the register until the next look");
    }
}

/// An event of a task.
fn event(kind: &'static str, message: &Message, more: Value) -> Event {
    let mut fields =
        BTreeMap::from([("uuid".to_owned(), Value::from(message.headers.id.as_str()))]);
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    Event::new(kind, json!(fields))
}

/// The time of the store's clock, as Celery writes it.
fn now_iso(shared: &Shared) -> String {
    iso(shared.homing.now())
}
