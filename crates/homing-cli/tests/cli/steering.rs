//! What changes something: `submit`, `cancel`, `retry`, `signal`, `pause`, `prune`, `store migrate`.

use homing::{JobId, Status, TaskState};

use crate::world::World;
use crate::{assert_said, tasks};

#[tokio::test]
async fn a_job_is_submitted_by_name_and_checked() {
    let world = World::busy().await;
    let ran = world.run(&["submit", "hello", r#"{"name": "Ada"}"#, "--title", "by hand"]);
    let id: JobId = ran.out.trim().parse().unwrap();
    let job = world.homing.job::<String>(id);
    assert_eq!(job.outcome().await.unwrap(), "hello Ada");
    assert_eq!(job.view().await.unwrap().title.as_deref(), Some("by hand"));

    let count = async || world.homing.jobs(homing::JobFilter::default()).await.unwrap().len();
    assert_said!(world.run(&["submit", "helo"]), @r"
    --- stderr
    error: no worker has ever registered the kind `helo`: known are approval, broken, busy, flaky, hello, import, mended, nightly, parent_of_broken, straying, wide, write_page
    hint: `kinds` lists them with their arguments; --force submits it nevertheless
    --- exit 2
    ");
    assert_said!(world.run(&["submit", "hello", r#"{"nam": "Ada"}"#]), @r"
    --- stderr
    error: there is no argument `nam`: `hello` takes name
    hint: `kinds` lists them with their arguments; --force submits it nevertheless
    --- exit 2
    ");
    assert_said!(world.run(&["submit", "import", r#"{"pages": "nine"}"#]), @r#"
    --- stderr
    error: the argument `pages` of `import` is refused: expected integer, got "nine"
    hint: `kinds` lists them with their arguments; --force submits it nevertheless
    --- exit 2
    "#);
    assert_said!(world.run(&["submit", "hello", "{name: Ada}"]), @r#"
    --- stderr
    error: the arguments are not JSON: key must be a string at line 1 column 2
    hint: give an object with a field for each argument: '{"page": 7}'
    --- exit 2
    "#);
    assert_said!(world.run(&["submit", "hello", "[1]"]), @r#"
    --- stderr
    error: the arguments are JSON, but no object
    hint: give an object with a field for each argument: '{"page": 7}'
    --- exit 2
    "#);
    assert_eq!(count().await, 1, "what was refused changed nothing");

    let forced = world.json(&["submit", "unheard_of", "--force", "--queue", "later"]);
    assert_eq!(
        (&forced[0]["type"], &forced[0]["kind"]),
        (&"submitted".into(), &"unheard_of".into())
    );
    let keyed = |key| world.run(&["submit", "approval", "--key", key]).out;
    assert_eq!(keyed("one"), keyed("one"), "the job that holds the key");
    assert_eq!(count().await, 3);
    let mut piped = world.command(&["submit", "hello", "-"]);
    piped.write_stdin(r#"{"name": "Grace"}"#).assert().success();
}

#[tokio::test]
async fn jobs_and_tasks_are_cancelled() {
    let world = World::busy().await;
    let job = world.nightly().await;
    let import = world.children(job).await.remove(0);
    let second = world.children(import.id).await.remove(1);
    assert_said!(world.run(&["cancel", &second.id.to_string()]), @r"
    cancelled [id].[place]
    --- exit 0
    ");
    assert_eq!(world.homing.job::<()>(job).ended().await.unwrap(), Status::CompletedWithErrors);
    assert_said!(world.run(&["cancel", &second.id.to_string()]), @r"
    --- stderr
    [id].[place] had been cancelled: there was nothing to cancel
    --- exit 1
    ");
    let (a, b) = (world.nightly().await, world.homing.submit(tasks::busy()).await.unwrap().id());
    let unknown = JobId::named("unknown").to_string();
    assert_said!(world.run(&["cancel", &a.to_string(), &unknown]), @r"
    --- stderr
    error: no task has the id [id]: it was never submitted to this store, or it was pruned
    hint: `jobs` lists the jobs of the store that --store or HOMING_STORE names
    --- exit 3
    ");
    assert_eq!(world.homing.task(a).await.unwrap().state, TaskState::Waiting, "nothing changed");
    let lines = world.json(&["cancel", &a.to_string(), &b.to_string()]);
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["changed"] == true && line["verb"] == "cancel"));
    for id in [a, b] {
        assert_eq!(world.homing.task(id).await.unwrap().state, TaskState::Cancelled);
    }
}

/// A retry of a job that stands still says what to do, and with arguments that fit the job goes on.
#[tokio::test]
async fn wrong_arguments_are_replaced() {
    let world = World::busy().await;
    let job = world.homing.submit_named("hello", &serde_json::json!({"name": 5})).force();
    let job = job.await.unwrap();
    let id = job.id().to_string();
    world.until(async || job.status().await.unwrap() == homing::Status::Stalled).await;
    let ran = world.run(&["retry", &id]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.err.contains("stands still") && ran.err.contains("`retry TASK --args JSON`"),
        "{ran:?}"
    );
    for (wrong, said) in [("{name", "are not JSON"), (r#"{"name": 6}"#, "`name` of `hello`")] {
        let ran = world.run(&["retry", &id, "--args", wrong]);
        assert!(ran.code == Some(2) && ran.err.contains(said), "{ran:?}");
    }
    let amended = &world.json(&["retry", &id, "--args", r#"{"name": "Ada"}"#])[0];
    assert_eq!((&amended["verb"], &amended["changed"]), (&"amend".into(), &true.into()));
    job.outcome().await.unwrap();
    let ran = world.run(&["retry", &id, "--args", r#"{"name": "Eve"}"#]);
    assert!(ran.code == Some(1) && ran.err.contains("has ended"), "{ran:?}");
}

#[tokio::test]
async fn a_failed_job_is_retried_and_only_what_failed_runs_again() {
    let world = World::busy().await;
    let job = world.homing.submit(tasks::mended()).await.unwrap();
    let id = job.id().to_string();
    world.reaches(job.id(), TaskState::Waiting).await;
    assert_said!(world.run(&["retry", &id]), @r"
    --- stderr
    the job [id] has not ended: what fails in it is retried by itself
    --- exit 1
    ");
    let refused = world.json(&["retry", &id]).remove(0);
    assert_eq!((&refused["changed"], &refused["refused"]), (&false.into(), &"open".into()));
    assert_said!(world.run(&["signal", &id, "mended", "false"]), @r"
    signalled [id]
    --- exit 0
    ");
    job.outcome().await.unwrap_err();
    assert_said!(world.run(&["signal", &id, "mended", "true"]), @r"
    --- stderr
    [id] had failed: the signal was not kept
    --- exit 1
    ");
    assert_said!(world.run(&["retry", &id, "--dry-run"]), @r"
    would retry [id]: 1 task runs again
      [id]
    --- exit 0
    ");
    let preview = world.json(&["retry", &id, "--dry-run"]).remove(0);
    assert_eq!((&preview["changed"], &preview["reopened"]), (&false.into(), &1.into()));
    let ran = world.run(&["retry", &id]);
    assert_said!(ran, @r"
    retrying [id]: 1 task runs again
    --- exit 0
    ");
    assert_eq!(world.homing.task(job.id()).await.unwrap().attempt, 2);
    job.cancel().await.unwrap();
    assert_eq!(world.json(&["retry", &id])[0]["changed"], true);
}

#[tokio::test]
async fn a_signal_wakes_the_task_that_waits_for_it() {
    let world = World::busy().await;
    let job = world.homing.submit(tasks::approval()).await.unwrap();
    let id = job.id().to_string();
    assert_said!(world.run(&["signal", &id, "approve", "yes"]), @r#"
    --- stderr
    error: the value is not JSON: expected value at line 1 column 1
    hint: quote a text twice: '"approved"'
    --- exit 2
    "#);
    world.reaches(job.id(), TaskState::Waiting).await;
    assert_said!(world.run(&["signal", &id, "approve", "true"]), @r"
    --- stderr
    error: the value of the signal `approve` is refused: expected string, got true
    --- exit 2
    ");
    assert_said!(world.run(&["signal", &id, "aprove", "\"yes\""]), @r"
    signalled [id]
    --- stderr
    the value is kept until the task waits for `aprove`; now it waits for `approve`
    --- exit 0
    ");
    assert_eq!(world.json(&["signal", &id, "approve", "\"yes\""])[0]["changed"], true);
    assert_eq!(job.outcome().await.unwrap(), "yes");
}

#[tokio::test]
async fn queues_are_paused_and_resumed() {
    let world = World::busy().await;
    assert_said!(world.run(&["pause", "default"]), @r"
    paused the queue default
    --- exit 0
    ");
    let job = world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap();
    assert_eq!(world.json(&["queues"])[0]["paused"], true);
    assert_said!(world.run(&["pause", "typo"]), @r"
    paused the queue typo
    --- stderr
    no worker serves a queue `typo`, and no task is on it
    --- exit 0
    ");
    assert_eq!(world.json(&["unpause", "typo"])[0]["changed"], true);
    assert_said!(world.run(&["unpause", "default"]), @r"
    resumed the queue default
    --- exit 0
    ");
    job.outcome().await.unwrap();
    assert_eq!(world.json(&["unpause", "default"])[0]["changed"], false);
}

#[tokio::test]
async fn what_ended_long_ago_is_pruned() {
    let world = World::busy().await;
    let ended = world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap();
    ended.outcome().await.unwrap();
    let open = world.nightly().await;
    assert_said!(world.run(&["prune", "--older-than", "1h"]), @r"
    removed 0 jobs
    --- exit 0
    ");
    assert_said!(world.run(&["prune", "--older-than", "0s"]), @r"
    removed 1 job
    --- exit 0
    ");
    assert!(ended.view().await.is_err());
    assert!(world.homing.task(open).await.is_ok());
    assert_said!(world.run(&["prune", "--older-than", "soon"]), @r"
    --- stderr
    error: invalid value 'soon' for '--older-than <DURATION>': give a duration such as 90s, 15m, 2h30m, 7d or 2w

    For more information, try '--help'.
    --- exit 2
    ");
}

#[tokio::test]
async fn one_job_is_removed() {
    let world = World::busy().await;
    let ended = world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap();
    ended.outcome().await.unwrap();
    let open = world.nightly().await;
    assert_said!(world.run(&["remove", &open.to_string()]), @r"
    --- stderr
    the job [id] has not ended: wait for its end or cancel it, then remove it
    --- exit 1
    ");
    assert_said!(world.run(&["remove", &ended.id().to_string()]), @r"
    removed [id]
    --- exit 0
    ");
    assert!(world.homing.task(ended.id()).await.is_err());
    assert!(world.homing.task(open).await.is_ok());
    world.homing.cancel(open).await.unwrap();
    assert_eq!(world.json(&["remove", &open.to_string()])[0]["changed"], true);
}

#[tokio::test]
async fn an_older_store_is_migrated_only_when_asked_to() {
    let world = World::idle().await;
    let path = world.store().replace("sqlite:", "");
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(include_str!("../../../homing/tests/shared/sqlite_version_1.sql")).unwrap();
    assert_said!(world.run(&["jobs"]), @r"
    --- stderr
    error: the store's schema has version 1, this program needs 9 (it was opened as it is): run `homing store migrate` with a role that may create tables
    hint: workers of an older version cannot use it then
    --- exit 4
    ");
    assert_said!(world.run(&["store", "info"]), @r"
    [store]
      schema  version 1, this program works with 9: run `store migrate`
      size  [size]
    --- exit 4
    ");
    assert_said!(world.run(&["store", "migrate"]), @r"
    migrated [store] from schema version 1 to 9
    --- exit 0
    ");
    assert_said!(world.run(&["jobs"]), @r"
    --- stderr
    no jobs
    --- exit 0
    ");
}

/// Who cancelled a job, and why, is told with it.
#[tokio::test]
async fn a_cancellation_says_who_and_why() {
    let world = World::idle().await;
    let job = world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap();
    let id = job.id().to_string();
    world.run(&["cancel", &id, "--by", "ada", "--reason", "submitted twice"]);
    let failure = job.view().await.unwrap().failure.unwrap();
    assert_eq!(failure.message, "ada cancelled it: submitted twice");
    for command in ["job", "why"] {
        let ran = world.run(&[command, &id]);
        assert!(ran.out.contains("ada cancelled it: submitted twice"), "{ran:?}");
    }
    let other = world.homing.submit(tasks::hello("Bob".to_owned())).await.unwrap();
    let id = other.id().to_string();
    let mut own = world.command(&["cancel", &id]);
    own.env("USER", "bob").env("HOSTNAME", "build-7").assert().success();
    let failure = other.view().await.unwrap().failure.unwrap();
    assert_eq!(failure.message, "bob@build-7 cancelled it");
}
