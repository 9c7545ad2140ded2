//! Seeded random histories: every verb, in any order, on the memory store and on another, which must
//! answer alike and look alike after every step.
//!
//! The clock is turned by hand and leases are endless, so that time and death come from the seed alone.
//! A history knows only what a worker would know; what it needs besides, it reads from the memory store.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use self::actor::Actor;
use self::compare::difference;
use crate::clock::Clock;
use crate::clock::ManualClock;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::time::Time;
use crate::store::{Claim, Exchange, Heartbeat, NewJob, NewTask, Policy, Store, Verb};
use crate::testing::random::Random;

mod actor;
mod compare;
mod unit;

const KINDS: [&str; 3] = ["fetch", "publish", "write"];
const QUEUES: [&str; 2] = ["default", "slow"];
const SIGNALS: [&str; 2] = ["go", "stop"];
const SETS: [&str; 2] = ["pages", "rows"];
/// Longer than any history.
const LEASE: Duration = Duration::from_secs(1 << 40);

/// Where two stores differ, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, step {step}: {what}\nthe last steps:\n{trace}")]
pub struct Divergence {
    /// The seed of the history.
    pub seed: u64,
    /// The step after which they differ.
    pub step: usize,
    /// What differs.
    pub what: String,
    /// The steps before.
    pub trace: String,
}

/// Runs a history on the memory store and on the store that a URL names. Answers are compared at every
/// step, everything that can be read at every `every`th.
pub async fn run(seed: u64, steps: usize, every: usize, url: &str) -> Result<(), Divergence> {
    let clock = ManualClock::default();
    let failed = |what: String| Divergence { seed, step: 0, what, trace: String::new() };
    let open = async |url: &str| {
        let opened = crate::store::open(url, Clock::Manual(clock.clone()), true).await;
        opened.map_err(|error| failed(error.to_string()))
    };
    let stores = [open("memory:").await?, open(url).await?];
    let mut history = History {
        random: Random(seed),
        stores,
        clock,
        jobs: Vec::new(),
        workers: Vec::new(),
        serial: 0,
        trace: Vec::new(),
    };
    for step in 0..steps {
        let done = match history.step().await {
            Ok(()) if step % every == 0 || step + 1 == steps => history.compare().await,
            Ok(()) => Ok(()),
            Err(what) => Err(what),
        };
        done.map_err(|what| {
            let trace = history.trace[history.trace.len().saturating_sub(12)..].join("\n");
            Divergence { seed, step, what, trace }
        })?;
    }
    Ok(())
}

/// What a step may find: that the stores differ, or that one failed.
type Step<T = ()> = Result<T, String>;

struct History {
    random: Random,
    stores: [Arc<dyn Store>; 2],
    clock: ManualClock,
    jobs: Vec<JobId>,
    workers: Vec<Actor>,
    /// Makes names and ids of this history unique.
    serial: u64,
    trace: Vec<String>,
}

impl History {
    fn memory(&self) -> &dyn Store {
        &*self.stores[0]
    }

    fn now(&self) -> Time {
        self.memory().clock().now()
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Asks both stores and compares the answers.
    async fn both<T: Debug>(
        &self,
        what: &str,
        verb: impl for<'s> Fn(&'s dyn Store) -> Verb<'s, T>,
    ) -> Step<T> {
        let first = verb(&*self.stores[0]).await;
        let second = verb(&*self.stores[1]).await;
        if format!("{first:?}") != format!("{second:?}") {
            let texts = [format!("{first:#?}"), format!("{second:#?}")];
            return Err(format!("{what}:\n{}", difference(&texts[0], &texts[1])));
        }
        first.map_err(|error| format!("{what}: {error}"))
    }

    async fn step(&mut self) -> Step {
        match self.random.below(100) {
            0..14 => self.submit().await,
            14..60 => self.exchange().await,
            60..68 => self.heartbeat().await,
            68..70 => self.kill().await,
            70..72 => self.leave().await,
            72..75 => self.cancel().await,
            75..80 => self.signal().await,
            80..84 => self.retry().await,
            84..86 => self.pause().await,
            86..89 => self.sweep().await,
            89 => self.remove().await,
            90 => self.prune().await,
            91 => self.amend().await,
            _ => {
                self.turn();
                Ok(())
            }
        }
    }

    fn turn(&mut self) {
        let by = match self.random.below(12) {
            0..4 => Duration::from_millis(self.random.below(40)),
            4..8 => Duration::from_millis(self.random.below(2000)),
            8..11 => Duration::from_secs(self.random.below(100)),
            _ => {
                let back = Duration::from_secs(self.random.below(20));
                self.trace.push(format!("clock back {back:?}"));
                self.clock.set(self.now().before(back));
                return;
            }
        };
        self.trace.push(format!("clock {by:?}"));
        self.clock.advance(by);
    }

