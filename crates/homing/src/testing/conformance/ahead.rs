//! What workers fetch ahead of their slots: in turn, given back in time, and never held against a task.

use std::time::Duration;

use super::Lab;
use super::by_hand::ByHand;
use super::waits::leaf;
use super::workers::Staged;
use crate::core::id::TaskId;
use crate::limits;
use crate::store::{Claimed, End, Event, Unit};
use crate::testing::Probe;
use crate::testing::scripted::Turn;
use crate::{JobHandle, Result, State, TaskState, Worker, task};

#[task]
async fn held(n: u64, State(probe): State<Probe>) -> Result<u64> {
    probe.hit(&format!("held {n}"));
    probe.hit("held");
    probe.pass(&format!("held {n}")).await;
    Ok(n)
}

fn unit(claimed: &Claimed, events: Vec<Event>) -> Unit {
    Unit { task: claimed.task, token: claimed.token, renew: false, events }
}

fn ending() -> Event {
    Event::End(End::Succeeded("0".to_owned()))
}

async fn leaves(lab: &Lab, count: u64) -> Vec<JobHandle<u64>> {
    lab.homing.submit_all((0..count).map(leaf)).await.unwrap()
}

/// The first begin at once, the others later; by priority and due time.
pub async fn what_is_fetched_ahead_is_in_turn(lab: Lab) {
    let low = lab.homing.submit(leaf(1).priority(-1)).await.unwrap();
    let first = lab.homing.submit(leaf(2)).await.unwrap();
    lab.advance(Duration::from_secs(1)).await;
    let second = lab.homing.submit(leaf(3)).await.unwrap();
    let high = lab.homing.submit(leaf(4).priority(1)).await.unwrap();
    let later =
        lab.homing.submit(leaf(5).priority(2).delay(Duration::from_hours(1))).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let claimed = worker.claim((2, 3), &["leaf"], Vec::new()).await.claimed;
    let mut claimed: Vec<_> = claimed.iter().collect();
    claimed.sort_by_key(|task| (task.token.is_ahead(), -task.priority, task.due));
    let got: Vec<_> = claimed.iter().map(|task| (task.task, task.token.is_ahead())).collect();
    let ids = [&high, &first, &second, &low].map(|job| job.id().root());
    assert_eq!(got, [(ids[0], false), (ids[1], false), (ids[2], true), (ids[3], true)]);
    let units = claimed.iter().map(|task| unit(task, vec![ending()])).collect();
    assert!(worker.exchange(&[], units).await.refused.is_empty());
    assert_eq!(lab.homing.task(later.id()).await.unwrap().state, TaskState::Pending);
    lab.close([]).await;
}

/// A worker dies: what it had fetched ahead may have begun or not. It counts no crash, and begins at once next
/// time; then its crash is known.
pub async fn g11_what_had_not_begun_has_crashed_nobody(lab: Lab) {
    let job = leaves(&lab, 1).await.remove(0);
    let view = async || lab.homing.task(job.id()).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let claimed = worker.claim((0, 5), &["leaf"], Vec::new()).await.claimed;
    assert!(claimed[0].token.is_ahead());
    lab.give_up(worker.worker).await;
    assert_eq!((view().await.state, view().await.crashes), (TaskState::Pending, 0));
    let mut worker = ByHand::new(&lab).await;
    let reply = worker.claim((0, 5), &["leaf"], Vec::new()).await;
    assert_eq!((reply.claimed.len(), reply.left), (0, true), "it waits for a slot of its own");
    let claimed = worker.claim((1, 5), &["leaf"], Vec::new()).await.claimed;
    assert!(!claimed[0].token.is_ahead());
    lab.give_up(worker.worker).await;
    assert_eq!((view().await.state, view().await.crashes), (TaskState::Pending, 1));
    // What it records is progress: it may be fetched ahead again.
    let mut worker = ByHand::new(&lab).await;
    let claimed = worker.claim((1, 0), &["leaf"], Vec::new()).await.claimed.remove(0);
    let progress = Event::Progress { done: 1, total: 2 };
    let renewed = Unit { renew: true, ..unit(&claimed, vec![progress, Event::HandBack]) };
    worker.claim((0, 0), &["leaf"], vec![renewed]).await;
    let claimed = worker.claim((0, 1), &["leaf"], Vec::new()).await.claimed.remove(0);
    assert!(claimed.token.is_ahead());
    assert!(worker.exchange(&[], vec![unit(&claimed, vec![ending()])]).await.refused.is_empty());
    lab.close([]).await;
}

