//! `retry` and `amend`: a failed job goes on, and a task that stands still gets other arguments.

use super::link::connect::Link;
use super::link::fault::Result;
use super::link::script::{AMEND, RETRY};
use super::pack::{List, Pack};
use super::submit;
use crate::core::id::{JobId, TaskId};
use crate::store::{Amended, Retried, Retry};

pub(super) async fn retry(link: &Link, job: JobId, preview: bool) -> Result<Retry> {
    let mut request = Pack::list(2);
    request.bytes(job.as_bytes()).flag(preview);
    let request = request.done();
    loop {
        let read = |value: &rmpv::ValueRef<'_>| retried(&mut super::answer(value, job.root())?);
        let (done, follows) = link.run(&RETRY, &request, read).await?;
        submit::follow(link, follows).await;
        if let Some(done) = done {
            return Ok(done);
        }
    }
}

/// `None`: the script is to be run again, to go on with what comes before.
fn retried(list: &mut List<'_, '_>) -> Result<Option<Retry>> {
    const DONE: i64 = 0;
    const AGAIN: i64 = 1;
    const OPEN: i64 = 2;
    const SUCCEEDED: i64 = 3;
    Ok(Some(match list.number()? {
        DONE => {
            let mut reopened = list.list()?;
            let mut tasks = Vec::with_capacity(reopened.left());
            while reopened.left() > 0 {
                tasks.push(reopened.task()?);
            }
            Retry::Done(Retried::of(tasks, list.count()?, list.count()?))
        }
        AGAIN => return Ok(None),
        OPEN => Retry::Open,
        SUCCEEDED => Retry::Succeeded,
        _ => Retry::Held(list.job()?),
    }))
}

pub(super) async fn amend(link: &Link, task: TaskId, arguments: &str) -> Result<Amended> {
    let mut request = Pack::list(2);
    request.task(task).bytes(arguments);
    let read = |value: &rmpv::ValueRef<'_>| super::answer(value, task)?.number();
    Ok(match link.run(&AMEND, &request.done(), read).await?.0 {
        0 => Amended::Done,
        1 => Amended::NotStalled,
        _ => Amended::Ended,
    })
}
