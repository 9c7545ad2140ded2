//! The files of a store: whose they are, and whether they are still where they were.
//!
//! A database holds what people pass to their tasks, so it is its owner's alone unless the URL says otherwise.
//! SQLite gives its two files beside it the same mode, and so do we with the workers' directory. A file that is
//! there keeps the mode that somebody has given it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::options::Options;

/// Creates the database's file, empty, with the mode that the options ask for; not where there is one.
pub(super) fn create(options: &Options) -> io::Result<()> {
    if !options.create || options.path.exists() {
        return Ok(());
    }
    let mut open = OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, options.file_mode);
    match open.open(&options.path) {
        Ok(file) => set_mode(&file, options.file_mode),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // SQLite says it better.
        Err(_) => Ok(()),
    }
}

/// Opens a file beside the database for appending, or creates it with the database's mode.
pub(super) fn append(path: &Path, database: &Path) -> io::Result<File> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let mode = mode_of(database);
    let mut open = OpenOptions::new();
    open.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, mode);
    let file = open.open(path)?;
    set_mode(&file, mode)?;
    Ok(file)
}

/// Creates a directory beside the database, in which those may look and write who may read and write it.
pub(super) fn directory(path: &Path, database: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    // Whoever may read a directory's list must also be allowed to go into it.
    let mode = mode_of(database);
    let mode = mode | (mode & 0o444) >> 2;
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    match builder.create(path) {
        Ok(()) => set_mode(&File::open(path)?, mode),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Exactly this mode: the process's mask takes bits away when a file is created.
#[cfg_attr(not(unix), expect(clippy::unnecessary_wraps, reason = "there are no modes to set"))]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    #[cfg(not(unix))]
    let _ = (file, mode);
    Ok(())
}

fn mode_of(database: &Path) -> u32 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(database).map_or(0o600, |file| file.permissions().mode() & 0o666)
    }
    #[cfg(not(unix))]
    {
        let _ = database;
        0o600
    }
}

/// Which file the store was opened on.
#[derive(Debug)]
pub(super) struct Opened {
    path: PathBuf,
    file: Option<Identity>,
}

type Identity = (u64, u64);

impl Opened {
    /// The file that is at the path now. It must be open already.
    pub(super) fn at(path: PathBuf) -> Self {
        let file = identity(&path).ok().flatten();
        Self { path, file }
    }

    /// Whether the path leads elsewhere by now: what is written into the open file is then lost.
    pub(super) fn is_gone(&self) -> bool {
        match identity(&self.path) {
            Ok(now) => now != self.file,
            // Any other error may pass.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

#[cfg_attr(
    not(unix),
    expect(clippy::unnecessary_wraps, reason = "an open file cannot be replaced there")
)]
fn identity(path: &Path) -> io::Result<Option<Identity>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let file = std::fs::metadata(path)?;
        Ok(Some((file.dev(), file.ino())))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(None)
    }
}