/// A task that has crashed its worker is not fetched ahead, however often.
pub async fn suspects_are_not_fetched_ahead(lab: Lab) {
    leaves(&lab, 1).await;
    for crashes in 0..3 {
        let mut worker = ByHand::new(&lab).await;
        if crashes > 0 {
            let reply = worker.claim((0, 3), &["leaf"], Vec::new()).await;
            assert_eq!((reply.claimed.len(), reply.left), (0, true), "after {crashes} crashes");
        }
        let claimed = worker.claim((1, 3), &["leaf"], Vec::new()).await.claimed;
        assert_eq!((claimed[0].crashes, claimed[0].token.is_ahead()), (crashes, false));
        lab.give_up(worker.worker).await;
    }
    let worker = lab.worker().register(leaf).start().await.unwrap();
    lab.close([worker]).await;
}

/// Given back, a task is as due as it was, and has spent nothing.
pub async fn what_was_fetched_ahead_goes_back_as_it_was(lab: Lab) {
    let job = leaves(&lab, 1).await.remove(0);
    let before = lab.homing.task(job.id()).await.unwrap();
    lab.advance(Duration::from_secs(3)).await;
    let mut worker = ByHand::new(&lab).await;
    let claimed = worker.claim((0, 1), &["leaf"], Vec::new()).await.claimed.remove(0);
    assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Running);
    worker.claim((0, 0), &["leaf"], vec![unit(&claimed, vec![Event::HandBack])]).await;
    let after = lab.homing.task(job.id()).await.unwrap();
    assert_eq!((after.state, after.due, after.attempt), (TaskState::Pending, before.due, 1));
    assert_eq!((after.crashes, after.failures, after.stalls), (0, 0, 0));
    let worker = lab.worker().register(leaf).start().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 0);
    lab.close([worker]).await;
}

/// A task that has not begun expires, though a worker has fetched it: as soon as that worker gives it back. One that
/// has begun does not.
pub async fn what_was_fetched_ahead_expires(lab: Lab) {
    let minute = Duration::from_mins(1);
    let jobs: Vec<_> = [leaf(1), leaf(2), leaf(3)].map(|call| call.expires(minute)).into();
    let jobs = lab.homing.submit_all(jobs).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let mut claimed = worker.claim((0, 3), &["leaf"], Vec::new()).await.claimed;
    claimed.sort_by_key(|claimed| claimed.task);
    let by_job = |job: &JobHandle<u64>| {
        claimed.iter().find(|claimed| claimed.task == job.id().root()).unwrap()
    };
    let due = claimed[0].not_after.unwrap();
    assert_eq!(due, lab.store().clock().now().after(minute));
    let begun = unit(by_job(&jobs[1]), vec![Event::Progress { done: 1, total: 2 }]);
    worker.claim((0, 0), &["leaf"], vec![begun]).await;
    for _ in 0..20 {
        lab.advance(minute / 10).await;
        worker.beat(false).await;
    }
    while lab.store().sweep(5).await.unwrap() {}
    for job in &jobs {
        // Whoever waits for it is not told that it expired: it may have begun.
        assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Running);
    }
    let units = vec![
        unit(by_job(&jobs[0]), vec![Event::HandBack]),
        unit(by_job(&jobs[1]), vec![ending()]),
        unit(by_job(&jobs[2]), vec![ending()]),
    ];
    assert!(worker.claim((0, 0), &["leaf"], units).await.refused.is_empty());
    while lab.store().sweep(5).await.unwrap() {}
    let states = [TaskState::Failed, TaskState::Succeeded, TaskState::Succeeded];
    for (job, state) in jobs.iter().zip(states) {
        assert_eq!(lab.homing.task(job.id()).await.unwrap().state, state);
    }
    assert!(lab.homing.task(jobs[2].id()).await.unwrap().started.is_some());
    lab.close([]).await;
}

/// With short tasks a worker asks for more than it has slots; in the end each has run once.
pub async fn short_tasks_are_fetched_ahead(lab: Lab) {
    let staged = Staged::of(&lab);
    let jobs = leaves(&lab, 500).await;
    let worker = staged.worker(&lab).register(leaf).concurrency(2).start().await.unwrap();
    for (n, job) in jobs.into_iter().enumerate() {
        assert_eq!(job.outcome().await.unwrap(), n as u64);
    }
    let asked = staged.script.asked();
    assert!(asked.iter().any(|(_, ahead)| *ahead > 2), "{asked:?}");
    lab.close([worker]).await;
}

