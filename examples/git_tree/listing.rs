//! What is in a directory, page by page, so that a step can remember it however much it is.
//!
//! A page begins after the name that ended the page before. Each reads the whole directory and keeps
//! the names it wants: the order in which the operating system lists them need not stay the same, their
//! own order does.

use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::io;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// How much JSON a page may be, at most; a step's result is limited to 1 MiB.
const PAGE: usize = 512 * 1024;

/// A page of a directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// In the order of their names.
    pub(crate) found: Vec<(Bytes, Kind)>,
    /// Whether there are names after these.
    pub(crate) more: bool,
    /// Whether there is a `.git`, which is in no page.
    pub(crate) repository: bool,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A file or a symbolic link.
    File,
    Directory,
}

impl Kind {
    /// None for what git has no mode for.
    fn of(kind: FileType) -> Option<Self> {
        match kind {
            _ if kind.is_dir() => Some(Self::Directory),
            _ if kind.is_file() || kind.is_symlink() => Some(Self::File),
            _ => None,
        }
    }
}

/// The page of a directory after a name.
pub(crate) fn list(directory: &Bytes, after: Option<&Bytes>) -> io::Result<Listing> {
    let mut page = BTreeMap::new();
    let (mut size, mut more, mut repository) = (0, false, false);
    for entry in fs::read_dir(directory.path())? {
        let entry = entry?;
        let name = Bytes::of(entry.file_name());
        if name.0 == b".git" {
            repository = true;
            continue;
        }
        if after.is_some_and(|after| name <= *after) {
            continue;
        }
        let Some(kind) = Kind::of(entry.file_type()?) else { continue };
        size += json(&name);
        page.insert(name, kind);
        while size > PAGE
            && let Some((last, _)) = page.pop_last()
        {
            size -= json(&last);
            more = true;
        }
    }
    Ok(Listing { found: page.into_iter().collect(), more, repository })
}

/// The length of a name as JSON, at most, with what stands around it: a control character takes six
/// bytes, another byte that is no UTF-8 three.
fn json(name: &Bytes) -> usize {
    let byte = |byte: &u8| match byte {
        0..0x20 | 0x7f => 6,
        b'"' | b'\\' => 2,
        b'%' | 0x80.. => 3,
        _ => 1,
    };
    name.0.iter().map(byte).sum::<usize>() + 16
}
