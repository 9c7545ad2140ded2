//! The commit that a repository has checked out: git records it in place of the repository's files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Symbolic references followed; git follows as many.
const DEPTH: usize = 5;

/// What a directory is to git.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Repository {
    /// Its `.git` is no repository.
    None,
    /// A repository without a commit.
    Unborn,
    /// A repository, and the id of its commit.
    Commit(String),
}

/// Looks into the `.git` of a directory: a repository, or a file that names one.
pub(crate) fn repository(directory: &Path) -> io::Result<Repository> {
    let named = directory.join(".git");
    let own = match text(&named)? {
        Some(link) => match link.strip_prefix("gitdir: ") {
            Some(path) => directory.join(path),
            None => return Ok(Repository::None),
        },
        None => named,
    };
    // A second work tree has a HEAD of its own, and all else in the first.
    let shared = match text(&own.join("commondir"))? {
        Some(path) => own.join(path),
        None => own.clone(),
    };
    let places = [own, shared];
    let complete = ["objects", "refs"].iter().all(|name| places[1].join(name).is_dir());
    let Some(mut target) = text(&places[0].join("HEAD"))?.filter(|_| complete) else {
        return Ok(Repository::None);
    };
    for _ in 0..DEPTH {
        let Some(name) = target.strip_prefix("ref: ") else {
            return Ok(Repository::Commit(target));
        };
        match reference(&places, name.trim_start())? {
            Some(next) => target = next,
            None => break,
        }
    }
    Ok(Repository::Unborn)
}

/// What a reference points at: from a file of its own, or from the packed ones.
fn reference(places: &[PathBuf; 2], name: &str) -> io::Result<Option<String>> {
    for place in places {
        if let Some(target) = text(&place.join(name))? {
            return Ok(Some(target));
        }
    }
    let packed = text(&places[1].join("packed-refs"))?.unwrap_or_default();
    let line = packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' '));
    Ok(line.map(str::to_owned))
}

/// The text of a file without its last line feed; none if there is no such file.
fn text(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}
