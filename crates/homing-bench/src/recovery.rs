//! `recovery`: from the kill -9 of a worker to its work going on in another.
//!
//! The first worker has every task: parents that wait, children that hang. It is killed; the second,
//! which runs already or is started at once, runs the children again and resumes the parents. Both
//! announce what bodies do on their standard output, so one clock times it all.

use std::collections::HashSet;

use homing::{Homing, JobHandle};
use tokio::time::{Duration, Instant};

use crate::Result;
use crate::place::Fresh;
use crate::process::Process;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks;

pub(crate) async fn run(common: &Common) -> Result<Vec<Report>> {
    common.store.require_shared("it dies with the process that is killed")?;
    let (tasks, children) = (common.tasks(15, 15), common.children(4));
    if tasks * children > common.concurrency as u64 {
        return Err("every child must run when the worker is killed: raise --concurrency".into());
    }
    let mut reports = Vec::new();
    for standby in [true, false] {
        let second = if standby { "running already" } else { "started after the kill" };
        let report = common
            .report("recovery", Some(tasks), Some(children))
            .setting("concurrency", common.concurrency)
            .setting("resident", common.resident)
            .setting("second_worker", second)
            .note("first_resumed_ms: kill -9 to the first line of a child that the dead worker ran")
            .note("first_parent_ms: … to the first line of a parent after its wait")
            .note("completed_ms: … to the last outcome, all verified")
            .note("a worker that runs already has been idle for 0.2 to 1.2 s, in each run another time");
        let mut turn = 0;
        let run = async |fresh: &Fresh| {
            turn += 1;
            // The kill must not fall in step with whatever an idle worker does now and then.
            let idle = Duration::from_millis(200 + turn * 618 % 1000);
            Scene { fresh, common, tasks, children }.play(standby.then_some(idle)).await
        };
        reports.push(common.rounds(report, common.runs(5), run).await?);
    }
    Ok(reports)
}

struct Scene<'a> {
    fresh: &'a Fresh,
    common: &'a Common,
    tasks: u64,
    children: u64,
}

impl Scene<'_> {
    /// `idle`: how long the second worker has nothing to do before the kill; without, it is started
    /// after the kill.
    async fn play(&self, idle: Option<Duration>) -> Result<Figures> {
        let homing = Homing::open(self.fresh.url()).await?;
        let (url, slots, resident) =
            (self.fresh.url(), self.common.concurrency, self.common.resident);
        let mut first = Process::worker(url, slots, resident, true).await?;
        let calls = (0..self.tasks).map(|_| tasks::family(self.children));
        let jobs = homing.submit_all(calls).await?;
        let held = self.held(&mut first).await?;
        let mut running = None;
        if let Some(idle) = idle {
            running = Some(Process::worker(url, slots, resident, false).await?);
            tokio::time::sleep(idle).await;
        }
        let killed = Instant::now();
        first.kill()?;
        let mut second = match running {
            Some(second) => second,
            None => Process::worker_soon(url, slots, resident, false)?,
        };
        let (seen, ()) = tokio::try_join!(self.seen(&mut second, &held), self.outcomes(&jobs))?;
        let completed = killed.elapsed();
        second.end().await?;
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        Ok(vec![
            ("first_resumed_ms", ms(seen.child - killed)),
            ("first_parent_ms", ms(seen.parent - killed)),
            ("completed_ms", ms(completed)),
        ])
    }

    /// The children that the first worker runs: all of them.
    async fn held(&self, first: &mut Process) -> Result<HashSet<String>> {
        let mut held = HashSet::new();
        while (held.len() as u64) < self.tasks * self.children {
            let line = first.line().await?;
            let child =
                line.strip_prefix("began ").ok_or_else(|| format!("not expected: {line}"))?;
            held.insert(child.to_owned());
        }
        Ok(held)
    }

    /// Listens to the second worker until it has run every child and resumed every parent.
    async fn seen(&self, second: &mut Process, held: &HashSet<String>) -> Result<Seen> {
        let (mut child, mut parent, mut joined) = (None, None, 0);
        while joined < self.tasks {
            let line = second.line().await?;
            match line.split_once(' ') {
                Some(("began", id)) if held.contains(id) => {
                    child.get_or_insert_with(Instant::now);
                }
                Some(("joined", _)) => {
                    parent.get_or_insert_with(Instant::now);
                    joined += 1;
                }
                _ if line == "ready" => {}
                _ => return Err(format!("not expected: {line}").into()),
            }
        }
        let never = "the second worker ran no child of the first";
        Ok(Seen { child: child.ok_or(never)?, parent: parent.ok_or(never)? })
    }

    async fn outcomes(&self, jobs: &[JobHandle<u64>]) -> Result<()> {
        let expected = self.children * (self.children - 1) / 2;
        for job in jobs {
            let sum = job.outcome().await?;
            if sum != expected {
                return Err(format!("a parent came to {sum}, not to {expected}").into());
            }
        }
        Ok(())
    }
}

/// When the second worker first went on with what.
struct Seen {
    child: Instant,
    parent: Instant,
}
