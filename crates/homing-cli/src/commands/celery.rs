//! `celery`: what can be seen of a Celery application, and what Celery says of a task that it runs for homing.

use homing_celery::{Finding, Level, StartError};
use serde::Serialize;

use crate::args::CeleryCommand;
use crate::output::Output;
use crate::{Exit, Result, style};

/// What is printed with `--json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Object<'a> {
    Finding { level: String, subject: &'a str, text: &'a str },
    CeleryWorker { name: &'a str },
}

/// Looks at an application. No store is asked.
pub(crate) async fn run(json: bool, out: &Output, command: CeleryCommand) -> Result<Exit> {
    let answer = match command {
        CeleryCommand::Check(args) => check((json, out), &args.broker, args.wait).await,
        CeleryCommand::Ping(args) => ping((json, out), &args.broker, args.wait).await,
    };
    Ok(if answer? { Exit::Done } else { Exit::No })
}

async fn check(
    (json, out): (bool, &Output),
    broker: &str,
    wait: std::time::Duration,
) -> Result<bool> {
    let findings = homing_celery::check(broker, wait).await?;
    for Finding { level, subject, text, .. } in &findings {
        if json {
            out.json(&Object::Finding { level: level.to_string(), subject, text })?;
            continue;
        }
        let shown = style::paint(of_level(*level), format!("{level:<7}"));
        out.line(format_args!("{shown} {subject}: {text}"))?;
    }
    Ok(findings.iter().all(|finding| finding.level != Level::Bad))
}

fn of_level(level: Level) -> anstyle::Style {
    if level == Level::Bad { style::BAD } else { style::BOLD }
}

async fn ping(
    (json, out): (bool, &Output),
    broker: &str,
    wait: std::time::Duration,
) -> Result<bool> {
    let names = homing_celery::ping(broker, wait).await?;
    for name in &names {
        if json { out.json(&Object::CeleryWorker { name })? } else { out.line(name)? }
    }
    Ok(!names.is_empty())
}

/// Whether a Celery server could not be reached, and not that a URL is wrong.
pub(crate) fn is_away(error: &StartError) -> bool {
    matches!(error, StartError::Unreachable { .. })
}
