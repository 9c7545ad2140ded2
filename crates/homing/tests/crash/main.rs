//! G1, G2, G3, G6, G7 against `kill -9`: processes of this very program are killed at named points of every
//! verb and at random moments, and what they leave behind is looked at. And against what does not kill:
//! replacement, frost and partitions.
//!
//! `HOMING_CRASH_SEED=N` repeats the random kills of a seed; `HOMING_CRASH_RUNS=N` makes more of them.

#![cfg(all(feature = "testing", unix))]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "these are tests: a panic is how they fail"
)]
#![expect(clippy::disallowed_methods, reason = "a test bounds its patience and measures pauses")]

#[cfg(any(feature = "postgres", feature = "redis"))]
mod cutter;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod island;
mod jumps;
#[cfg(feature = "redis")]
#[path = "../shared/redis.rs"]
mod redis_server;
#[cfg(feature = "postgres")]
#[path = "../shared/server.rs"]
mod server;
mod service;
mod storms;
mod tasks;
mod together;
mod world;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use service::{Order, job};
use world::{World, aborted};

/// The process that the other tests start and kill; as a test it does nothing.
#[test]
fn process() {
    let Some(order) = Order::from_environment() else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(service::serve(order));
}

const MOMENTS: [&str; 3] = ["before", "applied", "committed"];

/// Points, and the passages of them at which a process dies.
fn points() -> Vec<String> {
    let mut points = Vec::new();
    let verbs: [(&str, &[u64]); 10] = [
        ("submit", &[1, 4]),
        ("exchange", &[2, 9, 30]),
        ("heartbeat", &[1, 2]),
        ("leave", &[1]),
        ("cancel", &[1]),
        ("signal", &[1]),
        ("retry", &[1]),
        ("amend", &[1]),
        ("pause", &[1, 2]),
        ("sweep", &[1]),
    ];
    for (verb, passages) in verbs {
        for moment in MOMENTS {
            points.extend(passages.iter().map(|n| format!("{verb}.{moment}:{n}")));
        }
    }
    for point in ["before_exchange", "after_reply", "claimed", "returned", "parked"] {
        points.extend([2, 11].iter().map(|n| format!("worker.{point}:{n}")));
    }
    points
}

/// One store sees one process after another die, each at another point and in the middle of jobs of its
/// own and its forerunners'. The last one finishes them all.
async fn processes_killed_at_every_point_of_every_verb(world: World) {
    let mut rounds = Vec::new();
    for (n, point) in points().iter().enumerate() {
        let round = 2 * n as u64;
        rounds.push(round);
        let status = world.start("service", &[round], Some(point)).status(&world, point);
        assert!(aborted(status), "not killed at {point}: {status}\n{}", world.told());
        world.survives(point).await;
    }
    world.finish(&rounds, "after all points").await;
}

/// A prune that is killed has removed whole jobs or none, and the next one removes the rest.
async fn a_prune_killed_at_any_point(world: World) {
    world.finish(&[0], "jobs to prune").await;
    let homing = world.open().await;
    for moment in MOMENTS {
        let point = format!("prune.{moment}:1");
        let status = world.start("prune", &[], Some(&point)).status(&world, &point);
        assert!(aborted(status), "not killed at {point}: {status}");
        assert!(homing.check().await.unwrap().is_empty());
        let left = homing.jobs(homing::JobFilter::default()).await.unwrap().len();
        assert_eq!(left, if moment == "committed" { 0 } else { 10 }, "{point}");
        let view = homing.job::<()>(job(0, "fan")).view().await;
        assert!(view.is_err() || view.is_ok_and(|view| view.counts.succeeded == 21), "{point}");
    }
    assert!(world.start("prune", &[], None).status(&world, "prune").success());
}

/// The numbers of a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seeds to try, so many unless the environment says otherwise, each with what repeats it.
fn seeds(runs: u64) -> impl Iterator<Item = (u64, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let first = number("HOMING_CRASH_SEED").unwrap_or(now);
    (0..number("HOMING_CRASH_RUNS").unwrap_or(runs)).map(move |run| {
        let seed = first.wrapping_add(run);
        (seed, format!("HOMING_CRASH_SEED={seed} HOMING_CRASH_RUNS=1"))
    })
}

