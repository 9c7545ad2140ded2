//! `submit`: a job by the name of its kind.

use std::io::Read;

use homing::{Invalid, SubmitError};

use crate::args::SubmitArgs;
use crate::{Context, Error, Exit, Result, json};

/// Submits a job and prints its id.
pub(crate) async fn run(cx: &Context, args: SubmitArgs) -> Result<Exit> {
    let arguments = parse(&args.arguments)?;
    let mut order = cx.homing.submit_named(&args.kind, &arguments).priority(args.priority);
    if !args.tag.is_empty() {
        order = order.tags(args.tag);
    }
    if let Some(title) = args.title {
        order = order.title(title);
    }
    if let Some(key) = args.key {
        order = order.key(key);
    }
    if let Some(id) = args.id {
        order = order.id(id);
    }
    if let Some(queue) = args.queue {
        order = order.queue(queue);
    }
    if let Some(delay) = args.delay {
        order = order.delay(delay);
    }
    if args.force {
        order = order.force();
    }
    let id = order.await.map_err(told)?.id();
    cx.show(&json::Object::Submitted { id, kind: &args.kind }, || id.to_string())?;
    Ok(Exit::Done)
}

fn parse(text: &str) -> Result<serde_json::Value> {
    let mut read = String::new();
    let text = if text == "-" {
        std::io::stdin().read_to_string(&mut read)?;
        &read
    } else {
        text
    };
    let refused = |message: String| {
        Error::usage(message, "give an object with a field for each argument: '{\"page\": 7}'")
    };
    match serde_json::from_str(text) {
        Ok(arguments @ serde_json::Value::Object(_)) => Ok(arguments),
        Ok(_) => Err(refused("the arguments are JSON, but no object".to_owned())),
        Err(error) => Err(refused(format!("the arguments are not JSON: {error}"))),
    }
}

fn told(error: SubmitError) -> Error {
    match error {
        SubmitError::UnknownKind { .. }
        | SubmitError::Invalid(Invalid::Argument { .. } | Invalid::Mismatch { .. }) => {
            Error::usage(
                error.to_string(),
                "`kinds` lists them with their arguments; --force submits it nevertheless",
            )
        }
        error => error.into(),
    }
}
