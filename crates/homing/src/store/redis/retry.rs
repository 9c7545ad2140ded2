//! `retry` and `amend`: a failed job goes on, and a task that stands still gets other arguments.

use super::link::connect::{Follows, Link};
use super::link::fault::Result;
use super::link::script::{AMEND, RETRY};
use super::pack::{List, Pack};
use super::submit;
use crate::core::id::{JobId, TaskId};
use crate::store::{Amended, Retried, Retry};

pub(super) async fn retry(link: &Link, job: JobId, preview: bool) -> Result<Retry> {
    let mut left: Option<Vec<u8>> = None;
    loop {
        let mut request = Pack::list(3);
        request.bytes(job.as_bytes()).flag(preview).maybe(left.as_ref());
        let read = |value: &rmpv::ValueRef<'_>| retried(&mut super::answer(value, job.root())?);
        let (done, follows) = link.run(&RETRY, &request.done(), read).await?;
        // What was begun and left is somebody else's, or this very retry.
        submit::follow(link, Follows { retries: Vec::new(), ..follows }).await;
        match done {
            Step::Done(done) => return Ok(done),
            Step::Again(kept) => left = kept,
        }
    }
}

/// What one script has come to.
enum Step {
    Done(Retry),
    /// It is to be run again, to go on. A preview, which leaves nothing behind, is given what it has come to.
    Again(Option<Vec<u8>>),
}

fn retried(list: &mut List<'_, '_>) -> Result<Step> {
    const DONE: i64 = 0;
    const AGAIN: i64 = 1;
    const OPEN: i64 = 2;
    const SUCCEEDED: i64 = 3;
    Ok(Step::Done(match list.number()? {
        DONE => {
            let reopened = list.count()?;
            let mut first = list.list()?;
            let mut tasks = Vec::with_capacity(first.left());
            while first.left() > 0 {
                tasks.push(first.task()?);
            }
            Retry::Done(Retried {
                reopened,
                tasks,
                taken_back: list.count()?,
                removed: list.count()?,
            })
        }
        AGAIN => return Ok(Step::Again(list.maybe_bytes()?.map(<[u8]>::to_vec))),
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
