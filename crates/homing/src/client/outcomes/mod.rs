//! Waiting for jobs to end: one watcher per store for all who wait.
//!
//! A job that somebody waits for is looked up once at the start, on every hint about it, and every second, in
//! batches. A job that was just submitted here needs no first look: whatever has become of it, a hint has
//! said so or will.
//!
//! The watcher is a task of the runtime that first needed one, and others may wait on other runtimes. When its
//! runtime ends, those who wait begin another. Nobody may drive its runtime for a while: those who have waited for
//! long and see no sign of it take the watch over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::core::id::{JobId, Map, Set};
use crate::limits;
use crate::store::read::Settled;
use crate::store::{Ended, Error, Store};

/// How often all who are waited for are looked up, whatever is heard.
const POLL: Duration = Duration::from_secs(1);
/// How long somebody waits for a sign of the watcher before taking the watch over.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often those who have stopped waiting are forgotten, unless [`FEW`] wait.
const FORGET: Duration = Duration::from_secs(1);
/// So few that a look at each costs nothing.
const FEW: usize = 16;

type Asked = oneshot::Sender<Result<Settled, Error>>;

#[derive(Debug)]
pub(super) struct Outcomes {
    store: Weak<dyn Store>,
    waiting: Arc<Mutex<Waiting>>,
    asked: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Map<JobId, Vec<Asked>>,
    /// Asked for and not yet looked up.
    new: Set<JobId>,
    /// Submitted here, with a handle that is held: how it ended, or that it has not as far as was heard.
    fresh: Map<JobId, Option<Settled>>,
    /// The number of the watch that is kept, if one is.
    watch: Option<u64>,
    /// How many watches there have been.
    watches: u64,
    /// Signs that the watcher lives.
    signs: u64,
    /// Whether hints may have been missed since the last watch.
    missed: bool,
}

impl Waiting {
    fn answer(&mut self, job: JobId, answer: &Result<Settled, Error>) {
        for asked in self.jobs.remove(&job).into_iter().flatten() {
            // Whoever has stopped waiting needs no answer.
            let _ = asked.send(answer.clone());
        }
    }

    /// All who are waited for.
    fn waited_for(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }

    /// As [`waited_for`](Self::waited_for), and those of whom hints may have been lost.
    fn everything(&self) -> Vec<JobId> {
        let open = self.fresh.iter().filter(|(_, settled)| settled.is_none());
        self.jobs.keys().chain(open.map(|(job, _)| job)).copied().collect()
    }

    /// Those of jobs that somebody waits for by now.
    fn asked_of(&self, jobs: &[JobId]) -> Set<JobId> {
        jobs.iter().filter(|job| self.jobs.contains_key(job)).copied().collect()
    }

    /// Forgets those who have stopped waiting.
    fn forget(&mut self) {
        self.jobs.retain(|_, asked| {
            asked.retain(|sender| !sender.is_closed());
            !asked.is_empty()
        });
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.new.is_empty() && self.fresh.is_empty()
    }
}

/// What was submitted here, for as long as somebody holds a handle on it.
#[derive(Debug)]
pub(super) struct Fresh {
    waiting: Arc<Mutex<Waiting>>,
    job: JobId,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).fresh.remove(&self.job);
    }
}

impl Outcomes {
    pub(super) fn new(store: &Arc<dyn Store>) -> Self {
        let store = Arc::downgrade(store);
        Self { store, waiting: Arc::default(), asked: Arc::default() }
    }

    /// Listens for jobs that are about to be submitted.
    pub(super) fn expect(&self, jobs: impl Iterator<Item = JobId>) -> Vec<Fresh> {
        let mut waiting = self.waiting();
        let fresh: Vec<_> =
            jobs.map(|job| Fresh { waiting: Arc::clone(&self.waiting), job }).collect();
        // Outside a runtime nobody would listen.
        if Handle::try_current().is_ok() {
            waiting.fresh.extend(fresh.iter().map(|fresh| (fresh.job, None)));
            self.watch(waiting);
        }
        fresh
    }

