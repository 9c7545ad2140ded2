//! Opening a database: whose it is, which version it has, and the numbered steps to the newest.
//!
//! Steps run under the write lock and look at the version again once they have it, so that any number
//! of processes may open a new or old database at once. A file of another application is not touched.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::{Fault, Result};
use super::options::Options;
use crate::clock::monotonic;
use crate::store::Error;

/// "homi", in the header of every database that is ours.
const APPLICATION: i64 = 0x686f_6d69;
/// How long the WAL grows before a commit moves it into the database, in bytes, and how much of it is
/// kept as a file after that.
pub(super) const WAL: u64 = 16 * 1024 * 1024;
/// The size of a new database's pages, in bytes.
const PAGE: i64 = 8192;
/// The steps: the n-th leads from version n to n + 1.
const STEPS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
];
/// The newest version.
pub(super) const NEWEST: i64 = STEPS.len() as i64;

/// Opens the connection that writes, and brings the database to the newest version.
pub(super) fn writer(options: &Options) -> std::result::Result<Connection, Error> {
    let path = options.path.display().to_string();
    let told = |fault: Fault| fault.told(&path);
    if !options.migrate && !options.path.exists() {
        return Err(Error::Missing { path });
    }
    if !options.create && !options.path.exists() {
        let reason = "there is no such file, and the URL says `create=false`".to_owned();
        return Err(Error::NotAStore { path, reason });
    }
    super::files::create(options).map_err(|error| told(Fault::from(error)))?;
    let db = connect(options).map_err(told)?;
    if is_read_only(options).map_err(told)? {
        return Err(Fault::read_only(path));
    }
    let found = check(&db, &path)?;
    if !options.migrate {
        as_it_is(found, &path)?;
    }
    retry(options.busy_timeout, || tune(&db, options)).map_err(told)?;
    // The busy timeout below is the writer thread's own, with shorter pauses.
    if options.migrate {
        step(&db).map_err(told)?;
    }
    check(&db, &path)?;
    db.busy_timeout(Duration::ZERO).map_err(Fault::from).map_err(told)?;
    Ok(db)
}

/// The version of the database that is there; `None` if there is none. Changes nothing.
pub(super) fn version(options: &Options) -> std::result::Result<Option<i64>, Error> {
    let path = options.path.display().to_string();
    if !options.path.exists() {
        return Ok(None);
    }
    let db = connect(&Options { create: false, ..options.clone() });
    let (application, version, tables) =
        db.and_then(|db| header_at_once(&db)).map_err(|fault| fault.told(&path))?;
    match application {
        APPLICATION => Ok(Some(version)),
        0 if tables == 0 => Ok(None),
        _ => Err(foreign(path)),
    }
}

/// Refuses a database that would have to be migrated first.
fn as_it_is(found: Option<i64>, path: &str) -> std::result::Result<(), Error> {
    match found {
        Some(NEWEST) => Ok(()),
        Some(found) => {
            let reason = "it was opened as it is".to_owned();
            Err(Error::OlderSchema { found, known: NEWEST, reason })
        }
        None => Err(Error::Missing { path: path.to_owned() }),
    }
}

/// Opens a connection that reads.
pub(super) fn reader(options: &Options) -> Result<Connection> {
    let db = connect(options)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

fn connect(options: &Options) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, options.create);
    let db = Connection::open_with_flags(&options.path, flags)?;
    db.busy_timeout(options.busy_timeout)?;
    db.set_prepared_statement_cache_capacity(256);
    Ok(db)
}

/// Whether the database takes no writes. Asked by a transaction that writes nothing, as the function of SQLite's
/// is called differently by the versions of rusqlite; on a connection of its own, as a transaction would fix the
/// size of a new database's pages. Another's lock, and a file that is no database, are told of later.
fn is_read_only(options: &Options) -> Result<bool> {
    let db = connect(&Options { busy_timeout: Duration::ZERO, ..options.clone() })?;
    let tried = db.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(Fault::from);
    Ok(tried.is_err_and(|fault| fault.code() == Some(rusqlite::ErrorCode::ReadOnly)))
}

/// Settings chosen by measurement, 100,000 root jobs and 100,000 children of one parent, full sync:
/// pages of 8 KiB are 5 to 10 % faster than 4 KiB, of 16 KiB hardly more and double what a lone commit
/// writes; a WAL of 16 MiB is as fast as one of 64 and a tenth faster on fan-outs than SQLite's 4;
/// memory-mapped reads gain nothing.
fn tune(db: &Connection, options: &Options) -> Result<()> {
    db.pragma_update(None, "page_size", PAGE)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", if options.full { "full" } else { "normal" })?;
    db.pragma_update(None, "cache_size", -1024 * i64::from(options.cache_mib))?;
    db.pragma_update(None, "temp_store", "memory")?;
    db.pragma_update(None, "wal_autocheckpoint", WAL as i64 / PAGE)?;
    db.pragma_update(None, "journal_size_limit", WAL as i64)?;
    Ok(())
}

/// Switching a new database to WAL reports busy at once when another process does the same.
fn retry(patience: Duration, mut what: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = monotonic() + patience;
    loop {
        match what() {
            Err(fault) if fault.is_busy() && monotonic() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            done => return done,
        }
    }
}

fn header(db: &Connection) -> Result<(i64, i64, i64)> {
    let application = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables = db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    Ok((application, version, tables))
}

/// The header as one state of the file: read piece by piece, one half could be from before another
/// process's migration and one from after it, and the file look like somebody else's.
fn header_at_once(db: &Connection) -> Result<(i64, i64, i64)> {
    let snapshot = db.unchecked_transaction()?;
    let header = header(&snapshot)?;
    snapshot.commit()?;
    Ok(header)
}

/// Refuses a file of another application and one of a newer version. An empty file is welcome: it has no
/// version.
fn check(db: &Connection, path: &str) -> std::result::Result<Option<i64>, Error> {
    let (application, found, tables) = header_at_once(db).map_err(|fault| fault.told(path))?;
    match application {
        APPLICATION if found > NEWEST => Err(Error::NewerSchema { found, known: NEWEST }),
        APPLICATION => Ok(Some(found)),
        0 if tables == 0 => Ok(None),
        _ => Err(foreign(path.to_owned())),
    }
}

fn foreign(path: String) -> Error {
    Error::NotAStore { path, reason: "it is a database of another application".to_owned() }
}

fn step(db: &Connection) -> Result<()> {
    let (application, version, _) = header_at_once(db)?;
    if application == APPLICATION && version >= NEWEST {
        return Ok(());
    }
    db.execute_batch("BEGIN IMMEDIATE")?;
    let done = step_within(db);
    db.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

fn step_within(db: &Connection) -> Result<()> {
    let (application, version, tables) = header(db)?;
    if application != APPLICATION && tables > 0 {
        return Ok(());
    }
    for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        db.execute_batch(step)?;
    }
    if version < NEWEST {
        db.pragma_update(None, "user_version", NEWEST)?;
        db.pragma_update(None, "application_id", APPLICATION)?;
    }
    Ok(())
}
