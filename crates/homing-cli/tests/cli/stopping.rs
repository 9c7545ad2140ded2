//! Signals to the `worker` command of a program of one's own: this test program, in another role.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use homing::{JobHandle, TaskState, task};
use homing_cli::App;

use crate::world::World;

/// Where the program finds its store.
const STORE: &str = "HOMING_TEST_PROGRAM_STORE";

/// Holds its slot until a file is there. It looks again and again: files are all that it shares with the test's process,
/// and a signal of homing's would park the task, which gives its slot back.
#[task]
async fn guard(file: PathBuf) -> homing::Result<u64> {
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(7)
}

/// Holds its slot and its thread.
#[task]
async fn stuck() -> homing::Result<()> {
    loop {
        std::thread::park();
    }
}

#[task(retries = 0)]
async fn closed() -> homing::Result<()> {
    Err(homing::Error::msg("the bank is closed"))
}

/// The program's process; as a test it does nothing.
#[test]
fn program() {
    let Ok(store) = std::env::var(STORE) else { return };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_all().build().unwrap();
    let app = App::new("own").worker(|worker| async move {
        Ok(worker.register(guard).register(stuck).register(closed))
    });
    let arguments = ["own", "--store", &store, "worker", "--patience", "1h"];
    let code = runtime.block_on(homing_cli::run_with(app, arguments));
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
}

/// A program at work, killed with the test.
struct Program {
    process: Child,
    says: BufReader<ChildStderr>,
}

impl Program {
    fn start(world: &World) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "stopping::program", "--nocapture"]).env(STORE, world.store());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let says = BufReader::new(process.stderr.take().unwrap());
        let mut program = Self { process, says };
        program.says("is at work");
        program
    }

    /// Reads on until the program says something.
    fn says(&mut self, what: &str) -> String {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            let read = self.says.read_line(&mut line).unwrap();
            assert!(read > 0, "it ended without saying `{what}`");
        }
        line
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let kill = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(kill.unwrap().success());
    }

    async fn code(&mut self, world: &World) -> Option<i32> {
        let process = std::cell::RefCell::new(&mut self.process);
        world.until(async || process.borrow_mut().try_wait().unwrap().is_some()).await;
        self.process.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn guarded(world: &World) -> JobHandle<u64> {
    world.homing.submit(guard(world.file("gate"))).await.unwrap()
}

/// The first signal lets what runs end; by then the worker has left.
#[tokio::test]
async fn one_signal_lets_tasks_end() {
    for signal in ["TERM", "INT"] {
        let world = World::idle().await;
        let mut program = Program::start(&world);
        let job = guarded(&world).await;
        world.reaches(job.id(), TaskState::Running).await;
        program.signal(signal);
        program.says("stopping");
        let later = guarded(&world).await;
        std::fs::write(world.file("gate"), "").unwrap();
        assert_eq!(program.code(&world).await, Some(0), "{signal}");
        assert_eq!(job.outcome().await.unwrap(), 7);
        let view = world.homing.task(later.id()).await.unwrap();
        assert_eq!(view.state, TaskState::Pending, "nothing is claimed any more");
        assert!(world.homing.workers().await.unwrap().is_empty(), "it has left");
    }
}

/// The second signal ends the program at once, whatever its bodies do. It was once taken for nothing: only
/// `kill -9` helped. Another one resumes the task.
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let world = World::idle().await;
        let mut program = Program::start(&world);
        let job = guarded(&world).await;
        let thread = world.homing.submit(stuck()).await.unwrap();
        world.reaches(job.id(), TaskState::Running).await;
        world.reaches(thread.id(), TaskState::Running).await;
        program.signal(first);
        program.says("stopping");
        program.signal(second);
        assert_eq!(program.code(&world).await, Some(130), "{first}, {second}");
        thread.cancel().await.unwrap();
        let _another = Program::start(&world);
        std::fs::write(world.file("gate"), "").unwrap();
        assert_eq!(job.outcome().await.unwrap(), 7);
    }
}

/// A failure shows where the worker runs, without further set-up.
#[tokio::test]
async fn a_worker_shows_warnings() {
    let world = World::idle().await;
    let mut program = Program::start(&world);
    let job = world.homing.submit(closed()).await.unwrap();
    let line = program.says("the task failed");
    assert!(line.contains("ERROR") && line.contains(&job.id().to_string()), "{line}");
    assert!(line.contains("kind=\"closed\"") && line.contains("the bank is closed"), "{line}");
    program.signal("TERM");
    assert_eq!(program.code(&world).await, Some(0));
}
