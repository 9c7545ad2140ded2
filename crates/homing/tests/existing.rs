//! Stores as tools open them: what is not there is not made, what is old is not changed.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use homing::{Homing, JobFilter, OpenError, StoreError};
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.path().join("jobs.db").display())
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.0.path()).unwrap().count()
    }

    /// Makes the store look as version 1 left it.
    fn age(&self) {
        let db = rusqlite::Connection::open(self.0.path().join("jobs.db")).unwrap();
        db.execute_batch(include_str!("shared/sqlite_version_1.sql")).unwrap();
    }
}

#[tokio::test]
async fn a_missing_store_is_missing_and_stays_so() {
    let place = Place::new();
    let missing = |error| matches!(error, OpenError::Store(StoreError::Missing { .. }));
    assert!(missing(Homing::open_existing(&place.url()).await.unwrap_err()));
    assert_eq!(Homing::inspect(&place.url()).await.unwrap().version, None);
    assert_eq!(place.files(), 0);
    assert!(missing(Homing::open_existing("memory:").await.unwrap_err()));
    assert_eq!(Homing::inspect("memory:").await.unwrap().version, None);
    for wrong in ["", "nonsense", "memory:x", "mongo:x"] {
        let unknown = |error| matches!(error, OpenError::UnknownStore { .. });
        assert!(unknown(Homing::open_existing(wrong).await.unwrap_err()), "{wrong}");
        assert!(unknown(Homing::inspect(wrong).await.unwrap_err()), "{wrong}");
    }
}

#[tokio::test]
async fn an_empty_file_is_no_store_yet() {
    let place = Place::new();
    std::fs::write(place.0.path().join("jobs.db"), "").unwrap();
    let error = Homing::open_existing(&place.url()).await.unwrap_err();
    assert!(matches!(error, OpenError::Store(StoreError::Missing { .. })), "{error}");
    assert_eq!(Homing::inspect(&place.url()).await.unwrap().version, None);
    assert_eq!(std::fs::read(place.0.path().join("jobs.db")).unwrap(), b"");
}

#[tokio::test]
async fn a_store_is_migrated_when_asked_to() {
    let place = Place::new();
    let migration = Homing::migrate(&place.url()).await.unwrap();
    let seen = Homing::inspect(&place.url()).await.unwrap();
    assert_eq!((migration.from, migration.to), (0, seen.known));
    assert_eq!(seen.version, Some(seen.known));
    assert!(seen.bytes.is_some_and(|bytes| bytes > 0));
    place.age();
    let seen = Homing::inspect(&place.url()).await.unwrap();
    assert_eq!((seen.version, seen.known), (Some(1), migration.to));
    let error = Homing::open_existing(&place.url()).await.unwrap_err();
    assert!(matches!(error, OpenError::Store(StoreError::OlderSchema { found: 1, .. })), "{error}");
    assert_eq!(Homing::inspect(&place.url()).await.unwrap().version, Some(1), "left alone");
    let again = Homing::migrate(&place.url()).await.unwrap();
    assert_eq!((again.from, again.to), (1, migration.to));
    let homing = Homing::open_existing(&place.url()).await.unwrap();
    assert!(homing.jobs(JobFilter::default()).await.unwrap().is_empty());
}

#[homing::task]
async fn fetch() -> homing::Result<()> {
    Ok(())
}

/// Lists by kind and by how a root fell know jobs that were there before the migration that made their indexes.
#[tokio::test]
async fn jobs_from_before_a_migration_are_listed() {
    let place = Place::new();
    let homing = Homing::open(&place.url()).await.unwrap();
    let [open, cancelled] =
        [homing.submit(fetch()).await, homing.submit(fetch()).await].map(|job| job.unwrap().id());
    homing.cancel(cancelled).await.unwrap();
    drop(homing);
    place.age();
    Homing::migrate(&place.url()).await.unwrap();
    let homing = Homing::open_existing(&place.url()).await.unwrap();
    let ids = async |filter| {
        let jobs = homing.jobs(filter).await.unwrap();
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    let (status, kind) = (Some(homing::Status::Cancelled), Some("fetch".to_owned()));
    assert_eq!(ids(JobFilter { status, ..JobFilter::default() }).await, [cancelled]);
    let of_kind = ids(JobFilter { kind, ..JobFilter::default() }).await;
    assert_eq!(of_kind, [cancelled, open]);
}

#[tokio::test]
async fn a_newer_store_is_shown_and_not_opened() {
    let place = Place::new();
    Homing::migrate(&place.url()).await.unwrap();
    let db = rusqlite::Connection::open(place.0.path().join("jobs.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(Homing::inspect(&place.url()).await.unwrap().version, Some(99));
    let error = Homing::open_existing(&place.url()).await.unwrap_err();
    assert!(matches!(error, OpenError::Store(StoreError::NewerSchema { found: 99, .. })));
    Homing::migrate(&place.url()).await.unwrap_err();
}
