//! `submit`: jobs come into being. And what follows a failure, which a script cannot make.

use super::link::connect::{Follows, Link};
use super::link::fault::{Fault, Result};
use super::link::script::SUBMIT;
use super::outcome;
use super::pack::{self, List, Pack};
use crate::core::id::{JobId, Local};
use crate::core::link::job_after_failure;
use crate::core::new_task::{NewJob, NewTask};
use crate::store::Submitted;

/// Jobs that one script creates at most, and bytes of their arguments. A script holds up everybody else.
const JOBS: usize = 1000;
const BYTES: usize = 1024 * 1024;

/// What a task has from its birth on, as it is kept.
pub(super) fn birth(task: &NewTask, born: Option<(Local, Local, u32)>) -> Vec<u8> {
    let mut pack = Pack::list(10);
    let (parent, set) = born.map(|(parent, set, _)| (parent.0, set.0)).unzip();
    pack.maybe(parent).maybe(set).number(born.map_or(0, |(_, _, number)| number));
    pack.bytes(&task.kind).bytes(&task.queue).number(task.priority).bytes(task.hash);
    let policy = crate::core::encode::json(&task.policy);
    pack.bytes(if policy == "{}" { "" } else { &policy });
    pack.bytes(if task.tags.is_empty() {
        String::new()
    } else {
        crate::core::encode::json(&task.tags)
    });
    pack.bytes(&task.arguments);
    pack.done()
}

/// Values that a job is in a list of jobs.
pub(super) const JOB: usize = 7;

/// A job as `submit` and `Detach` take it. One list of all values costs the script less than lists in a list.
pub(super) fn job(pack: &mut Pack, job: &NewJob) {
    let NewTask { due, expires, deadline, .. } = job.task;
    pack.bytes(job.id.as_bytes()).bytes(birth(&job.task, None));
    pack.maybe_time(due).maybe_time(expires).maybe_time(deadline);
    pack.maybe(about(job)).maybe(job.key.as_ref());
}

/// What people read of a job, if there is any of it.
fn about(job: &NewJob) -> Option<Vec<u8>> {
    let NewJob { title, key, origin, .. } = job;
    if title.is_none() && key.is_none() && origin.is_none() {
        return None;
    }
    let mut about = Pack::list(3);
    about.maybe(title.as_ref()).maybe(key.as_ref()).maybe(origin.map(pack::bytes_of));
    Some(about.done())
}

pub(super) async fn submit(link: &Link, jobs: &[NewJob]) -> Result<Vec<Submitted>> {
    let mut answers = Vec::with_capacity(jobs.len());
    let mut rest = jobs;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |job: &&NewJob| {
            let room = bytes < BYTES;
            bytes += job.task.arguments.len();
            room
        };
        let count = rest.iter().take(JOBS).take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        answers.extend(submit_some(link, now, &[]).await?);
        rest = later;
    }
    Ok(answers)
}

async fn submit_some(
    link: &Link,
    jobs: &[NewJob],
    made_good: &[Vec<u8>],
) -> Result<Vec<Submitted>> {
    let mut request = Pack::list(2);
    request.array(JOB * jobs.len());
    for new in jobs {
        job(&mut request, new);
    }
    request.texts(made_good.iter());
    let read = |value: &rmpv::ValueRef<'_>| {
        let mut list = List::of(value)?;
        let mut answers = Vec::with_capacity(list.left() / 2);
        while list.left() > 0 {
            answers.push(match (list.number()?, list.job()?) {
                (0, job) => Submitted::New(job),
                (1, job) => Submitted::Existing(job),
                (_, job) => Submitted::Conflict(job),
            });
        }
        Ok(answers)
    };
    let (answers, follows) = link.run(&SUBMIT, &request.done(), read).await?;
    if made_good.is_empty() {
        follow(link, follows).await;
    }
    Ok(answers)
}

/// Starts what follows failures. The store keeps the order to until it is done, and tells it to others after a second:
/// so a fault here is nobody's, and a job that two start is one, by its id.
pub(super) async fn follow(link: &Link, follows: Follows) {
    let Follows { orders, retries } = follows;
    for job in retries {
        if let Err(fault) = Box::pin(super::retry::retry(link, job, false)).await {
            let error = fault.told(&link.options.location);
            tracing::debug!(%error, %job, "a retry is gone on with later");
        }
    }
    for (number, order) in orders {
        let done = async {
            let jobs = follower(&number, &order)?;
            submit_some(link, jobs.as_slice(), &[number]).await.map(drop)
        };
        if let Err(fault) = Box::pin(done).await {
            let error = fault.told(&link.options.location);
            tracing::debug!(%error, "what follows a failure is started later");
        }
    }
}

/// The job that an order is for, if it can be read.
fn follower(number: &[u8], order: &[u8]) -> Result<Option<NewJob>> {
    let value = pack::parse(order)?;
    let mut list = List::of(&value)?;
    let (task, arguments, outcome) = (list.task()?, list.text()?, list.bytes()?);
    let (outcome, now) = (outcome::text(outcome, task), list.time()?);
    let number = std::str::from_utf8(number).map_err(|error| Fault::unreadable(&error))?;
    let job = job_after_failure(task, &arguments, &outcome, now);
    Ok(job.map(|job| NewJob { id: JobId::detached(task, &format!("follows {number}")), ..job }))
}