/// With tasks that hold their slots for long a worker asks for as many as it has slots.
pub async fn long_tasks_are_not_fetched_ahead(lab: Lab) {
    let staged = Staged::of(&lab);
    let jobs = lab.homing.submit_all((0..12).map(held)).await.unwrap();
    let builder = staged.worker(&lab).register(held).concurrency(2);
    let worker = builder.start().await.unwrap();
    let mut opened = Vec::new();
    while opened.len() < 12 {
        lab.probe.hits("held", opened.len() as u64 + 2).await;
        lab.clock.advance(limits::SHORT);
        let begun = |n: &u64| lab.probe.count(&format!("held {n}")) > 0 && !opened.contains(n);
        let begun: Vec<u64> = (0..12).filter(begun).collect();
        for n in &begun {
            lab.probe.open(&format!("held {n}"));
        }
        opened.extend(begun);
    }
    for job in jobs {
        job.outcome().await.unwrap();
    }
    let asked = staged.script.asked();
    assert!(asked.iter().all(|(tasks, ahead)| *tasks <= 2 && *ahead == 0), "{asked:?}");
    lab.close([worker]).await;
}

/// A worker of two slots, which reaches the store by a script.
async fn of_two_slots(lab: &Lab, staged: &Staged) -> Worker {
    let builder = staged.worker(lab).register(held).register(leaf).concurrency(2);
    builder.start().await.unwrap()
}

/// A worker of two slots that runs two tasks and has fetched others ahead; those that run, and those that wait.
async fn behind(lab: &Lab, staged: &Staged) -> (Worker, Vec<TaskId>, Vec<TaskId>) {
    let worker = of_two_slots(lab, staged).await;
    lab.homing.submit_all((8..10).map(held)).await.unwrap();
    lab.probe.hits("held", 2).await;
    let jobs = lab.homing.submit_all((0..8).map(held)).await.unwrap();
    // Slots get free while an exchange is in flight: the worker expects the same of the next one.
    staged.script.always("exchange", Turn::Late("reply"));
    let before = staged.script.asked().len();
    lab.probe.open("held 8");
    until(staged, "in flight", |asked| asked.len() > before).await;
    lab.probe.open("held 9");
    until(staged, "free", |_| worker.running() == 0).await;
    staged.script.always("exchange", Turn::Passes);
    lab.probe.open("reply");
    lab.probe.hits("held", 4).await;
    // An exchange that asks for nothing comes after the replies to those that did.
    until(staged, "at rest", |asked| asked.last() == Some(&(0, 0))).await;
    let (mut begun, mut waiting) = (Vec::new(), Vec::new());
    for (n, job) in jobs.iter().enumerate() {
        let task = lab.homing.task(job.id()).await.unwrap();
        if lab.probe.count(&format!("held {n}")) > 0 {
            begun.push(task.id);
        } else if task.state == TaskState::Running {
            assert_eq!(task.worker, Some(worker.id()));
            waiting.push(task.id);
        }
    }
    assert_eq!(begun.len(), 2, "a worker begins as many tasks as it has slots");
    assert!(!waiting.is_empty(), "{:?}", staged.script.asked());
    (worker, begun, waiting)
}