    /// Waits until a job has ended.
    pub(super) async fn of(&self, job: JobId) -> Result<Settled, Error> {
        loop {
            let (sender, mut receiver) = oneshot::channel();
            let mut signs = {
                let mut waiting = self.waiting();
                match waiting.fresh.get(&job) {
                    Some(Some(settled)) => return Ok(settled.clone()),
                    Some(None) => {}
                    None => {
                        waiting.new.insert(job);
                        self.asked.notify_one();
                    }
                }
                waiting.jobs.entry(job).or_default().push(sender);
                let signs = waiting.signs;
                self.watch(waiting);
                signs
            };
            loop {
                match tokio::time::timeout(PATIENCE, &mut receiver).await {
                    Ok(Ok(answer)) => return answer,
                    // The watcher's runtime has ended.
                    Ok(Err(_)) => break,
                    Err(_) => signs = self.take_over(signs),
                }
            }
        }
    }

    /// Begins another watch if the one there is has shown no sign of life since the last look.
    fn take_over(&self, before: u64) -> u64 {
        let mut waiting = self.waiting();
        let signs = waiting.signs;
        if signs != before {
            return signs;
        }
        // One of all who wait.
        waiting.signs += 1;
        waiting.watch = None;
        waiting.missed = true;
        self.watch(waiting);
        signs + 1
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that somebody listens from now on.
    fn watch(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let Some(store) = self.store.upgrade().filter(|_| waiting.watch.is_none()) else { return };
        waiting.watches += 1;
        let number = waiting.watches;
        waiting.watch = Some(number);
        let heard = Heard { ended: store.hints().ended(), changed: store.hints().changed() };
        drop(waiting);
        // From here on: a task may be dropped before it is polled, and outside a runtime it cannot even begin.
        let watch = Watch { waiting: Arc::clone(&self.waiting), number };
        tokio::spawn(watcher(store, heard, watch, Arc::clone(&self.asked)));
    }
}

/// What the store says of itself.
struct Heard {
    ended: broadcast::Receiver<Arc<[Ended]>>,
    changed: watch::Receiver<u64>,
}

/// Gives the watch up when the watcher's runtime ends, so that another can begin.
struct Watch {
    waiting: Arc<Mutex<Waiting>>,
    number: u64,
}

impl Watch {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`waiting`](Self::waiting), with a sign of life; `None` if another keeps the watch by now.
    fn kept(&self) -> Option<MutexGuard<'_, Waiting>> {
        let mut waiting = self.waiting();
        if waiting.watch != Some(self.number) {
            return None;
        }
        waiting.signs += 1;
        Some(waiting)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.waiting();
        if waiting.watch == Some(self.number) {
            waiting.watch = None;
            waiting.missed = true;
            // Those who wait hear that nobody will answer, and ask again.
            waiting.jobs.clear();
        }
    }
}

