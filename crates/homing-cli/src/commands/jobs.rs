//! `jobs`: a page of the list of jobs.

use homing::{JobFilter, JobId, JobView, Time};

use crate::args::JobsArgs;
use crate::output::say;
use crate::table::{Table, plain};
use crate::{Context, Exit, Result, json, style, words};

/// Lists jobs, newest first.
pub(crate) async fn run(cx: &Context, args: JobsArgs) -> Result<Exit> {
    let limit = usize::from(args.limit);
    let mut jobs = cx.homing.jobs(filter(cx, args).await?).await?;
    // One more was asked for than is shown, to know whether there are more.
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    if cx.json {
        for job in &jobs {
            cx.out.json(&json::job(job))?;
        }
    } else {
        print(cx, &jobs).await?;
    }
    if let Some(last) = jobs.last().filter(|_| more) {
        if cx.json {
            cx.out.json(&json::Object::Next { after: last.id })?;
        } else {
            cx.out.flush()?;
            say(format_args!("there are more: --after {}", last.id));
        }
    }
    Ok(Exit::Done)
}

async fn filter(cx: &Context, args: JobsArgs) -> Result<JobFilter> {
    let now = cx.now();
    let after = match args.after {
        Some(id) => {
            let id = cx.find_job(&id).await?;
            Some((cx.homing.job::<()>(id).view().await?.created, id))
        }
        None => None,
    };
    Ok(JobFilter {
        status: args.status.map(Into::into),
        kind: args.kind,
        title: args.title,
        tag: args.tag,
        queue: args.queue,
        since: args.newer_than.map(|age| now.before(age)),
        until: args.older_than.map(|age| now.before(age)),
        after,
        limit: usize::from(args.limit) + 1,
    })
}

async fn print(cx: &Context, jobs: &[JobView]) -> Result<()> {
    if jobs.is_empty() {
        say("no jobs");
        return Ok(());
    }
    let now = cx.now();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let short = cx.homing.short_ids(&ids).await?;
    let mut table = Table::new(&["ID", "STATUS", "DONE", "TASKS", "AGE", "TITLE"], &[2, 3, 4]);
    for (job, id) in jobs.iter().zip(short) {
        table.row(vec![
            plain(id),
            (job.status.to_string(), style::of_status(job.status)),
            plain(job.percent().map_or("-".to_owned(), |percent| format!("{} %", percent.floor()))),
            plain(format_args!(
                "{}/{}",
                words::number(job.counts.ended()),
                words::number(job.counts.spawned())
            )),
            plain(age(job.created, now)),
            plain(words::line(job.title.as_deref().unwrap_or(&job.kind), 60)),
        ]);
    }
    for line in table.lines() {
        cx.out.line(line)?;
    }
    Ok(())
}

fn age(created: Time, now: Time) -> String {
    words::duration(now.since(created))
}
