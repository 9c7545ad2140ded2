//! The writer: one thread that owns the one connection that writes.
//!
//! Requests that are queued when a transaction begins, or arrive while it runs, are committed together, so that
//! the disk is waited for once. Replies and hints go out after the commit. A request that fails takes
//! the transaction down; each request then gets a transaction of its own, so that none harms another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault::{Fault, Result};
use super::tx::{Effects, Tx};
use super::{LOOK_FOR_DEAD, Shared, migrate};
use crate::clock::monotonic;
use crate::point::{self, Moment};
use crate::store::Error;
use crate::store::events::Swept;

/// Requests in one transaction at most: a bound on what a rollback makes to do again.
const TOGETHER: usize = 64;
/// How long a transaction takes up more requests. Beyond this the wait costs more than the disk.
const GATHER: Duration = Duration::from_millis(5);
/// How often an idle writer looks whether another process has committed something.
const LOOK: Duration = Duration::from_millis(25);
/// Idle looks between two at the length of the WAL.
const REST: u32 = 20;
/// Longest pause between two attempts to get the write lock. SQLite's own pauses grow to 100 ms, which
/// is many times what a transaction takes.
const PAUSE: Duration = Duration::from_millis(1);

/// A queued verb.
trait Request: Send {
    /// The verb's name.
    fn name(&self) -> &'static str;
    /// Runs the verb; again, if the transaction was rolled back. Keeps the answer for `reply`.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()>;
    /// Makes the answer an error.
    fn fail(&mut self, error: Error);
    /// Sends the answer.
    fn reply(self: Box<Self>);
}

struct Call<T, F> {
    name: &'static str,
    verb: F,
    answer: std::result::Result<T, Error>,
    reply: oneshot::Sender<std::result::Result<T, Error>>,
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T> + Send> Request for Call<T, F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        self.answer = Ok((self.verb)(tx)?);
        Ok(())
    }

    fn fail(&mut self, error: Error) {
        self.answer = Err(error);
    }

    fn reply(self: Box<Self>) {
        // An error means that the caller has gone away; what it asked for is done.
        let _ = self.reply.send(self.answer);
    }
}

/// The way to the writing thread. It ends when this is dropped and its queue is empty.
#[derive(Debug)]
pub(super) struct Writer {
    sender: Sender<Box<dyn Request>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(db: Connection, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let builder = std::thread::Builder::new().name("homing-sqlite-write".to_owned());
        let mut thread =
            Thread { db, shared, receiver, version: None, idle: 0, looked: monotonic() };
        // Before anybody reads: what is committed after that read is then told of.
        thread.look();
        builder.spawn(move || thread.serve())?;
        Ok(Self { sender })
    }

    /// Runs a verb in a transaction; resolves after the commit.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        verb: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Error> {
        point::verb(name, Moment::Before);
        let (reply, answer) = oneshot::channel();
        let call = Call { name, verb, answer: Err(Error::Closed), reply };
        self.sender.send(Box::new(call)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// Fails them all.
fn answer(mut requests: Vec<Box<dyn Request>>, error: &Error) {
    for request in &mut requests {
        request.fail(error.clone());
    }
    requests.into_iter().for_each(Request::reply);
}

/// A panic is the end of one verb, whose transaction is rolled back, and not of the thread that everybody's
/// verbs run on.
pub(super) fn unless_it_panics<T>(verb: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(verb)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Fault::Other(format!("the verb panicked, which is a defect of homing: {text}")))
    })
}

fn pass(requests: &[Box<dyn Request>], moment: Moment) {
    for request in requests {
        point::verb(request.name(), moment);
    }
}

struct Thread {
    db: Connection,
    shared: Arc<Shared>,
    receiver: Receiver<Box<dyn Request>>,
    /// SQLite's number for the last state of the database that another connection wrote.
    version: Option<i64>,
    /// Idle looks since the last request.
    idle: u32,
    /// When it last looked for dead workers.
    looked: Instant,
}

