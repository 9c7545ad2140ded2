//! Starts an example, kills it, reads what it said. Nothing here sleeps to let something happen: a
//! wait looks for what it waits for, and gives up at a deadline.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use homing::{Homing, JobFilter, JobId, JobView};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longer than anything takes, however busy the machine is.
const DEADLINE: Duration = Duration::from_mins(2);
/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(2);

/// A scratch directory, its store, and an example that runs there.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) directory: Arc<TempDir>,
    example: &'static str,
}

impl Place {
    pub(crate) fn new(example: &'static str) -> Self {
        Self { directory: Arc::new(tempfile::tempdir().unwrap()), example }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The URL of the store.
    pub(crate) fn store(&self) -> String {
        format!("sqlite:{}", self.path("jobs.db").display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(example(self.example));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    /// Runs the example to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the example to its end and returns the last line on stdout.
    pub(crate) fn last_line(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().unwrap_or_default().to_owned()
    }

    /// Runs the example, which fails, and returns its exit code and what it says on stderr.
    pub(crate) fn failure(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && out.is_empty(), "{arguments:?}: {out}");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Starts the example. It is killed when what is returned is dropped.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Running(child)
    }
}

/// A running example.
pub(crate) struct Running(Child);

impl Running {
    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop, as Ctrl-C does.
    pub(crate) fn interrupt(mut self) -> ExitStatus {
        let kill = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        assert!(kill.unwrap().success());
        self.0.wait().unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn end(&mut self) {
        // It may have ended of its own accord.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The newest job in a store, once there is one.
pub(crate) async fn newest(homing: &Homing) -> JobView {
    let filter = JobFilter { limit: 1, ..JobFilter::default() };
    until(async || homing.jobs(filter.clone()).await.unwrap().pop()).await
}

/// Waits until so many tasks of a job have ended, or the program has.
pub(crate) async fn until_ended(homing: &Homing, job: JobId, count: u64, program: &mut Running) {
    let job = homing.job::<()>(job);
    until(async || {
        let ended = job.view().await.unwrap().counts.ended();
        (ended >= count || program.has_ended()).then_some(())
    })
    .await;
}

/// Looks until there is something.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it has not happened within {DEADLINE:?}");
        sleep(LOOK).await;
    }
}

/// Where Cargo has put an example: beside the directory of this program.
fn example(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let profile = program.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

/// Numbers from a seed (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