    fn new_task(&mut self) -> NewTask {
        let now = self.now();
        let variant = self.random.below(3) as u8;
        let later = |random: &mut Random, one_in| {
            random.one_in(one_in).then(|| now.after(Duration::from_millis(random.below(5000))))
        };
        let (retries, grows) = (self.random.one_in(4).then_some(2), self.random.one_in(4));
        let policy = Policy { retries, grows, ..Policy::default() };
        NewTask {
            kind: (*self.random.pick(&KINDS)).to_owned(),
            arguments: format!("{{\"n\":{variant}}}"),
            hash: [variant; 16],
            queue: (*self.random.pick(&QUEUES)).to_owned(),
            priority: self.random.below(3) as i16 - 1,
            due: later(&mut self.random, 5),
            expires: later(&mut self.random, 12),
            deadline: later(&mut self.random, 12),
            policy,
            tags: self.random.one_in(3).then(|| "nightly".to_owned()).into_iter().collect(),
        }
    }

    fn new_job(&mut self, origin: Option<TaskId>) -> NewJob {
        let serial = self.next();
        let known = self.random.one_in(8).then(|| self.random.pick_of(&self.jobs)).flatten();
        let id = known.unwrap_or_else(|| JobId::named(&format!("job {serial}")));
        if known.is_none() {
            self.jobs.push(id);
        }
        NewJob {
            id,
            task: self.new_task(),
            title: self.random.one_in(2).then(|| format!("Title {}", serial % 3)),
            key: self.random.one_in(3).then(|| format!("key {}", self.random.below(4))),
            origin,
        }
    }

    async fn submit(&mut self) -> Step {
        let count = 1 + self.random.below(3);
        let jobs: Vec<NewJob> = (0..count).map(|_| self.new_job(None)).collect();
        self.trace.push(format!("submit {:?}", jobs.iter().map(|job| job.id).collect::<Vec<_>>()));
        self.both("submit", |store| store.submit(jobs.clone())).await.map(|_| ())
    }

    async fn heartbeat(&mut self) -> Step {
        let fresh = self.workers.len() < 3 || self.random.one_in(12);
        if fresh {
            let serial = u128::from(self.next());
            let id = WorkerId::from_bytes((serial << 64 | 7).to_be_bytes());
            let held = Vec::new();
            self.workers.push(Actor { id, number: 0, acknowledged: 0, held, lost: None });
        }
        let at = if fresh { self.workers.len() - 1 } else { self.any_worker() };
        let running = self.workers[at].held.len() as u32;
        let kinds = self.random.some_of(&KINDS);
        let arguments = kinds.iter().map(|kind| vec![format!("of {kind}")]).collect();
        let heartbeat = Heartbeat {
            worker: self.workers[at].id,
            first: fresh,
            lease: LEASE,
            name: format!("worker {at}"),
            kinds,
            arguments,
            queues: self.random.some_of(&QUEUES),
            slots: 8,
            running,
            resident: 0,
            ended: 0,
        };
        self.trace.push(format!("heartbeat {} first {fresh}", heartbeat.worker));
        let known = self.both("heartbeat", |store| store.heartbeat(heartbeat.clone())).await?;
        if !known {
            self.workers.remove(at);
        }
        Ok(())
    }

    fn any_worker(&mut self) -> usize {
        self.random.below(self.workers.len() as u64) as usize
    }

    async fn kill(&mut self) -> Step {
        if self.workers.is_empty() {
            return Ok(());
        }
        let at = self.any_worker();
        let id = self.workers[at].id;
        self.trace.push(format!("kill {id}"));
        self.stores.iter().for_each(|store| store.kill(id));
        // Now and then a worker is only taken for dead, and goes on: once it was given up, since stores
        // differ in whether its next heartbeat brings it back before.
        if self.random.one_in(3) {
            return self.sweep().await;
        }
        self.workers.remove(at);
        Ok(())
    }

    async fn leave(&mut self) -> Step {
        if self.workers.is_empty() {
            return Ok(());
        }
        let at = self.any_worker();
        let id = self.workers.remove(at).id;
        self.trace.push(format!("leave {id}"));
        self.both("leave", |store| store.leave(id)).await
    }

    /// Any task: a root, or a task some levels down.
    async fn any_task(&mut self) -> Step<Option<TaskId>> {
        let Some(job) = self.random.pick_of(&self.jobs) else { return Ok(None) };
        let mut task = job.root();
        while self.random.one_in(2) {
            let sets = self.sets(task).await?;
            let Some((set, spawned)) = self.random.pick_of(&sets) else { break };
            let from = self.random.below(spawned) as u32;
            let page = self.memory().children(task, set, from, 1).await;
            let page = page.map_err(|error| error.to_string())?;
            let Some(child) = page.first() else { break };
            task = TaskId { job, local: child.local };
        }
        Ok(Some(task))
    }

