//! Workers as tests play them: what they say, and what they are given.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::store::postgres::Postgres;
use crate::store::url::Url;
use crate::store::{
    Claim, Claimed, End, Event, Exchange, Heartbeat, NewChild, NewJob, NewTask, Policy, Reply,
    Store, Unit,
};

pub(super) async fn store(url: &str) -> Postgres {
    Postgres::open(&Url::parse(url).unwrap(), Clock::System, true).await.unwrap()
}

pub(super) fn new_task(kind: &str) -> NewTask {
    NewTask {
        kind: kind.to_owned(),
        arguments: "{}".to_owned(),
        hash: [0; 16],
        queue: "default".to_owned(),
        priority: 0,
        due: None,
        expires: None,
        deadline: None,
        policy: Policy::default(),
        tags: Vec::new(),
    }
}

pub(super) fn new_job(name: &str) -> NewJob {
    let (id, task) = (JobId::named(name), new_task("root"));
    NewJob { id, task, title: None, key: None, origin: None }
}

pub(super) fn spawn(set: Local, number: u32, kind: &str) -> Event {
    let local = set.numbered(number);
    Event::Spawn(Box::new(NewChild { local, set, number, task: new_task(kind) }))
}

pub(super) fn done() -> Event {
    Event::End(End::Succeeded("1".to_owned()))
}

pub(super) fn unit(claimed: &Claimed, events: Vec<Event>) -> Arc<Unit> {
    Arc::new(Unit { task: claimed.task, token: claimed.token, renew: false, events })
}

/// A worker's side of a conversation.
pub(super) struct TestWorker<'s> {
    store: &'s Postgres,
    pub(super) worker: WorkerId,
    number: u64,
    kinds: Arc<[String]>,
    /// Whether it looks for what others have made ready.
    pub(super) search: bool,
}

impl<'s> TestWorker<'s> {
    pub(super) async fn begin(store: &'s Postgres, kinds: &[&str]) -> Self {
        let worker = WorkerId::fresh();
        let mut kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
        kinds.sort_unstable();
        let kinds: Arc<[String]> = kinds.into();
        let heartbeat = Heartbeat {
            worker,
            first: true,
            lease: Duration::from_mins(10),
            name: "test".to_owned(),
            arguments: kinds.iter().map(|_| Vec::new()).collect(),
            kinds: Arc::clone(&kinds),
            queues: Arc::new(["default".to_owned()]),
            slots: 10,
            running: 0,
            resident: 0,
            ended: 0,
        };
        assert!(store.heartbeat(heartbeat).await.unwrap());
        Self { store, worker, number: 0, kinds, search: true }
    }

    /// The same worker, over another way to its store.
    pub(super) fn over(self, store: &Postgres) -> TestWorker<'_> {
        let Self { worker, number, kinds, search, .. } = self;
        TestWorker { store, worker, number, kinds, search }
    }

    pub(super) async fn say(&mut self, units: Vec<Arc<Unit>>, tasks: usize) -> Reply {
        self.number += 1;
        self.again(units, tasks).await
    }

    /// Says it under the last number, as a worker does to whom nobody replied.
    pub(super) async fn again(&mut self, units: Vec<Arc<Unit>>, tasks: usize) -> Reply {
        let claim = Claim {
            tasks,
            ahead: 0,
            search: self.search,
            queues: Arc::new(["default".to_owned()]),
            kinds: Arc::clone(&self.kinds),
            suspect: true,
            max_crashes: 5,
        };
        let (worker, number) = (self.worker, self.number);
        let exchange = Exchange { worker, number, acknowledged: number - 1, units, claim };
        self.store.exchange(exchange).await.unwrap()
    }
}

/// The first set of a task.
pub(super) fn set(task: TaskId) -> Local {
    task.set("children")
}
