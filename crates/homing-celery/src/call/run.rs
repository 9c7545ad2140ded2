//! The body of a call that Celery runs: sends one message, parks, and is woken by the result.

use std::time::Duration;

use homing::task::State;
use homing::{Error, RetryResult, select, step, task};
use redis::RedisResult;
use serde_json::Value;

use super::{HEARD, Heard, Order, Raised};
use crate::bridge::{Shared, Way};
use crate::entry;
use crate::point;

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
pub(crate) async fn celery_task(order: Order, State(way): State<Way>) -> homing::Result<Value> {
    let shared = way.0;
    let id = shared.results.keys.celery_id(homing::id());
    let expires = shared.settings.result_expires;
    let kept = if expires.is_zero() { LOST } else { expires };
    let silence = order.lost_after.unwrap_or(kept).max(Duration::from_secs(1));
    step("send", || async {
        send(&shared, &order, &id).await?;
        point::pass("sent");
        Ok(())
    })
    .await?;
    let heard = hear(&shared, &order, (&id, silence)).await?;
    match heard {
        Heard::Value(value) => Ok(value),
        Heard::Raised(raised, traceback) => {
            Err(Raised::new(&raised, traceback, (&order.task, &id))).fatal()
        }
        Heard::Unreadable(why) => {
            let key = shared.results.keys.result(&id);
            let text = format!(
                "the result of Celery's task `{}`, `{key}`, cannot be read: {why}",
                order.task
            );
            Err(Error::msg(text).fatal())
        }
        Heard::Under(state) => {
            let last = match state.as_str() {
                "PENDING" => "it may have run".to_owned(),
                state => format!("its last word was {state}"),
            };
            let text = format!(
                "lost: Celery has said nothing of its task `{}`, `{id}`, for {silence:?}; {last}",
                order.task
            );
            Err(Error::msg(text).fatal())
        }
    }
}

/// Registers the task and sends its message. Registered first: what is registered and was not sent is nothing yet to
/// those who look, and is sent when this step is repeated.
async fn send(shared: &Shared, order: &Order, id: &str) -> homing::Result<()> {
    let mut register = redis::cmd("ZADD");
    let next = shared.seconds() + shared.settings.look.as_secs_f64();
    register.arg(shared.results.keys.register("out")).arg("NX").arg(next).arg(id);
    shared.results.command::<()>(&register).await?;
    point::pass("registered");
    let queue = match &order.queue {
        Some(queue) => queue.clone(),
        None => entry::route(shared, &order.task).await?,
    };
    let told = (shared.settings.hostname.as_str(), shared.homing.now());
    entry::publish(shared, &queue, &order.message(id, told)).await?;
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
            heard = homing::signal::<Heard>(HEARD) => return Ok(heard?),
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

async fn look(shared: &Shared, id: &str) -> RedisResult<Heard> {
    let mut read = redis::cmd("GET");
    read.arg(shared.results.keys.result(id));
    let text: Option<Vec<u8>> = shared.results.command(&read).await?;
    Ok(text.map_or_else(Heard::nothing, |text| Heard::read(&text)))
}
