//! A worker of the suite's own hand: the conversation spoken line by line.

use std::sync::Arc;

use super::Lab;
use crate::core::id::{Token, WorkerId};
use crate::limits;
use crate::store::{Claim, End, Event, Exchange, Heartbeat, NewTask, Policy, Unit};

/// A worker of the suite's own hand.
pub(super) struct ByHand<'a> {
    lab: &'a Lab,
    pub(super) worker: WorkerId,
    number: u64,
    /// What the next exchange acknowledges.
    pub(super) acknowledged: u64,
    /// Whether it looks for what others have made ready.
    pub(super) search: bool,
}

impl<'a> ByHand<'a> {
    pub(super) async fn new(lab: &'a Lab) -> Self {
        let worker =
            Self { lab, worker: WorkerId::fresh(), number: 0, acknowledged: 0, search: true };
        worker.beat(true).await;
        worker
    }

    pub(super) async fn beat(&self, first: bool) {
        let told = Heartbeat {
            worker: self.worker,
            first,
            lease: limits::LEASE,
            name: "by hand".to_owned(),
            kinds: Arc::new([]),
            arguments: Arc::new([]),
            queues: Arc::new([]),
            slots: 1,
            running: 0,
            resident: 0,
            ended: 0,
        };
        assert!(self.lab.store().heartbeat(told).await.unwrap());
    }

    pub(super) async fn exchange(
        &mut self,
        kinds: &[&str],
        units: Vec<Unit>,
    ) -> crate::store::Reply {
        self.claim((1, 0), kinds, units).await
    }

    /// As [`exchange`](Self::exchange), with so many tasks to begin at once and so many ahead.
    pub(super) async fn claim(
        &mut self,
        (tasks, ahead): (usize, usize),
        kinds: &[&str],
        units: Vec<Unit>,
    ) -> crate::store::Reply {
        self.number += 1;
        self.again((tasks, ahead), kinds, units).await
    }

    /// Says it under the last number, as a worker does to whom nobody replied.
    pub(super) async fn again(
        &mut self,
        (tasks, ahead): (usize, usize),
        kinds: &[&str],
        units: Vec<Unit>,
    ) -> crate::store::Reply {
        let claim = Claim {
            tasks,
            ahead,
            search: self.search,
            queues: Arc::new(["default".to_owned()]),
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            suspect: true,
            max_crashes: limits::MAX_CRASHES,
        };
        let acknowledged = self.acknowledged.min(self.number - 1);
        self.acknowledged = self.number;
        let (worker, number) = (self.worker, self.number);
        let units = units.into_iter().map(Arc::new).collect();
        let exchange = Exchange { worker, number, acknowledged, units, claim };
        self.lab.store().exchange(exchange).await.unwrap()
    }
}

/// A unit that ends a task.
pub(super) fn ending(task: crate::TaskId, token: Token, value: &str) -> Unit {
    let events = vec![Event::End(End::Succeeded(value.to_owned()))];
    Unit { task, token, renew: false, events }
}

/// A task that may be added to its parent's set.
pub(super) fn task_of(kind: &str) -> NewTask {
    NewTask {
        kind: kind.to_owned(),
        arguments: "{}".to_owned(),
        hash: [0; 16],
        queue: "default".to_owned(),
        priority: 0,
        due: None,
        expires: None,
        deadline: None,
        policy: Policy { grows: true, ..Policy::default() },
        tags: Vec::new(),
    }
}
