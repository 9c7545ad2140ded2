//! What the watcher knows and forgets, by hand and on a store in memory under paused time.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::clock::Clock;
use crate::core::state::State;
use crate::error::Result;
use crate::store::memory::Memory;
use crate::{Homing, task};

#[task]
async fn never(n: u64) -> Result<u64> {
    Ok(n)
}

/// A store on which nobody works.
fn idle() -> Homing {
    Homing::over(Arc::new(Memory::new(Clock::System)))
}

fn settled(state: State) -> Settled {
    Settled { state, outcome: Some("1".to_owned()) }
}

/// Whoever asks one after the other asks the store for none of them, if hints have said how they ended.
#[test]
fn what_is_held_is_known_when_it_is_asked_for() {
    let mut waiting = Waiting::default();
    let [told, found, fell, open] = ["told", "found", "fell", "open"].map(JobId::named);
    waiting.fresh.extend([told, found, fell, open].map(|job| (job, None)));
    let hint = [
        Ended::new(told, State::Succeeded, "1"),
        Ended::unknown(found),
        Ended::unknown(JobId::named("another's")),
    ];
    assert_eq!(hear(&mut waiting, &hint), [found]);
    let mut everything = waiting.everything();
    everything.sort_unstable();
    let mut wanted = [found, fell, open];
    wanted.sort_unstable();
    assert_eq!(everything, wanted, "the outcome of the other is final");
    let rows = [
        (found, settled(State::Succeeded)),
        (fell, settled(State::Failed)),
        (open, Settled { state: State::Running, outcome: None }),
    ];
    settle(&mut waiting, &everything, &Set::default(), Ok(rows.to_vec()));
    let known = settled(State::Succeeded);
    assert_eq!(waiting.fresh.get(&told), Some(&Some(known.clone())));
    assert_eq!(waiting.fresh.get(&found), Some(&Some(known)));
    assert_eq!(waiting.fresh.get(&fell), None, "it may be retried");
    assert_eq!(waiting.fresh.get(&open), Some(&None));
}

/// A job whose submission was committed while it was looked for, because something had changed, was once
/// told to be unknown to whoever asked just then.
#[test]
fn a_job_that_comes_while_it_is_looked_for_is_looked_for_again() {
    let job = JobId::named("new");
    let mut waiting = Waiting::default();
    waiting.fresh.insert(job, None);
    let looked = waiting.everything();
    let asked = waiting.asked_of(&looked);
    let (sender, mut receiver) = oneshot::channel();
    waiting.jobs.insert(job, vec![sender]);
    assert_eq!(settle(&mut waiting, &looked, &asked, Ok(Vec::new())), [job]);
    assert!(receiver.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
}

/// A job that was looked up twice in one batch, new and because another process had committed
/// something, was once told to be unknown while it was open.
#[test]
fn a_job_looked_up_twice_is_still_waited_for() {
    let job = JobId::named("open");
    let (sender, mut receiver) = oneshot::channel();
    let mut waiting = Waiting::default();
    waiting.jobs.insert(job, vec![sender]);
    let open = || Ok(vec![(job, Settled { state: State::Pending, outcome: None })]);
    let asked = waiting.asked_of(&[job]);
    settle(&mut waiting, &[job, job], &asked, open());
    assert!(receiver.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    settle(&mut waiting, &[job, job], &asked, Ok(Vec::new()));
    assert!(matches!(receiver.try_recv(), Ok(Err(Error::Unknown { .. }))));
}

/// Once a retried job's old failure was its new outcome: the hint about it had come late.
#[test]
fn what_may_have_been_retried_is_looked_up() {
    let (job, other) = (JobId::named("retried"), JobId::named("another"));
    let (sender, mut receiver) = oneshot::channel();
    let mut waiting = Waiting::default();
    waiting.jobs.insert(job, vec![sender]);
    for state in [State::Failed, State::Cancelled] {
        let late = [Ended::new(job, state, "{}"), Ended::new(other, state, "{}")];
        assert_eq!(hear(&mut waiting, &late), [job]);
    }
    assert!(receiver.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    assert!(hear(&mut waiting, &[Ended::new(job, State::Succeeded, "1")]).is_empty());
    assert!(matches!(receiver.try_recv(), Ok(Ok(Settled { state: State::Succeeded, .. }))));
}

/// Those who have stopped waiting are forgotten, few or many: a client that asks with a timeout, over and over,
/// would else grow for ever.
#[tokio::test(start_paused = true)]
async fn those_who_stop_waiting_are_forgotten() {
    for waiting in [1, 3 * FEW] {
        let homing = idle();
        let jobs = homing.submit_all((0..waiting as u64).map(never)).await.unwrap();
        for job in &jobs {
            let mut asked = pin!(homing.outcomes.of(job.id()));
            let asked = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_pending()));
            assert!(asked.await, "nobody works");
        }
        let known = || homing.outcomes.waiting().jobs.len();
        assert_eq!(known(), waiting);
        tokio::time::sleep(FORGET + 2 * POLL).await;
        assert_eq!(known(), 0);
    }
}

/// A watcher that missed hints looks at once, not when the next second has passed. Time is paused: it goes on only
/// when there is nothing else to do.
#[tokio::test(start_paused = true)]
async fn hints_that_were_missed_are_made_up_for_at_once() {
    let homing = idle();
    let start = Instant::now();
    let job = homing.submit(never(1)).await.unwrap();
    let mut ended = pin!(job.ended());
    let pending = poll_fn(|cx| Poll::Ready(ended.as_mut().poll(cx).is_pending())).await;
    assert!(pending);
    tokio::task::yield_now().await;
    job.cancel().await.unwrap();
    for n in 0..1000 {
        homing.store().hints().say_ended(vec![Ended::unknown(JobId::named(&n.to_string()))]);
    }
    assert_eq!(ended.await.unwrap(), crate::Status::Cancelled);
    assert_eq!(start.elapsed(), Duration::ZERO, "found by the look of every second");
}

/// A watcher that is never polled, and one whose runtime ends before it is, leave the watch to others.
#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_keeps_is_taken_over() {
    let homing = idle();
    let elsewhere = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let job = {
        let _elsewhere = elsewhere.enter();
        homing.submit(never(1)).await.unwrap()
    };
    job.cancel().await.unwrap();
    assert_eq!(job.ended().await.unwrap(), crate::Status::Cancelled, "taken over");
    elsewhere.shutdown_background();
    let watches = || homing.outcomes.waiting().watches;
    assert_eq!(watches(), 2);
}

