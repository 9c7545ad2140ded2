//! A worker in a process of its own: this test program again, killed with the test.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{eventually, server};

const URL: &str = "HOMING_TEST_WORKER_STORE";
/// In seconds.
const LEASE: &str = "HOMING_TEST_WORKER_LEASE";
/// SIGABRT: how a process ends at a named point.
const ABORTED: i32 = 6;

/// A process that works on the store of a URL.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Process {
    /// Starts it; it ends at a named point, if one is given.
    pub(crate) fn start(url: &str, crash_at: Option<&str>) -> Self {
        Self::with(url, crash_at.map(|point| ("HOMING_CRASH_AT", point)))
    }

    /// Starts it on a machine whose clock is so many seconds ahead.
    pub(crate) fn skewed(url: &str, seconds: &str) -> Self {
        Self::with(url, Some(("HOMING_CLOCK_AHEAD", seconds)))
    }

    /// Starts it with a lease that decides nothing: an hour.
    pub(crate) fn leased(url: &str) -> Self {
        Self::with(url, Some((LEASE, "3600")))
    }

    fn with(url: &str, variable: Option<(&str, &str)>) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "transactions::worker_process", "--nocapture"]).env(URL, url);
        command.envs(variable);
        let told = File::options().append(true).open(log.path()).unwrap();
        command.stdin(Stdio::null()).stdout(told.try_clone().unwrap()).stderr(told);
        Self { child: command.spawn().unwrap(), log }
    }

    /// Waits for its end, and says whether that was at its point.
    pub(crate) async fn has_aborted(&mut self) -> bool {
        let mut status = None;
        eventually("the process ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.and_then(|status| status.signal()) == Some(ABORTED)
    }

    /// `STOP`, `CONT` or `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        server::signal(self.child.id(), name);
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The store to work on, if this is such a process.
pub(crate) fn order() -> Option<String> {
    std::env::var(URL).ok()
}

/// The lease that such a process has: half a second, unless it is told otherwise.
pub(crate) fn lease() -> Duration {
    let told = std::env::var(LEASE).ok().and_then(|seconds| seconds.parse().ok());
    told.map_or(Duration::from_millis(500), Duration::from_secs)
}
