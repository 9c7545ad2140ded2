//! `heartbeat` and `leave`: workers come and go.

use super::exchange::of;
use super::link::connect::Link;
use super::link::fault::Result;
use super::link::script::{HEARTBEAT, LEAVE};
use super::pack::{List, Pack};
use super::submit;
use crate::core::id::WorkerId;
use crate::store::Heartbeat;

pub(super) async fn heartbeat(link: &Link, heartbeat: &Heartbeat) -> Result<bool> {
    let Heartbeat {
        worker,
        first,
        lease,
        name,
        kinds,
        arguments,
        queues,
        slots,
        running,
        resident,
        ended,
    } = heartbeat;
    let mut told = Pack::list(6);
    told.texts(kinds.iter());
    told.texts(queues.iter());
    told.number(*slots).number(*running).number(*resident).number(*ended);
    let mut request = Pack::list(6);
    request.bytes(worker.as_bytes()).flag(*first);
    request.number(lease.as_micros()).bytes(name).bytes(told.done());
    // Only the first heartbeat tells what the kinds take.
    let known = if *first { kinds.len().min(arguments.len()) } else { 0 };
    request.array(known);
    for (kind, arguments) in kinds.iter().zip(arguments.iter()).take(known) {
        request.array(2).bytes(kind).bytes(crate::core::encode::json(arguments));
    }
    let read = |value: &rmpv::ValueRef<'_>| Ok(*value == rmpv::ValueRef::Boolean(true));
    let (known, follows) = link.run(&HEARTBEAT, &request.done(), read).await?;
    submit::follow(link, follows).await;
    Ok(known)
}

pub(super) async fn leave(link: &Link, worker: WorkerId) -> Result<()> {
    let request = of(worker.as_bytes()).done();
    let read = |value: &rmpv::ValueRef<'_>| Ok(*value == rmpv::ValueRef::Boolean(true));
    while link.run(&LEAVE, &request, read).await?.0 {}
    Ok(())
}

/// What a worker has told of itself, as people see it: kinds, queues, slots, resident futures, tasks ended.
pub(super) type Told = (Vec<String>, Vec<String>, u32, u32, u64);

pub(super) fn told(blob: &[u8]) -> Result<Told> {
    let value = super::pack::parse(blob)?;
    let mut list = List::of(&value)?;
    let (kinds, queues) = (texts(&mut list.list()?)?, texts(&mut list.list()?)?);
    let (slots, _running) = (list.count()?, list.number()?);
    Ok((kinds, queues, slots, list.count()?, list.count()?))
}

fn texts(list: &mut List<'_, '_>) -> Result<Vec<String>> {
    let mut texts = Vec::with_capacity(list.left());
    while list.left() > 0 {
        texts.push(list.text()?);
    }
    Ok(texts)
}