/// Waits until the worker has asked for something, for 15 seconds at most.
async fn until(staged: &Staged, what: &str, holds: impl Fn(&[(usize, usize)]) -> bool) {
    for _ in 0..7_000 {
        if holds(&staged.script.asked()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not {what}: {:?}", staged.script.asked())
}

fn open_all(lab: &Lab) {
    (0..11).for_each(|n| lab.probe.open(&format!("held {n}")));
}

/// A shutdown gives back at once what has not begun, and lets what runs come to its end.
pub async fn a_shutdown_gives_back_what_has_not_begun(lab: Lab) {
    let staged = Staged::of(&lab);
    let (worker, begun, waiting) = behind(&lab, &staged).await;
    let leaves = tokio::spawn(async move { worker.shutdown(Duration::from_mins(1)).await });
    for task in &waiting {
        let view = lab.reaches(*task, TaskState::Pending).await;
        assert_eq!((view.attempt, view.crashes), (1, 0));
    }
    for task in begun {
        assert_eq!(lab.homing.task(task).await.unwrap().state, TaskState::Running);
    }
    open_all(&lab);
    leaves.await.unwrap();
    let second = of_two_slots(&lab, &staged).await;
    for task in waiting {
        lab.reaches(task, TaskState::Succeeded).await;
    }
    lab.close([second]).await;
}

/// A worker whose slots do not get free gives back what it has fetched, for another that has some.
pub async fn a_worker_that_falls_behind_gives_back(lab: Lab) {
    let staged = Staged::of(&lab);
    let (worker, begun, waiting) = behind(&lab, &staged).await;
    let second = lab.worker().register(held).concurrency(100).start().await.unwrap();
    lab.clock.advance(limits::AHEAD);
    for task in &waiting {
        lab.observe(*task, "with the other", |view| view.worker == Some(second.id())).await;
    }
    for task in begun {
        assert_eq!(lab.homing.task(task).await.unwrap().worker, Some(worker.id()));
    }
    open_all(&lab);
    for task in waiting {
        let view = lab.reaches(task, TaskState::Succeeded).await;
        assert_eq!((view.attempt, view.crashes), (1, 0));
    }
    lab.close([worker, second]).await;
}

/// A worker of one slot that has left something which must begin at once goes on with what it has fetched, if that
/// is better.
pub async fn the_only_slot_is_for_the_best(lab: Lab) {
    let staged = Staged::of(&lab);
    let last = lab.homing.submit(held(10).priority(-1)).await.unwrap();
    let mut other = ByHand::new(&lab).await;
    other.claim((1, 0), &["held"], Vec::new()).await;
    lab.give_up(other.worker).await;
    lab.homing.submit(held(8)).await.unwrap();
    let worker = staged.worker(&lab).register(held).concurrency(1).start().await.unwrap();
    lab.probe.hits("held 8", 1).await;
    let jobs = lab.homing.submit_all((0..8).map(held)).await.unwrap();
    staged.script.always("exchange", Turn::Late("reply"));
    let before = staged.script.asked().len();
    until(&staged, "in flight", |asked| asked.len() > before).await;
    lab.probe.open("held 8");
    until(&staged, "free", |_| worker.running() == 0).await;
    staged.script.always("exchange", Turn::Passes);
    lab.probe.open("reply");
    lab.probe.hits("held", 2).await;
    let asked = staged.script.asked();
    assert!(asked.iter().any(|(_, ahead)| *ahead > 0), "{asked:?}");
    let best = (0..8).min_by_key(|n| jobs[*n].id().root()).unwrap();
    assert_eq!(lab.probe.count(&format!("held {best}")), 1, "{asked:?}");
    open_all(&lab);
    assert_eq!(last.outcome().await.unwrap(), 10);
    lab.close([worker]).await;
}

/// A lost reply makes no slot free: what was claimed under it is handed out again, and counts by its sort.
pub async fn a_lost_reply_makes_no_slot_free(lab: Lab) {
    leaves(&lab, 5).await;
    let mut dies = ByHand::new(&lab).await;
    dies.claim((0, 5), &["leaf"], Vec::new()).await;
    lab.give_up(dies.worker).await;
    leaves(&lab, 2).await;
    let mut worker = ByHand::new(&lab).await;
    let sorts = |reply: &crate::store::Reply| {
        let ahead = reply.claimed.iter().filter(|claimed| claimed.token.is_ahead()).count();
        (reply.claimed.len() - ahead, ahead)
    };
    let first = worker.claim((1, 10), &["leaf"], Vec::new()).await;
    assert_eq!(sorts(&first), (1, 2));
    leaves(&lab, 3).await;
    for ahead in [5, 5] {
        let again = worker.again((1, 10), &["leaf"], Vec::new()).await;
        assert_eq!(
            sorts(&again),
            (1, ahead),
            "five more must begin at once, and there is one slot"
        );
    }
    lab.close([]).await;
}

/// What has begun does not expire, though its worker had fetched it ahead and gives it back, or dies.
pub async fn what_has_begun_does_not_expire(lab: Lab) {
    let staged = Staged::of(&lab);
    let (worker, begun, _) = behind(&lab, &staged).await;
    let minute = Duration::from_mins(1);
    let job = lab.homing.submit(held(10).priority(5).expires(minute)).await.unwrap();
    // It is fetched ahead as the others were.
    staged.script.always("exchange", Turn::Late("again"));
    let before = staged.script.asked().len();
    let numbers: Vec<u64> = (0..8).filter(|n| lab.probe.count(&format!("held {n}")) > 0).collect();
    assert_eq!(numbers.len(), begun.len());
    lab.probe.open(&format!("held {}", numbers[0]));
    until(&staged, "in flight", |asked| asked.len() > before).await;
    lab.probe.open(&format!("held {}", numbers[1]));
    lab.probe.hits("held", 6).await;
    staged.script.always("exchange", Turn::Passes);
    lab.probe.open("again");
    open_all_but(&lab, 10);
    lab.probe.hits("held 10", 1).await;
    lab.observe(job.id(), "begun", |view| view.started.is_some()).await;
    worker.shutdown(Duration::ZERO).await;
    for _ in 0..20 {
        lab.advance(minute / 10).await;
    }
    while lab.store().sweep(5).await.unwrap() {}
    assert_eq!(lab.homing.task(job.id()).await.unwrap().state, TaskState::Pending);
    let second = of_two_slots(&lab, &staged).await;
    open_all(&lab);
    assert_eq!(job.outcome().await.unwrap(), 10);
    lab.close([second]).await;
}

fn open_all_but(lab: &Lab, kept: u64) {
    (0..11).filter(|n| *n != kept).for_each(|n| lab.probe.open(&format!("held {n}")));
}

/// A task that has crashed its worker is never fetched ahead. When its turn is first, the next free slot is its own.
pub async fn what_was_fetched_ahead_starves_nobody(lab: Lab) {
    let staged = Staged::of(&lab);
    let (worker, _, waiting) = behind(&lab, &staged).await;
    let first = lab.homing.submit(held(10).priority(5)).await.unwrap();
    let mut other = ByHand::new(&lab).await;
    other.claim((1, 0), &["held"], Vec::new()).await;
    lab.give_up(other.worker).await;
    assert_eq!(lab.homing.task(first.id()).await.unwrap().crashes, 1);
    // All but two of those that run or wait end while an exchange is in flight: so many are expected again.
    staged.script.always("exchange", Turn::Late("again"));
    let before = staged.script.asked().len();
    let mut open: Vec<u64> = vec![8, 9];
    let begun = |open: &[u64]| {
        let is_new = |n: &u64| lab.probe.count(&format!("held {n}")) > 0 && !open.contains(n);
        (0..10).find(is_new)
    };
    for ended in 0..waiting.len() as u64 {
        lab.probe.hits("held", 4 + ended).await;
        let next = begun(&open).unwrap();
        lab.probe.open(&format!("held {next}"));
        open.push(next);
        until(&staged, "in flight", |asked| asked.len() > before).await;
    }
    let hits = 4 + waiting.len() as u64;
    lab.probe.hits("held", hits).await;
    staged.script.always("exchange", Turn::Passes);
    let before = staged.script.asked().len();
    lab.probe.open("again");
    until(&staged, "ahead", |asked| asked[before..].iter().any(|(_, ahead)| *ahead > 0)).await;
    lab.probe.open(&format!("held {}", begun(&open).unwrap()));
    lab.probe.hits("held", hits + 1).await;
    assert_eq!(lab.probe.count("held 10"), 1, "{:?}", staged.script.asked());
    open_all(&lab);
    lab.close([worker]).await;
}

/// What is cancelled before it has begun never does.
pub async fn cancelled_tasks_are_not_begun(lab: Lab) {
    let staged = Staged::of(&lab);
    let (worker, _, waiting) = behind(&lab, &staged).await;
    let begun = lab.probe.count("held");
    for task in &waiting {
        lab.homing.cancel(*task).await.unwrap();
    }
    // The worker hears of it in the reply to its next exchange, and has dealt with that before the one after.
    let before = staged.script.asked().len();
    until(&staged, "told", |asked| asked.len() >= before + 2).await;
    let others = 8 - 2 - waiting.len() as u64;
    open_all(&lab);
    lab.probe.hits("held", begun + others).await;
    lab.close([worker]).await;
}

/// A worker is killed: none of the tasks that waited in it has crashed it.
pub async fn g11_a_dead_worker_is_crashed_by_nothing_that_waited(lab: Lab) {
    let staged = Staged::of(&lab);
    let (worker, begun, waiting) = behind(&lab, &staged).await;
    let id = worker.id();
    worker.kill().await;
    lab.give_up(id).await;
    for task in waiting.iter().chain(&begun) {
        let view = lab.homing.task(*task).await.unwrap();
        assert_eq!((view.state, view.attempt), (TaskState::Pending, 1));
        assert!(view.crashes == 0 || !waiting.contains(task), "{view:#?}");
    }
    open_all(&lab);
    let second = of_two_slots(&lab, &staged).await;
    for task in waiting.into_iter().chain(begun) {
        lab.reaches(task, TaskState::Succeeded).await;
    }
    lab.close([second]).await;
}
