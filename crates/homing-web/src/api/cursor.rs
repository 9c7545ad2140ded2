//! Where a list goes on: texts that are given back as they came.

use homing::{JobId, JobView, SetKey, TaskId, Time, WorkerId};

use crate::problem::{Refusal, Result};

/// Behind a job.
pub(crate) fn job(view: &JobView) -> String {
    format!("{}.{}", view.created.0, view.id)
}

/// Reads [`job`].
pub(crate) fn read_job(text: &str) -> Result<(Time, JobId)> {
    let read = || {
        let (time, id) = text.split_once('.')?;
        Some((Time(time.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| wrong(text))
}

/// At a child of a set.
pub(crate) fn child(set: SetKey, from: u64) -> String {
    format!("{set}.{from}")
}

/// Reads [`child`].
pub(crate) fn read_child(text: &str) -> Result<(SetKey, u64)> {
    let read = || {
        let (set, from) = text.split_once('.')?;
        Some((set.parse().ok()?, from.parse().ok()?))
    };
    read().ok_or_else(|| wrong(text))
}

/// Behind a task that has ended.
pub(crate) fn task((ended, id): (Time, TaskId)) -> String {
    format!("{}.{id}", ended.0)
}

/// Reads [`task`].
pub(crate) fn read_task(text: &str) -> Result<(Time, TaskId)> {
    let read = || {
        let (time, id) = text.split_once('.')?;
        Some((Time(time.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| wrong(text))
}

/// Behind a worker's minute.
pub(crate) fn sample((minute, worker): (Time, WorkerId)) -> String {
    format!("{}.{worker}", minute.0)
}

/// Reads [`sample`].
pub(crate) fn read_sample(text: &str) -> Result<(Time, WorkerId)> {
    let read = || {
        let (time, id) = text.split_once('.')?;
        Some((Time(time.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| wrong(text))
}

fn wrong(text: &str) -> Refusal {
    Refusal::usage(format!("`after` is `{text}`, which is no cursor"))
        .hint("give the `next` of the page before, or leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_written() {
        let id = JobId::named("x");
        assert_eq!(read_job(&format!("7.{id}")).unwrap(), (Time(7), id));
        let set: SetKey = format!("{}{}", "ab".repeat(12), "0".repeat(8)).parse().unwrap();
        assert_eq!(read_child(&child(set, 9)).unwrap(), (set, 9));
        let below = format!("{id}.{}", "0a".repeat(16)).parse().unwrap();
        for at in [(Time(7), below), (Time(7), id.root())] {
            assert_eq!(read_task(&task(at)).unwrap(), at);
        }
        for wrong in ["", "7", "7.x", "x.7", "..", "-"] {
            assert!(
                read_job(wrong).is_err() && read_child(wrong).is_err() && read_task(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
