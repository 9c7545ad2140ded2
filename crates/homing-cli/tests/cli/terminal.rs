//! Pipes, colours, help, completions, the man page, and a program of one's own.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::world::{Ran, World};
use crate::{assert_said, tasks};

#[tokio::test]
async fn a_reader_that_has_enough_is_no_error() {
    let world = World::busy().await;
    let job = world.homing.submit(tasks::wide(2_000)).await.unwrap();
    job.outcome().await.unwrap();
    // More than a pipe holds, so that the writer is still at it when the reader goes away.
    let mut child = Command::new(env!("CARGO_BIN_EXE_homing"))
        .args(["--store", &world.store(), "--json", "job", "--all", &job.id().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[tokio::test]
async fn colours_are_shown_when_asked_for_and_not_in_a_pipe() {
    let world = World::busy().await;
    world.nightly().await;
    let escape = '\u{1b}';
    assert!(!world.run(&["jobs"]).out.contains(escape));
    assert!(world.run(&["jobs", "--color", "always"]).out.contains(escape));
    let plain = world.run(&["jobs", "--color", "never"]).out;
    assert!(!plain.contains(escape) && plain.contains("in progress"));
}

#[tokio::test]
async fn help_names_every_command_and_exit_code() {
    let world = World::idle().await;
    let help = world.run(&["--help"]);
    // A feature of its own, which may be on.
    let (celery, rest): (Vec<_>, Vec<_>) =
        help.out.lines().partition(|line| line.starts_with("  celery "));
    assert_eq!(!celery.is_empty(), cfg!(feature = "celery"), "{}", help.out);
    let help = Ran { out: rest.join("\n") + "\n", ..help };
    assert_said!(help, @r"
    Watch and steer durable background jobs

    Usage: homing [OPTIONS] <COMMAND>

    Commands:
      jobs  List jobs, newest first
      job  Show a job or a task, and the tree below it
      why  Say why a job or task is where it is, and what it waits for
      record  Show what a task remembers: its steps, waits and signals, and when each was recorded
      failures  List failed tasks over all jobs, those alike together
      actions  List what people have done to jobs and queues, newest first
      samples  Show what workers did minute by minute: throughput, failures, slots taken
      log  Print a job's log
      watch  Watch a job until it ends; its outcome is the exit code
      top  Watch workers, queues and jobs on the full screen
      submit  Submit a job by the name of its kind
      cancel  Cancel jobs or tasks, with everything below them
      retry  Retry failed or cancelled jobs: what failed runs again
      remove  Remove jobs that have ended, with everything below them
      signal  Send a value to a task that waits, or will wait, for it
      pause  Stop claims from queues; what runs runs on
      unpause  Resume claims from queues
      queues  List queues that hold pending tasks or are paused
      workers  List workers
      kinds  List the kinds that workers have registered, and their arguments
      prune  Remove jobs that ended some time ago, with everything below them
      check  Look for broken invariants; exits with 1 if there are any
      serve  Serve the page, the HTTP API and the metrics of the store until Ctrl-C
      store  Look at the store itself, or bring it up to date
      completions  Print completions for a shell
      man  Print the man page
      help  Print this message or the help of the given subcommand(s)

    Options:
          --store <URL>  A store: sqlite:FILE, postgres://HOST/DB, redis://HOST/DB [env: HOMING_STORE]
          --json  Print JSON, one object per line, as docs/cli.schema.json describes it
          --color <WHEN>  When to use colours; `auto` heeds `NO_COLOR` and shows them on a terminal only
                          [default: auto] [possible values: auto, always, never]
      -h, --help  Print help
      -V, --version  Print version

    Exit codes:
        0  done
        1  done, and the answer is no: `check` found a breach; the watched job failed; the task to
           cancel, retry or signal had ended
        2  an argument is wrong or refused; nothing was changed
        3  no task has the id
        4  the store is missing, unreachable or of another version, or it failed
        5  the watched job completed with errors: its root succeeded, a task below it failed
        6  the watched job was cancelled
        7  the watched job stands still, and has for as long as `--stalled-for` says; it is open
      130  interrupted
    --- exit 0
    ");
}

#[tokio::test]
async fn completions_and_man_pages_are_made_for_the_program() {
    let world = World::idle().await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = world.run(&["completions", shell]);
        assert!(ran.code == Some(0) && ran.out.contains("unpause"), "{shell}: {ran:?}");
    }
    let page = world.run(&["man"]).out;
    assert!(page.starts_with(".ie") && page.contains("HOMING_STORE"), "{page}");
    assert_eq!(world.run(&["man", "--dir", "man"]).code, Some(0));
    let directory = std::path::PathBuf::from(world.store().replace("sqlite:", ""));
    let pages = directory.with_file_name("man");
    for name in ["homing.1", "homing-jobs.1", "homing-store-migrate.1"] {
        assert!(pages.join(name).exists(), "{name}");
    }
}

/// The example's program works, submits and lists, with a store of its own.
#[tokio::test]
async fn a_program_of_ones_own_has_every_command() {
    let world = World::idle().await;
    let run = |arguments: &[&str]| world.own(arguments);
    let mut worker = run(&["worker", "--name", "own"]).stderr(Stdio::null()).spawn().unwrap();
    world.until(async || !world.homing.workers().await.unwrap().is_empty()).await;
    let output = run(&["submit", "import", r#"{"pages": 3}"#]).output().unwrap();
    let id: homing::JobId = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(world.homing.job::<u64>(id).outcome().await.unwrap(), 600);
    let jobs = run(&["jobs"]).output().unwrap();
    assert!(String::from_utf8(jobs.stdout).unwrap().contains("import"));
    let kill = Command::new("kill").args(["-TERM", &worker.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert_eq!(worker.wait().unwrap().code(), Some(0));
    assert!(world.homing.workers().await.unwrap().is_empty(), "it has left");

    // What another release has submitted, this one would not understand: nothing is changed by the look.
    let old = world.homing.submit_named("import", &serde_json::json!({"sites": 3})).force();
    let old = old.await.unwrap();
    let verified = run(&["verify"]).output().unwrap();
    let (out, err) =
        (String::from_utf8(verified.stdout).unwrap(), String::from_utf8(verified.stderr).unwrap());
    assert_eq!(verified.status.code(), Some(1), "{out}{err}");
    let told = format!(
        "import {} would stand still: the argument `pages` does not decode",
        old.id().root()
    );
    assert!(out.starts_with(&told), "{out}");
    assert_eq!(err, "open tasks replayed: 1; would not go on: 1\n");
    assert_eq!(world.homing.task(old.id()).await.unwrap().stalls, 0);
    let other = run(&["verify", "--kind", "write_page"]).output().unwrap();
    assert_eq!((other.status.code(), other.stdout.len()), (Some(0), 0));
}
