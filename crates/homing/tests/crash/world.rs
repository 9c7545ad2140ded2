//! A directory with a store, the processes that work on it, and what must hold when they have died.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use homing::{Homing, Status, TaskState};
use rusqlite::Connection;

use super::service::{Size, job, url};
use super::tasks::whole_lines;

/// How long anything may take before a test gives up: a bound on hangs, never a measure.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long a storm waits for something to happen before it strikes.
const MOMENT: Duration = Duration::from_millis(500);

/// Takes the write lock of an SQLite database, and gives it back.
const LOCK: &str = "BEGIN IMMEDIATE; ROLLBACK";

/// The arguments that the round's misfit is given.
const AMENDED: &str = r#"{"n":3}"#;

pub(crate) const ABORTED: i32 = 6;

pub(crate) struct World {
    directory: tempfile::TempDir,
    /// Processes that others may have taken for dead while they lived: they may run once more what others have
    /// run, until the store refuses what they say.
    late: Mutex<BTreeSet<u32>>,
}

/// A line of the notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) what: String,
    pub(crate) subject: String,
    pub(crate) place: String,
    pub(crate) value: String,
    pub(crate) pid: u32,
}

/// A process of a world; killed with the test.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn has_exited(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn status(&mut self, world: &World, what: &str) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.has_exited() {
                return status;
            }
            assert!(Instant::now() < deadline, "{what} hangs\n{}", world.told());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether every thread has stopped after a `STOP`.
    pub(crate) fn has_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state follows the command's name, which stands in brackets.
            stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
        })
    }

    /// Stops it; on SQLite at a moment when it does not hold the write lock, which would stop everybody.
    pub(crate) fn stop(&self, world: &World) {
        let database = world.path().join("jobs.db");
        let other = database.exists().then(|| Connection::open(database).unwrap());
        loop {
            self.signal("STOP");
            // A thread in a system call stops at its end, and may get the lock in it.
            while !self.has_stopped() {
                std::thread::yield_now();
            }
            let is_free = |other: &Connection| other.execute_batch(LOCK).is_ok();
            if other.as_ref().is_none_or(is_free) {
                return;
            }
            self.signal("CONT");
        }
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        File::create(directory.path().join("notes")).unwrap();
        Self { directory, late: Mutex::default() }
    }

    /// A world whose store is a schema of its own on the server of the tests.
    #[cfg(feature = "postgres")]
    pub(crate) fn on_postgres() -> Self {
        let world = Self::new();
        std::fs::write(world.path().join("url"), super::server::common_schema()).unwrap();
        world
    }

    /// A world whose store is a prefix of its own on the Redis server of the tests.
    #[cfg(feature = "redis")]
    pub(crate) fn on_redis() -> Self {
        Self::at(&super::redis_server::common_prefix())
    }

    /// A world whose store is at a URL.
    #[cfg(feature = "redis")]
    pub(crate) fn at(url: &str) -> Self {
        let world = Self::new();
        std::fs::write(world.path().join("url"), url).unwrap();
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a process: what it is to be, its rounds, and where it is to die.
    pub(crate) fn start(&self, role: &str, rounds: &[u64], crash_at: Option<&str>) -> Process {
        let mut command = self.command(&[], role, rounds);
        if let Some(point) = crash_at {
            command.env("HOMING_CRASH_AT", point);
        }
        Process(command.spawn().unwrap())
    }

    /// Starts a process that reaches the store by another way, by a program that becomes it.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn start_over(&self, launcher: &[&str], role: &str, url: &str) -> Process {
        Process(self.command(launcher, role, &[]).env("HOMING_CRASH_URL", url).spawn().unwrap())
    }

    fn command(&self, launcher: &[&str], role: &str, rounds: &[u64]) -> Command {
        let log = OpenOptions::new().create(true).append(true).open(self.path().join("log"));
        let log = log.unwrap();
        let rounds = rounds.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let (role, lease) = match role {
            "long-lease" => ("worker", "60000"),
            "long-rolling" => ("rolling", "60000"),
            role => (role, "300"),
        };
        let program = std::env::current_exe().unwrap();
        let mut words = launcher.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["--exact", "process", "--nocapture"]);
        command.env("HOMING_CRASH_ROLE", role);
        command.env("HOMING_CRASH_DIRECTORY", self.path());
        command.env("HOMING_CRASH_ROUNDS", rounds).env("HOMING_CRASH_LEASE", lease);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    /// What the processes said, for a failing test.
    pub(crate) fn told(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.path().join(name)).unwrap_or_default();
        let notes = read("notes");
        let last: Vec<_> = notes.lines().rev().take(30).collect();
        format!("notes, last first:\n{}\nlog:\n{}", last.join("\n"), read("log"))
    }

    /// What was noted so far.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let text = std::fs::read_to_string(self.path().join("notes")).unwrap();
        let lines = whole_lines(&text).map(|line| {
            let parts: Vec<_> = line.split('\t').map(str::to_owned).collect();
            let [what, subject, place, value, pid] = parts.try_into().unwrap();
            Note { what, subject, place, value, pid: pid.parse().unwrap() }
        });
        lines.collect()
    }

    /// Waits until somebody has noted something.
    pub(crate) fn noted(&self, what: &str, wanted: impl Fn(&Note) -> bool) -> Note {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(note) = self.notes().into_iter().find(&wanted) {
                return note;
            }
            assert!(Instant::now() < deadline, "never {what}\n{}", self.told());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until a process works.
    pub(crate) fn serves(&self, process: &Process) {
        self.noted("serving", |note| note.what == "serving" && note.pid == process.pid());
    }

    /// A process may be taken for dead, though it lives. On SQLite a lock says that it lives.
    pub(crate) fn may_be_late(&self, process: &Process) {
        if self.path().join("url").exists() {
            self.late.lock().unwrap().insert(process.pid());
        }
    }

    /// Waits until about so many notes more are there, for a moment at most.
    pub(crate) fn goes_on(&self, notes: u64) {
        let written = || std::fs::metadata(self.path().join("notes")).unwrap().len();
        let (wanted, deadline) = (written() + notes * 80, Instant::now() + MOMENT);
        while written() < wanted && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) async fn open(&self) -> Homing {
        Homing::open(&url(self.path())).await.unwrap()
    }

    /// What must hold whoever has died, at any moment: whatever was acknowledged is there, and no
    /// invariant of the store is broken (a parent parked with its children finished is such a breach).
    pub(crate) async fn survives(&self, context: &str) {
        let homing = self.open().await;
        let breaches = homing.check().await.unwrap();
        assert!(breaches.is_empty(), "{context}: {breaches:#?}");
        for note in self.notes() {
            let Ok(round) = note.subject.parse::<u64>() else { continue };
            if note.what != "ack" {
                continue;
            }
            let (verb, name) = note.place.split_once(' ').unwrap_or((&note.place, "victim"));
            let id = job(round, name);
            match verb {
                "submit" => drop(homing.task(id).await.expect(context)),
                "cancel" => {
                    let state = homing.task(id).await.unwrap().state;
                    assert_eq!(state, TaskState::Cancelled, "{context}");
                }
                "amend" => {
                    let arguments = homing.task(id).await.unwrap().arguments;
                    assert_eq!(arguments, AMENDED, "{context}");
                }
                "outcome" => {
                    let value = homing.task(id).await.unwrap().value.expect(context);
                    let once = note.value.split_once(' ').unwrap().1;
                    assert!(value.contains(&format!("{once:?}")), "{context}: {value}, not {once}");
                }
                _ => {}
            }
        }
    }

    /// Lets a last process finish everything, and looks at what it has come to.
    pub(crate) async fn finish(&self, rounds: &[u64], context: &str) {
        let status = self.start("service", rounds, None).status(self, context);
        assert!(status.success(), "{context}: the last process failed: {status}\n{}", self.told());
        self.survives(context).await;
        let homing = self.open().await;
        for &round in rounds {
            for (name, sum, succeeded, cancelled) in Size::of(round).jobs() {
                let view = homing.job::<()>(job(round, name)).view().await.unwrap();
                let counts = view.counts;
                let seen = (counts.succeeded, counts.cancelled, counts.spawned());
                assert_eq!(
                    seen,
                    (succeeded, cancelled, succeeded + cancelled),
                    "{context}: {name}"
                );
                let wanted = |note: &Note| {
                    note.what == "ack"
                        && note.subject == round.to_string()
                        && note.place == format!("outcome {name}")
                };
                let note = self.noted("an outcome", wanted);
                assert!(note.value.starts_with(&format!("{sum} ")), "{context}: {name}: {note:?}");
            }
            let view = homing.job::<()>(job(round, "victim")).view().await.unwrap();
            assert!(matches!(view.status, Status::Cancelled), "{context}: {view:?}");
            assert_eq!(view.counts.cancelled, view.counts.spawned(), "{context}: {view:?}");
        }
        self.buried(&homing, context).await;
        self.consistent(context);
    }

    /// Every process has left or is buried: at the latest when its lease is over, which may outlive a last
    /// process that found everything done.
    async fn buried(&self, homing: &Homing, context: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let workers = homing.workers().await.unwrap();
            if workers.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{context}: never buried: {workers:#?}");
            homing.store().sweep(10_000).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the bodies noted, in the order of time.
    ///
    /// What is run once more by a process that is late, and does not know it yet, does not count: nobody may ever
    /// be given what it makes. A future that is older than the record is not late: its body is given it.
    ///
    /// - A step that has returned to its body, which it does after its commit, is never run again, and
    ///   every later passage is given the same value.
    /// - A child whose outcome its parent has seen is never begun again, and its outcome, which no
    ///   other run of it would have, is the same whenever it is seen.
    /// - A wait is answered in every replay as it was the first time.
    pub(crate) fn consistent(&self, context: &str) {
        let mut known: BTreeMap<(String, String, String), String> = BTreeMap::new();
        let mut over: BTreeSet<String> = BTreeSet::new();
        let late = self.late.lock().unwrap();
        for note in self.notes() {
            let Note { what, subject, place, value, pid } = note.clone();
            let late = late.contains(&pid);
            let seen = ("seen".to_owned(), subject.clone(), place.clone());
            match what.as_str() {
                "ran" | "began" if late => {}
                "ran" => assert!(!known.contains_key(&seen), "{context}: run again: {note:?}"),
                "began" => assert!(!over.contains(&subject), "{context}: begun again: {note:?}"),
                "seen" | "answer" | "over" => {
                    if what == "over" {
                        over.insert(subject.clone());
                    }
                    let first = known.entry((what, subject, place)).or_insert(value.clone());
                    assert_eq!(*first, value, "{context}: another value: {note:?}");
                }
                _ => {}
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let Ok(url) = std::fs::read_to_string(self.path().join("url")) else { return };
        #[cfg(feature = "postgres")]
        if url.starts_with("postgres") {
            super::server::drop_schema(&url);
        }
        #[cfg(feature = "redis")]
        if url.starts_with("redis") {
            super::redis_server::forget(&url);
        }
        drop(url);
    }
}

/// Whether a process died at its point.
pub(crate) fn aborted(status: ExitStatus) -> bool {
    status.signal() == Some(ABORTED)
}
