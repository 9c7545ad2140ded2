//! The body of a call that Celery runs: sends one message, parks, and is woken by the result.

use std::time::Duration;

use homing::task::State;
use homing::{Error, Failure, Reason, StoreError, select, step, task};
use serde_json::Value;

use super::{HEARD, Heard, Order, Raised, Word};
use crate::bridge::{OUT, Shared, Way};
use crate::entry;
use crate::error::Fault;
use crate::point;
use crate::wire::Command;

/// The first pause between two looks of the body's own: the last net, behind the push and the register, whose looks
/// come far more often.
const LOOK_MIN: Duration = Duration::from_mins(2);
/// It doubles up to this.
const LOOK_MAX: Duration = Duration::from_mins(10);
/// After how much silence a task counts as lost where nothing else is said.
const LOST: Duration = Duration::from_hours(24);

/// A task that Celery runs.
#[task(
    kind = "homing.celery.task",
    queue = "homing.celery",
    retries = 4294967295,
    max_attempts = 4294967295,
    backoff = "200ms..30s"
)]
pub(crate) async fn celery_task(
    order: Order,
    on_failure: Option<Value>,
    State(way): State<Way>,
) -> homing::Result<Value> {
    // The store's: what follows an end without success.
    drop(on_failure);
    let shared = way.0;
    let (mut again, mut lost) = (0, 0);
    loop {
        let id = shared.keys.celery_id(homing::id(), again);
        let failure = match once(&shared, &order, &id).await? {
            Heard::Value(value) => return Ok(value),
            Heard::Under(_) if lost < order.resend_lost => {
                homing::log!(
                    Warn,
                    "Celery's task `{}`, `{id}`, is lost and sent again",
                    order.task
                );
                (again, lost) = (again + 1, lost + 1);
                continue;
            }
            other => other,
        };
        // Nothing but a retry of the job leads here again in a later attempt: then it is sent anew.
        let attempt = homing::info()?.attempt;
        let failed = step("failed", || async { Ok(attempt) }).await?;
        if attempt == failed {
            return Err(told(&shared, &order, &id, failure));
        }
        again += 1;
    }
}

/// A call of a Celery task has ended without a value: where that was not Celery's own word, Celery is asked to revoke the
/// task. The store has recorded this job with that end.
#[task(
    kind = "homing.celery.abandoned",
    retries = 4294967295,
    max_attempts = 4294967295,
    backoff = "200ms..30s"
)]
pub(crate) async fn abandoned(failure: Failure, State(way): State<Way>) -> homing::Result<()> {
    let shared = way.0;
    if failure.reason == Reason::Error {
        return Ok(());
    }
    let view = match shared.homing.task(failure.id).await {
        Ok(view) => view,
        // Removed since.
        Err(StoreError::Unknown { .. }) => return Ok(()),
        Err(other) => return Err(other.into()),
    };
    let order = Order::of(&view.arguments);
    let (terminate, sent) = order.map_or((false, 0), |order| (order.terminate, order.resend_lost));
    step("revoke", || async {
        for again in 0..=sent {
            let id = shared.keys.celery_id(failure.id, again);
            shared.broker.letter(&Command::revoke(&id, terminate, shared.tick())).await?;
            // No look has to find it out.
            shared.notes.strike(OUT, &[&id]).await?;
        }
        Ok(())
    })
    .await?;
    Ok(())
}

/// Sends the task and waits for its end.
async fn once(shared: &Shared, order: &Order, id: &str) -> homing::Result<Heard> {
    let expires = shared.settings.result_expires;
    let kept = if expires.is_zero() { LOST } else { expires };
    let silence = order.lost_after.unwrap_or(kept).max(Duration::from_secs(1));
    step("send", || async {
        send(shared, order, id).await?;
        point::pass("sent");
        Ok(())
    })
    .await?;
    hear(shared, order, (id, silence)).await
}

/// The failure that an end without a value is.
fn told(shared: &Shared, order: &Order, id: &str, heard: Heard) -> Error {
    let task = &order.task;
    match heard {
        Heard::Raised(raised, traceback) => {
            Error::from(Raised::new(&raised, traceback, (task, id))).fatal()
        }
        Heard::Unreadable(why) => {
            let key = shared.keys.result(id);
            Error::msg(format!(
                "the result of Celery's task `{task}`, `{key}`, cannot be read: {why}"
            ))
            .fatal()
        }
        Heard::Under(state) => {
            let last = match state.as_str() {
                "PENDING" => "it may have run".to_owned(),
                state => format!("its last word was {state}"),
            };
            let silence = "for as long as `lost_after` says";
            Error::msg(format!(
                "lost: Celery has said nothing of its task `{task}`, `{id}`, {silence}; {last}"
            ))
            .fatal()
        }
        Heard::Value(_) => Error::msg("a value is no failure").fatal(),
    }
}

/// Registers the task and sends its message. Registered first: what is registered and was not sent is nothing yet to
/// those who look, and is sent when this step is repeated.
async fn send(shared: &Shared, order: &Order, id: &str) -> homing::Result<()> {
    let next = shared.seconds() + shared.settings.look.as_secs_f64();
    shared.notes.enter(OUT, &[id.to_owned()], (next, true)).await?;
    point::pass("registered");
    let queue = match &order.queue {
        Some(queue) => queue.clone(),
        None => entry::route(shared, &order.task).await?,
    };
    let told = (shared.settings.hostname.as_str(), shared.homing.now());
    let mut message = order.message(id, told);
    message.reply_to = shared.results.redis().is_none().then(|| shared.keys.replies());
    shared.send(&queue, &message).await?;
    Ok(())
}

/// Waits until Celery has said the last word, or has been silent for too long.
async fn hear(
    shared: &Shared,
    order: &Order,
    (id, lost): (&str, Duration),
) -> homing::Result<Heard> {
    let (mut silent, mut pause) = (Duration::ZERO, LOOK_MIN);
    // What expires in Celery's queue is told by Celery; what is sent late is heard late.
    let lost = lost + order.expires.unwrap_or_default();
    loop {
        let rest = pause.min(lost.saturating_sub(silent)).max(Duration::from_millis(1));
        select! {
            word = homing::signal::<Word>(HEARD) => {
                let word = word?;
                // A late word of what was sent before is nothing new.
                if word.id == id {
                    return Ok(word.heard);
                }
                continue;
            },
            slept = homing::sleep(rest) => slept?,
        }
        let heard = step("look", || async { Ok(look(shared, id).await?) }).await?;
        silent = match &heard {
            Heard::Under(state) if state == "PENDING" => silent + rest,
            Heard::Under(_) => Duration::ZERO,
            Heard::Value(_) | Heard::Raised(..) | Heard::Unreadable(_) => return Ok(heard),
        };
        if silent >= lost {
            return Ok(heard);
        }
        pause = (pause * 2).min(LOOK_MAX);
    }
}

async fn look(shared: &Shared, id: &str) -> Result<Heard, Fault> {
    let text = shared.results.get(id).await?;
    Ok(text.map_or_else(Heard::nothing, |text| Heard::read(&text)))
}
