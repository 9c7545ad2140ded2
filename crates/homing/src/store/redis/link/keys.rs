//! The names of keys. `ARCHITECTURE.md` and `docs/concepts/storage.md` say what stands where.
//!
//! All keys of a lane begin with its hash tag, so that they lie in one slot: a script touches one lane.

use crate::core::id::{JobId, Local};

/// Slots of a cluster.
const SLOTS: u16 = 16_384;
/// How far a lane's slot may lie from the middle of its share.
const NEAR: u16 = 16;

/// The keys of one lane.
#[derive(Debug, Clone)]
pub(in crate::store::redis) struct Lane {
    /// The hash tag and a colon.
    prefix: String,
}

/// What every script declares, in the order in which `transaction.lua` names them.
const COMMON: [&str; 20] = [
    "meta", "ready", "classes", "timers", "running", "workers", "leases", "notices", "cascades",
    "jobs", "ids", "settled", "out", "keys", "paused", "kinds", "fence", "over", "retries",
    "failed",
];

impl Lane {
    /// Lane `number` of `lanes`. The tag ends in the first number whose slot lies in the middle of the lane's share, so
    /// that lanes spread evenly over any even split of the slots, and everybody finds the same.
    pub(in crate::store::redis) fn of(store: &str, number: u16, lanes: u16) -> Self {
        let share = SLOTS / lanes;
        let middle = number * share + share / 2;
        let tag = |at: u32| format!("{store}:{number:02}:{at}");
        let near = |tag: &String| slot_of(tag).abs_diff(middle) <= NEAR;
        let tag = (0..SLOTS.into()).map(tag).find(near).unwrap_or_default();
        Self { prefix: format!("{{{tag}}}:") }
    }

    pub(in crate::store::redis) fn key(&self, name: &str) -> Vec<u8> {
        format!("{}{name}", self.prefix).into_bytes()
    }

    /// The keys that every script declares. In a cluster one of them is never there.
    ///
    /// While a slot moves to another node key by key, a script that touches a key that has gone, or is not there yet, fails in
    /// its middle, unless the key is declared: then the node refuses the script before it begins. The keys of jobs are not
    /// all known before. With one that is nowhere, every script is refused as long as the slot moves, on both nodes.
    pub(in crate::store::redis) fn declared(&self, in_cluster: bool) -> Vec<Vec<u8>> {
        let absent = in_cluster.then_some(&"absent");
        COMMON.iter().chain(absent).map(|name| self.key(name)).collect()
    }

    /// The slot of a cluster in which all keys lie.
    pub(in crate::store::redis) fn slot(&self) -> u16 {
        let tag = self.prefix.trim_start_matches('{').trim_end_matches("}:");
        slot_of(tag)
    }

    /// The channel on which hints travel.
    pub(in crate::store::redis) fn channel(&self) -> Vec<u8> {
        self.key("hints")
    }

    /// A job's tasks.
    pub(in crate::store::redis) fn job(&self, job: JobId) -> Vec<u8> {
        self.of_job("j:", job)
    }

    /// A job's log.
    pub(in crate::store::redis) fn log(&self, job: JobId) -> Vec<u8> {
        self.of_job("g:", job)
    }

    /// The children in a job that failed or were cancelled.
    pub(in crate::store::redis) fn fallen(&self, job: JobId) -> Vec<u8> {
        self.of_job("f:", job)
    }

    fn of_job(&self, kind: &str, job: JobId) -> Vec<u8> {
        let mut key = self.key(kind);
        key.extend_from_slice(job.as_bytes());
        key
    }
}

fn slot_of(tag: &str) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(tag.as_bytes()) % SLOTS
}

/// A field of a job's hash: a letter, and what it belongs to.
pub(in crate::store::redis) fn field(letter: u8, local: Local) -> Vec<u8> {
    let mut field = vec![letter];
    field.extend_from_slice(&local.0);
    field
}

/// The same, with more behind it.
pub(in crate::store::redis) fn field_of(letter: u8, local: Local, more: &[&[u8]]) -> Vec<u8> {
    let mut field = field(letter, local);
    for more in more {
        field.extend_from_slice(more);
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_lie_in_the_middle_of_their_shares() {
        for lanes in [1, 4, 64] {
            for number in 0..lanes {
                let key = Lane::of("homing", number, lanes).key("meta");
                let tag = &key[1..key.iter().position(|byte| *byte == b'}').unwrap()];
                let slot = crc16::State::<crc16::XMODEM>::calculate(tag) % SLOTS;
                assert_eq!(slot / (SLOTS / lanes), number);
                assert_eq!(Lane::of("homing", number, lanes).slot(), slot);
            }
        }
    }
}
