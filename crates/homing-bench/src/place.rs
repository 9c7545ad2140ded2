//! Where the stores of a bench lie: a fresh one for every run, gone when the run is.
//!
//! The file that `--store` names is never opened: each run has a sibling of its own, `PATH.run1`,
//! `PATH.run2` and so on. Only what was created here is ever removed.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Result;

/// What a SQLite store leaves beside its file.
const BESIDE: [&str; 3] = ["-wal", "-shm", ".workers"];

/// What `--store` names.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    url: String,
    files: Option<Files>,
}

/// Where the files of a SQLite store go.
#[derive(Debug, Clone)]
struct Files {
    prefix: PathBuf,
    /// The options, with their question mark.
    query: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(url: &str) -> std::result::Result<Self, String> {
        let (address, query) = match url.find('?') {
            Some(at) => url.split_at(at),
            None => (url, ""),
        };
        let files = match address.split_once(':') {
            Some(("memory", "")) => None,
            Some(("sqlite", path)) => {
                let unnamed = || format!("homing-bench-{}.db", std::process::id());
                let prefix = match path {
                    "" => std::env::temp_dir().join(unnamed()),
                    path => PathBuf::from(path),
                };
                Some(Files { prefix, query: query.to_owned() })
            }
            _ => {
                return Err(format!(
                    "`{url}` names no store: give `memory:`, `sqlite:PATH`, or `sqlite:` for a file \
                     in the directory for temporary files"
                ));
            }
        };
        Ok(Self { url: url.to_owned(), files })
    }
}

impl Place {
    /// What `--store` said.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether the store is a file that several processes can share.
    pub(crate) fn is_file(&self) -> bool {
        self.files.is_some()
    }

    /// Refuses a store that lives and dies with its process.
    pub(crate) fn require_file(&self, why: &str) -> Result<()> {
        if self.is_file() {
            return Ok(());
        }
        Err(format!("`{}` will not do: {why}; give `sqlite:PATH`", self.url).into())
    }

    /// Whether a commit waits for the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.files.as_ref().is_some_and(|files| !files.query.contains("synchronous=normal"))
    }

    /// A store that nobody has used.
    pub(crate) fn fresh(&self) -> Result<Fresh> {
        let Some(files) = &self.files else {
            return Ok(Fresh { url: self.url.clone(), path: None });
        };
        for number in 1_u32.. {
            let path = with(&files.prefix, &format!(".run{number}"));
            if BESIDE.iter().any(|end| with(&path, end).exists()) {
                continue;
            }
            match File::create_new(&path) {
                Ok(_) => {
                    let url = format!("sqlite:{}{}", path.display(), files.query);
                    return Ok(Fresh { url, path: Some(path) });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(format!("cannot create {}: {error}", path.display()).into());
                }
            }
        }
        Err("every name for a fresh store is taken".into())
    }
}

/// A fresh store. Dropped, its files are removed.
#[derive(Debug)]
pub(crate) struct Fresh {
    url: String,
    path: Option<PathBuf>,
}

impl Fresh {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its file, for those who go around homing.
    pub(crate) fn path(&self) -> Result<&Path> {
        self.path.as_deref().ok_or_else(|| format!("`{}` has no file", self.url).into())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        // What cannot be removed is left: there is nobody to tell.
        let _ = std::fs::remove_file(path);
        for end in BESIDE {
            let beside = with(path, end);
            let _ = if beside.is_dir() {
                std::fs::remove_dir_all(beside)
            } else {
                std::fs::remove_file(beside)
            };
        }
    }
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_store_is_refused() {
        for url in ["", "sqlite", "mongo:x", "memory:x", "/tmp/x"] {
            assert!(Place::from_str(url).unwrap_err().contains("names no store"), "{url}");
        }
    }

    #[test]
    fn a_run_takes_no_file_that_exists_and_leaves_none_of_its_own() {
        let base = std::env::temp_dir().join(format!("homing-bench-test-{}", std::process::id()));
        let taken = with(&base, ".run1");
        std::fs::write(&taken, "mine").unwrap();
        let place: Place = format!("sqlite:{}?synchronous=normal", base.display()).parse().unwrap();
        assert!(!place.is_full());
        let fresh = place.fresh().unwrap();
        assert_eq!(fresh.path().unwrap(), with(&base, ".run2"));
        assert!(fresh.url().ends_with(".run2?synchronous=normal"));
        std::fs::create_dir(with(fresh.path().unwrap(), ".workers")).unwrap();
        drop(fresh);
        assert!(!with(&base, ".run2").exists() && !with(&base, ".run2.workers").exists());
        assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
        std::fs::remove_file(taken).unwrap();
    }
}
