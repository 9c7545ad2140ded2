//! A message's arguments, by the names that the kind has registered; and whether it is to run at all.

use homing::{KindView, Result};
use serde_json::{Map, Value, json};

use super::{Begun, End, event, results};
use crate::bridge::Shared;
use crate::wire::{Message, Raised};

/// Celery's own words, and what to do.
const NO_CHORDS: &str = "The \"rpc\" result backend does not support chords! Nobody counts the members' results there, and the body would never run: set `result_backend` to a redis:// URL, in Celery and with the bridge's `.results(…)`";

/// Looks whether a task is to run; if it is, that is told. `last`: nobody waits longer for its kind.
pub(super) async fn look(shared: &Shared, message: &Message, last: bool) -> Result<Begun> {
    let headers = &message.headers;
    if shared.notes.is_revoked(&headers.id, shared.seconds()).await? {
        return Ok(Begun::Not(End::Revoked("revoked".to_owned())));
    }
    let now = shared.homing.now();
    if headers.expires().is_some_and(|expires| expires <= now) {
        return Ok(Begun::Not(End::Revoked("expired".to_owned())));
    }
    if message.embed.chord.is_some() && shared.results.redis().is_none() {
        let raised = Raised::new("NotImplementedError", "builtins", NO_CHORDS);
        return Ok(Begun::Not(End::Raised(raised, None)));
    }
    let kinds = shared.kinds().await?;
    let own = headers.task.starts_with("homing.");
    let Some(kind) = kinds.iter().find(|kind| kind.name == headers.task && !own) else {
        if !last && !own {
            return Ok(Begun::Wait);
        }
        let raised = Raised::new("NotRegistered", "celery.exceptions", headers.task.as_str());
        return Ok(Begun::Not(End::Raised(raised, None)));
    };
    match named(kind, &message.args, &message.kwargs) {
        Ok(arguments) => {
            results::started(shared, message, event("task-started", message, json!({}))).await?;
            Ok(Begun::Run(arguments))
        }
        Err(why) => {
            let raised = Raised::new("TypeError", "builtins", why);
            Ok(Begun::Not(End::Raised(raised, None)))
        }
    }
}

/// Arguments by their names: those without a name have those of the kind, in its order.
fn named(
    kind: &KindView,
    args: &[Value],
    kwargs: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let name = &kind.name;
    if args.len() > kind.arguments.len() {
        let (takes, given) = (kind.arguments.len(), args.len());
        return Err(format!("{name}() takes {takes} positional arguments but {given} were given"));
    }
    let mut arguments = kwargs.clone();
    for (known, value) in kind.arguments.iter().zip(args) {
        if arguments.insert(known.name.clone(), value.clone()).is_some() {
            return Err(format!("{name}() got multiple values for argument '{}'", known.name));
        }
    }
    let all = Value::Object(arguments);
    kind.check_arguments(&all).map_err(|invalid| format!("{name}(): {invalid}"))?;
    match all {
        Value::Object(arguments) => Ok(arguments),
        _ => Ok(Map::new()),
    }
}
