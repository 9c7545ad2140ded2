//! The interpreter: does what a program says, with the verbs a user has, and tells the ledger what it saw.
//!
//! It keeps a naive model of each set beside the set itself and holds every answer against it. It decides
//! nothing by chance: all runs of one body do the same, given the same answers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::family::Family;
use super::ledger::{Ledger, Returned, Spot};
use super::line::{Gate, Line, PANIC};
use super::plan::{Failing, Program, Statement};
use super::{Out, sim};
use crate::{Error, JobId, JoinHandle, JoinSet, Result, TaskId};
use futures_util::future::BoxFuture;

/// Where a body runs: its worker's line to the store, and the ledger of all.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) line: Arc<Line>,
    pub(super) ledger: Arc<Ledger>,
    /// Lives as long as anything of the worker's that could still run.
    #[expect(dead_code, reason = "it is counted, not read")]
    pub(super) alive: Arc<()>,
}

/// Runs a program as the body of the running task.
pub(super) async fn run(program: &Program, site: Site) -> Result<Out> {
    let task = crate::id();
    let number = site.ledger.began(task, site.line.worker());
    site.ledger.note(|| format!("run {number} of {task} begins"));
    let run = Run {
        site,
        task,
        number,
        sum: AtomicU64::new(0),
        wrong: AtomicBool::new(false),
        open: Mutex::default(),
        lines: Mutex::default(),
    };
    let mut scope = Scope::new(&run, String::new(), true);
    let done = scope.all(&program.body).await;
    scope.leave();
    let ledger = &run.site.ledger;
    match done {
        Ok(()) => {
            let token = ledger.token();
            let take = |list: &Mutex<_>| {
                std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner))
            };
            let open = take(&run.open);
            let lines =
                std::mem::take(&mut *run.lines.lock().unwrap_or_else(PoisonError::into_inner));
            let wrong = run.wrong.load(Ordering::SeqCst);
            let returned = Returned { token, open, lines, wrong };
            ledger.book().returned.entry(task).or_default().push(returned);
            ledger.note(|| format!("run {number} of {task} returns {token}"));
            Ok(Out { task, token, sum: run.sum.load(Ordering::SeqCst) })
        }
        Err((error, last)) => {
            ledger.note(|| format!("run {number} of {task} fails: {error}"));
            if last {
                ledger.book().failed.insert(task, error.to_string());
            } else {
                ledger.strikes(task);
            }
            Err(error)
        }
    }
}

/// One run of one body.
pub(super) struct Run {
    pub(super) site: Site,
    pub(super) task: TaskId,
    pub(super) number: u64,
    /// Of all that it saw: the same in every run.
    sum: AtomicU64,
    /// It has left out a child that the store has.
    pub(super) wrong: AtomicBool,
    open: Mutex<Vec<Family>>,
    lines: Mutex<Vec<String>>,
}

/// An error, and whether it is final.
pub(super) type Stopped = (Error, bool);

/// A branch of a body: the sets and handles it has.
pub(super) struct Scope<'r> {
    pub(super) run: &'r Run,
    prefix: String,
    main: bool,
    /// Every generation of every set; the first is that of children spawned without a set.
    pub(super) families: Vec<Family>,
    pub(super) sets: Vec<(JoinSet<Out>, usize)>,
    pub(super) handles: Vec<(Option<JoinHandle<Out>>, usize, TaskId)>,
    /// Jobs it has detached.
    pub(super) jobs: Vec<JobId>,
}

impl<'r> Scope<'r> {
    fn new(run: &'r Run, prefix: String, main: bool) -> Self {
        let families = vec![Family::default()];
        let (sets, handles, jobs) = (Vec::new(), Vec::new(), Vec::new());
        Self { run, prefix, main, families, sets, handles, jobs }
    }

