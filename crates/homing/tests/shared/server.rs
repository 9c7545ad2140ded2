//! PostgreSQL servers for tests: the common one that `scripts/test` starts, and private ones for tests
//! that stop, kill or starve theirs.
//!
//! A private server has a directory, a port and a process of its own; all three go when it is dropped.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]
#![allow(dead_code, reason = "not every test program needs all of it")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The URL of the server that all tests share: a superuser's, without `?schema=`.
pub(crate) fn common() -> String {
    std::env::var("HOMING_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "HOMING_TEST_POSTGRES is not set: run `scripts/test test-all`, which starts a private \
             PostgreSQL server, or name a server that tests may use, as in \
             HOMING_TEST_POSTGRES=postgres://postgres@127.0.0.1:5432/postgres"
        )
    })
}

/// The URL of a store of one's own on the common server.
pub(crate) fn common_schema() -> String {
    with_option(&common(), &format!("schema={}", fresh_name()))
}

/// Removes what [`common_schema`] named, and everything in it.
pub(crate) fn drop_schema(url: &str) {
    let schema = url.split("schema=").nth(1).unwrap_or_default();
    let schema = schema.split('&').next().unwrap_or_default();
    // A test that failed may have left a transaction open: the schema then stays, and harms nobody.
    let sql = format!(
        "SET client_min_messages = error; SET lock_timeout = '5s'; DROP SCHEMA IF EXISTS {schema} CASCADE"
    );
    let url = url.split('?').next().unwrap_or_default();
    let _ =
        Command::new(binaries().join("psql")).args(["-X", "-q", "-d", url, "-c", &sql]).output();
}

/// A name that nobody else uses.
pub(crate) fn fresh_name() -> String {
    format!("t_{}", uuid::Uuid::now_v7().simple())
}

/// A URL with one more option.
pub(crate) fn with_option(url: &str, option: &str) -> String {
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}{option}")
}

/// What a role named `worker` needs, once the schema is there.
pub(crate) const GRANTS: &str = "
    GRANT USAGE ON SCHEMA homing TO worker;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA homing TO worker;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA homing TO worker;";

/// How a server is told to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// Ends sessions, writes a checkpoint.
    Fast,
    /// A crash: the next start recovers from the log.
    Immediate,
}

/// Settings of a server that writes its log for nobody but those who wait for it, once its log writer is
/// frozen ([`Server::freeze_log_writer`]).
pub(crate) const FORGETFUL: &str =
    "autovacuum = off\nbgwriter_lru_maxpages = 0\ncheckpoint_timeout = 1d\nwal_writer_delay = 10s";

/// A private server.
#[derive(Debug)]
pub(crate) struct Server {
    directory: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
    /// One of its processes that hears no signal but the last.
    frozen: Option<u32>,
}

impl Server {
    /// A server with `fsync` on that trusts everybody on the loopback.
    pub(crate) fn start() -> Self {
        Self::with("", "")
    }

    /// A server with further lines in `postgresql.conf`, and lines before the others in `pg_hba.conf`.
    pub(crate) fn with(settings: &str, hba: &str) -> Self {
        Self::with_files(settings, hba, &[])
    }

    /// The same, with files of its own beside its data: names and texts.
    pub(crate) fn with_files(settings: &str, hba: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("homing-pg-").tempdir().unwrap();
        let port = free_port();
        let mut server = Self { directory, port, process: None, frozen: None };
        give_away(server.directory.path());
        let data = server.data();
        let made = server
            .command("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let socket = server.directory.path().display();
        let common = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{socket}'\n\
             max_connections = 100\nlog_min_messages = warning\n{settings}\n"
        );
        append(&data.join("postgresql.conf"), &common);
        let trusted = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
        fs::write(data.join("pg_hba.conf"), format!("{hba}\n{trusted}")).unwrap();
        for (name, text) in files {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            give_away(&path);
        }
        server.run();
        server
    }

    /// Starts it again after a stop.
    pub(crate) fn run(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let process = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        for _ in 0..1500 {
            if self.is_ready() {
                return;
            }
            let running = self.process.as_mut().unwrap().try_wait().unwrap().is_none();
            assert!(running, "the server did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server is not ready:\n{}", self.log());
    }

    fn is_ready(&self) -> bool {
        self.command("pg_isready")
            .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .status()
            .unwrap()
            .success()
    }

    /// Stops it and waits until it has gone.
    pub(crate) fn stop(&mut self, how: Stop) {
        match how {
            Stop::Fast => self.signal("INT"),
            Stop::Immediate => self.kill(),
        }
        self.end_frozen();
        if let Some(mut process) = self.process.take() {
            process.wait().unwrap();
        }
    }

    /// Stops it and starts it again.
    pub(crate) fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.run();
    }