/// Those who wait for a watcher whose runtime ends hear of it, and need no patience.
#[tokio::test(start_paused = true)]
async fn those_who_wait_begin_another_watch_at_once() {
    let homing = idle();
    let elsewhere = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let job = {
        let _elsewhere = elsewhere.enter();
        homing.submit(never(1)).await.unwrap()
    };
    let start = Instant::now();
    let mut ended = pin!(job.ended());
    let pending = poll_fn(|cx| Poll::Ready(ended.as_mut().poll(cx).is_pending())).await;
    assert!(pending);
    elsewhere.shutdown_background();
    job.cancel().await.unwrap();
    assert_eq!(ended.await.unwrap(), crate::Status::Cancelled);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// A store that takes longer to answer than anybody waits for a sign is no reason to begin another watch.
#[tokio::test(start_paused = true)]
async fn a_watcher_that_waits_for_the_store_keeps_its_watch() {
    let homing = idle();
    let job = homing.submit(never(1)).await.unwrap();
    let waited = tokio::time::timeout(10 * PATIENCE, job.ended()).await;
    assert!(waited.is_err(), "nobody works");
    assert_eq!(homing.outcomes.waiting().watches, 1);
}

/// A watcher is there for as long as there is anything that it could tell anybody: a handle, or somebody who waits.
#[tokio::test(start_paused = true)]
async fn a_watcher_goes_when_nobody_is_left() {
    let homing = idle();
    let job = homing.submit(never(1)).await.unwrap();
    let watched = || homing.outcomes.waiting().watch.is_some();
    tokio::time::sleep(FORGET + 2 * POLL).await;
    assert!(watched(), "the handle is held");
    drop(job);
    tokio::time::sleep(FORGET + 2 * POLL).await;
    assert!(!watched());
}

#[test]
fn whatever_is_left_is_something_to_watch_for() {
    let job = JobId::named("left");
    assert!(Waiting::default().is_idle());
    let left = [
        Waiting { jobs: [(job, Vec::new())].into_iter().collect(), ..Waiting::default() },
        Waiting { new: [job].into_iter().collect(), ..Waiting::default() },
        Waiting { fresh: [(job, None)].into_iter().collect(), ..Waiting::default() },
    ];
    assert!(left.iter().all(|waiting| !waiting.is_idle()));
}

/// An outcome for which there was no room on the page is no outcome yet.
#[test]
fn an_outcome_that_had_no_room_is_looked_up_again() {
    let job = JobId::named("large");
    let (sender, mut receiver) = oneshot::channel();
    let mut waiting = Waiting::default();
    waiting.jobs.insert(job, vec![sender]);
    let asked = waiting.asked_of(&[job]);
    let found = Settled { outcome: None, ..settled(State::Succeeded) };
    assert_eq!(settle(&mut waiting, &[job], &asked, Ok(vec![(job, found)])), [job]);
    assert!(receiver.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
}

/// A store that is away is asked again; one that refuses is told of to those who wait.
#[test]
fn those_who_wait_are_told_what_no_patience_mends() {
    let job = JobId::named("waited for");
    let mut waiting = Waiting::default();
    let (sender, mut receiver) = oneshot::channel();
    waiting.jobs.insert(job, vec![sender]);
    let asked = waiting.asked_of(&[job]);
    let mut fails = |error| {
        settle(&mut waiting, &[job], &asked, Err(error));
        receiver.try_recv()
    };
    let away = fails(Error::Busy { reason: "away".to_owned() });
    assert_eq!(away.unwrap_err(), oneshot::error::TryRecvError::Empty);
    let refused = fails(Error::Failed { reason: "permission denied".to_owned() });
    assert!(matches!(refused, Ok(Err(Error::Failed { .. }))));
}
