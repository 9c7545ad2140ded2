//! The tasks: `directory` and `file`. Both return the line they are in the tree of the directory above.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homing::{JoinSet, RetryResult, State, step_blocking, task};

use crate::bytes::Bytes;
use crate::listing::{Kind, list};
use crate::object::{Entry, Mode};
use crate::repository::{Repository, repository};

/// Counts the files hashed by this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hashed(Arc<AtomicU64>);

impl Hashed {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The tree of a directory; none if it holds no file.
///
/// Everything in it is spawned before anything is waited for, one set for each page of the listing, so
/// no wait returns more than a page, however much is in the directory.
#[task(retries = 2, backoff = "100ms..1s")]
pub(crate) async fn directory(path: Bytes) -> homing::Result<Option<Entry>> {
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let of = path.clone();
        let list = move || list(&of, after.as_ref()).map_err(|error| at(&of, &error));
        let mut listing = step_blocking("list", list).await?;
        if listing.repository
            && !homing::id().is_root()
            && let Some(entry) = commit(&path).await?
        {
            return Ok(Some(entry));
        }
        let mut children = JoinSet::new();
        for (name, kind) in &listing.found {
            let path = path.join(name);
            match kind {
                Kind::Directory => children.spawn(directory(path)).await?,
                Kind::File => children.spawn(file(path)).await?,
            };
        }
        pages.push(children);
        if !listing.more {
            break;
        }
        after = listing.found.pop().map(|(name, _)| name);
    }
    let mut entries = Vec::new();
    for mut children in pages {
        entries.extend(children.join_all().await?.into_iter().flatten());
    }
    Ok(tokio::task::spawn_blocking(move || Entry::of_directory(&path, entries)).await?)
}

/// The blob of a file or symbolic link. It needs no step: what it returns is remembered.
#[task(retries = 2, backoff = "100ms..1s")]
pub(crate) async fn file(
    path: Bytes,
    State(hashed): State<Hashed>,
) -> homing::Result<Option<Entry>> {
    let hash = move || {
        let entry = Entry::of_file(&path).map_err(|error| at(&path, &error))?;
        hashed.0.fetch_add(1, Ordering::Relaxed);
        Ok(Some(entry))
    };
    tokio::task::spawn_blocking(hash).await?
}

/// The entry of a repository within the directory; none if its `.git` is no repository.
async fn commit(path: &Bytes) -> homing::Result<Option<Entry>> {
    let of = path.clone();
    let look = move || match repository(of.path()).map_err(|error| at(&of, &error))? {
        Repository::Commit(id) => Ok(Some(id)),
        Repository::None => Ok(None),
        Repository::Unborn => {
            let error = homing::Error::msg(format!("{of}: a repository without a commit"));
            Err(error).fatal()
        }
    };
    let id = step_blocking("commit", look).await?;
    Ok(id.map(|id| Entry { mode: Mode::Commit, name: path.name(), id }))
}

/// An error that names its path. What is gone or forbidden will stay so.
fn at(path: &Bytes, error: &io::Error) -> homing::Error {
    let said = homing::Error::msg(format!("{path}: {error}"));
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => said.fatal(),
        _ => said,
    }
}
