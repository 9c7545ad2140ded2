//! `heartbeat` and `leave`: workers come and go.

use super::{Data, Worker};
use crate::core::id::WorkerId;
use crate::core::time::Time;
use crate::limits;
use crate::store::Heartbeat;

impl Data {
    pub(super) fn heartbeat(&mut self, told: Heartbeat, now: Time) -> bool {
        match self.workers.get_mut(&told.worker) {
            Some(worker) => {
                worker.heartbeat = now;
                worker.killed = false;
                worker.told = told;
                true
            }
            None if told.first => {
                let arguments = told.arguments.iter().cloned();
                self.kinds.extend(told.kinds.iter().cloned().zip(arguments));
                let worker = Worker { told, started: now, heartbeat: now, killed: false };
                self.workers.insert(worker.told.worker, worker);
                true
            }
            None => false,
        }
    }

    pub(super) fn leave(&mut self, worker: WorkerId, now: Time) {
        self.workers.remove(&worker);
        self.notices.remove(&worker);
        for task in self.held_by(worker) {
            self.release(task, now.before(limits::RESUMED_AGE), |_| {});
        }
    }
}
