//! Work that goes on while a server fails, and what must hold when it is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use homing::{Homing, JobId, JoinSet, State, Worker, WorkerBuilder, step, task};

use super::*;

/// What the bodies of a test say of themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    next: AtomicU64,
    /// What a step returned to its body, by task and place. A step returns after its commit, so whatever
    /// it returns later is the same.
    values: Mutex<HashMap<String, u64>>,
    /// Steps that returned something else than before.
    twice: Mutex<Vec<String>>,
}

impl Notes {
    async fn step(&self, name: &str) -> homing::Result<()> {
        let fresh = self.0.next.fetch_add(1, Ordering::SeqCst);
        let value = step(name, || async { Ok(fresh) }).await?;
        let place = format!("{} {name}", homing::id());
        let first = *self.0.values.lock().unwrap().entry(place.clone()).or_insert(value);
        if first != value {
            self.0.twice.lock().unwrap().push(place);
        }
        Ok(())
    }
}

#[task(retries = 3, backoff = "1ms..10ms")]
async fn leaf(number: u64, State(notes): State<Notes>) -> homing::Result<u64> {
    notes.step("work").await?;
    tokio::time::sleep(Duration::from_millis(number % 7)).await;
    Ok(number)
}

#[task(retries = 3, backoff = "1ms..10ms")]
async fn tree(leaves: u64, State(notes): State<Notes>) -> homing::Result<u64> {
    let mut set = JoinSet::new();
    for number in 0..leaves {
        if number % 3 == 0 {
            notes.step(&format!("page {number}")).await?;
        }
        set.spawn(leaf(number)).await?;
    }
    let sum = set.join_all().await?.iter().sum();
    notes.step("sum").await?;
    Ok(sum)
}

/// Leaves of a tree.
const LEAVES: u64 = 10;

/// Somebody who submits all the time and remembers what was acknowledged.
#[derive(Debug)]
pub(crate) struct Load {
    notes: Notes,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<JobId>>>,
    submitting: tokio::task::JoinHandle<()>,
    pub(crate) worker: Worker,
    homing: Homing,
}

/// Registers what a load needs.
pub(crate) fn register(builder: WorkerBuilder, notes: &Notes) -> WorkerBuilder {
    builder.register(tree).register(leaf).state(notes.clone()).max_crashes(1000)
}

impl Load {
    /// Works and submits over one store.
    pub(crate) async fn on(url: &str) -> Self {
        Self::with(url, url).await
    }

    /// Works over one way to a store, and submits over another.
    pub(crate) async fn with(works: &str, submits: &str) -> Self {
        let notes = Notes::default();
        let works = Homing::open(works).await.unwrap();
        let worker = register(works.worker(), &notes).lease(Duration::from_secs(2));
        let worker = worker.start().await.unwrap();
        let homing = Homing::open(submits).await.unwrap();
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let submitting =
            tokio::spawn(submit(homing.clone(), Arc::clone(&stop), Arc::clone(&acknowledged)));
        let load = Self { notes, stop, acknowledged, submitting, worker, homing };
        load.goes_on().await;
        load
    }

    /// How many jobs were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until some more jobs were acknowledged and have ended: work goes on by itself.
    pub(crate) async fn goes_on(&self) {
        let before = self.acknowledged();
        eventually("submits are acknowledged", async || self.acknowledged() >= before + 3).await;
        let last = *self.acknowledged.lock().unwrap().last().unwrap();
        self.ended(last).await;
    }

    async fn ended(&self, job: JobId) {
        eventually("a job ends", async || match self.homing.job::<u64>(job).status().await {
            Ok(status) => status.is_ended(),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                false
            }
        })
        .await;
        assert_eq!(self.homing.job::<u64>(job).outcome().await.unwrap(), LEAVES * (LEAVES - 1) / 2);
    }

    /// Stops submitting, and looks at everything that was acknowledged.
    pub(crate) async fn survived(self) {
        self.goes_on().await;
        self.stop.store(true, Ordering::SeqCst);
        self.submitting.await.unwrap();
        let jobs = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        let load = Self { submitting: tokio::spawn(async {}), ..self };
        for job in jobs {
            load.ended(job).await;
        }
        let twice = load.notes.0.twice.lock().unwrap().clone();
        assert!(twice.is_empty(), "recorded twice: {twice:?}");
        sound(&load.homing).await;
        load.worker.shutdown(Duration::from_secs(10)).await;
    }
}

/// Submits trees, a few at a time. A submission that failed is sent again under the same id.
async fn submit(homing: Homing, stop: Arc<AtomicBool>, acknowledged: Arc<Mutex<Vec<JobId>>>) {
    while !stop.load(Ordering::SeqCst) {
        let id = JobId::fresh();
        loop {
            match homing.submit(tree(LEAVES)).id(id).await {
                Ok(_) => break,
                Err(homing::SubmitError::Store(error)) if error.is_transient() => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        acknowledged.lock().unwrap().push(id);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