    pub(super) fn ledger(&self) -> &'r Ledger {
        &self.run.site.ledger
    }

    fn spot(&self, path: &str) -> Spot {
        (self.run.task, format!("{}{path}", self.prefix))
    }

    fn leave(&mut self) {
        let left = self.families.drain(..).filter(|family| !family.dealt);
        self.run.open.lock().unwrap_or_else(PoisonError::into_inner).extend(left);
    }

    pub(super) fn saw(&self, spot: &Spot, what: &str) {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in spot.1.bytes().chain(what.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.run.sum.fetch_add(hash, Ordering::SeqCst);
        self.ledger().note(|| format!("run {} sees {} at {}", self.run.number, what, spot.1));
        // What a run sees after it has gone another way is compared with nothing.
        if !self.run.wrong.load(Ordering::SeqCst) {
            self.ledger().saw_answer(spot, what);
        }
    }

    fn all<'a>(&'a mut self, body: &'a [Statement]) -> BoxFuture<'a, Result<(), Stopped>> {
        Box::pin(async move {
            for (n, statement) in body.iter().enumerate() {
                if self.main {
                    gate(&self.run.site).await;
                }
                let spot = self.spot(&n.to_string());
                self.one(statement, spot).await?;
                self.check_lengths();
            }
            Ok(())
        })
    }

    fn check_lengths(&self) {
        for (set, family) in &self.sets {
            let (is, left) = (set.len(), self.families[*family].left().count());
            if is != left {
                self.ledger()
                    .fault(format!("{set:?} of {} has {is} left, not {left}", self.run.task));
            }
        }
    }

    async fn one(&mut self, statement: &Statement, spot: Spot) -> Result<(), Stopped> {
        match statement {
            Statement::Set { named, policy, growing } => {
                let set = if *named { JoinSet::named(&spot.1) } else { JoinSet::new() };
                let set = if *growing { set.growing() } else { set };
                self.sets.push((set.policy(*policy), self.families.len()));
                self.families.push(Family::new(*policy, *growing));
            }
            Statement::Spawn { set, at, limits, child } => {
                self.spawn(*set, (*at, *limits), child, &spot).await?;
            }
            Statement::Fewer { set, child } => self.fewer(*set, child, &spot).await?,
            Statement::Canvas { set, shape, calls } => {
                self.canvas(*set, *shape, calls, &spot).await?;
            }
            Statement::Wait(wait, ending) => {
                if let Some(target) = self.target(*wait) {
                    self.wait(target, *ending, spot).await?;
                }
            }
            Statement::Select(first, second, ending) => {
                self.select(*first, *second, *ending, spot).await?;
            }
            Statement::Branches(branches) => self.branches(branches, &spot).await?,
            Statement::Abort(n) => {
                if let Some((handle, _, child)) = pick(&self.handles, *n)
                    && let Some(handle) = handle
                {
                    self.ledger().book().aborted.insert(*child);
                    handle.abort();
                }
            }
            Statement::AbortAll(n) => {
                let count = self.sets.len();
                if count > 0 {
                    let (set, family) = &mut self.sets[n % count];
                    let children = &self.families[*family].children;
                    let mut book = self.run.site.ledger.book();
                    book.aborted.extend(children);
                    if self.run.wrong.load(Ordering::SeqCst) {
                        // It means the set as it is in the store, before a look there finds the drift.
                        let of_task = |spot: &Spot| spot.0 == self.run.task;
                        let left_out = book.left_out.iter().filter(|(spot, _)| of_task(spot));
                        let left_out: Vec<_> = left_out.filter_map(|(_, child)| *child).collect();
                        book.aborted.extend(left_out);
                    }
                    drop(book);
                    set.abort_all();
                }
            }
            other => self.plain(other, spot).await?,
        }
        Ok(())
    }

    async fn plain(&mut self, statement: &Statement, spot: Spot) -> Result<(), Stopped> {
        match statement {
            Statement::Step { fails, takes } => self.step(*fails, *takes, &spot).await?,
            Statement::Replace(child) => self.replace(child, &spot).await?,
            Statement::Sibling { at, sibling } => self.sibling(*at, sibling, &spot).await?,
            Statement::Tell(n) => self.tell(*n, &spot).await?,
            Statement::Overdue(takes) => self.overdue(*takes, &spot).await?,
            Statement::Blocking => self.blocking(&spot).await?,
            Statement::Transaction => self.transaction(&spot).await?,
            Statement::Now => {
                crate::now().await.map_err(misuse)?;
            }
            Statement::Detach { key, child } => {
                let mut detach = crate::detach(sim(child.clone()));
                if let Some(key) = key {
                    detach = detach.key(format!("key {key}"));
                }
                let job = detach.await.map_err(misuse)?;
                self.ledger().note(|| format!("run {} detached {job}", self.run.number));
                let before = *self.ledger().book().detached.entry(spot.clone()).or_insert(job);
                if key.is_none() && before != job {
                    self.ledger().fault(format!("{spot:?} detached {before} and {job}"));
                }
                self.jobs.push(job);
            }
            Statement::Log => {
                let line = format!("{} at {}", self.run.task, spot.1);
                crate::log!("{line}");
                self.run.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            Statement::Progress => crate::progress(1, 2),
            Statement::Plain(takes) => tokio::time::sleep(Duration::from_millis(*takes)).await,
            Statement::Fail { how, times } => self.fail(*how, *times, &spot)?,
            other => self.ledger().fault(format!("{other:?} is not plain")),
        }
        Ok(())
    }

    fn fail(&self, how: Failing, times: u32, spot: &Spot) -> Result<(), Stopped> {
        let fails = self.ledger().tries(spot) < times;
        match how {
            Failing::Fatal => Err((Error::msg("fatal").fatal(), true)),
            _ if !fails => Ok(()),
            Failing::Retried => Err((Error::msg("try again"), false)),
            Failing::After => {
                Err((Error::msg("try again later").retry_after(Duration::from_millis(70)), false))
            }
            // As `panic!`, but without a word on standard error for each of thousands.
            Failing::Panic => {
                self.ledger().strikes(self.run.task);
                std::panic::resume_unwind(Box::new(PANIC))
            }
        }
    }

    async fn step(&self, fails: u32, takes: u64, spot: &Spot) -> Result<(), Stopped> {
        let (site, number) = (&self.run.site, self.run.number);
        let work = || async {
            tokio::time::sleep(Duration::from_millis(takes)).await;
            gate(site).await;
            ran(site, number, spot);
            if fails > 0 && site.ledger.tries(spot) < fails {
                return Err(Error::msg("the step fails"));
            }
            Ok(site.ledger.token())
        };
        let token = crate::step("step", work).await.map_err(|error| (error.into(), false))?;
        self.saw_step(spot, token);
        Ok(())
    }

    async fn blocking(&self, spot: &Spot) -> Result<(), Stopped> {
        let (site, own, number) = (self.run.site.clone(), spot.clone(), self.run.number);
        let work = move || {
            ran_on_its_thread(&site, number, &own);
            Ok(site.ledger.token())
        };
        let token =
            crate::step_blocking("blocking", work).await.map_err(|error| (error.into(), false))?;
        self.saw_step(spot, token);
        Ok(())
    }

    /// A transaction of the body's own, where the store has such.
    async fn transaction(&self, spot: &Spot) -> Result<(), Stopped> {
        #[cfg(feature = "postgres")]
        if crate::store::Store::transactions(&*self.run.site.line).is_some() {
            let (site, number) = (&self.run.site, self.run.number);
            let mut still = None;
            let work = async |tx: &tokio_postgres::Transaction<'_>| {
                still = Some(TimeStandsStill::new());
                ran(site, number, spot);
                tx.execute("SELECT 1", &[]).await?;
                Ok(site.ledger.token())
            };
            let token = crate::transaction("transaction", work).await;
            drop(still);
            self.saw_step(spot, token.map_err(|error| (error.into(), false))?);
            return Ok(());
        }
        self.step(0, 0, spot).await
    }

    pub(super) fn saw_step(&self, spot: &Spot, token: u64) {
        self.ledger().saw_step(spot, token);
        self.saw(spot, &format!("the step's {token}"));
    }

    async fn branches(&mut self, branches: &[Program], spot: &Spot) -> Result<(), Stopped> {
        let run = self.run;
        let mut all: Vec<_> = branches
            .iter()
            .enumerate()
            .map(|(n, branch)| {
                let mut scope = Scope::new(run, format!("{}.{n}.", spot.1), false);
                async move {
                    let done = scope.all(&branch.body).await;
                    scope.leave();
                    done
                }
            })
            .collect();
        let done = if all.len() == 2 {
            let (Some(second), Some(first)) = (all.pop(), all.pop()) else {
                unreachable!("there are two")
            };
            let (first, second) = crate::join!(first, second);
            vec![first, second]
        } else {
            crate::join_all(all).await
        };
        done.into_iter().collect()
    }
}

