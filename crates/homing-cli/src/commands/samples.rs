//! `samples`: what workers did, minute by minute.

use std::time::Duration;

use homing::{Histogram, SampleFilter, WorkSample};

use crate::args::SamplesArgs;
use crate::output::say;
use crate::table::{Table, plain};
use crate::{Context, Exit, Result, json, words};

/// Minutes shown to people where nothing is said.
const SHOWN: Duration = Duration::from_mins(30);

/// Lists the minutes of a span, the oldest first. `--json` has them by queue and kind.
pub(crate) async fn run(cx: &Context, args: SamplesArgs) -> Result<Exit> {
    let since = Some(cx.now().before(args.newer_than.unwrap_or(SHOWN)));
    let (mut after, mut none) = (None, true);
    let headings = [
        "MINUTE",
        "WORKER",
        "BUSY",
        "BEGUN",
        "SUCCEEDED",
        "FAILED",
        "RETRIED",
        "WAIT p90",
        "RUN p90",
    ];
    let mut table = Table::new(&headings, &[2, 3, 4, 5, 6, 7, 8]);
    loop {
        let page =
            cx.homing.samples(SampleFilter { since, after, ..SampleFilter::default() }).await?;
        let Some(last) = page.last() else { break };
        (after, none) = (Some((last.minute, last.worker)), false);
        for sample in &page {
            if cx.json {
                cx.out.json(&json::sample(sample))?;
                continue;
            }
            let mut all = WorkSample::default();
            sample.work.iter().for_each(|work| all.add(work));
            table.row(vec![
                plain(words::instant(sample.minute)),
                plain(&sample.name),
                plain(format_args!("{:.1}/{}", sample.busy.as_secs_f64() / 60.0, sample.slots)),
                plain(words::number(all.begun)),
                plain(words::number(all.succeeded)),
                plain(words::number(all.failed)),
                plain(words::number(all.retried)),
                plain(most(&all.wait)),
                plain(most(&all.run)),
            ]);
        }
    }
    if none {
        say(
            "no worker has told of a minute in that time: each tells once a minute, and as it leaves",
        );
    } else if !cx.json {
        table.lines().try_for_each(|line| cx.out.line(line))?;
    }
    Ok(Exit::Done)
}

/// What nine of ten do not exceed.
fn most(durations: &Histogram) -> String {
    match durations.within(90) {
        Some(bound) => format!("≤ {}", words::duration(bound)),
        None if durations.total() == 0 => "–".to_owned(),
        None => "> 1 h".to_owned(),
    }
}
