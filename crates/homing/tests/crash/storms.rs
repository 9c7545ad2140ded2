//! Processes that do not die: they are replaced gracefully, frozen and thawed, or cut off from their server. The
//! parked futures in their memory grow old meanwhile, while others take their tasks further.
//!
//! `HOMING_CRASH_SEED=N` repeats a seed; `HOMING_CRASH_RUNS=N` makes more of them.

use std::time::Duration;

use super::world::{Process, World};
use super::{Dice, seeds};

/// What a storm is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weather {
    /// Workers are told to leave, and others take their places.
    Replacement,
    /// Workers are stopped, for less than their lease or for longer, and continued. Some are replaced.
    Frost,
}

impl Weather {
    /// What its workers are: those that only leave lose no lease, however slow the machine is.
    fn role(self) -> &'static str {
        match self {
            Self::Replacement => "long-rolling",
            Self::Frost => "rolling",
        }
    }
}

/// Workers in a storm while a client submits jobs and awaits them.
pub(crate) async fn storm(new_world: fn() -> World, weather: Weather) {
    for (seed, context) in seeds(1) {
        println!("{context}");
        let (world, mut dice) = (new_world(), Dice(seed));
        let mut client = world.start("client", &[1], None);
        let mut workers: Vec<_> = (0..3).map(|_| world.start(weather.role(), &[], None)).collect();
        for _ in 0..40 {
            world.goes_on(dice.roll(40));
            let at = dice.roll(3) as usize;
            match weather {
                Weather::Frost if dice.roll(3) > 0 => freeze(&world, &workers[at], &mut dice),
                Weather::Frost | Weather::Replacement => {
                    replace(&world, &mut workers[at], weather.role(), &context);
                }
            }
            if has_ended(&world, &mut client) {
                break;
            }
        }
        calm(&world, client, workers, &context).await;
    }
}

/// Another worker begins, and the old one leaves: it must do so, and in time.
fn replace(world: &World, old: &mut Process, role: &str, context: &str) {
    let new = world.start(role, &[], None);
    let mut old = std::mem::replace(old, new);
    world.serves(&old);
    old.signal("TERM");
    let status = old.status(world, "a worker that was told to leave");
    assert!(status.success(), "{context}: {status}\n{}", world.told());
}

/// On SQLite a process that is stopped in a transaction stops everybody: that is not what this is about.
fn freeze(world: &World, process: &Process, dice: &mut Dice) {
    world.serves(process);
    process.stop(world);
    world.may_be_late(process);
    std::thread::sleep(Duration::from_millis(20 + dice.roll(700)));
    process.signal("CONT");
}

/// Whether the client has all it wants. One that found the store busy for too long is gone, and another goes on.
fn has_ended(world: &World, client: &mut Process) -> bool {
    let Some(status) = client.has_exited() else { return false };
    if !status.success() {
        *client = world.start("client", &[1], None);
    }
    status.success()
}

/// The storm is over: what is left is finished, and looked at.
async fn calm(world: &World, mut client: Process, workers: Vec<Process>, context: &str) {
    for worker in &workers {
        world.serves(worker);
        worker.signal("TERM");
    }
    for mut worker in workers {
        worker.status(world, "a worker that was told to leave");
    }
    if !has_ended(world, &mut client) {
        client.kill();
    }
    world.survives(context).await;
    world.finish(&[1], context).await;
}

/// Workers whose ways to the server are cut, each at its own moments.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) async fn partitions(new_world: fn() -> World) {
    use super::cutter::Cutter;

    for (seed, context) in seeds(1) {
        println!("{context}");
        let (world, mut dice) = (new_world(), Dice(seed));
        let url = super::service::url(world.path());
        let cutters: Vec<_> = (0..3).map(|_| Cutter::to(&url)).collect();
        let start = |at: usize| {
            let worker = world.start_over(&[], "rolling", &cutters[at].through(&url));
            world.may_be_late(&worker);
            worker
        };
        let mut client = world.start("client", &[1], None);
        let mut workers: Vec<_> = (0..3).map(&start).collect();
        for _ in 0..40 {
            world.goes_on(dice.roll(40));
            let at = dice.roll(3) as usize;
            let cutter = &cutters[at];
            match dice.roll(6) {
                0 => cutter.lose_commits(1 + dice.roll(3) as usize),
                1 => cutter.truncate(1 + dice.roll(2) as usize),
                2 => cutter.cut(),
                3 => {
                    let new = start(at);
                    let mut old = std::mem::replace(&mut workers[at], new);
                    world.serves(&old);
                    old.signal("TERM");
                    old.status(&world, "a worker that was told to leave");
                }
                shut => {
                    cutter.silence();
                    std::thread::sleep(Duration::from_millis(20 + dice.roll(900)));
                    if shut == 4 {
                        cutter.cut();
                    }
                    cutter.restore();
                }
            }
            if has_ended(&world, &mut client) {
                break;
            }
        }
        assert!(cutters.iter().any(|cutter| cutter.done() > 0), "{context}: nothing was cut");
        for cutter in &cutters {
            cutter.lose_commits(0);
        }
        calm(&world, client, workers, &context).await;
    }
}

/// Workers whose networks are taken off the server's, for less than their lease or for longer, while nobody is told.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) async fn islands(new_world: fn() -> World) {
    use super::island::Way;

    for (seed, context) in seeds(1) {
        println!("{context}");
        let (world, mut dice) = (new_world(), Dice(seed));
        let url = super::service::url(world.path());
        let ways: Vec<_> = (0..3).map(|_| Way::to(&url)).collect();
        let start = |at: usize| {
            let worker = ways[at].start(&world, "rolling", &url);
            world.may_be_late(&worker);
            worker
        };
        let mut client = world.start("client", &[1], None);
        let mut workers: Vec<_> = (0..3).map(&start).collect();
        for _ in 0..25 {
            world.goes_on(dice.roll(40));
            let at = dice.roll(3) as usize;
            world.serves(&workers[at]);
            ways[at].part();
            std::thread::sleep(Duration::from_millis(20 + dice.roll(900)));
            if dice.roll(3) == 0 {
                // One that dies behind the partition leaves its session open on the server's side.
                workers[at].kill();
                ways[at].join();
                workers[at] = start(at);
            } else {
                ways[at].join();
            }
            if has_ended(&world, &mut client) {
                break;
            }
        }
        calm(&world, client, workers, &context).await;
    }
}

/// Workers of a Redis server that syncs each commit and is killed and started again, or stopped and continued.
#[cfg(feature = "redis")]
pub(crate) async fn servers() {
    use super::redis_server::{ALWAYS, Server};

    for (seed, context) in seeds(1) {
        println!("{context}");
        let mut server = Server::start(ALWAYS);
        let (world, mut dice) = (World::at(&server.url("")), Dice(seed));
        let mut client = world.start("client", &[1], None);
        let workers: Vec<_> = (0..3).map(|_| world.start("long-rolling", &[], None)).collect();
        for worker in &workers {
            world.serves(worker);
        }
        for _ in 0..15 {
            world.goes_on(dice.roll(40));
            if dice.roll(2) == 0 {
                server.kill();
                server.run();
            } else {
                server.signal("STOP");
                std::thread::sleep(Duration::from_millis(dice.roll(700)));
                server.signal("CONT");
            }
            if has_ended(&world, &mut client) {
                break;
            }
        }
        calm(&world, client, workers, &context).await;
    }
}