/// Time does not jump while blocking work runs: so it stands still while a server is waited for.
#[cfg(feature = "postgres")]
struct TimeStandsStill(
    #[expect(dead_code, reason = "dropping it ends the work")] std::sync::mpsc::Sender<()>,
);

#[cfg(feature = "postgres")]
impl TimeStandsStill {
    fn new() -> Self {
        let (end, ended) = std::sync::mpsc::channel();
        // An error is what ends it: the sender was dropped.
        drop(tokio::task::spawn_blocking(move || ended.recv().is_err()));
        Self(end)
    }
}

pub(super) fn misuse(misuse: crate::Misuse) -> Stopped {
    (misuse.into(), true)
}

pub(super) fn pick<T>(of: &[T], n: usize) -> Option<&T> {
    (!of.is_empty()).then(|| &of[n % of.len()])
}

/// Stands still while the worker is frozen.
pub(super) async fn gate(site: &Site) {
    let mut gate = site.line.gate.subscribe();
    // The line lives as long as its worker's bodies.
    let _ = gate.wait_for(|gate| *gate != Gate::Frozen).await;
}

/// A step's work runs: never under the run's own claim once its result was seen. A body that outlives the claim of its worker
/// may: it was frozen with its process.
pub(super) fn ran(site: &Site, number: u64, spot: &Spot) {
    if is_done_again(site, number, spot) {
        site.ledger.fault(format!(
            "the step {spot:?} runs again in run {number}, after its result was seen"
        ));
    }
}

/// As [`ran`], for work that blocks a thread. Once it has begun it cannot be dropped: another run may have done the step
/// meanwhile, one of the same worker, too, which was given the task again.
fn ran_on_its_thread(site: &Site, number: u64, spot: &Spot) {
    // The last question last: the bodies go on meanwhile.
    if is_done_again(site, number, spot) && site.ledger.is_last(number, spot.0) {
        site.ledger.fault(format!("the blocking step {spot:?} runs again in run {number}"));
    }
}

fn is_done_again(site: &Site, number: u64, spot: &Spot) -> bool {
    site.ledger.note(|| format!("run {number} runs the step {}", spot.1));
    let worker = site.ledger.worker_of(number);
    site.ledger.was_seen(spot) && site.line.is_held(spot.0, worker)
}
