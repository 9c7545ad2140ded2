//! The SQLite store: one file, many threads and processes of one machine.
//!
//! One thread writes and commits in groups, a few read; every verb is a function over one transaction,
//! in a file named as in the memory store, which it equals in all but one point: an operating-system
//! lock, not the lease, says whether a worker lives. Values are always parameters; no statement is made
//! of data.

use crate::store::{NewAction, Sample};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::lock::Locks;
use self::options::Options;
use self::readers::Readers;
use self::writer::Writer;
use super::read::verbs::{each_read_verb, each_record_verb};
use super::read::{Read, Records, StoreView};
use super::url::Url;
use super::{
    Amended, Error, Exchange, Heartbeat, Hints, Migration, NewJob, Pruned, Removed, Reply, Retry,
    Sent, Store, Submitted, Verb,
};
use crate::clock::Clock;
use crate::clock::monotonic;
use crate::core::id::{JobId, TaskId, WorkerId};
use crate::core::time::Time;
use crate::store::error::OpenError;

mod actions;
mod audit;
mod cancel;
mod children;
mod claim;
mod columns;
mod exchange;
mod fault;
mod files;
mod find;
mod finish;
mod ledger;
mod lock;
mod log;
mod migrate;
mod options;
mod people;
mod prune;
mod readers;
mod ready;
mod replay;
mod retry;
mod samples;
mod submit;
mod sweep;
mod task;
#[cfg(test)]
mod tests;
mod tx;
mod worker;
mod writer;

/// How often a store object looks for dead workers.
const LOOK_FOR_DEAD: Duration = Duration::from_millis(100);

/// A store in a file.
#[derive(Debug)]
pub struct Sqlite {
    writer: Writer,
    /// For the engine, and for people: a long list that somebody looks at holds up no replay.
    replays: Readers,
    readers: Readers,
    shared: Arc<Shared>,
}

/// What the threads of a store object have in common.
#[derive(Debug)]
struct Shared {
    /// For messages.
    path: String,
    clock: Clock,
    hints: Hints,
    locks: Locks,
    /// The file that was opened.
    opened: files::Opened,
    /// Whether it was found deleted or replaced: nothing is answered any more.
    gone: AtomicBool,
    /// The file with what is not yet moved into the database.
    wal: PathBuf,
    busy_timeout: Duration,
    /// When it last looked for dead workers.
    looked: Mutex<Option<Instant>>,
}

impl Shared {
    /// Refuses to answer once the file was deleted or replaced. What was committed just before is lost with
    /// the file, and nobody is to count on it.
    fn still_there(&self) -> Result<(), Error> {
        if self.gone.load(Ordering::Relaxed) || self.opened.is_gone() {
            if !self.gone.swap(true, Ordering::Relaxed) {
                tracing::error!(store = self.path, "the store's file was deleted or replaced");
            }
            return Err(Error::Replaced { path: self.path.clone() });
        }
        Ok(())
    }

    /// Whether it is time to look for dead workers: at once after opening, then now and then; always
    /// where a test turns the clock.
    fn looks_for_dead(&self) -> bool {
        if matches!(self.clock, Clock::Manual(_)) {
            return true;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = monotonic();
        if looked.is_some_and(|last| now.duration_since(last) < LOOK_FOR_DEAD) {
            return false;
        }
        *looked = Some(now);
        true
    }

    /// Makes the next look for dead workers happen at once.
    fn look_for_dead_again(&self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Sqlite {
    /// Opens the database that a URL names, or creates it. Without `migrate` it must be there and have
    /// the newest schema.
    pub(crate) async fn open(
        url: &Url<'_>,
        clock: Clock,
        migrate: bool,
    ) -> Result<Self, OpenError> {
        Ok(Self::with(Options { migrate, ..Options::of(url)? }, clock).await?)
    }

    /// Brings the schema of the database that a URL names up to date.
    pub(crate) async fn migrate(url: &Url<'_>) -> Result<Migration, OpenError> {
        let options = Options::of(url)?;
        let before = options.clone();
        let from = aside(move || migrate::version(&before)).await?.unwrap_or(0);
        Self::with(options, Clock::System).await?;
        Ok(Migration { from, to: migrate::NEWEST })
    }

    /// What is there, without changing it.
    pub(crate) async fn inspect(url: &Url<'_>) -> Result<StoreView, OpenError> {
        let options = Options::of(url)?;
        let bytes = std::fs::metadata(&options.path).ok().map(|file| file.len());
        let version = aside(move || migrate::version(&options)).await?;
        let url = url.shown();
        Ok(StoreView { url, version, known: migrate::NEWEST, bytes, durability: None })
    }

    async fn with(options: Options, clock: Clock) -> Result<Self, Error> {
        aside(move || Self::start(options, clock)).await
    }

    fn start(mut options: Options, clock: Clock) -> Result<Self, Error> {
        let writing = migrate::writer(&options)?;
        options.path = std::fs::canonicalize(&options.path).map_err(|error| failed(&error))?;
        let path = options.path.display().to_string();
        let mut reading = Vec::new();
        for _ in 0..2 * readers::THREADS {
            reading.push(migrate::reader(&options).map_err(|fault| fault.told(&path))?);
        }
        let shared = Arc::new(Shared {
            path,
            clock,
            hints: Hints::default(),
            locks: Locks::beside(&options.path),
            opened: files::Opened::at(options.path.clone()),
            gone: AtomicBool::new(false),
            wal: wal_of(&options.path),
            busy_timeout: options.busy_timeout,
            looked: Mutex::default(),
        });
        let people = reading.split_off(readers::THREADS);
        let replays = Readers::start(reading, &shared).map_err(|error| failed(&error))?;
        let readers = Readers::start(people, &shared).map_err(|error| failed(&error))?;
        let writer = Writer::start(writing, Arc::clone(&shared)).map_err(|error| failed(&error))?;
        Ok(Self { writer, replays, readers, shared })
    }

    fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        verb: impl FnMut(&mut tx::Tx<'_>) -> fault::Result<T> + Send + 'static,
    ) -> Verb<'_, T> {
        Box::pin(self.writer.write(name, verb))
    }

    /// A write that answers `None` if the task is unknown.
    fn write_known<T: Send + 'static>(
        &self,
        name: &'static str,
        id: TaskId,
        verb: impl FnMut(&mut tx::Tx<'_>) -> fault::Result<Option<T>> + Send + 'static,
    ) -> Verb<'_, T> {
        Box::pin(async move { self.writer.write(name, verb).await?.ok_or(Error::Unknown { id }) })
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.shared.locks.release_all();
    }
}

/// Opening waits for the disk and for other processes: not on a thread that serves futures.
async fn aside<T: Send + 'static>(
    open: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (reply, opened) = oneshot::channel();
    let thread = std::thread::Builder::new().name("homing-sqlite-open".to_owned());
    let thread = thread.spawn(move || {
        // An error means that the caller has gone away.
        let _ = reply.send(open());
    });
    thread.map_err(|error| failed(&error))?;
    opened.await.map_err(|_| Error::Closed)?
}

