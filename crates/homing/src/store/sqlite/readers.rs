//! Reading: a few threads with a connection each, so that a long read never holds up a write.
//!
//! Each read is one deferred transaction. It sees every commit acknowledged before it began.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::Shared;
use super::fault::Result;
use super::tx::Tx;
use super::writer::unless_it_panics;
use crate::store::Error;

/// Threads of each set; more than two gain nothing on small machines and hold back more checkpoints.
pub(super) const THREADS: usize = 2;

type Task = Box<dyn FnOnce(&Connection, &Shared) + Send>;

/// The way to the reading threads. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Readers {
    sender: Sender<Task>,
}

impl Readers {
    /// Starts the threads.
    pub(super) fn start(
        connections: Vec<Connection>,
        shared: &Arc<Shared>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for db in connections {
            let (receiver, shared) = (Arc::clone(&receiver), Arc::clone(shared));
            let thread = std::thread::Builder::new().name("homing-sqlite-read".to_owned());
            thread.spawn(move || serve(&db, &shared, &receiver))?;
        }
        Ok(Self { sender })
    }

    /// Runs a read in one transaction.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let task: Task = Box::new(move |db, shared| {
            // An error means that the caller has gone away.
            let read = || run(db, shared, verb).map_err(|fault| fault.told(&shared.path));
            let _ = reply.send(shared.still_there().and_then(|()| read()));
        });
        self.sender.send(task).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

fn serve(db: &Connection, shared: &Shared, receiver: &Mutex<Receiver<Task>>) {
    loop {
        // Whoever waits for a task holds the lock; the other thread is reading or waits behind it.
        let task = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        task(db, shared);
    }
}

fn run<T>(
    db: &Connection,
    shared: &Shared,
    verb: impl FnOnce(&mut Tx<'_>) -> Result<T>,
) -> Result<T> {
    // One snapshot for all statements of the verb. It takes no lock that a writer waits for.
    db.prepare_cached("BEGIN DEFERRED")?.execute(())?;
    let answer = unless_it_panics(|| verb(&mut Tx::new(db, shared)));
    let ended = db.prepare_cached("COMMIT").and_then(|mut commit| commit.execute(()));
    // Whatever went wrong, the next read begins a transaction of its own.
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK")?;
    }
    ended?;
    answer
}
