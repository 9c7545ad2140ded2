//! The world of one run: a store, its workers, and what befalls them.
//!
//! Everything runs on one thread under time that jumps to the next timer, so a run costs what is done in
//! it and no more. The script comes first; then it is calm, and everything must come to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::body::Site;
use super::ledger::{Fate, Ledger};
use super::line::{Gate, Line, now};
use super::plan::{Case, Faults, Incident, What};
use super::{after, fell, sim, total, verdict, went};
use crate::clock::Clock;
use crate::core::id::JobId;
use crate::error::StartError;
use crate::store::read::JobFilter;
use crate::store::{Retry, Store};
use crate::testing::random::Random;
use crate::{Homing, TaskState, Worker};

/// A worker's lease: short, so that it often runs out.
const LEASE: Duration = Duration::from_secs(2);
/// How long everything may take once it is calm.
const PATIENCE: Duration = Duration::from_mins(20);

/// After how long of calm a task that has drifted is cancelled: that of a body gone another way would be
/// done by then, if nothing held it back.
const DRIFTED: Duration = Duration::from_secs(20);

/// A worker's place, and who has it.
struct Post {
    line: Arc<Line>,
    worker: Worker,
    alive: Arc<()>,
}

pub(super) struct World<'c> {
    case: &'c Case,
    store: Arc<dyn Store>,
    ledger: Arc<Ledger>,
    calm: Arc<AtomicBool>,
    posts: Vec<Option<Post>>,
    random: Random,
    jobs: Vec<JobId>,
    /// Those who left before.
    gone: Vec<Arc<()>>,
    departures: Vec<tokio::task::JoinHandle<()>>,
    sent: std::collections::BTreeSet<(crate::TaskId, u8)>,
    signals: u64,
}

/// Runs a case over a store and returns its ledger.
pub(super) async fn run(case: &Case, store: Arc<dyn Store>, clock: Clock) -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::new(clock));
    let mut world = World {
        case,
        store,
        ledger: Arc::clone(&ledger),
        calm: Arc::default(),
        posts: Vec::new(),
        random: Random(case.seed.wrapping_mul(3)),
        jobs: Vec::new(),
        gone: Vec::new(),
        departures: Vec::new(),
        sent: std::collections::BTreeSet::new(),
        signals: 0,
    };
    for n in 0..case.workers.len() {
        world.posts.push(None);
        world.hire(n).await;
    }
    world.submit().await;
    world.play(&case.script).await;
    if world.ends().await
        && let Some(script) = &case.again
        && world.retry()
    {
        world.calm.store(false, Ordering::SeqCst);
        world.play(script).await;
        world.ends().await;
    }
    world.close().await;
    ledger
}

