//! Clocks that tests turn: `Worker::idle` beside a manual clock, and paused time with a simulated one.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homing::{Clock, Homing, JoinSet, ManualClock, StartError, TaskState, task};

const DAY: Duration = Duration::from_hours(24);

#[task]
async fn remind(days: u64) -> homing::Result<u64> {
    // What goes through tokio's scheduler a few times is easily overlooked.
    for _ in 0..days {
        tokio::task::yield_now().await;
    }
    homing::sleep(DAY * days as u32).await?;
    Ok(days)
}

#[task]
async fn remind_all(days: u64) -> homing::Result<u64> {
    let mut all = JoinSet::new();
    for day in 1..=days {
        all.spawn(remind(day)).await?;
    }
    homing::sleep(DAY).await?;
    Ok(all.join_all().await?.iter().sum())
}

#[task(retries = 3, backoff = "1h..1h")]
async fn fails_twice() -> homing::Result<u64> {
    static TRIES: AtomicU64 = AtomicU64::new(0);
    match TRIES.fetch_add(1, Ordering::SeqCst) {
        tries @ 0..2 => Err(format!("try {tries}"))?,
        tries => Ok(tries),
    }
}

async fn opened() -> (Homing, ManualClock, homing::Worker) {
    let clock = ManualClock::default();
    let homing = Homing::open_with("memory:", Clock::Manual(clock.clone())).await.unwrap();
    let worker = homing.worker().register(remind).register(remind_all).register(fails_twice);
    let worker = worker.concurrency(3).start().await.unwrap();
    (homing, clock, worker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_has_done_everything_that_was_due() {
    let (homing, clock, worker) = opened().await;
    assert_eq!(worker.idle().await, None);
    for _ in 0..50 {
        let start = clock.now();
        let job = homing.submit(remind_all(7)).await.unwrap();
        assert_eq!(worker.idle().await, Some(start.after(DAY)));
        assert_eq!(job.view().await.unwrap().counts.waiting, 8, "the root and its seven children");
        for day in 1..=7 {
            clock.advance(DAY.saturating_sub(Duration::from_micros(1)));
            worker.idle().await;
            assert_eq!(job.view().await.unwrap().counts.ended(), day - 1);
            clock.advance(Duration::from_micros(1));
            worker.idle().await;
            assert!(job.view().await.unwrap().counts.ended() >= day);
        }
        assert_eq!(homing.task(job.id()).await.unwrap().state, TaskState::Succeeded);
        assert_eq!(worker.idle().await, None);
    }
}

#[tokio::test]
async fn the_clock_is_turned_from_one_instant_to_the_next() {
    let (homing, clock, worker) = opened().await;
    let start = clock.now();
    let job = homing.submit(fails_twice()).await.unwrap();
    while let Some(due) = worker.idle().await {
        clock.set(due);
    }
    assert_eq!(job.outcome().await.unwrap(), 2);
    assert!(clock.now().since(start) >= Duration::from_hours(1), "{:?}", clock.now());
}

#[tokio::test]
async fn a_worker_that_has_left_is_idle() {
    let (homing, _clock, worker) = opened().await;
    worker.shutdown(Duration::MAX).await;
    homing.submit(remind(1)).await.unwrap();
    assert_eq!(worker.idle().await, None);
}

#[cfg(feature = "testing")]
#[task]
async fn nap() -> homing::Result<()> {
    Ok(homing::sleep(Duration::from_hours(1)).await?)
}

#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn a_simulated_clock_goes_with_paused_time() {
    let clock = Clock::Simulated(homing::SimulatedClock::starting_now());
    let homing = Homing::open_with("memory:", clock).await.unwrap();
    homing.worker().register(nap).start().await.unwrap();
    let started = tokio::time::Instant::now();
    homing.submit(nap()).await.unwrap().outcome().await.unwrap();
    assert!(started.elapsed() >= Duration::from_hours(1) && started.elapsed() < DAY);
}

/// A store may have a runtime of its own, whose time nobody has paused.
#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn a_simulated_clock_is_not_moved_by_another_runtimes_time() {
    let clock = Clock::Simulated(homing::SimulatedClock::starting_now());
    let (begun, other) = (clock.now(), clock.clone());
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            other.now()
        })
    });
    assert_eq!(elsewhere.join().unwrap(), begun);
    assert_eq!(clock.now(), begun);
}

/// Beside paused time any other clock stands while timers fire at once: a worker would spin.
#[tokio::test(start_paused = true)]
async fn a_worker_does_not_start_in_paused_time_beside_another_clock() {
    for clock in [Clock::System, Clock::Manual(ManualClock::default())] {
        let homing = Homing::open_with("memory:", clock).await.unwrap();
        let refused = homing.worker().register(remind).start().await.unwrap_err();
        assert!(matches!(refused, StartError::PausedTime), "{refused}");
        assert!(refused.to_string().contains("Clock::Simulated"), "{refused}");
    }
    tokio::time::resume();
    let homing = Homing::open_with("memory:", Clock::System).await.unwrap();
    homing.worker().register(remind).start().await.unwrap().shutdown(Duration::ZERO).await;
}

/// Time that is paused once the worker runs is warned of, once. A worker that wakes by a clock which goes says nothing.
#[cfg(feature = "testing")]
#[tokio::test]
async fn a_worker_that_spins_says_so_once() {
    homing::testing::capture::install();
    let error = StartError::PausedTime.to_string();
    let told = || homing::testing::capture::told("error", &error);
    let (homing, clock, worker) = opened().await;
    let job = homing.submit(remind(1)).await.unwrap();
    clock.set(worker.idle().await.unwrap());
    job.outcome().await.unwrap();
    worker.shutdown(Duration::MAX).await;
    assert!(told().is_empty());
    let homing = Homing::open_with("memory:", Clock::System).await.unwrap();
    let _worker = homing.worker().register(remind).start().await.unwrap();
    tokio::time::pause();
    while told().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let told = told();
    assert_eq!((told.len(), told[0].message.as_str()), (1, "the worker spins"));
}

/// A worker asks its store for all there is where there may be something. Though it is never idle, it does so each
/// second, too: a hint may be lost.
#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn a_worker_looks_where_there_may_be_something() {
    use std::sync::Arc;

    use homing::testing::Probe;
    use homing::testing::scripted::Scripted;

    const STEPS: usize = 100;

    #[task]
    async fn busy(pause: Duration) -> homing::Result<()> {
        for _ in 0..STEPS {
            homing::step("work", async || {
                tokio::time::sleep(pause).await;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    let homing =
        Homing::open_with("memory:", Clock::Simulated(homing::SimulatedClock::starting_now()))
            .await
            .unwrap();
    let script = Scripted::over(Arc::clone(homing.store()), Probe::default());
    let homing = Homing::over(script.clone());
    let worker = homing.worker().register(busy).concurrency(2).start().await.unwrap();
    for (pause, bounds) in [(Duration::from_micros(10), 1..5), (Duration::from_millis(100), 9..30)]
    {
        worker.idle().await;
        let before = script.searched().len();
        homing.submit(busy(pause)).await.unwrap().outcome().await.unwrap();
        let searched = script.searched().split_off(before);
        assert!(searched.len() > STEPS, "{searched:?}");
        let looks = searched.iter().filter(|looked| **looked).count();
        assert!(bounds.contains(&looks), "{looks} of {}", searched.len());
        // The submission's hint: the job could not have begun otherwise.
        assert!(searched[..3].contains(&true));
    }
    worker.shutdown(Duration::MAX).await;
}
