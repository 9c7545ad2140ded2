//! What reads: `jobs`, `job`, `log`, `queues`, `workers`, `kinds`, `check`, `store info`.

use homing::TaskState;

use crate::world::World;
use crate::{assert_said, schema, tasks};

#[tokio::test]
async fn jobs_are_listed_filtered_and_paged() {
    let world = World::busy().await;
    assert_said!(world.run(&["jobs"]), @r"
    --- stderr
    no jobs
    --- exit 0
    ");
    let nightly = world.nightly().await;
    let broken = world.homing.submit(tasks::broken()).await.unwrap();
    broken.outcome().await.unwrap_err();
    let hello = world.homing.submit(tasks::hello("Ada".to_owned()).tags(["greeting"]));
    hello.title("Say hello").await.unwrap().outcome().await.unwrap();
    assert_said!(world.run(&["jobs"]), @r"
    ID  STATUS  DONE  TASKS  AGE  TITLE
    [id]  completed  100 %  1/1  [span]  Say hello
    [id]  failed  0 %  1/1  [span]  broken
    [id]  in progress  25 %  4/7  [span]  nightly import of airports
    --- exit 0
    ");
    assert_said!(world.run(&["jobs", "--status", "failed"]), @r"
    ID  STATUS  DONE  TASKS  AGE  TITLE
    [id]  failed  0 %  1/1  [span]  broken
    --- exit 0
    ");
    assert_said!(world.run(&["jobs", "--limit", "1"]), @r"
    ID  STATUS  DONE  TASKS  AGE  TITLE
    [id]  completed  100 %  1/1  [span]  Say hello
    --- stderr
    there are more: --after [id]
    --- exit 0
    ");
    let ids = |arguments: &[&str]| -> Vec<String> {
        let lines = world.json(&[&["jobs"], arguments].concat());
        let jobs = lines.iter().filter(|line| line["type"] == "job");
        jobs.map(|job| job["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&[]), ["hello", "broken", "nightly"]);
    assert_eq!(ids(&["--kind", "nightly"]), ["nightly"]);
    assert_eq!(ids(&["--status", "in-progress"]), ["nightly"]);
    assert_eq!(ids(&["--title", "HELLO"]), ["hello"]);
    assert_eq!(ids(&["--tag", "greeting"]), ["hello"]);
    assert_eq!(ids(&["--queue", "reports"]), [""; 0]);
    assert_eq!(ids(&["--newer-than", "1h"]).len(), 3);
    assert_eq!(ids(&["--older-than", "1h"]), [""; 0]);
    assert_eq!(ids(&["--after", &broken.id().to_string()]), ["nightly"]);
    let page = world.json(&["jobs", "--limit", "2"]);
    assert_eq!(page.last().unwrap()["type"], "next");
    assert_eq!(page.last().unwrap()["after"], broken.id().to_string());
    let job = &world.json(&["jobs", "--kind", "nightly"])[0];
    assert_eq!((&job["id"], &job["key"]), (&nightly.to_string().into(), &"nightly".into()));
}

#[tokio::test]
async fn a_job_is_shown_with_its_tree() {
    let world = World::busy().await;
    let job = world.nightly().await;
    assert_said!(world.run(&["job", &job.to_string()]), @r#"
    nightly import of airports
      id  [id]
      kind  nightly
      status  in progress, 25 %
      tasks  7: 3 succeeded, 1 failed, 3 waiting
      queue  default
      key  nightly
      submitted  [time] ([span] ago)
      started  [time] ([span] ago)
      arguments  {"pages":5}

    nightly  waiting  [span]
    └─ import  waiting  [span]  .[place]
       ├─ write_page  succeeded  [span]  .[place]
       ├─ write_page  waiting  [span]  .[place]
       ├─ write_page  failed  [span]  .[place]  page 3 cannot be parsed
       ├─ write_page  succeeded  [span]  .[place]
       └─ write_page  succeeded  [span]  .[place]
    --- exit 0
    "#);
    let import = world.children(job).await.remove(0);
    assert_said!(world.run(&["job", &import.id.to_string(), "--children", "2"]), @r#"
    import
      id  [id].[place]
      state  waiting, attempt 1
      queue  default
      parent  [id]
      submitted  [time] ([span] ago)
      started  [time] ([span] ago)
      arguments  {"pages":5}

    import  waiting  [span]  .[place]
    ├─ write_page  succeeded  [span]  .[place]
    ├─ write_page  failed  [span]  .[place]  page 3 cannot be parsed
    └─ … 3 more below: 1 open, 2 succeeded
    --- exit 0
    "#);
    let lines = world.json(&["job", &job.to_string()]);
    let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["job", "task", "task", "task", "task", "task", "task", "task"]);
    let depths: Vec<_> = lines[1..].iter().map(|line| line["depth"].as_u64().unwrap()).collect();
    assert_eq!(depths, [0, 1, 2, 2, 2, 2, 2]);
    assert_eq!(lines[2]["parent"], job.to_string());
    assert_eq!(lines[3]["value"], 100);
    assert_eq!(lines[5]["failure"]["sources"][0], "invalid digit found in string");
    world.homing.signal(world.children(import.id).await[1].id, "go", &7).await.unwrap();
    world.homing.job::<()>(job).ended().await.unwrap();
    assert_said!(world.run(&["job", &job.to_string()]), @r#"
    nightly import of airports
      id  [id]
      kind  nightly
      status  completed with errors, 100 %
      tasks  7: 6 succeeded, 1 failed
      queue  default
      key  nightly
      submitted  [time] ([span] ago)
      started  [time] ([span] ago)
      ended  [time] ([span] ago), after [span]
      arguments  {"pages":5}
      value  1007

    nightly  succeeded  [span]
    └─ import  succeeded  [span]  .[place]
       ├─ write_page  succeeded  [span]  .[place]
       ├─ write_page  succeeded  [span]  .[place]
       ├─ write_page  failed  [span]  .[place]  page 3 cannot be parsed
       ├─ write_page  succeeded  [span]  .[place]
       └─ write_page  succeeded  [span]  .[place]
    --- exit 0
    "#);
}

#[tokio::test]
async fn a_wide_job_is_shown_bounded_and_whole() {
    let world = World::busy().await;
    let job = world.homing.submit(tasks::wide(300)).await.unwrap();
    job.outcome().await.unwrap();
    let id = job.id().to_string();
    assert_said!(world.run(&["job", &id, "--children", "3"]), @r#"
    wide
      id  [id]
      kind  wide
      status  completed, 100 %
      tasks  301: 301 succeeded
      queue  default
      submitted  [time] ([span] ago)
      started  [time] ([span] ago)
      ended  [time] ([span] ago), after [span]
      arguments  {"children":300}
      value  300

    wide  succeeded  [span]
    ├─ hello  succeeded  [span]  .[place]
    ├─ hello  succeeded  [span]  .[place]
    ├─ hello  succeeded  [span]  .[place]
    └─ … 297 more below: 297 succeeded
    --- exit 0
    "#);
    assert_said!(world.run(&["job", &id, "--tasks", "1"]), @r#"
    wide
      id  [id]
      kind  wide
      status  completed, 100 %
      tasks  301: 301 succeeded
      queue  default
      submitted  [time] ([span] ago)
      started  [time] ([span] ago)
      ended  [time] ([span] ago), after [span]
      arguments  {"children":300}
      value  300

    wide  succeeded  [span]
    └─ … 300 below: 300 succeeded
    --- exit 0
    "#);
    let lines = world.json(&["job", &id]);
    assert_eq!(lines.last().unwrap()["count"], 290);
    assert_eq!(lines.len(), 1 + 1 + 10 + 1);
    let all = world.run(&["job", &id, "--all"]).out;
    assert_eq!(all.lines().filter(|line| line.contains("├─ hello")).count(), 299);
    assert!(all.lines().last().unwrap().contains("└─ hello"));
    let all = world.json(&["job", &id, "--all"]);
    assert_eq!(all.len(), 1 + 1 + 300);
    let seen: std::collections::BTreeSet<_> =
        all.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(seen.len(), 301, "the root has the job's id, every other its own");
}

#[tokio::test]
async fn logs_are_read_whole_from_the_end_and_by_task() {
    let world = World::busy().await;
    let job = world.nightly().await;
    let id = job.to_string();
    assert_said!(world.run(&["log", &id]), @r"
    [time] info  import[0]: 5 pages found
    [time] warn  import[0]: some pages are odd
    [time] error write_page[2]: attempt 1 failed: page 3 cannot be parsed: invalid digit found in string
    --- exit 0
    ");
    assert_said!(world.run(&["log", &id, "--tail", "1"]), @r"
    [time] error write_page[2]: attempt 1 failed: page 3 cannot be parsed: invalid digit found in string
    --- exit 0
    ");
    let lines = world.json(&["log", &id, "--level", "error"]);
    assert_eq!((lines.len(), &lines[0]["number"]), (1, &3.into()));
    let import = world.children(job).await.remove(0);
    assert_eq!(world.json(&["log", &import.id.to_string()]).len(), 2);
    let lines = world.json(&["log", &id, "--level", "warn"]);
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["number"], &lines[0]["level"]), (&2.into(), &"warn".into()));
    let second = world.children(import.id).await.remove(1);
    assert!(world.run(&["log", &second.id.to_string()]).out.is_empty());
    world.homing.signal(second.id, "go", &7).await.unwrap();
    let followed = world.run(&["log", "--follow", &id]);
    assert!(followed.out.ends_with("all pages are written\n"), "{}", followed.out);
    assert_eq!(followed.out.lines().count(), 4);
}

#[tokio::test]
async fn queues_workers_and_kinds_are_listed() {
    let mut world = World::idle().await;
    for command in ["queues", "workers", "kinds"] {
        let ran = world.run(&[command]);
        assert!(ran.out.is_empty() && ran.code == Some(0), "{ran:?}");
    }
    world.homing.submit(tasks::hello("Ada".to_owned()).queue("nobody")).await.unwrap();
    world.homing.pause("reports").await.unwrap();
    world.start_worker().await;
    let busy = world.homing.submit(tasks::busy()).await.unwrap();
    world.reaches(busy.id(), TaskState::Running).await;
    assert_said!(world.run(&["queues"]), @r"
    QUEUE  READY  LATER  STALLED  OLDEST  WORKERS  SLOTS  STATE
    nobody  1  0  -  [span]  0  0  no worker
    reports  0  0  -  -  1  4  paused
    --- exit 0
    ");
    assert_said!(world.run(&["kinds"]), @r"
    approval()
    broken()
    busy()
    flaky()
    hello(name: string)
    import(pages: integer)
    mended()
    nightly(pages: integer)
    parent_of_broken()
    straying()
    wide(children: integer)
    write_page(page: integer)
    --- exit 0
    ");
    let queues = world.json(&["queues"]);
    assert_eq!((&queues[0]["workers"], &queues[1]["workers"]), (&0.into(), &1.into()));
    let kinds = world.json(&["kinds"]);
    assert!(
        kinds.iter().any(|kind| kind["name"] == "hello" && kind["arguments"][0]["name"] == "name")
    );
    world.until(async || world.homing.workers().await.unwrap()[0].running == 1).await;
    assert_said!(world.run(&["workers"]), @r"
    ID  NAME  STATE  RUNNING  PARKED  UP  HEARD  QUEUES
    [id]  night shift  alive  1/4  0  [span]  [span] ago  default, reports
    --- exit 0
    ");
    assert_eq!(world.json(&["workers"])[0]["alive"], true);
    world.kill_worker();
    assert_said!(world.run(&["workers"]), @r"
    ID  NAME  STATE  RUNNING  PARKED  UP  HEARD  QUEUES
    [id]  night shift  dead  1/4  0  [span]  [span] ago  default, reports
    --- exit 0
    ");
    assert_eq!(world.json(&["workers"])[0]["alive"], false);
}

#[tokio::test]
async fn a_check_finds_what_is_broken_and_says_so_by_its_exit_code() {
    let world = World::busy().await;
    let job = world.nightly().await;
    assert_said!(world.run(&["check"]), @r"
    every invariant holds
    --- exit 0
    ");
    assert_eq!(world.json(&["check"])[0]["breaches"], 0);
    let path = world.store().replace("sqlite:", "");
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute("UPDATE sets SET spawned = spawned + 1 WHERE task = zeroblob(16)", ()).unwrap();
    let ran = world.run(&["check"]);
    assert_said!(ran, @r"
    [id]  the counts of set [place] differ from its rows
    1 breach
    --- stderr
    a breach is a defect of homing: please report it, with the lines above
    --- exit 1
    ");
    let lines = world.json(&["check"]);
    assert_eq!((&lines[0]["type"], &lines[0]["task"]), (&"breach".into(), &job.to_string().into()));
}

#[tokio::test]
async fn the_store_tells_of_itself() {
    let world = World::idle().await;
    assert_said!(world.run(&["store", "info"]), @r"
    [store]
      schema  version 9, up to date
      size  [size]
    --- exit 0
    ");
    assert_said!(world.run(&["store", "migrate"]), @r"
    [store] is up to date, schema version 9
    --- exit 0
    ");
    assert_eq!(
        world.json(&["store", "info"])[0]["version"],
        world.json(&["store", "info"])[0]["known"]
    );
}

/// The tests of a process may run one by one, each in a process of its own; so this one sees for itself
/// that no type of the schema is left unchecked.
#[tokio::test]
async fn every_type_of_the_schema_is_printed_by_some_command() {
    let world = World::busy().await;
    let job = world.nightly().await.to_string();
    let new = format!("sqlite:{}.new", world.store().replace("sqlite:", ""));
    world.json(&["--store", &new, "store", "migrate"]);
    world.json(&["submit", "hello", r#"{"name": "Ada"}"#]);
    world.json(&["job", &job, "--children", "1"]);
    world.json(&["jobs", "--limit", "1"]);
    world.json(&["pause", "nobody"]);
    world.json(&["retry", &job]);
    let path = world.store().replace("sqlite:", "");
    let db = rusqlite::Connection::open(path).unwrap();
    let strayed = world.homing.submit(tasks::straying()).await.unwrap().id();
    world.until(async || world.homing.task(strayed).await.unwrap().drift().is_some()).await;
    world.json(&["record", &strayed.to_string()]);
    let sample = r#"{"name":"host:1","slots":8,"busy":90000000,"resident":0,"work":[["default","hello",[1,1,0,0,0,0],[1],[1]]]}"#;
    let minute =
        world.homing.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    let values = (minute, homing::WorkerId::fresh().as_bytes().to_vec(), sample);
    db.execute("INSERT INTO samples (minute, worker, text) VALUES (?1, ?2, ?3)", values).unwrap();
    for command in ["queues", "workers", "kinds", "failures", "actions", "samples", "check"] {
        world.json(&[command]);
    }
    db.execute("UPDATE sets SET spawned = spawned + 1 WHERE task = zeroblob(16)", ()).unwrap();
    for command in [["why", &job], ["log", &job], ["store", "info"], ["prune", "--older-than=1d"]] {
        world.json(&command);
    }
    world.json(&["check"]);
    let verify = world.own(&["verify", "--json"]).output().unwrap();
    for line in String::from_utf8(verify.stdout).unwrap().lines() {
        schema::check(&serde_json::from_str(line).unwrap());
    }
    let mut known = schema::known();
    // Those need a server: celery.rs.
    known.retain(|name| !["finding", "celery-worker"].contains(&name.as_str()));
    assert_eq!(schema::seen(), known);
}

/// The beginning of an id will do where only one id begins so.
#[tokio::test]
async fn ids_may_be_short() {
    let world = World::busy().await;
    let first = world.nightly().await;
    let import = world.children(first).await.remove(0).id.to_string();
    let listed = world.run(&["jobs"]).out;
    let short = listed.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert!(short.len() < 36 && first.to_string().starts_with(short), "{listed}");
    assert_eq!(world.json(&["jobs"])[0]["id"], first.to_string(), "programs are given whole ids");
    for command in ["job", "why"] {
        let ran = world.run(&[command, short]);
        assert!(ran.code == Some(0) && ran.out.contains(&first.to_string()), "{ran:?}");
    }
    assert_eq!(world.run(&["log", short]).out, world.run(&["log", &first.to_string()]).out);
    let (job, place) = import.split_once('.').unwrap();
    let task = format!("{}.{}", &job[..8].to_uppercase(), &place[..6]);
    assert_eq!(world.json(&["job", &task])[0]["id"], import);
    let ran = world.run(&["retry", &task]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("is a task below a job's root"), "{ran:?}");
    let ran = world.run(&["cancel", "ffffffff"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("no id begins with `ffffffff`"), "{ran:?}");
    let page = world.children(import.parse::<homing::TaskId>().unwrap()).await.remove(0);
    let shared = page.id.to_string()[..36 + 1 + 8].to_owned();
    let ran = world.run(&["job", &shared]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.err.contains("is the beginning of several ids")
            && ran.err.contains(&page.id.to_string()),
        "{ran:?}"
    );
}

/// A job that stands still looks so wherever jobs are listed.
#[tokio::test]
async fn a_stalled_job_is_seen() {
    let world = World::busy().await;
    let job = world.homing.submit(tasks::straying()).await.unwrap();
    world.until(async || job.status().await.unwrap() == homing::Status::Stalled).await;
    let ran = world.run(&["jobs", "--status", "stalled"]);
    assert!(ran.out.lines().nth(1).unwrap().contains("  stalled  "), "{ran:?}");
    assert_eq!(world.run(&["jobs", "--status", "in-progress"]).out, "");
    let record = &world.json(&["job", &job.id().to_string()])[0];
    assert_eq!(record["status"], "stalled");
    assert_eq!(world.json(&["queues"])[0]["stalled"], 1);
    let why = &world.json(&["why", &job.id().to_string()])[0];
    let attempts: Vec<_> = why["attempts"].as_array().unwrap().iter().collect();
    assert_eq!(attempts[0]["message"], "attempt 1 failed: astray");
    assert!(attempts[1]["message"].as_str().unwrap().starts_with("it stands still: "), "{why}");
}
