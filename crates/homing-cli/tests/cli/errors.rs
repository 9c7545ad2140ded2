//! What goes wrong: it is said, with what to do, the exit code is not 0, and nothing has changed.

use homing::JobId;

use crate::assert_said;
use crate::world::World;

#[tokio::test]
async fn an_unknown_id_is_named() {
    let world = World::idle().await;
    let unknown = JobId::named("unknown").to_string();
    assert_said!(world.run(&["job", &unknown]), @r"
    --- stderr
    error: no task has the id [id]: it was never submitted to this store, or it was pruned
    hint: `jobs` lists the jobs of the store that --store or HOMING_STORE names
    --- exit 3
    ");
    for command in ["why", "log", "cancel", "retry"] {
        let ran = world.run(&[command, &unknown]);
        assert_eq!(ran.code, Some(3), "{command}: {ran:?}");
        assert!(ran.out.is_empty() && ran.err.contains(&unknown), "{command}: {ran:?}");
    }
    let ran = world.run(&["signal", &unknown, "go", "1"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let ran = world.run(&["jobs", "--after", &unknown]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
}

#[tokio::test]
async fn a_wrong_argument_is_named() {
    let world = World::idle().await;
    assert_said!(world.run(&["job", "nonsense"]), @r"
    --- stderr
    error: invalid value 'nonsense' for '<ID>': `nonsense` is not an id: a job's is a UUID, a task's is the job's, a dot and 32 hexadecimal digits; of each the first 4 will do where they are unique

    For more information, try '--help'.
    --- exit 2
    ");
    assert_said!(world.run(&["jobs", "--status", "fine"]), @r"
    --- stderr
    error: invalid value 'fine' for '--status <STATUS>'
      [possible values: in-progress, stalled, completed, completed-with-errors, failed, cancelled]

      tip: a similar value exists: 'failed'

    For more information, try '--help'.
    --- exit 2
    ");
    assert_said!(world.run(&["prune"]), @r"
    --- stderr
    error: the following required arguments were not provided:
      --older-than <DURATION>

    Usage: homing prune --older-than <DURATION> --store <URL>

    For more information, try '--help'.
    --- exit 2
    ");
    assert_said!(world.run(&["pause", ""]), @r"
    --- stderr
    error: the queue is empty
    --- exit 2
    ");
    assert_said!(world.run(&["worker"]), @r"
    --- stderr
    error: `homing` has no tasks to run
    hint: workers are part of your program: see homing_cli::App
    --- exit 2
    ");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made() {
    let world = World::idle().await;
    let typo = world.store().replace("jobs.db", "typo-jobs.db");
    let id = JobId::named("any").to_string();
    assert_said!(world.run(&["--store", &typo, "jobs"]), @r"
    --- stderr
    error: there is no store at `[store]`
    hint: check --store and HOMING_STORE; `store migrate` creates a store, as does a worker
    --- exit 4
    ");
    for command in
        [vec!["check"], vec!["queues"], vec!["cancel", &id], vec!["submit", "x", "--force"]]
    {
        let ran = world.run(&[&["--store", &typo], command.as_slice()].concat());
        assert_eq!(ran.code, Some(4), "{ran:?}");
    }
    assert_said!(world.run(&["--store", &typo, "store", "info"]), @r"
    [store]
      schema  none: there is no store yet; `store migrate` creates it, as does a worker
    --- exit 4
    ");
    assert!(!std::path::Path::new(&typo.replace("sqlite:", "")).exists());
}

#[tokio::test]
async fn a_store_that_cannot_be_used_says_why() {
    let world = World::idle().await;
    assert_said!(world.run(&["--store", "mongo:x", "jobs"]), @r"
    --- stderr
    error: `mongo:x` names no store: use `memory:`, `sqlite:PATH`, `postgres://HOST/DATABASE` or `redis://HOST/DATABASE`
    --- exit 2
    ");
    assert_said!(world.run(&["--store", "memory:", "jobs"]), @r"
    --- stderr
    error: there is no store at `memory:`
    hint: check --store and HOMING_STORE; `store migrate` creates a store, as does a worker
    --- exit 4
    ");
    assert_said!(world.run(&["--store", "sqlite:x?fast=1", "jobs"]), @r"
    --- stderr
    error: the store URL has an unknown option `fast`: known are `synchronous=full|normal`, `busy_timeout=5s`, `create=true|false`, `cache_mib=64`, `file_mode=0600`
    --- exit 2
    ");
    let mut unnamed = world.command(&["jobs"]);
    let output = unnamed.env_remove("HOMING_STORE").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("HOMING_STORE"));
    let path = world.store().replace("sqlite:", "");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert_said!(world.run(&["jobs"]), @r"
    --- stderr
    error: the store's schema has version 99, this program knows up to 9: use a newer homing
    --- exit 4
    ");
    assert_said!(world.run(&["store", "migrate"]), @r"
    --- stderr
    error: the store's schema has version 99, this program knows up to 9: use a newer homing
    --- exit 4
    ");
    assert_said!(world.run(&["store", "info"]), @r"
    [store]
      schema  version 99, this program works with 9: use a newer homing
      size  [size]
    --- exit 4
    ");
    std::fs::write(format!("{path}.txt"), "Dear diary, nothing happened.".repeat(99)).unwrap();
    let ran = world.run(&["--store", &format!("sqlite:{path}.txt"), "jobs"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.err.contains("is not a homing store"), "{ran:?}");
}