async fn watcher(
    store: Arc<dyn Store>,
    Heard { mut ended, mut changed }: Heard,
    watch: Watch,
    asked: Arc<Notify>,
) {
    let mut poll = tokio::time::interval_at(Instant::now() + POLL, POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look: Vec<JobId> = Vec::new();
    let mut forgot = Instant::now();
    loop {
        {
            let Some(mut waiting) = watch.kept() else { return };
            if std::mem::take(&mut waiting.missed) {
                look = waiting.everything();
            }
            look.extend(waiting.new.drain());
        }
        look.sort_unstable();
        look.dedup();
        while !look.is_empty() {
            let batch: Vec<JobId> = look.drain(..look.len().min(limits::PAGE)).collect();
            let asked = watch.waiting().asked_of(&batch);
            let mut reading = store.outcomes(batch.clone());
            let found = loop {
                tokio::select! {
                    biased;
                    found = &mut reading => break found,
                    // The store may take its time; the watcher is there.
                    () = tokio::time::sleep(POLL) => drop(watch.kept()),
                }
            };
            // What was read before a watch was taken over may be old.
            let Some(mut waiting) = watch.kept() else { return };
            look.extend(settle(&mut waiting, &batch, &asked, found));
        }
        {
            let Some(mut waiting) = watch.kept() else { return };
            // Now and then: with many waiting, a look at each of them per commit is work squared.
            if forgot.elapsed() >= FORGET || waiting.jobs.len() < FEW {
                forgot = Instant::now();
                waiting.forget();
            }
            if waiting.is_idle() {
                // Under the lock: whoever asks next finds no watcher and begins one.
                waiting.watch = None;
                return;
            }
        }
        let everything = || watch.waiting().everything();
        tokio::select! {
            () = asked.notified() => {}
            jobs = ended.recv() => match jobs {
                Ok(jobs) => look.extend(hear(&mut watch.waiting(), &jobs)),
                Err(broadcast::error::RecvError::Lagged(_)) => look = everything(),
                // The store is held here: it says nothing more when it is gone.
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = changed.changed() => look = everything(),
            _ = poll.tick() => {
                look = watch.waiting().waited_for();
                end_overdue(&*store, &look).await;
            }
        }
    }
}

/// Sees to it that jobs that somebody waits for end at their expiries and deadlines: no worker may live to
/// do so. What cannot be done now is done at the next tick.
async fn end_overdue(store: &dyn Store, jobs: &[JobId]) {
    for page in jobs.chunks(limits::PAGE) {
        let overdue = store.overdue(page.to_vec()).await.unwrap_or_default();
        if !overdue.is_empty() {
            // In the order of their instants, as many as one transaction takes.
            let _ = store.sweep(u32::MAX).await;
        }
    }
}

/// Answers what a hint brings with it. Returns what is to be looked up.
fn hear(waiting: &mut Waiting, ended: &[Ended]) -> Vec<JobId> {
    let mut look = Vec::new();
    for Ended { job, settled } in ended {
        let fresh = waiting.fresh.get_mut(job);
        match settled {
            Some(settled) => {
                // What hints carry is final.
                if let Some(fresh) = fresh {
                    *fresh = Some(settled.clone());
                }
                waiting.answer(*job, &Ok(settled.clone()));
            }
            None if fresh.is_some() || waiting.jobs.contains_key(job) => look.push(*job),
            None => {}
        }
    }
    look
}

/// Answers what was looked up for those who had `asked` before. Returns what is to be looked up again: a job
/// that was not there when it was looked for, on account of its handle alone, may have come since.
fn settle(
    waiting: &mut Waiting,
    batch: &[JobId],
    asked: &Set<JobId>,
    found: Result<Vec<(JobId, Settled)>, Error>,
) -> Vec<JobId> {
    let mut again = Vec::new();
    let found: Map<JobId, Settled> = match found {
        Ok(found) => found.into_iter().collect(),
        Err(error) if error.is_transient() => return again,
        Err(error) => {
            for asked in batch.iter().filter_map(|job| waiting.jobs.remove(job)).flatten() {
                let _ = asked.send(Err(error.clone()));
            }
            return again;
        }
    };
    for job in batch {
        let settled = found.get(job).filter(|settled| settled.outcome.is_some());
        if let Some(settled) = settled
            && let Some(fresh) = waiting.fresh.get_mut(job)
        {
            // What no hint would carry is looked up whenever it is asked for.
            let text = settled.outcome.as_deref().unwrap_or_default();
            *fresh = Ended::new(*job, settled.state, text).settled;
            if fresh.is_none() {
                waiting.fresh.remove(job);
            }
        }
        let answer = match found.get(job) {
            Some(settled) if !settled.state.is_ended() => continue,
            Some(settled) if settled.outcome.is_none() => {
                // There was no room for it on the page.
                again.push(*job);
                continue;
            }
            Some(settled) => Ok(settled.clone()),
            None if asked.contains(job) => Err(Error::Unknown { id: job.root() }),
            None => {
                again.extend(waiting.jobs.contains_key(job).then_some(*job));
                continue;
            }
        };
        waiting.answer(*job, &answer);
    }
    again
}

#[cfg(test)]
mod tests;
