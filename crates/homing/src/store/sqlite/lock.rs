//! Who lives: one locked file per worker, in a directory beside the database.
//!
//! The operating system drops a lock when its process dies, whatever the clock does meanwhile and
//! however long the process was suspended. Files are made and removed inside write transactions only,
//! so no two processes do either at once.

use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::files;
use crate::core::id::WorkerId;

/// The locks that this store object holds for its workers.
#[derive(Debug)]
pub(super) struct Locks {
    database: PathBuf,
    directory: PathBuf,
    held: Mutex<HashMap<WorkerId, File>>,
    /// Workers that are gone without having left: a last heartbeat of theirs, on its way still, must not
    /// bring them back.
    gone: Mutex<HashSet<WorkerId>>,
}

impl Locks {
    /// The locks beside a database. The path must be canonical: two processes that reach the same
    /// database by different paths would otherwise take each other for dead.
    pub(super) fn beside(database: &Path) -> Self {
        let mut directory = database.as_os_str().to_owned();
        directory.push(".workers");
        Self {
            database: database.to_owned(),
            directory: directory.into(),
            held: Mutex::default(),
            gone: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<WorkerId, File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, worker: WorkerId) -> PathBuf {
        self.directory.join(format!("{worker}.lock"))
    }

    /// Shows that a worker lives, from now until [`release`](Self::release) or the end of the process.
    pub(super) fn take(&self, worker: WorkerId) -> io::Result<()> {
        if self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(&worker) {
            return Ok(());
        }
        let mut held = self.held();
        if held.contains_key(&worker) {
            return Ok(());
        }
        files::directory(&self.directory, &self.database)?;
        let file = files::append(&self.file(worker), &self.database)?;
        match file.try_lock() {
            Ok(()) => {
                held.insert(worker, file);
                Ok(())
            }
            // Another store object answers for this worker.
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Lets go of a worker's lock; its file stays, as it does when a process dies.
    pub(super) fn release(&self, worker: WorkerId) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(worker);
        self.held().remove(&worker);
    }

    /// Lets go of every lock.
    pub(super) fn release_all(&self) {
        self.held().clear();
    }

    /// Lets go of a worker's lock and removes its file.
    pub(super) fn remove(&self, worker: WorkerId) {
        let file = self.held().remove(&worker);
        // A file left behind is harmless: it is not locked.
        let _ = std::fs::remove_file(self.file(worker));
        drop(file);
    }

    /// Whether nobody holds a worker's lock.
    pub(super) fn is_dead(&self, worker: WorkerId) -> io::Result<bool> {
        if self.held().contains_key(&worker) {
            return Ok(false);
        }
        let file = match File::open(self.file(worker)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        // Shared, so that two who look at once do not take each other for the worker.
        match file.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Removes the files of workers that nobody holds and the database does not know.
    pub(super) fn tidy(&self, known: impl Fn(WorkerId) -> bool) -> io::Result<()> {
        let Ok(files) = std::fs::read_dir(&self.directory) else { return Ok(()) };
        for file in files {
            let path = file?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let id = stem.and_then(|stem| uuid::Uuid::parse_str(stem).ok());
            let Some(worker) = id.map(|id| WorkerId::from_bytes(*id.as_bytes())) else { continue };
            if !known(worker) && self.is_dead(worker)? {
                self.remove(worker);
            }
        }
        Ok(())
    }
}