    async fn sets(&self, task: TaskId) -> Step<Vec<(Local, u64)>> {
        let sets = self.memory().sets(task, None, 100).await.map_err(|error| error.to_string())?;
        Ok(sets.into_iter().map(|row| (row.set, row.counts.spawned)).collect())
    }

    async fn cancel(&mut self) -> Step {
        let Some(task) = self.any_task().await? else { return Ok(()) };
        self.trace.push(format!("cancel {task}"));
        let text = self.trace.len().is_multiple_of(2).then(|| "somebody wants it".to_owned());
        self.known(task, self.both("cancel", |store| store.cancel(task, text.clone())).await)
    }

    async fn signal(&mut self) -> Step {
        let Some(task) = self.any_task().await? else { return Ok(()) };
        let name = (*self.random.pick(&SIGNALS)).to_owned();
        let value = self.next().to_string();
        self.trace.push(format!("signal {task} {name} {value}"));
        let sent =
            self.both("signal", |store| store.signal(task, name.clone(), value.clone())).await;
        self.known(task, sent)
    }

    async fn amend(&mut self) -> Step {
        let Some(task) = self.any_task().await? else { return Ok(()) };
        let arguments = format!("{{\"amended\":{}}}", self.next());
        self.trace.push(format!("amend {task} {arguments}"));
        let amended = self.both("amend", |store| store.amend(task, arguments.clone())).await;
        self.known(task, amended)
    }

    async fn retry(&mut self) -> Step {
        let Some(job) = self.random.pick_of(&self.jobs) else { return Ok(()) };
        let preview = self.random.one_in(3);
        self.trace.push(format!("retry {job} preview {preview}"));
        let first = self.both("retry", |store| store.retry(job, true)).await;
        let second = self.both("retry", |store| store.retry(job, preview)).await;
        if let (Ok(first), Ok(second)) = (&first, &second)
            && first != second
        {
            return Err(format!("a preview of a retry says {first:?}, the retry {second:?}"));
        }
        self.known(job.root(), second)
    }

    /// Both stores may say alike that a task is unknown: it was pruned, or never submitted.
    #[expect(clippy::unused_self, reason = "reads like the verbs beside it")]
    fn known<T>(&self, task: TaskId, answer: Step<T>) -> Step {
        match answer {
            Err(text) if text.contains(&crate::store::Error::Unknown { id: task }.to_string()) => {
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    async fn pause(&mut self) -> Step {
        let queue = (*self.random.pick(&QUEUES)).to_owned();
        let paused = self.random.one_in(3);
        self.trace.push(format!("pause {queue} {paused}"));
        self.both("pause", |store| store.pause(queue.clone(), paused)).await
    }

    async fn sweep(&mut self) -> Step {
        self.trace.push("sweep".to_owned());
        self.both("sweep", |store| store.sweep(3)).await.map(|_| ())
    }

    async fn prune(&mut self) -> Step {
        let before = self.now().before(Duration::from_secs(self.random.below(300)));
        self.trace.push("prune".to_owned());
        self.both("prune", |store| store.prune(before)).await.map(|_| ())
    }

    async fn remove(&mut self) -> Step {
        let Some(job) = self.random.pick_of(&self.jobs) else { return Ok(()) };
        self.trace.push(format!("remove {job}"));
        self.known(job.root(), self.both("remove", |store| store.remove(job)).await)
    }

    async fn exchange(&mut self) -> Step {
        if self.workers.is_empty() {
            return Ok(());
        }
        let at = self.any_worker();
        let exchange = match self.workers[at].lost.take() {
            Some(again) => again,
            None => self.new_exchange(at).await?,
        };
        self.trace.push(format!("{exchange:?}"));
        let reply = self.both("exchange", |store| store.exchange(exchange.clone())).await?;
        if self.random.one_in(8) {
            self.trace.push("reply lost".to_owned());
            self.workers[at].lost = Some(exchange);
            return Ok(());
        }
        self.workers[at].receive(&exchange, reply);
        Ok(())
    }

    async fn new_exchange(&mut self, at: usize) -> Step<Exchange> {
        let mut units = Vec::new();
        for held in self.workers[at].held.clone() {
            if self.random.one_in(3) {
                continue;
            }
            units.extend(self.unit(&held).await?.map(Arc::new));
        }
        let actor = &mut self.workers[at];
        actor.number += 1;
        let (worker, number, acknowledged) = (actor.id, actor.number, actor.acknowledged);
        let claim = Claim {
            tasks: self.random.below(5) as usize,
            ahead: if self.random.one_in(2) { self.random.below(6) as usize } else { 0 },
            search: true,
            queues: self.random.served(&QUEUES),
            kinds: self.random.some_of(&KINDS),
            suspect: self.random.one_in(2),
            max_crashes: 3,
        };
        Ok(Exchange { worker, number, acknowledged, units, claim })
    }
}
