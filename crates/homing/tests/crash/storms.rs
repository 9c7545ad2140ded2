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

/// Workers in a storm while a client submits jobs and awaits them.
pub(crate) async fn storm(new_world: fn() -> World, weather: Weather) {
    for (seed, context) in seeds(1) {
        println!("{context}");
        let (world, mut dice) = (new_world(), Dice(seed));
        let mut client = world.start("client", &[1], None);
        let mut workers: Vec<_> = (0..3).map(|_| world.start("rolling", &[], None)).collect();
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(5 + dice.roll(150)));
            let at = dice.roll(3) as usize;
            match weather {
                Weather::Frost if dice.roll(4) > 0 => freeze(&world, &workers[at], &mut dice),
                Weather::Frost | Weather::Replacement => {
                    replace(&world, &mut workers[at], &context);
                }
            }
            if client.has_exited().is_some() {
                break;
            }
        }
        calm(&world, client, workers, &context).await;
    }
}

/// Another worker begins, and the old one leaves: it must do so, and in time.
fn replace(world: &World, old: &mut Process, context: &str) {
    let new = world.start("rolling", &[], None);
    let mut old = std::mem::replace(old, new);
    old.signal("TERM");
    let status = old.status(world, "a worker that was told to leave");
    // Before it listens, the signal ends it.
    let ended = std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
    assert!(status.success() || ended, "{context}: {status}\n{}", world.told());
}

/// On SQLite a process that is stopped in a transaction stops everybody: that is not what this is about.
fn freeze(world: &World, process: &Process, dice: &mut Dice) {
    process.stop(world);
    std::thread::sleep(Duration::from_millis(20 + dice.roll(700)));
    process.signal("CONT");
}

/// The storm is over: what is left is finished, and looked at.
async fn calm(world: &World, mut client: Process, workers: Vec<Process>, context: &str) {
    for worker in &workers {
        worker.signal("TERM");
    }
    for mut worker in workers {
        worker.status(world, "a worker that was told to leave");
    }
    if let Some(status) = client.has_exited() {
        assert!(status.success(), "{context}: {status}\n{}", world.told());
    } else {
        client.kill();
    }
    world.survives(context).await;
    world.finish(&[1], context).await;
}

/// Workers whose ways to the server are cut, each at its own moments.
#[cfg(feature = "postgres")]
pub(crate) async fn partitions() {
    use super::cutter::Cutter;

    for (seed, context) in seeds(1) {
        println!("{context}");
        let (world, mut dice) = (World::on_postgres(), Dice(seed));
        let url = super::service::url(world.path());
        let cutters: Vec<_> = (0..3).map(|_| Cutter::to(&url)).collect();
        let start = |at: usize| world.start_over("rolling", &cutters[at].through(&url));
        let mut client = world.start("client", &[1], None);
        let mut workers: Vec<_> = (0..3).map(&start).collect();
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(5 + dice.roll(100)));
            let at = dice.roll(3) as usize;
            let cutter = &cutters[at];
            match dice.roll(6) {
                0 => cutter.lose_commits(1 + dice.roll(3) as usize),
                1 => cutter.truncate(1 + dice.roll(2) as usize),
                2 => cutter.cut(),
                3 => {
                    let new = start(at);
                    let mut old = std::mem::replace(&mut workers[at], new);
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
            if client.has_exited().is_some() {
                break;
            }
        }
        assert!(cutters.iter().any(|cutter| cutter.done() > 0), "{context}: nothing was cut");
        cutters.iter().for_each(|cutter| cutter.lose_commits(0));
        calm(&world, client, workers, &context).await;
    }
}
