//! A store in a directory of its own, a worker in a process of its own, and the binary under test.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homing::{Homing, JobId, TaskId, TaskState, TaskView};
use serde_json::Value;
use tempfile::TempDir;

use crate::{schema, tasks};

/// Longer than anything takes, however busy the machine is.
const DEADLINE: Duration = Duration::from_mins(1);

/// A store, and perhaps a worker on it.
pub(crate) struct World {
    directory: TempDir,
    pub(crate) homing: Homing,
    worker: Option<Child>,
}

impl World {
    /// A store on which nobody works.
    pub(crate) async fn idle() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("jobs.db").display());
        let homing = Homing::open(&url).await.unwrap();
        Self { directory, homing, worker: None }
    }

    /// A store on which a worker is at work.
    pub(crate) async fn busy() -> Self {
        let mut world = Self::idle().await;
        world.start_worker().await;
        world
    }

    pub(crate) async fn start_worker(&mut self) {
        let worker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tasks::worker"])
            .env(tasks::STORE, self.store())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        self.worker = Some(worker.unwrap());
        self.until(async || !self.homing.workers().await.unwrap().is_empty()).await;
    }

    /// Kills the worker as `kill -9` does.
    pub(crate) fn kill_worker(&mut self) {
        if let Some(mut worker) = self.worker.take() {
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
    }

    /// The URL of the store.
    pub(crate) fn store(&self) -> String {
        format!("sqlite:{}", self.directory.path().join("jobs.db").display())
    }

    /// A file beside the store.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, holds: impl AsyncFn() -> bool) {
        let wait = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap();
    }

    /// Waits until a task is in a state.
    pub(crate) async fn reaches(&self, id: impl Into<TaskId>, state: TaskState) -> TaskView {
        let id = id.into();
        self.until(async || self.homing.task(id).await.unwrap().state == state).await;
        self.homing.task(id).await.unwrap()
    }

    /// A job with pages that succeeded, wait and failed; its import waits for them.
    pub(crate) async fn nightly(&self) -> JobId {
        let job = self.homing.submit(tasks::nightly(5)).title("nightly import of airports");
        let job = job.key("nightly").await.unwrap().id();
        self.reaches(job, TaskState::Waiting).await;
        self.until(async || {
            let import = self.children(job).await.remove(0);
            import.state == TaskState::Waiting && import.children.ended() == 4
        })
        .await;
        let import = self.children(job).await.remove(0);
        let second = self.children(import.id).await.remove(1);
        self.reaches(second.id, TaskState::Waiting).await;
        job
    }

    /// The children of a task, at most a page of one set.
    pub(crate) async fn children(&self, id: impl Into<TaskId>) -> Vec<TaskView> {
        self.homing.children(id, homing::Cursor::default(), 100).await.unwrap().0
    }

    /// The binary, with arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_homing"));
        command.args(arguments).env("HOMING_STORE", self.store()).env_remove("NO_COLOR");
        command.current_dir(self.directory.path()).timeout(DEADLINE);
        command
    }

    /// Runs the binary: its exit code, and what it says.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The example's program of one's own, with this store.
    pub(crate) fn own(&self, arguments: &[&str]) -> std::process::Command {
        let mut program = std::env::current_exe().unwrap();
        program.pop();
        program.pop();
        program.push("examples/my_app");
        let mut command = std::process::Command::new(program);
        command.args(arguments).env("HOMING_STORE", self.store());
        command
    }

    /// Runs the binary for programs: each line is an object of the schema.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.run(&[&["--json"], arguments].concat());
        let lines = ran.out.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<Value> = lines.collect();
        for line in &lines {
            schema::check(line);
        }
        lines
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_worker();
    }
}

/// What the binary said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// All of it, as a snapshot shows it.
    pub(crate) fn text(&self) -> String {
        let Self { out, err, code } = self;
        let stderr = if err.is_empty() { "" } else { "--- stderr\n" };
        format!("{out}{stderr}{err}--- exit {}", code.unwrap_or(-1))
    }
}

/// Compares what was said with a snapshot, ids, instants and durations replaced.
#[macro_export]
macro_rules! assert_said {
    ($ran:expr, @$snapshot:literal) => {
        let text = $ran.text();
        insta::with_settings!({ filters => $crate::world::FILTERS.to_vec() }, {
            insta::assert_snapshot!(text, @$snapshot);
        });
    };
}

/// What differs from run to run.
pub(crate) const FILTERS: [(&str, &str); 9] = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[id]"),
    // Shortened, where a row begins with one.
    (r"(?m)^[0-9a-f]{8}(-[0-9a-f]{0,4})*  ", "[id]  "),
    (r"\.[0-9a-f]{32}", ".[place]"),
    (r"\b[0-9a-f]{32}\b", "[place]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "[time]"),
    (r"\b\d+(\.\d)? (ms|s|min|h|d)\b( \d+ (s|min|h)\b)?", "[span]"),
    (r"[^ `]*jobs\.db", "[store]"),
    (r"\d+\.\d [KM]iB", "[size]"),
    // Columns are as wide as what was replaced.
    (r"(\S) {2,}", "$1  "),
];
