//! Redis servers for tests: the common one that `scripts/test` starts, and private ones for tests that stop, kill
//! or starve theirs.
//!
//! The common server keeps nothing on the disk, so its stores say `durability=none`. A private server has a directory,
//! a port and a process of its own; all three go when it is dropped.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]
#![allow(dead_code, reason = "not every test program needs all of it")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The URL of the server that all tests share, without options.
pub(crate) fn common() -> String {
    std::env::var("HOMING_TEST_REDIS").unwrap_or_else(|_| {
        panic!(
            "HOMING_TEST_REDIS is not set: run `scripts/test test-all`, which starts a private Redis \
             server, or name a server that tests may use, as in \
             HOMING_TEST_REDIS=redis://127.0.0.1:6379/0"
        )
    })
}

/// The URL of a store of one's own on the common server.
pub(crate) fn common_prefix() -> String {
    format!("{}?prefix=t-{}&durability=none", common(), uuid::Uuid::now_v7().simple())
}

/// The URL of the cluster that all tests share, without options.
fn common_cluster() -> String {
    std::env::var("HOMING_TEST_REDIS_CLUSTER").unwrap_or_else(|_| {
        panic!(
            "HOMING_TEST_REDIS_CLUSTER is not set: run `scripts/test test-all`, which starts a private \
             Redis Cluster, or name the primaries of one that tests may use, as in \
             HOMING_TEST_REDIS_CLUSTER=redis-cluster://127.0.0.1:7000,127.0.0.1:7001,127.0.0.1:7002"
        )
    })
}

/// The URL of a store of one's own on the common cluster.
pub(crate) fn cluster_prefix() -> String {
    format!("{}?prefix=t-{}&durability=none", common_cluster(), uuid::Uuid::now_v7().simple())
}

/// Server and prefix of a URL.
fn parts(url: &str) -> (&str, &str) {
    let prefix = url.split("prefix=").nth(1).unwrap_or("homing");
    (url.split('?').next().unwrap_or_default(), prefix.split('&').next().unwrap_or_default())
}

/// Removes what [`common_prefix`] or [`cluster_prefix`] named.
pub(crate) fn forget(url: &str) {
    let (server, prefix) = parts(url);
    match server.strip_prefix("redis-cluster://") {
        None => forget_at(server, prefix),
        Some(nodes) => {
            nodes.split(',').for_each(|node| forget_at(&format!("redis://{node}"), prefix));
        }
    }
}

fn forget_at(server: &str, prefix: &str) {
    // A part of all keys at a time: a script holds up every other test.
    let script = "local found = redis.call('SCAN', ARGV[2], 'MATCH', ARGV[1], 'COUNT', 10000) \
        for _, key in ipairs(found[2]) do redis.call('UNLINK', key) end return found[1]";
    let mut at = "0".to_owned();
    loop {
        // What stays behind harms nobody: the server goes with the tests.
        let pattern = format!("{{{prefix}:*");
        let done = Command::new("redis-cli")
            .args(["-u", server, "EVAL", script, "0", &pattern, &at])
            .output();
        let Ok(done) = done else { return };
        String::from_utf8_lossy(&done.stdout).trim().clone_into(&mut at);
        if at == "0" || at.parse::<u64>().is_err() {
            return;
        }
    }
}

/// What `redis-cli` prints of a command. A word that begins with `x'` is bytes in hexadecimal.
pub(crate) fn cli(url: &str, words: &[&str]) -> String {
    let quoted = words.iter().map(|word| match word.strip_prefix("x'") {
        Some(hex) => {
            let bytes = hex.as_bytes().chunks_exact(2).map(String::from_utf8_lossy);
            let bytes: Vec<_> = std::iter::once("".into()).chain(bytes).collect();
            format!("\"{}\"", bytes.join("\\x"))
        }
        None => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
    });
    let line = quoted.collect::<Vec<_>>().join(" ");
    let mut client = Command::new("redis-cli")
        .args(["-u", parts(url).0, "--no-raw"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut client.stdin.take().unwrap(), line.as_bytes()).unwrap();
    let done = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// Settings of a server that keeps what it has acknowledged, whatever happens.
pub(crate) const ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
/// Settings of a server that may lose a second with its machine.
pub(crate) const EVERYSEC: &[&str] = &["--appendonly", "yes", "--appendfsync", "everysec"];

fn free_port() -> (u16, TcpListener) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    (listener.local_addr().unwrap().port(), listener)
}

/// A private server.
#[derive(Debug)]
pub(crate) struct Server {
    directory: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start(settings: &[&str]) -> Self {
        let (port, held) = free_port();
        drop(held);
        Self::at(port, settings)
    }

    /// A node of a cluster, with a port at which other nodes reach it.
    pub(crate) fn node(settings: &[&str]) -> Self {
        // Neither is free for the other.
        let ((port, held), (bus, also_held)) = (free_port(), free_port());
        drop((held, also_held));
        let own = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
        Self::at(port, &[settings, &own].concat())
    }

    fn at(port: u16, settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("homing-redis-").tempdir().unwrap();
        let settings = settings.iter().map(|&word| word.to_owned()).collect();
        let mut server = Self { directory, port, settings, process: None };
        server.run();
        server
    }

    /// Starts it again after a stop.
    pub(crate) fn run(&mut self) {
        let log = self.directory.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes"])
            .args(["--repl-diskless-sync-delay", "0"])
            .args(["--port", &self.port.to_string(), "--dir"])
            .arg(self.directory.path())
            .args(&self.settings)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.process = Some(process.unwrap());
        for _ in 0..1500 {
            if self.cli(&["PING"]) == "PONG" {
                return;
            }
            let running = self.process.as_mut().unwrap().try_wait().unwrap().is_none();
            assert!(running, "the server did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not start:\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its store, with options.
    pub(crate) fn url(&self, options: &str) -> String {
        format!("redis://127.0.0.1:{}/0{options}", self.port)
    }

    pub(crate) fn cli(&self, words: &[&str]) -> String {
        cli(&self.url(""), words)
    }

    /// As nobody expects it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id();
        let kill = format!("kill -{name} {pid}");
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
