//! A clock that jumps by hours, forth and back, under living workers.

use std::time::Duration;

use homing::{Clock, Homing, ManualClock, TaskState};

use super::service::url;
use super::tasks::{self, Notes};
use super::world::World;

const HOUR: Duration = Duration::from_hours(1);

/// Nothing is taken from a worker that lives, and what is submitted at any of the times is run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_takes_nothing_from_the_living() {
    let (world, clock) = (World::new(), ManualClock::default());
    let notes = Notes::in_directory(world.path());
    let start = clock.now();
    let mut sides = Vec::new();
    for _ in 0..2 {
        let homing = Homing::open_with(&url(world.path()), Clock::Manual(clock.clone())).await;
        let homing = homing.unwrap();
        let worker = tasks::register(homing.worker(), &notes).start().await.unwrap();
        sides.push((homing, worker));
    }
    let homing = &sides[0].0;
    let held = homing.submit(tasks::gated("gate".to_owned())).await.unwrap();
    let began = held.id().to_string();
    world.noted("begun", |note| note.what == "began" && note.subject == began);
    let holder = homing.task(held.id()).await.unwrap().worker;
    for jump in [6, 30, 0, 2, 48, 47] {
        clock.set(if jump == 0 { start.before(24 * HOUR) } else { start.after(jump * HOUR) });
        for (homing, _) in &sides {
            while homing.store().sweep(5).await.unwrap() {}
            let small = homing.submit(tasks::fan(3)).await.unwrap();
            // Jumped back, the clock may take longer than anybody waits to come to what is due.
            let ended = async {
                while !homing.task(small.id()).await.unwrap().state.is_ended() {
                    clock.advance(Duration::from_millis(50));
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
            assert!(ended.is_ok(), "{:#?}", homing.task(small.id()).await);
            assert_eq!(small.outcome().await.unwrap().sum, 3);
            let view = homing.task(held.id()).await.unwrap();
            let seen = (view.state, view.worker, view.crashes);
            assert_eq!(seen, (TaskState::Running, holder, 0), "after a jump to {jump} h");
            assert!(homing.check().await.unwrap().is_empty());
        }
    }
    notes.raise("gate");
    held.outcome().await.unwrap();
    let began = |note: &&super::world::Note| note.what == "began" && note.subject == began;
    assert_eq!(world.notes().iter().filter(began).count(), 1);
}