fn wal_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

fn failed(error: &std::io::Error) -> Error {
    Error::Failed { reason: error.to_string() }
}

impl Store for Sqlite {
    fn submit(&self, jobs: Vec<NewJob>) -> Verb<'_, Vec<Submitted>> {
        self.write("submit", move |tx| jobs.iter().map(|job| tx.submit_anew(job)).collect())
    }

    fn exchange(&self, exchange: Exchange) -> Verb<'_, Reply> {
        self.write("exchange", move |tx| tx.exchange(&exchange))
    }

    fn heartbeat(&self, heartbeat: Heartbeat) -> Verb<'_, bool> {
        self.write("heartbeat", move |tx| tx.heartbeat(&heartbeat))
    }

    fn leave(&self, worker: WorkerId) -> Verb<'_, ()> {
        self.write("leave", move |tx| tx.leave(worker))
    }

    fn cancel(&self, task: TaskId, text: Option<String>) -> Verb<'_, bool> {
        self.write_known("cancel", task, move |tx| tx.cancel(task, text.as_deref()))
    }

    fn signal(&self, task: TaskId, name: String, value: String) -> Verb<'_, Sent> {
        self.write_known("signal", task, move |tx| tx.send(task, &name, &value))
    }

    fn retry(&self, job: JobId, preview: bool) -> Verb<'_, Retry> {
        self.write_known("retry", job.root(), move |tx| tx.retry(job, preview))
    }

    fn amend(&self, task: TaskId, arguments: String) -> Verb<'_, Amended> {
        self.write_known("amend", task, move |tx| tx.amend(task, &arguments))
    }

    fn begin_action(&self, action: NewAction) -> Verb<'_, u64> {
        self.write("begin_action", move |tx| tx.begin_action(&action))
    }

    fn end_action(&self, number: u64, result: String) -> Verb<'_, ()> {
        self.write("end_action", move |tx| tx.end_action(number, &result))
    }

    fn keep_samples(&self, samples: Vec<Sample>) -> Verb<'_, ()> {
        self.write("keep_samples", move |tx| tx.keep_samples(&samples))
    }

    fn pause(&self, queue: String, paused: bool) -> Verb<'_, ()> {
        self.write("pause", move |tx| tx.pause(&queue, paused))
    }

    fn sweep(&self, max_crashes: u32) -> Verb<'_, bool> {
        self.write("sweep", move |tx| tx.sweep(max_crashes))
    }

    fn prune(&self, before: Time) -> Verb<'_, Pruned> {
        self.write("prune", move |tx| tx.prune(before))
    }

    fn remove(&self, job: JobId) -> Verb<'_, Removed> {
        self.write_known("remove", job.root(), move |tx| tx.remove(job))
    }

    fn abandon(&self, worker: WorkerId) {
        self.shared.locks.release(worker);
    }

    #[cfg(feature = "testing")]
    fn kill(&self, worker: WorkerId) {
        self.shared.locks.release(worker);
        self.shared.hints.say_ready();
    }

    #[cfg(feature = "testing")]
    fn parking(&self, task: TaskId) -> Verb<'_, Option<crate::core::id::Token>> {
        Box::pin(self.readers.read(move |tx| {
            let row = task::Task::read(tx.db, task)?;
            Ok(row.filter(|row| !row.state.is_ended()).and_then(|row| row.parked))
        }))
    }

    fn hints(&self) -> &Hints {
        &self.shared.hints
    }

    fn clock(&self) -> &Clock {
        &self.shared.clock
    }
}

/// Reading verbs, each answered by a function of a transaction's view, on a thread of the given readers.
macro_rules! on_readers {
    ($readers:ident $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty
        = $view:ident($($given:expr),*);)+) => {
        $(fn $name(&self, $($argument: $type),*) -> Verb<'_, $answer> {
            Box::pin(self.$readers.read(move |tx| tx.$view($($given),*)))
        })+
    };
}

impl Records for Sqlite {
    each_record_verb!(on_readers, replays);
}

impl Read for Sqlite {
    each_read_verb!(on_readers, readers);
}
