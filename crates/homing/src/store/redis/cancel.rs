//! `cancel` and `signal`: words from outside.

use super::link::connect::{Link, key_of};
use super::link::fault::Result;
use super::link::keys::field;
use super::link::script::{CANCEL, SIGNAL};
use super::pack::Pack;
use super::{submit, waits_of};
use crate::core::id::TaskId;
use crate::store::{Error, Sent};

pub(super) async fn cancel(link: &Link, task: TaskId, text: Option<&str>) -> Result<bool> {
    let mut request = Pack::list(2);
    request.task(task).maybe(text);
    let read = |value: &rmpv::ValueRef<'_>| super::answer(value, task)?.flag();
    let (first, follows) = link.run(&CANCEL, &request.done(), read).await?;
    submit::follow(link, follows).await;
    Ok(first)
}

/// What becomes of the signal is decided here, by the waits as they are read; the script keeps it if they are still
/// the same. They change only when the task is claimed or parks.
pub(super) async fn signal(link: &Link, task: TaskId, name: &str, value: &str) -> Result<Sent> {
    const ENDED: i64 = 0;
    const SENT: i64 = 1;
    loop {
        let kept = waits_of(link, task).await?;
        let waits = kept.as_deref().map(super::task::waits).transpose()?.unwrap_or_default();
        let sent = Sent::to(&waits, name, value);
        let mut request = Pack::list(4);
        request.task(task).bytes(name).bytes(value).maybe(kept.as_ref());
        if matches!(sent, Sent::Misfit(_)) {
            return if is_open(link, task).await? { Ok(sent) } else { Ok(Sent::Ended) };
        }
        let read = |value: &rmpv::ValueRef<'_>| super::answer(value, task)?.number();
        match link.run(&SIGNAL, &request.done(), read).await?.0 {
            ENDED => return Ok(Sent::Ended),
            SENT => return Ok(sent),
            _ => {}
        }
    }
}

async fn is_open(link: &Link, task: TaskId) -> Result<bool> {
    let row = link.fields(&key_of(link, task), &[field(b'o', task.local)]).await?;
    match row.into_iter().next().flatten() {
        Some(blob) => Ok(!super::task::Row::from(&blob)?.state.is_ended()),
        None => Err(Error::Unknown { id: task }.into()),
    }
}
