//! Opening, and what a disk may do.

use super::*;
use crate::store::Migration;

#[test]
fn many_processes_may_create_it_at_once() {
    let directory = Directory::new();
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let options = directory.options();
            std::thread::spawn(move || migrate::writer(&options).map(drop))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    let version: i64 =
        directory.other().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, migrate::NEWEST);
}

#[tokio::test]
async fn migrating_says_what_it_did() {
    let directory = Directory::new();
    let url = format!("sqlite:{}", directory.options().path.display());
    let first = crate::Homing::migrate(&url).await.unwrap();
    let newest = migrate::NEWEST;
    assert_eq!(first, Migration { from: 0, to: newest });
    assert_eq!(crate::Homing::migrate(&url).await.unwrap(), Migration { from: newest, to: newest });
    directory.other().pragma_update(None, "user_version", 99).unwrap();
    let error = crate::Homing::migrate(&url).await.unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
    let none = crate::Homing::migrate("memory:").await.unwrap();
    assert_eq!(none, Migration { from: 0, to: 0 });
}

/// Forms of other libraries, which would mean something else here, or nothing.
#[tokio::test]
async fn urls_of_other_libraries_are_refused_with_the_right_form() {
    for (url, form) in [
        ("sqlite://jobs.db", "write `sqlite:jobs.db` for a path in the working directory"),
        ("sqlite://jobs.db?mode=rwc", "write `sqlite:jobs.db` for a path in the working directory"),
        (
            "sqlite:///tmp/jobs.db",
            "write one slash for a path from the root, as in `sqlite:/var/lib/jobs.db`",
        ),
        ("sqlite::memory:", "the store in memory is `memory:`"),
        ("sqlite://:memory:", "`sqlite:jobs.db`"),
        ("sqlite:file:///jobs.db", "this is a URL"),
    ] {
        let error = crate::Homing::open(url).await.unwrap_err().to_string();
        assert!(error.contains(form), "{url}: {error}");
    }
    assert!(!std::path::Path::new("/jobs.db").exists());
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let directory = Directory::new();
    drop(directory.store().await);
    directory.other().pragma_update(None, "user_version", 99).unwrap();
    let error = Sqlite::with(directory.options(), Clock::System).await.unwrap_err();
    assert!(matches!(error, Error::NewerSchema { found: 99, known: migrate::NEWEST }), "{error}");
}

#[tokio::test]
async fn a_file_of_another_kind_is_left_alone() {
    let directory = Directory::new();
    let path = directory.options().path;
    std::fs::write(&path, "Dear diary, today I did not open a database at all.".repeat(100))
        .unwrap();
    let error = Sqlite::with(directory.options(), Clock::System).await.unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");

    std::fs::remove_file(&path).unwrap();
    directory.other().execute_batch("CREATE TABLE diary (day TEXT)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Sqlite::with(directory.options(), Clock::System).await.unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_missing_file_is_created_only_if_that_is_wanted() {
    let directory = Directory::new();
    let options = Options { create: false, ..directory.options() };
    let error = Sqlite::with(options.clone(), Clock::System).await.unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    drop(directory.store().await);
    Sqlite::with(options, Clock::System).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let directory = Directory::new();
    let id = new_job("a").id;
    directory.store().await.submit(vec![new_job("a")]).await.unwrap();
    let store = directory.store().await;
    assert_eq!(store.task(id.root()).await.unwrap().unwrap().state, State::Pending);
    assert_eq!(store.submit(vec![new_job("a")]).await.unwrap(), [Submitted::Existing(id)]);
}

#[tokio::test]
async fn options_are_read_and_unknown_ones_refused() {
    let of = |text: &str| Options::of(&Url::parse(text).unwrap());
    let options =
        of("sqlite:a/b.db?synchronous=normal&busy_timeout=250ms&create=false&cache_mib=8");
    let options = options.unwrap();
    assert_eq!(options.path, Path::new("a/b.db"));
    assert!(!options.full && !options.create && options.cache_mib == 8);
    assert_eq!(options.busy_timeout, Duration::from_millis(250));
    assert!(of("sqlite:x").unwrap().full);
    assert!(matches!(of("sqlite:"), Err(OpenError::UnknownStore { .. })));
    let unknown = of("sqlite:x?sync=full").unwrap_err().to_string();
    assert!(unknown.contains("`sync`") && unknown.contains("synchronous=full|normal"), "{unknown}");
    for wrong in ["synchronous=off", "busy_timeout=5", "busy_timeout=2h", "create=1", "cache_mib=0"]
    {
        let error = of(&format!("sqlite:x?{wrong}")).unwrap_err();
        assert!(matches!(error, OpenError::InvalidOption { .. }), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_nothing_else() {
    let directory = Directory::new();
    let store = directory.store().await;
    store.submit(vec![new_job("before")]).await.unwrap();
    let pages = |limit: i64| {
        store.write("test", move |tx| {
            Ok(tx.db.query_row(&format!("PRAGMA max_page_count = {limit}"), (), |_| Ok(()))?)
        })
    };
    pages(1).await.unwrap();
    let mut large = new_job("large");
    large.task.arguments = "x".repeat(1 << 20);
    let error = store.submit(vec![large.clone()]).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }) && error.is_transient(), "{error}");
    assert!(store.task(large.id.root()).await.unwrap().is_none());
    store.submit(vec![new_job("small")]).await.unwrap();
    pages(1 << 30).await.unwrap();
    assert_eq!(store.submit(vec![large.clone()]).await.unwrap(), [Submitted::New(large.id)]);
}

#[tokio::test]
async fn a_store_that_turns_read_only_says_so() {
    let directory = Directory::new();
    let store = directory.store().await;
    // The user that runs the tests may be allowed to write anything, whatever a file's mode.
    let read_only = store.write("test", |tx| Ok(tx.db.pragma_update(None, "query_only", true)?));
    read_only.await.unwrap();
    let error = store.submit(vec![new_job("a")]).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }) && error.is_transient(), "{error}");
    assert!(store.jobs(JobFilter::default()).await.unwrap().is_empty(), "reads go on");
}

