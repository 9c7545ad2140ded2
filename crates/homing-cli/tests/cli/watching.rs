//! `watch`, and `top` without a terminal.

use std::process::{Child, Command, Stdio};

use homing::{JobId, TaskState};
use serde_json::Value;

use crate::world::World;
use crate::{assert_said, tasks};

/// Starts `watch` on a job, and waits until it has said something.
async fn watch(world: &World, arguments: &[&str]) -> Child {
    let out = world.file("out");
    let child = Command::new(env!("CARGO_BIN_EXE_homing"))
        .args([&["--store", &world.store(), "watch"], arguments].concat())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    world.until(async || std::fs::read_to_string(&out).unwrap().lines().count() > 1).await;
    child
}

fn said(world: &World) -> String {
    std::fs::read_to_string(world.file("out")).unwrap()
}

async fn release(world: &World, job: JobId) {
    let import = world.children(job).await.remove(0);
    let second = world.children(import.id).await.remove(1);
    world.homing.signal(second.id, "go", &200_u64).await.unwrap();
}

#[tokio::test]
async fn a_job_is_watched_until_it_ends() {
    let world = World::busy().await;
    let job = world.nightly().await;
    let mut child = watch(&world, &[&job.to_string()]).await;
    release(&world, job).await;
    // Its root succeeded, a page below failed.
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let said = said(&world);
    let first: Vec<&str> = said.lines().take(2).collect();
    assert_eq!(first[0], format!("job {job} nightly import of airports"));
    assert!(first[1].ends_with("info  5 pages found"), "{said}");
    assert!(said.contains("\n25 %, 1 running, ") || said.contains("\n25 %, 3 waiting, "), "{said}");
    assert!(said.contains("info  all pages are written"), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("completed with errors after "), "{said}");
    assert!(last.ends_with(", 6 succeeded, 1 failed"), "{said}");
}

#[tokio::test]
async fn the_outcome_is_the_exit_code() {
    let world = World::busy().await;
    let good = world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap();
    good.outcome().await.unwrap();
    assert_said!(world.run(&["watch", &good.id().to_string()]), @r"
    job [id] hello
    [time] info  hello Ada
    completed after [span], 1 succeeded
    --- exit 0
    ");
    let bad = world.homing.submit(tasks::parent_of_broken()).title("hopeless").await.unwrap();
    bad.outcome().await.unwrap_err();
    assert_said!(world.run(&["watch", &bad.id().to_string()]), @r"
    job [id] hopeless
    [time] error attempt 1 failed: the table is locked
    [time] error attempt 1 failed: the table is locked (task broken [id].[place] failed in attempt 1)
    failed after [span], 2 failed: the table is locked (task broken [id].[place] failed in attempt 1)
    --- exit 1
    ");
    let gone = world.homing.submit(tasks::busy()).await.unwrap();
    gone.cancel().await.unwrap();
    let ran = world.run(&["watch", &gone.id().to_string()]);
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.out.contains("\ncancelled"), "{ran:?}");
}

/// A script does not hang for ever at a job that stands still, and is told why; the job is left alone.
#[tokio::test]
async fn a_standstill_ends_the_watching() {
    let world = World::busy().await;
    let job = world.homing.submit(tasks::straying()).await.unwrap();
    let id = job.id().to_string();
    let ran = world.run(&["watch", &id, "--stalled-for", "1500ms"]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.out.contains("\nstalled, "), "{ran:?}");
    let told: Vec<&str> = ran.err.lines().collect();
    assert!(told[0].starts_with(&format!("job {id} has stood still for ")), "{ran:?}");
    assert!(told[0].contains(": the body has drifted"), "{ran:?}");
    assert!(told[1].starts_with("hint: roll back, or mend the body"), "{ran:?}");
    assert!(!job.status().await.unwrap().is_ended());
}

/// Neither a roll-back nor another body helps a task whose arguments were wrong from the start.
#[tokio::test]
async fn a_standstill_says_how_arguments_are_replaced() {
    let world = World::busy().await;
    let job = world.homing.submit_named("hello", &serde_json::json!({"name": 5})).force();
    let job = job.await.unwrap();
    let ran = world.run(&["watch", &job.id().to_string(), "--stalled-for", "500ms"]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    let amends = format!("`retry {} --args JSON`", job.id().root());
    assert!(ran.err.contains("the argument `name`") && ran.err.contains(&amends), "{ran:?}");
}

#[tokio::test]
async fn without_an_id_the_newest_open_job_is_watched() {
    let world = World::busy().await;
    assert_said!(world.run(&["watch"]), @r"
    --- stderr
    error: no job is open
    hint: give the id of a job; `jobs` lists them
    --- exit 2
    ");
    let old = world.homing.submit(tasks::approval()).await.unwrap();
    let new = world.homing.submit(tasks::approval()).await.unwrap();
    world.reaches(new.id(), TaskState::Waiting).await;
    let mut child = watch(&world, &["--lines", "0"]).await;
    new.signal("approve", "yes").await.unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(said(&world).starts_with(&format!("job {} approval\n", new.id())), "{}", said(&world));
    assert!(!old.status().await.unwrap().name().contains("completed"));
}

#[tokio::test]
async fn for_programs_each_change_is_an_object() {
    let world = World::busy().await;
    let job = world.nightly().await;
    let mut child = watch(&world, &["--json", &job.to_string()]).await;
    release(&world, job).await;
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let said = said(&world);
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.iter().for_each(crate::schema::check);
    let jobs: Vec<&Value> = lines.iter().filter(|line| line["type"] == "job").collect();
    assert_eq!(jobs[0]["status"], "in-progress");
    assert_eq!(jobs.last().unwrap()["status"], "completed-with-errors");
    let log = lines.iter().filter(|line| line["type"] == "line");
    let log: Vec<&str> = log.map(|line| line["message"].as_str().unwrap()).collect();
    let failed = "attempt 1 failed: page 3 cannot be parsed: invalid digit found in string";
    assert_eq!(log, ["5 pages found", "some pages are odd", failed, "all pages are written"]);
}

#[tokio::test]
async fn an_interrupt_leaves_the_job_alone() {
    let world = World::busy().await;
    let job = world.nightly().await;
    let child = watch(&world, &[&job.to_string()]).await;
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message, format!("job {job} goes on; `watch {job}` shows it again\n"));
    assert_eq!(world.homing.task(job).await.unwrap().state, TaskState::Waiting);
}

#[tokio::test]
async fn an_unknown_job_is_not_watched() {
    let world = World::idle().await;
    let ran = world.run(&["watch", &JobId::named("nobody").to_string()]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{ran:?}");
}

#[tokio::test]
async fn top_is_for_terminals_and_tells_programs_once() {
    let world = World::busy().await;
    world.nightly().await;
    world.homing.pause("reports").await.unwrap();
    assert_said!(world.run(&["top"]), @r"
    --- stderr
    error: top needs a terminal
    hint: `top --json` prints one look; `watch` prints lines
    --- exit 2
    ");
    let lines = world.json(&["top"]);
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["worker", "queue", "job"]);
}
