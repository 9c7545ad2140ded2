//! git's objects: blobs and trees, and the ids that follow from their contents.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::bytes::Bytes;

/// How much of a file is in memory at once.
const BUFFER: usize = 256 * 1024;

/// git's modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    #[serde(rename = "100644")]
    File,
    #[serde(rename = "100755")]
    Executable,
    #[serde(rename = "120000")]
    Symlink,
    #[serde(rename = "160000")]
    Commit,
    #[serde(rename = "40000")]
    Directory,
}

impl Mode {
    fn digits(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Commit => "160000",
            Self::Directory => "40000",
        }
    }
}

/// A line of a tree: what a task returns to the directory above.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) mode: Mode,
    pub(crate) name: Bytes,
    /// 40 hexadecimal digits.
    pub(crate) id: String,
}

impl Entry {
    /// The entry of a file or symbolic link. Reads all of it.
    pub(crate) fn of_file(path: &Bytes) -> io::Result<Self> {
        let (name, path) = (path.name(), path.path());
        let metadata = path.symlink_metadata()?;
        let (mode, id) = if metadata.is_symlink() {
            (Mode::Symlink, id("blob", path.read_link()?.as_os_str().as_bytes()))
        } else if metadata.permissions().mode() & 0o100 != 0 {
            (Mode::Executable, blob(path)?)
        } else {
            (Mode::File, blob(path)?)
        };
        Ok(Self { mode, name, id })
    }

    /// The entry of a directory with these entries in it; none if it is empty.
    pub(crate) fn of_directory(path: &Bytes, mut entries: Vec<Self>) -> Option<Self> {
        if entries.is_empty() {
            return None;
        }
        entries.sort_by(|a, b| a.sort_key().cmp(b.sort_key()));
        let mut tree = Vec::new();
        for entry in entries {
            tree.extend_from_slice(entry.mode.digits().as_bytes());
            tree.push(b' ');
            tree.extend_from_slice(&entry.name.0);
            tree.push(0);
            tree.extend(digest(&entry.id));
        }
        Some(Self { mode: Mode::Directory, name: path.name(), id: id("tree", &tree) })
    }

    /// git sorts a directory as if its name ended in a slash.
    fn sort_key(&self) -> impl Iterator<Item = &u8> {
        let slash = (self.mode == Mode::Directory).then_some(&b'/');
        self.name.0.iter().chain(slash)
    }
}

/// The id of the tree with nothing in it.
pub(crate) fn empty_tree() -> String {
    id("tree", b"")
}

fn id(kind: &str, contents: &[u8]) -> String {
    let mut hash = begin(kind, contents.len() as u64);
    hash.update(contents);
    hex(hash)
}

/// The id of a file's contents, however large it is.
fn blob(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let (mut hash, mut read) = (begin("blob", size), 0);
    let mut buffer = vec![0; BUFFER.min(size as usize + 1)];
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            break;
        }
        read += count as u64;
        hash.update(&buffer[..count]);
    }
    if read == size { Ok(hex(hash)) } else { Err(io::Error::other("it changed while it was read")) }
}

fn begin(kind: &str, size: u64) -> Sha1 {
    Sha1::new_with_prefix(format!("{kind} {size}\0"))
}

fn hex(hash: Sha1) -> String {
    hash.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The bytes of an id.
fn digest(id: &str) -> impl Iterator<Item = u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
    id.as_bytes().chunks(2).map(move |pair| pair.iter().fold(0, |byte, c| byte << 4 | digit(*c)))
}