#[tokio::test]
async fn a_long_read_neither_holds_up_writes_nor_leaves_a_large_wal() {
    let directory = Directory::new();
    let store = directory.store().await;
    store.submit(vec![new_job("before")]).await.unwrap();
    let other = directory.other();
    other.execute_batch("BEGIN").unwrap();
    let count = |db: &Connection| -> i64 {
        db.query_row("SELECT count(*) FROM jobs", (), |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&other), 1);
    for n in 0..6 {
        let mut job = new_job(&n.to_string());
        job.task.arguments = "x".repeat(8 << 20);
        store.submit(vec![job]).await.unwrap();
    }
    let wal = || std::fs::metadata(&store.shared.wal).unwrap().len();
    assert!(wal() > 2 * migrate::WAL, "the read holds back the checkpoint");
    assert_eq!(count(&other), 1, "a read is one transaction");
    other.execute_batch("COMMIT").unwrap();
    let cut = async {
        while wal() > migrate::WAL {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), cut).await.unwrap();
}

#[cfg(unix)]
mod modes {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &std::path::Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn beside(database: &std::path::Path, ending: &str) -> PathBuf {
        let mut path = database.as_os_str().to_owned();
        path.push(ending);
        path.into()
    }

    /// The modes of the database, its log, its index, the directory and a file of a worker.
    async fn modes(options: &Options) -> [u32; 5] {
        let store = Sqlite::with(options.clone(), Clock::System).await.unwrap();
        let worker = WorkerId::fresh();
        assert!(store.heartbeat(heartbeat(worker)).await.unwrap());
        let path = &options.path;
        let workers = beside(path, ".workers");
        let lock = workers.join(format!("{worker}.lock"));
        let files = [path.clone(), beside(path, "-wal"), beside(path, "-shm"), workers, lock];
        files.map(|file| mode(&file))
    }

    #[tokio::test]
    async fn files_are_their_owners_alone_unless_the_url_says_otherwise() {
        let directory = Directory::new();
        let options = directory.options();
        assert_eq!(modes(&options).await, [0o600, 0o600, 0o600, 0o700, 0o600]);
        let path = options.path.with_file_name("shared.db");
        let text = format!("sqlite:{}?file_mode=0660", path.display());
        let shared = Options::of(&crate::store::url::Url::parse(&text).unwrap()).unwrap();
        assert_eq!(modes(&shared).await, [0o660, 0o660, 0o660, 0o770, 0o660]);
        for wrong in ["640", "0o640", "0755", "0066", "0400", "rw", ""] {
            let text = format!("sqlite:x.db?file_mode={wrong}");
            let error = Options::of(&crate::store::url::Url::parse(&text).unwrap()).unwrap_err();
            assert!(error.to_string().contains("such as `0640`"), "{wrong}: {error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_there_keeps_its_mode() {
        let directory = Directory::new();
        let options = directory.options();
        std::fs::write(&options.path, "").unwrap();
        std::fs::set_permissions(&options.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(modes(&options).await, [0o644, 0o644, 0o644, 0o755, 0o644]);
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_acknowledges_nothing_more() {
        for replace in [false, true] {
            let directory = Directory::new();
            let options = directory.options();
            let store = Sqlite::with(options.clone(), Clock::System).await.unwrap();
            store.submit(vec![new_job("before")]).await.unwrap();
            std::fs::remove_file(&options.path).unwrap();
            if replace {
                let other = options.path.with_file_name("other.db");
                let other = Options { path: other, ..options.clone() };
                drop(Sqlite::with(other.clone(), Clock::System).await.unwrap());
                std::fs::rename(&other.path, &options.path).unwrap();
            }
            let error = store.submit(vec![new_job("after")]).await.unwrap_err();
            assert!(matches!(error, Error::Replaced { .. }) && !error.is_transient(), "{error}");
            let error = store.job(new_job("before").id).await.unwrap_err();
            assert!(matches!(error, Error::Replaced { .. }), "{error}");
        }
    }
}
