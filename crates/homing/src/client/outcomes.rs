//! Waiting for jobs to end: one watcher per store for all who wait.
//!
//! Who waits is looked up at once and then whenever a hint says that the job ended here, that another
//! process committed something, or that a second has passed. Look-ups go in batches. A job that was just
//! submitted here needs no first look: whatever has become of it, a hint has said so or will.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::monotonic;
use crate::id::{JobId, Map, Set};
use crate::limits;
use crate::store::read::Settled;
use crate::store::{Ended, Error, Store};

/// How often all who are waited for are looked up, whatever is heard.
const POLL: Duration = Duration::from_secs(1);
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
    watched: bool,
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
        let (sender, receiver) = oneshot::channel();
        {
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
            self.watch(waiting);
        }
        receiver.await.unwrap_or(Err(Error::Closed))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that somebody listens from now on.
    fn watch(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let Some(store) = self.store.upgrade().filter(|_| !waiting.watched) else { return };
        waiting.watched = true;
        let heard = Heard { ended: store.hints().ended(), changed: store.hints().changed() };
        tokio::spawn(watcher(store, heard, Arc::clone(&self.waiting), Arc::clone(&self.asked)));
    }
}

/// What the store says of itself.
struct Heard {
    ended: broadcast::Receiver<Arc<[Ended]>>,
    changed: watch::Receiver<u64>,
}

/// Gives the watch up when the watcher's runtime ends, so that another can begin.
struct Watch(Arc<Mutex<Waiting>>);

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.watched = false;
        waiting.jobs.clear();
        waiting.fresh.clear();
    }
}

async fn watcher(
    store: Arc<dyn Store>,
    Heard { mut ended, mut changed }: Heard,
    waiting: Arc<Mutex<Waiting>>,
    asked: Arc<Notify>,
) {
    let watch = Watch(waiting);
    let guard = || watch.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut poll = tokio::time::interval_at(Instant::now() + POLL, POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look: Vec<JobId> = Vec::new();
    let mut forgot = monotonic();
    loop {
        look.extend(guard().new.drain());
        look.sort_unstable();
        look.dedup();
        while !look.is_empty() {
            let batch: Vec<JobId> = look.drain(..look.len().min(limits::PAGE)).collect();
            let asked = guard().asked_of(&batch);
            let found = store.outcomes(batch.clone()).await;
            look.extend(settle(&mut guard(), &batch, &asked, found));
        }
        {
            let mut waiting = guard();
            // Now and then: with many waiting, a look at each of them per commit is work squared.
            if forgot.elapsed() >= FORGET || waiting.jobs.len() < FEW {
                forgot = monotonic();
                waiting.jobs.retain(|_, asked| {
                    asked.retain(|sender| !sender.is_closed());
                    !asked.is_empty()
                });
            }
            if waiting.is_idle() {
                // Under the lock: whoever asks next finds no watcher and begins one.
                waiting.watched = false;
                break;
            }
        }
        let everything = || guard().everything();
        tokio::select! {
            () = asked.notified() => {}
            jobs = ended.recv() => match jobs {
                Ok(jobs) => look.extend(hear(&mut guard(), &jobs)),
                Err(broadcast::error::RecvError::Lagged(_)) => look = everything(),
                Err(broadcast::error::RecvError::Closed) => break,
            },
            _ = changed.changed() => look = everything(),
            _ = poll.tick() => {
                look = guard().waited_for();
                end_overdue(&*store, &look).await;
            }
        }
    }
    // The watch was given up under the lock: another may have begun since.
    std::mem::forget(watch);
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
mod tests {
    use super::*;
    use crate::state::State;

    fn settled(state: State) -> Settled {
        Settled { state, outcome: Some("1".to_owned()) }
    }

    /// Whoever asks one after the other asks the store for none of them, if hints have said how they ended.
    #[test]
    fn what_is_held_is_known_when_it_is_asked_for() {
        let mut waiting = Waiting::default();
        let [told, found, fell, open] = ["told", "found", "fell", "open"].map(JobId::named);
        waiting.fresh.extend([told, found, fell, open].map(|job| (job, None)));
        let hint = [
            Ended::new(told, State::Succeeded, "1"),
            Ended::unknown(found),
            Ended::unknown(JobId::named("another's")),
        ];
        assert_eq!(hear(&mut waiting, &hint), [found]);
        let mut everything = waiting.everything();
        everything.sort_unstable();
        let mut wanted = [found, fell, open];
        wanted.sort_unstable();
        assert_eq!(everything, wanted, "the outcome of the other is final");
        let rows = [
            (found, settled(State::Succeeded)),
            (fell, settled(State::Failed)),
            (open, Settled { state: State::Running, outcome: None }),
        ];
        settle(&mut waiting, &everything, &Set::default(), Ok(rows.to_vec()));
        let known = settled(State::Succeeded);
        assert_eq!(waiting.fresh.get(&told), Some(&Some(known.clone())));
        assert_eq!(waiting.fresh.get(&found), Some(&Some(known)));
        assert_eq!(waiting.fresh.get(&fell), None, "it may be retried");
        assert_eq!(waiting.fresh.get(&open), Some(&None));
    }

    /// A job whose submission was committed while it was looked for, because something had changed, was once
    /// told to be unknown to whoever asked just then.
    #[test]
    fn a_job_that_comes_while_it_is_looked_for_is_looked_for_again() {
        let job = JobId::named("new");
        let mut waiting = Waiting::default();
        waiting.fresh.insert(job, None);
        let looked = waiting.everything();
        let asked = waiting.asked_of(&looked);
        let (sender, mut receiver) = oneshot::channel();
        waiting.jobs.insert(job, vec![sender]);
        assert_eq!(settle(&mut waiting, &looked, &asked, Ok(Vec::new())), [job]);
        assert!(
            receiver.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
    }

    /// A job that was looked up twice in one batch, new and because another process had committed
    /// something, was once told to be unknown while it was open.
    #[test]
    fn a_job_looked_up_twice_is_still_waited_for() {
        let job = JobId::named("open");
        let (sender, mut receiver) = oneshot::channel();
        let mut waiting = Waiting::default();
        waiting.jobs.insert(job, vec![sender]);
        let open = || Ok(vec![(job, Settled { state: State::Pending, outcome: None })]);
        let asked = waiting.asked_of(&[job]);
        settle(&mut waiting, &[job, job], &asked, open());
        assert!(
            receiver.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
        settle(&mut waiting, &[job, job], &asked, Ok(Vec::new()));
        assert!(matches!(receiver.try_recv(), Ok(Err(Error::Unknown { .. }))));
    }

    /// Once a retried job's old failure was its new outcome: the hint about it had come late.
    #[test]
    fn what_may_have_been_retried_is_looked_up() {
        let (job, other) = (JobId::named("retried"), JobId::named("another"));
        let (sender, mut receiver) = oneshot::channel();
        let mut waiting = Waiting::default();
        waiting.jobs.insert(job, vec![sender]);
        for state in [State::Failed, State::Cancelled] {
            let late = [Ended::new(job, state, "{}"), Ended::new(other, state, "{}")];
            assert_eq!(hear(&mut waiting, &late), [job]);
        }
        assert!(
            receiver.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
        assert!(hear(&mut waiting, &[Ended::new(job, State::Succeeded, "1")]).is_empty());
        assert!(matches!(receiver.try_recv(), Ok(Ok(Settled { state: State::Succeeded, .. }))));
    }
}