    /// Freezes the process that writes the log behind commits that do not wait for it. Such a commit is
    /// then in the server's memory alone, until another one waits for the disk.
    pub(crate) fn freeze_log_writer(&mut self) {
        let found = self.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
        let process = found.parse().unwrap();
        let idle = format!(
            "SELECT wait_event = 'WalWriterMain' FROM pg_stat_activity WHERE pid = {process}"
        );
        for _ in 0..1000 {
            signal(process, "STOP");
            // At work it may hold a lock that every commit needs.
            if self.sql(&idle) == "t" {
                self.frozen = Some(process);
                return;
            }
            signal(process, "CONT");
        }
        panic!("the log writer is never idle");
    }

    /// Ends all its processes at one moment, as a crash of the machine does. Told one after the other, those that are
    /// still there would write to the disk what clients say who have just lost another.
    fn kill(&self) {
        let Some(first) = self.process.as_ref().map(Child::id) else { return };
        signal(first, "STOP");
        let children = Command::new("pgrep").args(["-P", &first.to_string()]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let all: Vec<u32> = children.lines().map(|line| line.parse().unwrap()).collect();
        for name in ["STOP", "KILL"] {
            for process in &all {
                signal(*process, name);
            }
        }
        signal(first, "KILL");
    }

    fn end_frozen(&mut self) {
        if let Some(process) = self.frozen.take() {
            signal(process, "KILL");
        }
    }

    /// Sends a signal to the server's first process.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(process) = &self.process {
            signal(process.id(), name);
        }
    }

    /// A URL for a role without a password.
    pub(crate) fn url(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/postgres", self.port)
    }

    /// The port it listens on, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as the superuser, in a session of its own over the socket; what it answers, bare.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let socket = self.directory.path().display();
        psql(&format!("host={socket} port={} user=postgres dbname=postgres", self.port), sql)
    }

    /// The directory of its files.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A disk of so many MiB that the server may write to; `None` if there may be none.
    pub(crate) fn small_disk(&self, mib: u32) -> Option<Disk> {
        let path = self.directory.path().join("small");
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(&path)
            .output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            return None;
        }
        let disk = Disk { path };
        fs::create_dir(disk.path()).unwrap();
        give_away(&disk.path());
        Some(disk)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binaries().join(program));
        command.stdin(Stdio::null()).current_dir(self.directory.path());
        command.env_remove("PGPASSWORD").env("LC_ALL", "C");
        run_as_server(&mut command, self.directory.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // A frozen one hears nothing else.
        signal(process.id(), "CONT");
        signal(process.id(), "QUIT");
        self.end_frozen();
        let _ = process.wait();
    }
}

/// A small disk, mounted for one test. Drop it before its server: that removes the directory.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// The server's directory on it.
    pub(crate) fn path(&self) -> PathBuf {
        self.path.join("space")
    }

    /// Leaves nothing free.
    pub(crate) fn fill(&self) {
        let mut ballast = fs::File::create(self.path.join("ballast")).unwrap();
        let block = [0; 4096];
        while ballast.write_all(&block).is_ok() {}
    }

    /// Frees it again.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.path.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Runs SQL in a session of its own; what it answers, bare.
pub(crate) fn psql(url: &str, sql: &str) -> String {
    let url = url.split('?').next().unwrap();
    let output = Command::new(binaries().join("psql"))
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .output()
        .unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Sends a signal to one process.
pub(crate) fn signal(process: u32, name: &str) {
    // It may have gone by itself.
    let _ = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
}

/// Adds lines to a file.
pub(crate) fn append(path: &Path, text: &str) {
    let mut file = fs::File::options().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The directory of the server's programs.
pub(crate) fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let version = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()).unwrap_or(0)
        };
        let mut found: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
        found.sort_by_key(|path| std::cmp::Reverse(version(path)));
        places.extend(found.into_iter().map(|path| path.join("bin")));
    }
    places
        .into_iter()
        .find(|place| ["initdb", "postgres", "psql"].iter().all(|name| place.join(name).exists()))
        .unwrap_or_else(|| panic!("no PostgreSQL server is installed: run `scripts/test`"))
}

/// The server refuses to run as root: then it runs as the package's own user.
fn other_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// Lets a program run as a server does, in a directory that is its own.
pub(crate) fn run_as_server(command: &mut Command, directory: &Path) {
    if let Some((user, group)) = other_user() {
        give_away(directory);
        command.uid(user).gid(group);
    }
}

fn give_away(path: &Path) {
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
