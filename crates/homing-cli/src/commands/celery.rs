//! `celery`: what can be seen of a Celery application, and what Celery says of a task that it runs for homing.

use homing_celery::{Level, StartError};

use crate::args::CeleryCommand;
use crate::output::Output;
use crate::{Error, Exit, Result, style};

/// Looks at an application. No store is asked.
pub(crate) async fn run(json: bool, out: &Output, command: CeleryCommand) -> Result<Exit> {
    if json {
        let hint = "leave out --json: its lines have three columns, how it is, where, and what";
        return Err(Error::usage("`celery` has no objects for programs", hint));
    }
    let answer = match command {
        CeleryCommand::Check(args) => check(out, &args.broker, args.wait).await,
        CeleryCommand::Ping(args) => ping(out, &args.broker, args.wait).await,
    };
    Ok(if answer? { Exit::Done } else { Exit::No })
}

async fn check(out: &Output, broker: &str, wait: std::time::Duration) -> Result<bool> {
    let findings = homing_celery::check(broker, wait).await?;
    for finding in &findings {
        let level = format!("{:<7}", finding.level);
        let level = style::paint(of_level(finding.level), &level);
        out.line(format_args!("{level} {}: {}", finding.subject, finding.text))?;
    }
    Ok(findings.iter().all(|finding| finding.level != Level::Bad))
}

fn of_level(level: Level) -> anstyle::Style {
    if level == Level::Bad { style::BAD } else { style::BOLD }
}

async fn ping(out: &Output, broker: &str, wait: std::time::Duration) -> Result<bool> {
    let names = homing_celery::ping(broker, wait).await?;
    for name in &names {
        out.line(name)?;
    }
    Ok(!names.is_empty())
}

/// Whether a Celery server could not be reached, and not that a URL is wrong.
pub(crate) fn is_away(error: &StartError) -> bool {
    matches!(error, StartError::Unreachable { .. })
}