/// A tree 40 deep, a fan of 300 and the rest of a round, under kills at random moments: of the process
/// that serves the clients, of one that only works beside it, or of both.
async fn processes_killed_at_random_moments(new_world: fn() -> World) {
    for (seed, context) in seeds(3) {
        println!("{context}");
        let mut dice = Dice(seed);
        let world = new_world();
        for _ in 0..2 + dice.roll(4) {
            let mut service = world.start("service", &[1], None);
            let mut worker = (dice.roll(2) == 0).then(|| world.start("worker", &[], None));
            let moment = Duration::from_millis(20 + dice.roll(700));
            std::thread::sleep(moment);
            match &mut worker {
                Some(worker) if dice.roll(2) == 0 => {
                    worker.kill();
                    std::thread::sleep(Duration::from_millis(dice.roll(100)));
                    service.kill();
                }
                _ => service.kill(),
            }
            if let Some(status) = service.has_exited() {
                assert!(status.code().is_none_or(|code| code == 0), "{context}\n{}", world.told());
            }
            drop(worker);
            world.survives(&context).await;
        }
        world.finish(&[1], &context).await;
    }
}

#[tokio::test]
async fn processes_killed_at_every_point_of_every_verb_lose_nothing() {
    processes_killed_at_every_point_of_every_verb(World::new()).await;
}

#[tokio::test]
async fn a_prune_killed_at_any_point_removes_jobs_whole() {
    a_prune_killed_at_any_point(World::new()).await;
}

#[tokio::test]
async fn processes_killed_at_random_moments_lose_nothing() {
    processes_killed_at_random_moments(World::new).await;
}

#[tokio::test]
async fn processes_that_are_replaced_lose_nothing() {
    storms::storm(World::new, storms::Weather::Replacement).await;
}

#[tokio::test]
async fn processes_that_freeze_lose_nothing() {
    storms::storm(World::new, storms::Weather::Frost).await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::{World, storms};

    #[tokio::test]
    async fn processes_that_are_replaced_lose_nothing() {
        storms::storm(World::on_postgres, storms::Weather::Replacement).await;
    }

    #[tokio::test]
    async fn processes_that_freeze_lose_nothing() {
        storms::storm(World::on_postgres, storms::Weather::Frost).await;
    }

    #[tokio::test]
    async fn processes_that_are_cut_off_lose_nothing() {
        storms::partitions(World::on_postgres).await;
    }

    #[tokio::test]
    async fn processes_on_islands_lose_nothing() {
        storms::islands(World::on_postgres).await;
    }

    #[tokio::test]
    async fn processes_killed_at_every_point_of_every_verb_lose_nothing() {
        super::processes_killed_at_every_point_of_every_verb(World::on_postgres()).await;
    }

    #[tokio::test]
    async fn a_prune_killed_at_any_point_removes_jobs_whole() {
        super::a_prune_killed_at_any_point(World::on_postgres()).await;
    }

    #[tokio::test]
    async fn processes_killed_at_random_moments_lose_nothing() {
        super::processes_killed_at_random_moments(World::on_postgres).await;
    }
}

#[cfg(feature = "redis")]
mod redis {
    use super::{World, storms};

    #[tokio::test]
    async fn processes_that_are_replaced_lose_nothing() {
        storms::storm(World::on_redis, storms::Weather::Replacement).await;
    }

    #[tokio::test]
    async fn processes_that_freeze_lose_nothing() {
        storms::storm(World::on_redis, storms::Weather::Frost).await;
    }

    #[tokio::test]
    async fn processes_that_are_cut_off_lose_nothing() {
        storms::partitions(World::on_redis).await;
    }

    #[tokio::test]
    async fn processes_on_islands_lose_nothing() {
        storms::islands(World::on_redis).await;
    }

    #[tokio::test]
    async fn servers_that_are_killed_or_freeze_lose_nothing() {
        storms::servers().await;
    }

    #[tokio::test]
    async fn processes_killed_at_every_point_of_every_verb_lose_nothing() {
        super::processes_killed_at_every_point_of_every_verb(World::on_redis()).await;
    }

    #[tokio::test]
    async fn a_prune_killed_at_any_point_removes_jobs_whole() {
        super::a_prune_killed_at_any_point(World::on_redis()).await;
    }

    #[tokio::test]
    async fn processes_killed_at_random_moments_lose_nothing() {
        super::processes_killed_at_random_moments(World::on_redis).await;
    }
}
