//! A member of a chord has ended: it is counted, and the one that completes the chord sends the body.
//!
//! The protocol is that of Celery 5.7, whatever the other members' workers speak: each member counts once, one claim
//! is given out for the body, and after it was sent it is remembered as done. The body has a fixed id and a mark of
//! its own besides, so that a repeated step sends nothing twice.

use homing::Result;
use serde_json::{Value, json};

use super::{End, canvas, results};
use crate::bridge::Shared;
use crate::point;
use crate::redis::{CHORD_CLAIM, CHORD_DONE, CHORD_PART, Link};
use crate::wire::{Message, Raised, Signature, Status, beyond};

/// How long a claim is held while the body is made, in seconds.
const CLAIM: u64 = 30;
/// How long it is remembered that the body was sent, in seconds; as long as Celery's workers do at least.
const DONE: u64 = 300;

/// Counts a member's end; the last one sends the body, or fails it.
pub(super) async fn count(
    shared: &Shared,
    message: &Message,
    end: &End,
    body: &Signature,
) -> Result<()> {
    let headers = &message.headers;
    let Some(group) = headers.group.as_deref() else { return Ok(()) };
    let Some(link) = shared.results.redis() else {
        // Celery itself starts no chord there.
        tracing::warn!(
            group,
            task = headers.task,
            "a chord needs a result backend in Redis: its body will not run"
        );
        return Ok(());
    };
    let key = |suffix| link.keys.group(group, suffix);
    let number = headers.group_index.map_or_else(|| "+inf".to_owned(), |number| number.to_string());
    let part = json!([1, headers.id, end.status(), end.result()]).to_string();
    // The same member has the same token, so that a repeated step finds its own claim.
    let token = format!("homing:{}:{number}", headers.id);
    let mut script = CHORD_PART.prepare_invoke();
    for suffix in [".j", ".t", ".s", ".d", ".c", ""] {
        script.key(key(suffix));
    }
    script.arg(&headers.id).arg(part).arg(&number);
    script.arg(shared.settings.result_expires.as_secs()).arg(CLAIM).arg(&token);
    let claimed: i64 = link.script(&script).await?;
    if claimed != 1 {
        return Ok(());
    }
    point::pass("claimed");
    let parts = parts(link, &key(".j")).await?;
    match values(&parts) {
        Ok(values) => {
            let mut claim = CHORD_CLAIM.prepare_invoke();
            claim.key(key(".c")).key(key(".s")).arg(&token).arg(CLAIM);
            if !link.script::<bool>(&claim).await? {
                // Somebody else has it, and sends the body.
                return Ok(());
            }
            send(shared, message, body, (group, Value::Array(values))).await?;
        }
        Err(why) => fail(shared, message, body, (group, &why)).await?,
    }
    point::pass("body");
    let mut done = CHORD_DONE.prepare_invoke();
    for suffix in [".c", ".j", ".t", ".s", ".d"] {
        done.key(key(suffix));
    }
    done.arg(&token).arg(DONE);
    link.script::<()>(&done).await?;
    Ok(())
}

/// Ends of members, in the order of their numbers.
async fn parts(link: &Link, ends: &str) -> Result<Vec<Value>> {
    let kind: String = link.command(redis::cmd("TYPE").arg(ends)).await?;
    let mut read = redis::cmd(if kind == "list" { "LRANGE" } else { "ZRANGE" });
    read.arg(ends).arg(0).arg(-1);
    let texts: Vec<Vec<u8>> = link.command(&read).await?;
    let part = |text: &Vec<u8>| {
        let part: Value = serde_json::from_slice(text).unwrap_or_default();
        let Some(number) = beyond(text) else { return part };
        let why = format!("its result holds an integer of more than 64 bits, {number:.80}");
        let raised = Raised::new("OverflowError", "builtins", why);
        json!([1, part[1], Status::Failure, raised.value()])
    };
    Ok(texts.iter().map(part).collect())
}

/// The values of all members, or what the body is told of the first that has none.
fn values(parts: &[Value]) -> Result<Vec<Value>, String> {
    let value = |part: &Value| {
        let status = part[2].as_str().unwrap_or_default();
        if status == "SUCCESS" {
            return Ok(part[3].clone());
        }
        let id = part[1].as_str().unwrap_or("?");
        Err(format!("Dependency {id} raised {}", Raised::of(&part[3]).repr()))
    };
    parts.iter().map(value).collect()
}

async fn send(
    shared: &Shared,
    message: &Message,
    body: &Signature,
    (group, values): (&str, Value),
) -> Result<()> {
    let sender = canvas::Sender { shared, message };
    let mut out = canvas::Outgoing::default();
    let place = format!("body of {group}");
    match out.add(sender, body, (&place, Some(&values))) {
        Ok(()) => {
            out.route(shared).await?;
            Ok(out.publish(shared).await?)
        }
        Err(why) => {
            let why = format!("Callback error: {why}");
            fail(shared, message, body, (group, &why)).await
        }
    }
}

/// The body will never run: whoever waits for it is told, and so are its error callbacks and its chain.
async fn fail(
    shared: &Shared,
    message: &Message,
    body: &Signature,
    (group, why): (&str, &str),
) -> Result<()> {
    let end = End::Raised(Raised::new("ChordError", "celery.exceptions", why), None);
    if let Some(id) = body.option("task_id") {
        let mut meta = results::meta(id, Status::Failure, end.result());
        meta.date_done = Some(super::now_iso(shared));
        meta.group_id = Some(group.to_owned());
        results::put(shared, &meta, body.option("reply_to")).await?;
        let errbacks = body.signatures("link_error").unwrap_or_default();
        let sender = canvas::Sender { shared, message };
        canvas::call_errbacks(sender, &errbacks, id).await?;
    }
    let chain = body.signatures("chain").unwrap_or_default();
    canvas::fail_chain(shared, &chain, &end, message).await
}