impl Thread {
    fn serve(mut self) {
        self.tidy();
        loop {
            match self.receiver.recv_timeout(LOOK) {
                Ok(first) => {
                    self.idle = 0;
                    self.commit(first);
                }
                Err(RecvTimeoutError::Timeout) => self.rest(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look();
            self.look_for_dead();
        }
    }

    /// Says so if a worker has died, so that an exchange gives it up at once and not at the next poll.
    ///
    /// Only workers with a row are tested: those had their lock before the row was committed, so that
    /// the test's own lock is never in the way of theirs.
    fn look_for_dead(&mut self) {
        if self.looked.elapsed() < LOOK_FOR_DEAD {
            return;
        }
        self.looked = monotonic();
        let tx = Tx::new(&self.db, &self.shared);
        if tx.dead().is_ok_and(|dead| !dead.is_empty()) {
            self.shared.look_for_dead_again();
            self.shared.hints.say_noticed();
            self.shared.hints.say_ready();
        }
    }

    /// Says so if another process has committed something.
    fn look(&mut self) {
        let version = self
            .db
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut look| look.query_row((), |row| row.get(0)));
        let Ok(version) = version else { return };
        if self.version.replace(version).is_some_and(|last| last != version) {
            self.shared.hints.say_changed();
        }
    }

    /// Now and then while idle: cuts a WAL that grew behind a long read, once the read is over. Waits
    /// for nobody; while requests come, the checkpoints that commits do by themselves see to it.
    fn rest(&mut self) {
        self.idle = self.idle.wrapping_add(1);
        // Told at once, and not only to the next that writes.
        let _ = self.shared.still_there();
        let length = || std::fs::metadata(&self.shared.wal).map_or(0, |wal| wal.len());
        if self.idle.is_multiple_of(REST) && length() > 2 * migrate::WAL {
            let _ = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
        }
    }

    /// Removes what dead processes have left behind beside the database.
    fn tidy(&self) {
        // Under the write lock, as everything that makes or removes these files.
        let tidied = self.transaction(|thread| {
            let tx = Tx::new(&thread.db, &thread.shared);
            Ok(thread.shared.locks.tidy(|worker| tx.knows(worker).unwrap_or(true))?)
        });
        if let Err(fault) = tidied {
            tracing::debug!(%fault, "left lock files of dead workers where they are");
        }
    }

    fn commit(&mut self, first: Box<dyn Request>) {
        let mut requests = vec![first];
        if let Err(error) = self.shared.still_there() {
            return answer(requests, &error);
        }
        match self.together(&mut requests) {
            Ok(effects) => {
                pass(&requests, Moment::Committed);
                // Before anybody is told: it may have been committed into a file that no path leads to.
                if let Err(error) = self.shared.still_there() {
                    return answer(requests, &error);
                }
                self.tell(effects);
            }
            Err(fault) if fault.is_busy() => {
                let error = fault.told(&self.shared.path);
                for request in &mut requests {
                    request.fail(error.clone());
                }
            }
            Err(_) => {
                for request in &mut requests {
                    self.alone(request.as_mut());
                }
            }
        }
        requests.into_iter().for_each(Request::reply);
    }

    /// Runs a request and those that arrive meanwhile in one transaction.
    fn together(&self, requests: &mut Vec<Box<dyn Request>>) -> Result<Effects> {
        self.transaction(|thread| {
            let mut effects = Effects::default();
            let begun = monotonic();
            let mut next = 0;
            while let Some(request) = requests.get_mut(next) {
                effects.extend(thread.run(request.as_mut(), false)?);
                next += 1;
                if requests.len() < TOGETHER && begun.elapsed() < GATHER {
                    requests.extend(thread.receiver.try_recv());
                }
            }
            pass(requests, Moment::Applied);
            Ok(effects)
        })
    }

    /// Gives a request a transaction of its own; if its data is at fault, once more with care.
    fn alone(&self, request: &mut dyn Request) {
        let mut done = self.transaction(|thread| thread.run(request, false));
        if done.as_ref().is_err_and(Fault::is_of_the_data) {
            done = self.transaction(|thread| thread.run(request, true));
        }
        match done {
            Ok(effects) => match self.shared.still_there() {
                Ok(()) => self.tell(effects),
                Err(error) => request.fail(error),
            },
            Err(fault) => request.fail(fault.told(&self.shared.path)),
        }
    }

    fn run(&self, request: &mut dyn Request, careful: bool) -> Result<Effects> {
        unless_it_panics(|| {
            let mut tx = Tx::new(&self.db, &self.shared);
            tx.careful = careful;
            request.run(&mut tx)?;
            tx.close()
        })
    }

    fn transaction<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.begin()?;
        let done = work(self).and_then(|answer| {
            self.db.prepare_cached("COMMIT")?.execute(())?;
            Ok(answer)
        });
        // Some errors, a full disk among them, have rolled back already.
        if done.is_err() && !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        done
    }

    /// Gets the write lock, within the time that the options allow. At once (`IMMEDIATE`), and not with the first write:
    /// a transaction that has read before another process commits could not write any more.
    fn begin(&self) -> Result<()> {
        let deadline: Instant = monotonic() + self.shared.busy_timeout;
        let mut pause = Duration::from_micros(50);
        loop {
            let begun = self.db.prepare_cached("BEGIN IMMEDIATE")?.execute(());
            match begun.map_err(Fault::from) {
                Ok(_) => return Ok(()),
                Err(fault) if fault.is_busy() && monotonic() < deadline => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    fn tell(&self, effects: Effects) {
        effects.gone.into_iter().for_each(|worker| self.shared.locks.remove(worker));
        effects.swept.into_iter().for_each(Swept::say);
        self.shared.hints.say_ended(effects.ended);
        if effects.ready {
            self.shared.hints.say_ready();
        }
        if effects.noticed {
            self.shared.hints.say_noticed();
        }
    }
}
