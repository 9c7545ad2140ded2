//! What workers have done minute by minute: a hash of texts by minute and worker, and their names in a sorted set by
//! minute. No script has a part in it.

use super::link::connect::Link;
use super::link::fault::Result;
use super::pack;
use crate::core::id::WorkerId;
use crate::core::time::Time;
use crate::limits;
use crate::store::read::samples::{Sample, SampleFilter};

/// Samples that are read together.
const TOGETHER: usize = 500;

/// The name of a worker's minute: names of one minute are in the order of the workers' ids.
fn name(minute: Time, worker: WorkerId) -> Vec<u8> {
    let mut name = minute.0.to_be_bytes().to_vec();
    name.extend_from_slice(worker.as_bytes());
    name
}

fn read(name: &[u8]) -> Option<(Time, WorkerId)> {
    let (minute, worker) = name.split_first_chunk::<8>()?;
    let worker = WorkerId::from_bytes(worker.try_into().ok()?);
    Some((Time(i64::from_be_bytes(*minute)), worker))
}

/// Keeps minutes, and forgets some of what is old. Told again, a minute has the same name.
pub(super) async fn keep(link: &Link, samples: &[Sample]) -> Result<()> {
    let (names, texts) = (link.lane.key("samples"), link.lane.key("minutes"));
    let old = link.clock.now().before(limits::SAMPLES_KEPT);
    let mut ask = redis::cmd("ZRANGEBYSCORE");
    ask.arg(&names).arg("-inf").arg(format!("({}", old.0));
    ask.arg("LIMIT").arg(0).arg(limits::SAMPLES_FORGOTTEN);
    let gone: Vec<Vec<u8>> = link.command(&ask).await?;
    let mut write = redis::pipe();
    // One transaction: a text without its name would never be forgotten.
    write.atomic();
    if !gone.is_empty() {
        write.cmd("ZREM").arg(&names).arg(&gone).ignore();
        write.cmd("HDEL").arg(&texts).arg(&gone).ignore();
    }
    for Sample { minute, worker, text } in samples {
        let name = name(*minute, *worker);
        write.cmd("HSET").arg(&texts).arg(&name).arg(text).ignore();
        write.cmd("ZADD").arg(&names).arg(minute.0).arg(&name).ignore();
    }
    if gone.is_empty() && samples.is_empty() {
        return Ok(());
    }
    link.commands::<()>(&write).await
}

pub(super) async fn list(link: &Link, filter: &SampleFilter) -> Result<Vec<Sample>> {
    let (names, texts) = (link.lane.key("samples"), link.lane.key("minutes"));
    let (mut page, mut seen) = (Vec::new(), 0);
    loop {
        let mut ask = redis::cmd("ZRANGEBYSCORE");
        ask.arg(&names).arg(filter.from().0.max(0)).arg(format!("({}", filter.to().0));
        ask.arg("LIMIT").arg(seen).arg(TOGETHER);
        let found: Vec<Vec<u8>> = link.command(&ask).await?;
        seen += found.len();
        let is_last = found.len() < TOGETHER;
        let admitted = |name: &Vec<u8>| {
            read(name).is_some_and(|(minute, worker)| filter.admits(minute, worker))
        };
        let mut wanted: Vec<Vec<u8>> = found.into_iter().filter(admitted).collect();
        wanted.truncate(filter.rows() - page.len());
        if !wanted.is_empty() {
            let mut ask = redis::cmd("HMGET");
            ask.arg(&texts).arg(&wanted);
            let found: Vec<Option<Vec<u8>>> = link.command(&ask).await?;
            for (name, text) in wanted.iter().zip(found) {
                // One without a text was forgotten meanwhile.
                if let (Some((minute, worker)), Some(text)) = (read(name), text) {
                    page.push(Sample { minute, worker, text: pack::text(&text)? });
                }
            }
        }
        if is_last || page.len() >= filter.rows() {
            return Ok(page);
        }
    }
}
