//! Why a task is where it is: what a parked one waits for, what keeps a pending one from running, what
//! brought a failed one down.
//!
//! Put together from several reads, so a task that moves meanwhile may be told of as it was. Everything
//! is bounded: of children the counts are given, and a few that stand for the rest.

use super::Homing;
use crate::core::id::{Local, TaskId};
use crate::core::log::Line;
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::Condition;
use crate::error::Failure;
use crate::limits;
use crate::store;
use crate::store::read::{ChildCounts, TaskView, WorkerView};

/// Children that stand for the rest.
const FEW: usize = 5;
/// Failed attempts that are told of.
const ATTEMPTS: usize = 20;

/// Why a task is where it is. See [`Homing::why`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Why {
    /// The task.
    pub task: TaskView,
    /// The reasons, the weightiest first. A parked task goes on when any one of those it waits for has
    /// come.
    pub because: Vec<Because>,
    /// Why its attempts failed or crashed and why it stood still: the last 20 lines of its job's log that
    /// tell of that. See [`Homing::failed_attempts`].
    pub attempts: Vec<Line>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Because {
    /// It is parked until children of a set have ended.
    Children {
        /// The wait's place in the body.
        place: String,
        /// The set's children, counted.
        counts: ChildCounts,
        /// It goes on once so many have ended.
        ended: Option<u64>,
        /// It goes on once so many have failed.
        failed: Option<u64>,
        /// It goes on once so many have succeeded.
        succeeded: Option<u64>,
        /// A few that have failed.
        some_failed: Vec<TaskView>,
        /// A few that are open, older ones first.
        some_open: Vec<TaskView>,
    },
    /// It is parked until one child has ended.
    Child {
        /// The wait's place in the body.
        place: String,
        /// The child.
        child: Box<TaskView>,
    },
    /// It is parked until a signal is sent.
    Signal {
        /// The wait's place in the body.
        place: String,
        /// The signal's name.
        name: String,
        /// What values it takes, in words, such as `boolean` or `array of string`; none: any JSON.
        takes: Option<String>,
    },
    /// It is parked until another job has ended.
    Job {
        /// The wait's place in the body.
        place: String,
        /// The job's root.
        root: Box<TaskView>,
    },
    /// It is parked until an instant: the end of a sleep or of a timeout.
    Until {
        /// The wait's place in the body.
        place: String,
        /// The instant.
        time: Time,
    },
    /// It stands still because what its body does differs from what is remembered.
    Drift {
        /// What differs.
        reason: String,
        /// How often in a row.
        stalls: u32,
        /// When it is tried again.
        due: Time,
    },
    /// Its last attempt failed, and it is tried again.
    Retrying {
        /// What the attempt failed of.
        reason: Option<String>,
        /// How often in a row.
        failures: u32,
        /// When it is tried again.
        due: Time,
    },
    /// It has taken its worker down so often in a row. From [`limits::SUSPECT`] on, a worker runs one such
    /// task at a time.
    Crashed {
        /// How often.
        crashes: u32,
    },
    /// It starts later.
    Scheduled {
        /// When.
        due: Time,
    },
    /// Its queue is paused.
    Paused {
        /// The queue.
        queue: String,
    },
    /// No living worker serves its queue.
    NoWorker {
        /// The queue.
        queue: String,
    },
    /// No living worker of its queue has registered its kind.
    NoKind {
        /// The queue.
        queue: String,
        /// The kind.
        kind: String,
        /// Whether any worker ever has.
        known: bool,
    },
    /// It could be claimed: a worker will take it when a slot is free and its turn has come.
    Queued {
        /// The queue.
        queue: String,
        /// Tasks of the queue that could be claimed, it included.
        ready: u64,
        /// Living workers that could run it.
        workers: u64,
        /// Their slots.
        slots: u64,
        /// How many of those are taken.
        running: u64,
    },
    /// A worker runs it.
    Running {
        /// The worker; `None` if it is no longer known.
        worker: Option<WorkerView>,
    },
    /// It fails if it has not started by then.
    Expires {
        /// When.
        time: Time,
    },
    /// It fails if it has not ended by then.
    Deadline {
        /// When.
        time: Time,
    },
    /// It has succeeded.
    Succeeded,
    /// It has failed.
    Failed {
        /// The failure; it says why.
        failure: Failure,
        /// A few children that have failed, which may have brought it down.
        some_failed: Vec<TaskView>,
    },
    /// It was cancelled.
    Cancelled {
        /// Says by whom.
        failure: Failure,
    },
}

impl Homing {
    /// Why a task is where it is, and what it waits for. Quick however many children it has.
    ///
    /// # Errors
    /// [`store::Error::Unknown`] if there is no task with the id.
    pub async fn why(&self, task: impl Into<TaskId>) -> Result<Why, store::Error> {
        let task = self.task(task).await?;
        let mut because = Vec::new();
        match task.state {
            State::Waiting => self.parked(&task, &mut because).await?,
            State::Pending => self.pending(&task, &mut because).await?,
            State::Running => because.push(self.running(&task).await?),
            State::Succeeded => because.push(Because::Succeeded),
            State::Failed | State::Cancelled => because.extend(self.fallen(&task).await?),
        }
        if !task.state.is_ended() {
            let expires = task.expires.filter(|_| task.started.is_none());
            because.extend(expires.map(|time| Because::Expires { time }));
            because.extend(task.deadline.map(|time| Because::Deadline { time }));
        }
        let attempts = self.failed_attempts(task.id, ATTEMPTS).await?;
        Ok(Why { task, because, attempts })
    }

