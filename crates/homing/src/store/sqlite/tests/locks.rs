//! Who lives, and who hears of what another process does.

use super::*;

#[tokio::test]
async fn a_worker_lives_as_long_as_its_lock_is_held() {
    let directory = Directory::new();
    let (first, second) = (directory.store().await, directory.store().await);
    let job = new_job("a");
    first.submit(vec![job.clone()]).await.unwrap();
    let mut peer = TestWorker::begin(&first).await;
    let worker = peer.worker;
    assert_eq!(peer.say(Vec::new(), 1).await.claimed.len(), 1);
    let file = directory.0.join(format!("x.db.workers/{worker}.lock"));
    assert!(file.exists());

    second.sweep(5).await.unwrap();
    assert_eq!(second.workers().await.unwrap().len(), 1, "alive, whatever the lease says");
    drop(first);
    // The next look may be up to 100 ms away.
    let buried = async {
        while !second.workers().await.unwrap().is_empty() {
            second.sweep(5).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), buried).await.unwrap();
    let task = second.task(job.id.root()).await.unwrap().unwrap();
    assert_eq!((task.state, task.crashes, task.worker), (State::Pending, 1, None));
    assert!(!file.exists());
}

#[tokio::test]
async fn the_first_look_after_opening_finds_the_dead() {
    let directory = Directory::new();
    let first = directory.store().await;
    first.submit(vec![new_job("a")]).await.unwrap();
    let mut dead = TestWorker::begin(&first).await;
    dead.say(Vec::new(), 1).await;
    drop(first);
    let second = directory.store().await;
    let mut peer = TestWorker::begin(&second).await;
    assert_eq!(peer.say(Vec::new(), 1).await.claimed.len(), 1);
}

#[tokio::test]
async fn an_idle_store_hears_of_a_death() {
    let directory = Directory::new();
    let (first, second) = (directory.store().await, directory.store().await);
    let dead = TestWorker::begin(&first).await.worker;
    let mut peer = TestWorker::begin(&second).await;
    let mut ready = second.hints().ready();
    let mut noticed = second.hints().noticed();
    // What the beginnings above made each other hear of is heard before the death.
    while tokio::time::timeout(Duration::from_millis(300), noticed.changed()).await.is_ok() {}
    ready.mark_unchanged();
    drop(first);
    let heard = async {
        noticed.changed().await.unwrap();
        ready.changed().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
    // Whoever speaks next gives it up at once, however short ago it last looked.
    peer.say(Vec::new(), 1).await;
    let workers = second.workers().await.unwrap();
    assert!(workers.iter().all(|worker| worker.id != dead), "{workers:?}");
}

#[tokio::test]
async fn a_worker_that_leaves_is_not_a_crash() {
    let directory = Directory::new();
    let store = directory.store().await;
    let job = new_job("a");
    store.submit(vec![job.clone()]).await.unwrap();
    let mut peer = TestWorker::begin(&store).await;
    peer.say(Vec::new(), 1).await;
    store.leave(peer.worker).await.unwrap();
    let task = store.task(job.id.root()).await.unwrap().unwrap();
    assert_eq!((task.state, task.crashes), (State::Pending, 0));
    assert_eq!(std::fs::read_dir(directory.0.join("x.db.workers")).unwrap().count(), 0);
    assert!(peer.say(Vec::new(), 1).await.claimed.is_empty(), "a worker that left claims nothing");
    let again = Heartbeat { first: false, ..heartbeat(peer.worker) };
    assert!(!store.heartbeat(again).await.unwrap());
}

#[tokio::test]
async fn files_that_dead_processes_left_behind_are_removed() {
    let directory = Directory::new();
    let workers = directory.0.join("x.db.workers");
    std::fs::create_dir_all(&workers).unwrap();
    let stray = workers.join(format!("{}.lock", WorkerId::fresh()));
    let foreign = workers.join("notes.txt");
    std::fs::write(&stray, "").unwrap();
    std::fs::write(&foreign, "").unwrap();
    let store = directory.store().await;
    store.submit(vec![new_job("a")]).await.unwrap();
    assert!(!stray.exists() && foreign.exists());
}

#[tokio::test]
async fn the_same_database_by_another_path_has_the_same_locks() {
    let directory = Directory::new();
    let first = directory.store().await;
    TestWorker::begin(&first).await;
    let detour = directory.0.join("../").join(directory.0.file_name().unwrap()).join("x.db");
    let second = Sqlite::with(Options::at(detour), Clock::System).await.unwrap();
    second.sweep(5).await.unwrap();
    assert_eq!(second.workers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn another_process_is_heard_of() {
    let directory = Directory::new();
    let (first, second) = (directory.store().await, directory.store().await);
    let mut changed = second.hints().changed();
    let mut ready = second.hints().ready();
    first.submit(vec![new_job("a")]).await.unwrap();
    let heard = async {
        changed.changed().await.unwrap();
        ready.changed().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
}

#[tokio::test]
async fn a_lock_held_elsewhere_makes_a_write_wait_and_then_fail() {
    let directory = Directory::new();
    let options = Options { busy_timeout: Duration::from_millis(60), ..directory.options() };
    let store = Sqlite::with(options, Clock::System).await.unwrap();
    let other = directory.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.submit(vec![new_job("a")]).await.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }) && error.is_transient(), "{error}");
    assert!(store.task(new_job("a").id.root()).await.unwrap().is_none(), "reads go on");
    other.execute_batch("ROLLBACK").unwrap();
    store.submit(vec![new_job("a")]).await.unwrap();
}
