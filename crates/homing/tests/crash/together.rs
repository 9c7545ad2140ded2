//! Two processes on one file: who holds what when one is stopped or killed; and what idling costs.

use std::time::{Duration, Instant};

use homing::{Homing, JobId, TaskId, TaskState};

use super::tasks::{self, Told};
use super::world::{Note, World};

/// Waits until a job's root is as wanted.
async fn reaches(homing: &Homing, job: JobId, state: TaskState) {
    let reached = async {
        while homing.task(job).await.unwrap().state != state {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(30), reached).await;
    assert!(reached.is_ok(), "{job} is not {state}");
}

fn of(what: &str, task: impl Into<TaskId>, pid: u32) -> impl Fn(&Note) -> bool {
    let (what, task) = (what.to_owned(), task.into().to_string());
    move |note| note.what == what && note.subject == task && note.pid == pid
}

#[tokio::test]
async fn a_stopped_process_keeps_its_tasks_and_goes_on() {
    let world = World::new();
    let homing = world.open().await;
    let job = homing.submit(tasks::gated("gate".to_owned())).await.unwrap();
    let first = world.start("worker", &[], None);
    world.noted("begun", of("began", job.id(), first.pid()));
    first.stop(&world);
    let second = world.start("worker", &[], None);
    let holder = homing.task(job.id()).await.unwrap().worker;
    // By its lease of 300 ms the first would be dead: the second has renewed its own long since.
    let outlived = async {
        loop {
            let workers = homing.workers().await.unwrap();
            let beat = |own: bool| {
                workers
                    .iter()
                    .find(|worker| (Some(worker.id) == holder) == own)
                    .map(|w| w.heartbeat)
            };
            let (stopped, alive) = (beat(true).unwrap(), beat(false));
            if alive.is_some_and(|alive| alive.since(stopped) > Duration::from_secs(2)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), outlived).await.unwrap();
    let other = homing.submit(tasks::leaf(3)).await.unwrap();
    assert_eq!(other.outcome().await.unwrap().sum, 3, "the second works");
    let view = homing.task(job.id()).await.unwrap();
    assert_eq!((view.state, view.worker, view.crashes), (TaskState::Running, holder, 0));
    std::fs::write(world.path().join("gate"), "").unwrap();
    first.signal("CONT");
    job.outcome().await.unwrap();
    world.noted("passed", of("passed", job.id(), first.pid()));
    let task = job.id().to_string();
    let began = world.notes().into_iter().filter(|n| n.what == "began" && n.subject == task);
    assert_eq!(began.count(), 1);
    drop((first, second));
    world.survives("stopped and continued").await;
}

#[tokio::test]
async fn another_process_takes_over_from_a_killed_one_at_once() {
    let world = World::new();
    let homing = world.open().await;
    let job = homing.submit(tasks::gated("gate".to_owned())).await.unwrap();
    let mut first = world.start("long-lease", &[], None);
    world.noted("begun", of("began", job.id(), first.pid()));
    let second = world.start("long-lease", &[], None);
    world.noted("serving", |note| note.what == "serving" && note.pid == second.pid());
    first.kill();
    let killed = Instant::now();
    world.noted("taken over", of("began", job.id(), second.pid()));
    let pause = killed.elapsed();
    println!("taken over after {pause:?}");
    assert!(
        pause < Duration::from_secs(10),
        "by the lease of a minute, not by the lock: {pause:?}"
    );
    std::fs::write(world.path().join("gate"), "").unwrap();
    let told: Told = job.outcome().await.unwrap();
    assert!(told.once.starts_with(&format!("{}-", second.pid())));
    drop(second);
    world.survives("taken over").await;
}

#[tokio::test]
async fn the_only_process_resumes_at_once_when_it_is_started_again() {
    let world = World::new();
    let homing = world.open().await;
    let job = homing.submit(tasks::gated("gate".to_owned())).await.unwrap();
    let mut first = world.start("long-lease", &[], None);
    world.noted("begun", of("began", job.id(), first.pid()));
    first.kill();
    let killed = Instant::now();
    let second = world.start("long-lease", &[], None);
    world.noted("resumed", of("began", job.id(), second.pid()));
    let pause = killed.elapsed();
    println!("resumed after {pause:?}, the start of the process included");
    assert!(
        pause < Duration::from_secs(10),
        "by the lease of a minute, not by the lock: {pause:?}"
    );
    std::fs::write(world.path().join("gate"), "").unwrap();
    reaches(&homing, job.id(), TaskState::Succeeded).await;
    drop(second);
    world.survives("resumed").await;
}

/// A process's time on the processor so far.
#[cfg(target_os = "linux")]
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold blanks; user and system time are the 12th and 13th after it.
    let after = stat.rsplit_once(')').unwrap().1;
    let ticks = after.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap());
    let per_second = std::process::Command::new("getconf").arg("CLK_TCK").output().unwrap();
    let per_second: u64 = String::from_utf8(per_second.stdout).unwrap().trim().parse().unwrap();
    Duration::from_millis(ticks.sum::<u64>() * 1000 / per_second)
}

/// Processor time, not time: noise on the machine does not add to it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_idle_process_costs_next_to_nothing() {
    let world = World::new();
    let homing = world.open().await;
    let process = world.start("long-lease", &[], None);
    // Idle with something parked, as workers mostly are.
    let jobs = homing.submit_all((0..20).map(|_| tasks::patient())).await.unwrap();
    for job in &jobs {
        reaches(&homing, job.id(), TaskState::Waiting).await;
    }
    let window = Duration::from_secs(3);
    let (before, begun) = (processor_time(process.pid()), Instant::now());
    tokio::time::sleep(window).await;
    let spent = processor_time(process.pid()).checked_sub(before).unwrap();
    let share = 100.0 * spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("an idle process uses {share:.2} % of a core");
    assert!(share <= 3.0, "{share:.2} % of a core");
}
