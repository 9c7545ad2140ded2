//! A worker as a history plays it: what it holds, and what it makes of a reply.
//!
//! It knows what a real worker knows, and errs as one does: it resends, freezes and speaks of tasks it
//! has lost.

use crate::core::id::{TaskId, Token, WorkerId};
use crate::store::{Claimed, Event, Exchange, Reply};

/// A worker as a history plays it.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) id: WorkerId,
    pub(super) number: u64,
    pub(super) acknowledged: u64,
    pub(super) held: Vec<Held>,
    /// An exchange whose reply was lost, to be sent again.
    pub(super) lost: Option<Exchange>,
}

/// A task in an actor's hands.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) task: TaskId,
    pub(super) token: Token,
    pub(super) seq: u64,
}

impl Actor {
    /// Takes in a reply.
    pub(super) fn receive(&mut self, exchange: &Exchange, reply: Reply) {
        self.acknowledged = exchange.number;
        let refused = |task: TaskId| reply.refused.iter().any(|(own, _)| *own == task);
        let ready = |task: TaskId| reply.ready.iter().any(|(own, _)| *own == task);
        for unit in &exchange.units {
            let goes_on = match unit.events.last() {
                Some(Event::Park { .. }) => ready(unit.task),
                Some(
                    Event::End(_) | Event::Retry { .. } | Event::Stall { .. } | Event::HandBack,
                ) => false,
                _ => true,
            };
            let seqs = unit.events.iter().map(|event| match event {
                Event::Record { seq, .. } => *seq,
                Event::Park { waits, .. } => waits.iter().map(|wait| wait.seq).max().unwrap_or(0),
                _ => 0,
            });
            let last = seqs.max().unwrap_or(0);
            self.held.retain_mut(|held| {
                if held.task != unit.task || held.token != unit.token {
                    return true;
                }
                held.seq = held.seq.max(last);
                // A refused unit is now and then sent again all the same: a frozen worker does that.
                goes_on && (!refused(unit.task) || last.is_multiple_of(3))
            });
        }
        for Claimed { task, token, records, .. } in reply.claimed {
            self.held.retain(|held| held.task != task);
            self.held.push(Held { task, token, seq: records });
        }
    }
}
