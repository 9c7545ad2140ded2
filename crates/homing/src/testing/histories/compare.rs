//! What is read from both stores and must be alike.

use std::time::Duration;

use super::{History, Step};
use crate::core::id::TaskId;
use crate::store::read::{FailureFilter, JobFilter, Status};

impl History {
    /// Compares everything that can be read.
    pub(super) async fn compare(&self) -> Step {
        for filter in self.filters() {
            self.both("jobs", |store| store.jobs(filter.clone())).await?;
        }
        self.both("queues", |store| store.queues()).await?;
        self.both("workers", |store| store.workers()).await?;
        self.both("kinds", |store| store.kinds()).await?;
        self.both("outcomes", |store| store.outcomes(self.jobs.clone())).await?;
        let breaches = self.both("audit", |store| store.audit()).await?;
        if !breaches.is_empty() {
            return Err(format!("the audit finds {breaches:#?}"));
        }
        for job in &self.jobs {
            if self.both("job", |store| store.job(*job)).await?.is_none() {
                continue;
            }
            self.both("log", |store| store.log(*job, 0, 1000)).await?;
            self.both("log", |store| store.log(*job, 2, 1)).await?;
            self.both("attempts", |store| store.failed_attempts(job.root(), 2)).await?;
            self.both("last line", |store| store.last_line(*job)).await?;
            self.compare_tasks(job.root()).await?;
        }
        self.compare_failures().await
    }

    async fn compare_failures(&self) -> Step {
        let all = FailureFilter::default();
        let (kind, since) =
            (Some("write".to_owned()), Some(self.now().before(Duration::from_mins(1))));
        self.both("failures", |store| {
            store.failures(FailureFilter { kind: kind.clone(), since, limit: 2 })
        })
        .await?;
        let groups = self.both("failures", |store| store.failures(all.clone())).await?;
        for group in groups.into_iter().take(2) {
            let (print, before) = (group.fingerprint, Some((group.last, group.latest)));
            self.both("alike", |store| store.failed_alike(print, None, 100)).await?;
            self.both("alike", |store| store.failed_alike(print, before, 2)).await?;
        }
        Ok(())
    }

    fn filters(&self) -> Vec<JobFilter> {
        let after = self.jobs.first().map(|job| (self.now().before(Duration::from_mins(1)), *job));
        let all = JobFilter::default;
        vec![
            all(),
            JobFilter { status: Some(Status::InProgress), limit: 3, ..all() },
            JobFilter { status: Some(Status::Stalled), ..all() },
            JobFilter { status: Some(Status::CompletedWithErrors), ..all() },
            JobFilter { status: Some(Status::Failed), kind: Some("write".to_owned()), ..all() },
            JobFilter { title: Some("TITLE 1".to_owned()), after, ..all() },
            JobFilter { tag: Some("nightly".to_owned()), queue: Some("slow".to_owned()), ..all() },
            JobFilter { since: after.map(|(time, _)| time), until: Some(self.now()), ..all() },
        ]
    }

    async fn compare_tasks(&self, root: TaskId) -> Step {
        let mut open = vec![root];
        while let Some(task) = open.pop() {
            self.both("task", |store| store.task(task)).await?;
            self.both("parking", |store| store.parking(task)).await?;
            self.both("record", |store| store.record(task, 0, 1000)).await?;
            self.both("history", |store| store.history(task, 0, 1000)).await?;
            self.both("child", |store| store.child(task, task.local)).await?;
            for state in crate::TaskState::ALL {
                self.both("children_in", |store| sorted(store.children_in(task, state, 1000)))
                    .await?;
            }
            for row in self.both("sets", |store| store.sets(task, None, 100)).await? {
                let set = row.set;
                self.both("set", |store| store.set(task, set)).await?;
                self.both("sets", |store| store.sets(task, Some(set), 1)).await?;
                self.both("ends", |store| store.ends(task, set, 0, 1000)).await?;
                self.both("ends", |store| store.ends(task, set, 1, 2)).await?;
                self.both("children", |store| store.children(task, set, 1, 2)).await?;
                let all = self.both("children", |store| store.children(task, set, 0, 1000)).await?;
                open.extend(all.iter().map(|child| TaskId { job: task.job, local: child.local }));
            }
        }
        Ok(())
    }
}

/// The lines from the first to the last that differ, and some before.
pub(super) fn difference(memory: &str, other: &str) -> String {
    let (memory, other): (Vec<_>, Vec<_>) = (memory.lines().collect(), other.lines().collect());
    let same = memory.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let rest = memory[same..].iter().rev().zip(other[same..].iter().rev());
    let tail = rest.take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str], sign: &str| {
        let lines: Vec<_> = lines.iter().take(60).map(|line| format!("{sign} {line}")).collect();
        lines.join("\n")
    };
    let before = part(&memory[same.saturating_sub(12)..same], " ");
    let memory = part(&memory[same..memory.len() - tail], "-");
    let other = part(&other[same..other.len() - tail], "+");
    format!("{before}\n{memory}\n{other}\n(- memory, + other)")
}

/// What a store may give in any order.
fn sorted<T: Ord + Send + 'static>(
    verb: crate::store::Verb<'_, Vec<T>>,
) -> crate::store::Verb<'_, Vec<T>> {
    Box::pin(async move {
        let mut found = verb.await?;
        found.sort();
        Ok(found)
    })
}
