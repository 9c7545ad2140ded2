//! `prune` and `remove`: finished jobs go for good. The server frees their memory beside its work.

use super::exchange::of;
use super::link::connect::Link;
use super::link::fault::Result;
use super::link::script::{PRUNE, REMOVE};
use super::pack::{List, Pack};
use crate::core::id::JobId;
use crate::core::time::Time;
use crate::limits;
use crate::store::{Pruned, Removed};

pub(super) async fn prune(link: &Link, before: Time) -> Result<Pruned> {
    let mut request = Pack::list(2);
    request.time(before).number(limits::PRUNE_JOBS as u64);
    let read = |value: &rmpv::ValueRef<'_>| {
        let mut list = List::of(value)?;
        Ok(Pruned { jobs: list.count()?, more: list.flag()? })
    };
    Ok(link.run(&PRUNE, &request.done(), read).await?.0)
}

pub(super) async fn remove(link: &Link, job: JobId) -> Result<Removed> {
    let read = |value: &rmpv::ValueRef<'_>| super::answer(value, job.root())?.number();
    Ok(match link.run(&REMOVE, &of(job.as_bytes()).done(), read).await?.0 {
        0 => Removed::Gone,
        1 => Removed::More,
        _ => Removed::Open,
    })
}
