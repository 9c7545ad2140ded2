//! What many look at is read once: a look at the store serves everybody who asks for the same within its time.
//!
//! A look is fresh for a quarter of a second, and for nine times what it took, so that viewers never take more
//! than a tenth of the store's time for one thing. Nobody looks, nothing is read.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homing::log::Line;
use homing::{
    Homing, JobId, JobView, QueueView, SampleFilter, SampleView, SetKey, SetView, StoreError,
    TaskId, TaskView, Time, WorkerId, WorkerView,
};
use tokio::time::Instant;

use crate::pages::charts::Span;

/// How long a look is fresh, at least.
pub(crate) const FRESH: Duration = Duration::from_millis(250);
/// And by how many times what it took.
const LEISURE: u32 = 9;
/// Things remembered before the stale ones are forgotten.
const REMEMBERED: usize = 512;
/// How long a look is remembered that nobody asks for.
const STALE: Duration = Duration::from_secs(30);

/// A part of a set's children: the task, the set, from which on, how many.
pub(crate) type Window = (TaskId, SetKey, u64, usize);

/// The looks at a store.
#[derive(Debug)]
pub(crate) struct Hub {
    homing: Homing,
    jobs: Looks<JobId, JobView>,
    logs: Looks<(JobId, u64), Vec<Line>>,
    tasks: Looks<TaskId, TaskView>,
    sets: Looks<TaskId, Vec<SetView>>,
    windows: Looks<Window, Vec<TaskView>>,
    queues: Looks<(), Vec<QueueView>>,
    workers: Looks<(), Vec<WorkerView>>,
    samples: Looks<(Option<WorkerId>, Span), Vec<SampleView>>,
    /// Looks taken so far: the number of each, and what tests count.
    taken: AtomicU64,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Look<V> {
    /// Another one when something has changed.
    pub(crate) number: u64,
    pub(crate) value: Arc<V>,
}

impl<V> Clone for Look<V> {
    fn clone(&self) -> Self {
        Self { number: self.number, value: Arc::clone(&self.value) }
    }
}

impl Hub {
    pub(crate) fn new(homing: Homing) -> Self {
        Self {
            homing,
            jobs: Looks::default(),
            logs: Looks::default(),
            tasks: Looks::default(),
            sets: Looks::default(),
            windows: Looks::default(),
            queues: Looks::default(),
            workers: Looks::default(),
            samples: Looks::default(),
            taken: AtomicU64::new(0),
        }
    }

    /// How often the store was read so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) async fn job(&self, id: JobId) -> Result<Look<JobView>, StoreError> {
        self.jobs.get(self, id, async { self.homing.job::<()>(id).view().await }).await
    }

    /// Lines of a job's log behind a number.
    pub(crate) async fn log(&self, id: JobId, after: u64) -> Result<Look<Vec<Line>>, StoreError> {
        let read = async { self.homing.job::<()>(id).log().after(after).page().await };
        self.logs.get(self, (id, after), read).await
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<Look<TaskView>, StoreError> {
        self.tasks.get(self, id, self.homing.task(id)).await
    }

    pub(crate) async fn sets(&self, id: TaskId) -> Result<Look<Vec<SetView>>, StoreError> {
        self.sets.get(self, id, self.homing.sets(id, None, homing::limits::PAGE)).await
    }

    pub(crate) async fn window(&self, window: Window) -> Result<Look<Vec<TaskView>>, StoreError> {
        let (task, set, from, limit) = window;
        self.windows.get(self, window, self.homing.window(task, set, from, limit)).await
    }

    pub(crate) async fn queues(&self) -> Result<Look<Vec<QueueView>>, StoreError> {
        self.queues.get(self, (), self.homing.queues()).await
    }

    /// What workers did in a span of time that ends now.
    pub(crate) async fn samples(
        &self,
        worker: Option<WorkerId>,
        span: Span,
    ) -> Result<Look<Vec<SampleView>>, StoreError> {
        let read = read_samples(&self.homing, worker, span);
        self.samples.get(self, (worker, span), read).await
    }

    pub(crate) async fn workers(&self) -> Result<Look<Vec<WorkerView>>, StoreError> {
        self.workers.get(self, (), self.homing.workers()).await
    }
}

/// Samples that are read for a chart at most: those of 30 workers for a day, or so.
const SAMPLES: usize = 50_000;

async fn read_samples(
    homing: &Homing,
    worker: Option<WorkerId>,
    span: Span,
) -> Result<Vec<SampleView>, StoreError> {
    let since = Some(Time::from(homing.now()).before(span.long()));
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let filter = SampleFilter { since, worker, after, ..SampleFilter::default() };
        let page = homing.samples(filter).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some((last.minute, last.worker));
        all.extend(page);
        if all.len() >= SAMPLES {
            return Ok(all);
        }
    }
}

