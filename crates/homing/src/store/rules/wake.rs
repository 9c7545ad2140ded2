//! Waits: what satisfies them, what answers them, and who is woken by an end.

use crate::core::id::{JobId, Local, TaskId};
use crate::core::time::Time;
use crate::core::wait::{self, Answer, Facts, SetCounts, Standing, Wait};
use crate::store::rules::Rows;

/// What a waiting task's waits are held against.
pub(crate) struct WaitFacts<'r, R> {
    pub(crate) rows: &'r mut R,
    pub(crate) task: TaskId,
}

impl<R: Rows> Facts for WaitFacts<'_, R> {
    type Error = R::Error;

    fn set(&mut self, set: Local) -> Result<SetCounts, R::Error> {
        self.rows.counts(self.task, set)
    }

    fn child_ended(&mut self, child: Local) -> Result<bool, R::Error> {
        self.rows.has_ended(TaskId { job: self.task.job, local: child })
    }

    fn signal(&mut self, name: &str, take: bool) -> Result<Option<String>, R::Error> {
        self.rows.signal(self.task, name, take)
    }

    fn job(&mut self, job: JobId) -> Result<Standing, R::Error> {
        self.rows.standing(job)
    }

    fn now(&self) -> Time {
        self.rows.now()
    }
}

/// The outcome of a rule about one task; `None` if something of the task cannot be read. Then the task stands
/// still, and the transaction goes on for all others.
pub(crate) fn contain<R: Rows, T>(
    rows: &mut R,
    id: TaskId,
    done: Result<T, R::Error>,
) -> Result<Option<T>, R::Error> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(fault) => {
            let what = R::unreadable(fault)?;
            rows.stall_unreadable(id, &what)?;
            Ok(None)
        }
    }
}

/// Looks once at each parent whose children ended, and at each task that waits for a job that did, and wakes it
/// if that satisfies it.
pub(crate) fn wake_parents<R: Rows>(rows: &mut R) -> Result<(), R::Error> {
    for (parent, set) in std::mem::take(rows.parents_to_check()) {
        let waits = rows.waits(parent);
        if let Some(Some(waits)) = contain(rows, parent, waits)?
            && wait::concerns(&waits, set)
        {
            wake_if_satisfied(rows, parent, &waits)?;
        }
    }
    for job in std::mem::take(rows.jobs_to_check()) {
        for waiter in rows.watchers(job)? {
            wake_waiting(rows, waiter)?;
        }
    }
    Ok(())
}

/// Wakes a task if it is waiting and its waits are satisfied.
pub(crate) fn wake_waiting<R: Rows>(rows: &mut R, id: TaskId) -> Result<(), R::Error> {
    let waits = rows.waits(id);
    match contain(rows, id, waits)?.flatten() {
        Some(waits) => wake_if_satisfied(rows, id, &waits),
        None => Ok(()),
    }
}

fn wake_if_satisfied<R: Rows>(rows: &mut R, task: TaskId, waits: &[Wait]) -> Result<(), R::Error> {
    if wait::satisfied(waits, &mut WaitFacts { rows, task })? { rows.wake(task) } else { Ok(()) }
}

/// Answers what is satisfied and records the answers. A wait may have been answered already, in a reply that never
/// arrived: then that answer stands, and no second signal is taken for it.
pub(crate) fn answer<R: Rows>(
    rows: &mut R,
    task: TaskId,
    waits: &[Wait],
) -> Result<Vec<Answer>, R::Error> {
    let mut answers = Vec::new();
    for wait in waits {
        if let Some(answer) = rows.answered(task, wait)? {
            answers.push(answer);
            continue;
        }
        for answer in wait::answers(std::slice::from_ref(wait), &mut WaitFacts { rows, task })? {
            rows.record_answer(task, &answer)?;
            answers.push(answer);
        }
    }
    Ok(answers)
}