impl World<'_> {
    fn line(&mut self, faults: Faults) -> Arc<Line> {
        let seed = self.random.next();
        Line::new(
            Arc::clone(&self.store),
            Arc::clone(&self.ledger),
            faults,
            seed,
            Arc::clone(&self.calm),
        )
    }

    /// Puts a fresh worker in a place.
    async fn hire(&mut self, n: usize) {
        let crew = self.case.workers[n];
        for _ in 0..50 {
            let line = self.line(self.case.faults);
            let (ledger, alive) = (Arc::clone(&self.ledger), Arc::new(()));
            let site = Site { line: Arc::clone(&line), ledger, alive: Arc::clone(&alive) };
            let builder = Homing::over(Arc::clone(&line) as Arc<dyn Store>).worker();
            let builder = builder.register(sim).register(after).register(total);
            let builder = builder.register(went).register(fell);
            let builder = builder.state(site).name(format!("worker {n}"));
            let builder = builder.concurrency(crew.slots).resident(crew.resident);
            let builder = builder.resident_age(Duration::from_millis(crew.resident_age));
            match builder.lease(LEASE).max_crashes(1_000).start().await {
                Ok(worker) => {
                    self.ledger.note(|| format!("worker {n} is {}", worker.id()));
                    self.posts[n] = Some(Post { line, worker, alive });
                    return;
                }
                // The line lost its first word: it tries again.
                Err(StartError::Store(_)) => {}
                Err(error) => {
                    self.ledger.fault(format!("a worker does not start: {error}"));
                    return;
                }
            }
        }
    }

    async fn submit(&mut self) {
        for (n, program) in self.case.jobs.iter().enumerate() {
            let id = JobId::named(&format!("simulation {} {n}", self.case.seed));
            let homing = Homing::over(Arc::clone(&self.store));
            let submitted = homing.submit(sim(program.clone())).id(id).await;
            match submitted {
                Ok(job) => self.jobs.push(job.id()),
                Err(error) => self.ledger.fault(format!("a job is not submitted: {error}")),
            }
        }
    }

    /// It becomes calm, all comes to its end, and the end is judged. `true` if it is right.
    async fn ends(&mut self) -> bool {
        self.calm_down().await;
        if self.settles().await {
            verdict::judge(&*self.store, &self.ledger);
            self.check();
        }
        self.ledger.is_clean()
    }

    /// Retries the jobs that fell. `false` if there are none.
    fn retry(&self) -> bool {
        let mut some = false;
        for job in &self.jobs {
            let root = now(self.store.task(job.root())).ok().flatten();
            if root.is_none_or(|root| root.state == TaskState::Succeeded) {
                continue;
            }
            match now(self.store.retry(*job, false)) {
                Ok(Retry::Done(retried)) => {
                    some = true;
                    self.ledger.note(|| format!("{job} is retried: {retried:?}"));
                    self.ledger.reopened(*job, |task| {
                        match now(self.store.task(task)).ok().flatten() {
                            Some(view) if view.state.is_ended() => Fate::Ended,
                            Some(_) => Fate::Open,
                            None => Fate::Gone,
                        }
                    });
                }
                other => self.ledger.fault(format!("the job {job} is not retried: {other:?}")),
            }
        }
        some
    }

    async fn play(&mut self, script: &[Incident]) {
        for incident in script {
            self.pause(incident.after).await;
            let what = incident.what;
            self.ledger.note(|| format!("incident: {what:?}"));
            match what {
                What::Kill { worker, told, back } => self.kill(worker, told, back).await,
                What::Freeze { worker, whole, lasts } => {
                    let Some(Some(post)) = self.posts.get(worker) else { continue };
                    let line = Arc::clone(&post.line);
                    if line.gate.send_replace(if whole { Gate::Frozen } else { Gate::Shut })
                        != Gate::Open
                    {
                        continue;
                    }
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(lasts)).await;
                        thaw(&line);
                    });
                }
                What::Replace { worker, patience, back } => {
                    let Some(post) = self.posts.get_mut(worker).and_then(Option::take) else {
                        continue;
                    };
                    self.gone.push(post.alive);
                    self.departures.push(tokio::spawn(async move {
                        post.worker.shutdown(Duration::from_millis(patience)).await;
                    }));
                    self.pause(back).await;
                    self.hire(worker).await;
                }
                What::Cancel(n) => {
                    let task = {
                        let book = self.ledger.book();
                        let begun = &book.begun;
                        (!begun.is_empty()).then(|| begun[n % begun.len()])
                    };
                    let Some(task) = task else { continue };
                    self.ledger.book().cancelled.insert(task);
                    let _ = now(self.store.cancel(task, None));
                }
            }
        }
        self.pause(1_000).await;
    }

    async fn kill(&mut self, n: usize, told: bool, back: u64) {
        let Some(post) = self.posts.get_mut(n).and_then(Option::take) else { return };
        post.line.tells_death.store(told, Ordering::SeqCst);
        post.line.gate.send_replace(Gate::Gone);
        post.worker.kill().await;
        self.gone.push(post.alive);
        self.pause(back).await;
        self.hire(n).await;
    }

    /// Time goes by, and whoever wants a signal is sent one.
    async fn pause(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let turn = left.min(300);
            tokio::time::sleep(Duration::from_millis(turn)).await;
            left -= turn;
            self.send_signals();
        }
    }

    fn send_signals(&mut self) {
        let wanted: Vec<_> = self.ledger.book().wanted.iter().copied().collect();
        for (task, name) in wanted {
            // One more now and then, which must be kept for the next wait.
            let calm = self.calm.load(Ordering::SeqCst);
            if name == 2 && (!calm || self.is_spoken_to(task)) {
                continue;
            }
            if !calm && (!self.sent.insert((task, name)) || self.random.one_in(3)) {
                continue;
            }
            self.signals += 1;
            let _ =
                now(self.store.signal(task, format!("signal {name}"), self.signals.to_string()));
        }
    }

    /// Whether the parent of a task has sent it something that it has not heard.
    fn is_spoken_to(&self, task: crate::TaskId) -> bool {
        let book = self.ledger.book();
        let mut said = book.said.values();
        said.any(|(child, value)| *child == task && !book.heard.contains(value))
    }

    /// The faults are over: everybody works, and departures come to their ends.
    async fn calm_down(&mut self) {
        self.calm.store(true, Ordering::SeqCst);
        self.ledger.note(|| "it is calm".to_owned());
        for post in self.posts.iter().flatten() {
            thaw(&post.line);
        }
        for n in 0..self.posts.len() {
            if self.posts[n].is_none() {
                self.hire(n).await;
            }
        }
    }

    /// Jobs of which something is open, whoever started them.
    fn open_jobs(&self) -> Vec<JobId> {
        let all = now(self.store.jobs(JobFilter::default())).unwrap_or_default();
        let open = all
            .into_iter()
            .filter(|job| job.counts.pending + job.counts.running + job.counts.waiting > 0);
        open.map(|job| job.id).collect()
    }

    /// Cancels the jobs of tasks that stand still because they have drifted, as they should.
    fn end_drifts(&self, open: &[JobId]) {
        let drifting = self.ledger.book().drifting.clone();
        for job in open {
            if drifting.iter().any(|task| task.job == *job) {
                let mut book = self.ledger.book();
                let own = book.begun.iter().copied().filter(|task| task.job == *job);
                let own: Vec<_> = own.collect();
                book.cancelled.extend(own);
                drop(book);
                let _ = now(self.store.cancel(job.root(), None));
            }
        }
    }

    /// Waits until nothing is open. `false` if that does not come, or a fault was found before.
    async fn settles(&mut self) -> bool {
        let mut waited = Duration::ZERO;
        let mut turn = Duration::from_millis(200);
        loop {
            self.send_signals();
            let open = self.open_jobs();
            if open.is_empty() {
                return true;
            }
            if !self.ledger.is_clean() {
                return false;
            }
            if waited >= PATIENCE {
                self.stuck(&open);
                return false;
            }
            if waited >= DRIFTED {
                self.end_drifts(&open);
            }
            tokio::time::sleep(turn).await;
            waited += turn;
            turn = (turn * 5 / 4).min(Duration::from_mins(1));
        }
    }

    fn stuck(&self, open: &[JobId]) {
        let begun = self.ledger.book().begun.clone();
        let roots = open.iter().map(|job| job.root());
        let mut tasks: Vec<_> = begun.into_iter().chain(roots).collect();
        tasks.sort_unstable();
        tasks.dedup();
        for task in tasks {
            let Some(view) = now(self.store.task(task)).ok().flatten() else { continue };
            if view.state.is_ended() {
                continue;
            }
            let (state, waits, reason) = (view.state, view.waits, view.reason);
            let holder = view.worker.map(|worker| worker.to_string()).unwrap_or_default();
            let due = view.due.since(self.store.clock().now());
            self.ledger.fault(format!(
                "{task} is {state} for ever: {holder} {waits:?} {reason:?} due in {due:?}"
            ));
        }
    }

    fn check(&self) {
        match now(self.store.audit()) {
            Ok(breaches) if breaches.is_empty() => {}
            other => self.ledger.fault(format!("the store's audit says {other:?}")),
        }
        for job in &self.jobs {
            let state = now(self.store.task(job.root())).ok().flatten().map(|view| view.state);
            if !state.is_some_and(TaskState::is_ended) {
                self.ledger.fault(format!("the job {job} is {state:?}"));
            }
        }
    }

    /// Everybody leaves, and nothing of the bodies stays in memory.
    async fn close(mut self) {
        let posts: Vec<Post> = self.posts.drain(..).flatten().collect();
        let leave = async {
            for post in &posts {
                post.worker.shutdown(Duration::from_mins(1)).await;
            }
            for departure in self.departures.drain(..) {
                let _ = departure.await;
            }
        };
        if tokio::time::timeout(PATIENCE, leave).await.is_err() {
            self.ledger.fault("a worker does not leave".to_owned());
            return;
        }
        for post in &posts {
            if post.worker.residents() > 0 {
                self.ledger.fault("a worker that has left keeps parked futures".to_owned());
            }
        }
        self.gone.extend(posts.into_iter().map(|post| post.alive));
        // What was dropped is gone once its task has been polled, and a late heartbeat once it has come.
        tokio::time::sleep(LEASE).await;
        for alive in self.gone {
            if Arc::strong_count(&alive) > 1 {
                self.ledger.fault("something of a worker's bodies is still in memory".to_owned());
            }
        }
    }
}

fn thaw(line: &Line) {
    line.gate.send_if_modified(|gate| {
        let shut = matches!(gate, Gate::Shut | Gate::Frozen);
        if shut {
            *gate = Gate::Open;
        }
        shut
    });
}