    async fn parked(&self, task: &TaskView, to: &mut Vec<Because>) -> Result<(), store::Error> {
        for wait in &task.waits {
            let mut conditions: Vec<&Condition> = wait.arms.iter().rev().collect();
            while let Some(condition) = conditions.pop() {
                let place = wait.place.clone();
                match condition {
                    Condition::All { of } => conditions.extend(of.iter().rev()),
                    Condition::Signal { name, schema } => {
                        let takes = schema.as_deref().map(crate::core::schema::words);
                        to.push(Because::Signal { place, name: name.clone(), takes });
                    }
                    Condition::Job { job } => {
                        let root = self.store.task(job.root()).await?.map(Box::new);
                        to.extend(root.map(|root| Because::Job { place, root }));
                    }
                    Condition::At { time } => to.push(Because::Until { place, time: *time }),
                    Condition::Child { child, .. } => {
                        let child = TaskId { job: task.id.job, local: *child };
                        let child = self.store.task(child).await?.map(Box::new);
                        to.extend(child.map(|child| Because::Child { place, child }));
                    }
                    Condition::Set { set, ended, lost, succeeded, drained } => {
                        let mut counts = ChildCounts::default();
                        counts.add(&self.store.set(task.id, *set).await?);
                        let of = (task.id, *set);
                        to.push(Because::Children {
                            place,
                            counts,
                            ended: ended.or_else(|| drained.then_some(counts.spawned)),
                            failed: *lost,
                            succeeded: *succeeded,
                            some_failed: self.some(of, counts, &[State::Failed]).await?,
                            some_open: self.some(of, counts, &OPEN).await?,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// A few children of a set in one of some states. Of a set that fits into a page the oldest; of a
    /// larger one those that the store finds first.
    async fn some(
        &self,
        (task, set): (TaskId, Local),
        counts: ChildCounts,
        states: &[State],
    ) -> Result<Vec<TaskView>, store::Error> {
        let id = |local| TaskId { job: task.job, local };
        let mut found = Vec::new();
        if counts.spawned <= limits::PAGE as u64 {
            let page = self.store.children(task, set, 0, limits::PAGE).await?;
            let wanted = page.iter().filter(|child| states.contains(&child.state));
            for child in wanted.take(FEW) {
                found.extend(self.store.task(id(child.local)).await?);
            }
            return Ok(found);
        }
        for state in states {
            for child in self.store.children_in(task, *state, limits::PAGE).await? {
                let view = self.store.task(child).await?;
                found.extend(view.filter(|view| view.set.is_some_and(|(own, _)| own == set)));
                if found.len() >= FEW {
                    break;
                }
            }
        }
        found.sort_by_key(|view| (view.created, view.set));
        found.truncate(FEW);
        Ok(found)
    }

    async fn pending(&self, task: &TaskView, to: &mut Vec<Because>) -> Result<(), store::Error> {
        let TaskView { due, stalls, failures, crashes, .. } = *task;
        let reason = task.reason.clone();
        if stalls > 0 {
            to.push(Because::Drift { reason: reason.unwrap_or_default(), stalls, due });
        } else if failures > 0 {
            to.push(Because::Retrying { reason, failures, due });
        } else if due > self.store.clock().now() {
            to.push(Because::Scheduled { due });
        }
        if crashes > 0 {
            to.push(Because::Crashed { crashes });
        }
        let queued = self.queued(task).await?;
        // Nothing that is not due stands in a queue, but what keeps it from a worker will do so then.
        let due = due <= self.store.clock().now();
        to.extend(Some(queued).filter(|because| due || !matches!(because, Because::Queued { .. })));
        Ok(())
    }

    /// What keeps a pending task from a worker.
    async fn queued(&self, task: &TaskView) -> Result<Because, store::Error> {
        let (queue, kind) = (task.queue.clone(), task.kind.clone());
        let queues = self.store.queues().await?;
        let own = queues.iter().find(|view| view.name == queue);
        if own.is_some_and(|view| view.paused) {
            return Ok(Because::Paused { queue });
        }
        let mut workers = self.store.workers().await?;
        workers.retain(|worker| worker.alive && worker.queues.contains(&queue));
        if workers.is_empty() {
            return Ok(Because::NoWorker { queue });
        }
        workers.retain(|worker| worker.kinds.contains(&kind));
        if workers.is_empty() {
            let known = self.store.kinds().await?.iter().any(|view| view.name == kind);
            return Ok(Because::NoKind { queue, kind, known });
        }
        Ok(Because::Queued {
            queue,
            ready: own.map_or(0, |view| view.ready),
            workers: workers.len() as u64,
            slots: workers.iter().map(|worker| u64::from(worker.slots)).sum(),
            running: workers.iter().map(|worker| u64::from(worker.running)).sum(),
        })
    }

    async fn running(&self, task: &TaskView) -> Result<Because, store::Error> {
        let workers = self.store.workers().await?;
        let worker = workers.into_iter().find(|worker| Some(worker.id) == task.worker);
        Ok(Because::Running { worker })
    }

    async fn fallen(&self, task: &TaskView) -> Result<Option<Because>, store::Error> {
        let Some(failure) = task.failure.clone() else { return Ok(None) };
        if task.state == State::Cancelled {
            return Ok(Some(Because::Cancelled { failure }));
        }
        let some_failed = self.children_in(task.id, State::Failed, FEW).await?;
        Ok(Some(Because::Failed { failure, some_failed }))
    }
}

/// States of open tasks; those at work first.
const OPEN: [State; 3] = [State::Running, State::Waiting, State::Pending];
