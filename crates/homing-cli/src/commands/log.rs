//! `log`: a job's lines, or those of one of its tasks.

use homing::log::{Level, Line};

use crate::args::LogArgs;
use crate::{Context, Exit, Result, json, style, words};

/// Prints the lines there are, and with `--follow` those to come until the job has ended.
pub(crate) async fn run(cx: &Context, args: &LogArgs) -> Result<Exit> {
    cx.homing.task(args.id).await?; // a task that nobody knows has no empty log
    let mut log = cx.homing.job::<()>(args.id.job).log();
    if let Some(lines) = args.tail {
        log = log.last(lines.into()).await?;
    }
    loop {
        let lines = if args.follow { log.next().await? } else { Some(log.page().await?) };
        let Some(lines) = lines.filter(|lines| !lines.is_empty()) else { return Ok(Exit::Done) };
        for line in lines.iter().filter(|line| is_wanted(line, args)) {
            cx.show(&json::line(line), || text(line))?;
        }
        cx.out.flush()?;
    }
}

fn is_wanted(line: &Line, args: &LogArgs) -> bool {
    let least: Level = args.level.into();
    line.level >= least && (args.id.is_root() || line.task == args.id)
}

/// A line for people: when, how important, what.
pub(crate) fn text(line: &Line) -> String {
    let level = style::paint(style::of_level(line.level), format_args!("{:5}", line.level));
    let time = style::paint(style::DIM, words::instant(line.time));
    format!("{time} {level} {}", words::line(&line.message, usize::MAX))
}
