//! What only this store can get wrong: files, locks, groups of commits, plans of statements.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::options::Options;
use super::{Sqlite, migrate};
use crate::clock::Clock;
use crate::clock::ManualClock;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::store::error::OpenError;
use crate::store::memory::Memory;
use crate::store::read::JobFilter;
use crate::store::url::Url;
use crate::store::{
    Claim, Claimed, End, Entry, Error, Event, Exchange, Heartbeat, NewChild, NewJob, NewTask,
    Policy, Read, Records, Refusal, Reply, Store, Submitted, Unit,
};

mod files;
mod kinds;
mod locks;
mod plans;
mod reading;
mod writing;

/// A directory of a test's own, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("homing-sqlite-{}", WorkerId::fresh());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn options(&self) -> Options {
        Options { full: false, ..Options::at(self.0.join("x.db")) }
    }

    async fn store(&self) -> Sqlite {
        Sqlite::with(self.options(), Clock::System).await.unwrap()
    }

    /// Lets the store refuse every unit that records something at the place `poison`.
    fn poison(&self) {
        let trigger = "CREATE TRIGGER poison BEFORE INSERT ON records WHEN new.place = 'poison'
             BEGIN SELECT raise(ABORT, 'poisoned'); END";
        self.other().execute_batch(trigger).unwrap();
    }

    /// A connection of somebody else.
    fn other(&self) -> Connection {
        Connection::open(self.0.join("x.db")).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn new_task(arguments: &str) -> NewTask {
    NewTask {
        kind: "k".into(),
        arguments: arguments.into(),
        hash: [1; 16],
        queue: "q".into(),
        priority: 0,
        due: None,
        expires: None,
        deadline: None,
        policy: Policy::default(),
        tags: Vec::new(),
    }
}

fn new_job(name: &str) -> NewJob {
    let (task, id) = (new_task("{}"), JobId::named(name));
    NewJob { id, task, title: None, key: None, origin: None }
}

fn heartbeat(worker: WorkerId) -> Heartbeat {
    Heartbeat {
        worker,
        first: true,
        lease: Duration::from_secs(15),
        name: "w".into(),
        kinds: Arc::new(["k".to_owned()]),
        arguments: Arc::new([Vec::new()]),
        queues: Arc::new(["q".to_owned()]),
        slots: 10,
        running: 0,
        resident: 0,
        ended: 0,
    }
}

/// A worker that talks to one store.
struct TestWorker<'s> {
    store: &'s dyn Store,
    worker: WorkerId,
    number: u64,
}

impl<'s> TestWorker<'s> {
    async fn begin(store: &'s dyn Store) -> Self {
        let worker = WorkerId::fresh();
        assert!(store.heartbeat(heartbeat(worker)).await.unwrap());
        Self { store, worker, number: 0 }
    }

    fn exchange(&mut self, units: Vec<Unit>, tasks: usize) -> Exchange {
        self.number += 1;
        let claim = Claim {
            tasks,
            ahead: 0,
            search: true,
            queues: Arc::new(["q".to_owned()]),
            kinds: Arc::new(["k".to_owned()]),
            suspect: true,
            max_crashes: 5,
        };
        let (worker, number) = (self.worker, self.number);
        let units = units.into_iter().map(Arc::new).collect();
        Exchange { worker, number, acknowledged: number - 1, units, claim }
    }

    async fn say(&mut self, units: Vec<Unit>, tasks: usize) -> Reply {
        let exchange = self.exchange(units, tasks);
        self.store.exchange(exchange).await.unwrap()
    }
}

fn unit(claimed: &Claimed, events: Vec<Event>) -> Unit {
    Unit { task: claimed.task, token: claimed.token, renew: false, events }
}

fn done() -> Event {
    Event::End(End::Succeeded("1".into()))
}

fn child(set: Local, number: u32, placed: bool) -> Event {
    let place = format!("p{number:05}");
    let local = if placed { set.placed(&place) } else { set.numbered(number) };
    Event::Spawn(Box::new(NewChild { local, set, number, task: new_task("{}") }))
}