/// The latest looks at things of one sort.
#[derive(Debug)]
struct Looks<K, V>(Mutex<HashMap<K, Arc<Slot<V>>>>);

/// Whoever holds it looks; the others wait for what is seen.
type Slot<V> = tokio::sync::Mutex<Option<Seen<V>>>;

#[derive(Debug)]
struct Seen<V> {
    look: Look<V>,
    at: Instant,
    took: Duration,
}

impl<V> Seen<V> {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH.max(self.took * LEISURE)
    }
}

impl<K, V> Default for Looks<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V: PartialEq> Looks<K, V> {
    async fn get(
        &self,
        hub: &Hub,
        key: K,
        read: impl Future<Output = Result<V, StoreError>>,
    ) -> Result<Look<V>, StoreError> {
        let slot = self.slot(key);
        let mut seen = slot.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| seen.is_fresh()) {
            return Ok(seen.look.clone());
        }
        let began = Instant::now();
        let value = read.await?;
        let number = hub.taken.fetch_add(1, Ordering::Relaxed) + 1;
        let look = match seen.take() {
            Some(seen) if *seen.look.value == value => seen.look,
            _ => Look { number, value: Arc::new(value) },
        };
        let at = Instant::now();
        *seen = Some(Seen { look: look.clone(), at, took: at - began });
        Ok(look)
    }

    fn slot(&self, key: K) -> Arc<Slot<V>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= REMEMBERED && !slots.contains_key(&key) {
            // One that is locked is being looked at.
            slots.retain(|_, slot| {
                slot.try_lock().map_or(true, |seen| {
                    seen.as_ref().is_some_and(|seen| seen.at.elapsed() < STALE)
                })
            });
            // All of them fresh: a burst. Forgetting them costs further looks, and nothing else.
            if slots.len() >= REMEMBERED {
                slots.clear();
            }
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_serves_everybody_for_a_while() {
        let homing = Homing::open("memory:").await.unwrap();
        let hub = Arc::new(Hub::new(homing.clone()));
        let looks = (0..20).map(|_| {
            let hub = Arc::clone(&hub);
            tokio::spawn(async move { hub.queues().await.unwrap().number })
        });
        for look in looks.collect::<Vec<_>>() {
            assert_eq!(look.await.unwrap(), 1);
        }
        assert_eq!(hub.taken(), 1);
        tokio::time::advance(FRESH).await;
        // Nothing has changed, so that the number stays.
        assert_eq!(hub.queues().await.unwrap().number, 1);
        assert_eq!(hub.taken(), 2);
        homing.pause("default").await.unwrap();
        assert!(hub.queues().await.unwrap().value.is_empty(), "the look is fresh");
        tokio::time::advance(FRESH).await;
        let look = hub.queues().await.unwrap();
        assert_eq!((look.number, look.value.len()), (3, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_forgotten() {
        let hub = Hub::new(Homing::open("memory:").await.unwrap());
        for n in 0..2000 {
            let look = hub.log(JobId::named("x"), n).await.unwrap();
            assert!(look.value.is_empty());
        }
        assert!(hub.logs.0.lock().unwrap().len() <= REMEMBERED);
    }
}
