//! What people ask of a running store: how many, which ones, why.

use std::time::Duration;

use super::growing::{Plan, member, plan};
use super::waits::{failing, gated, leaf};
use super::{Lab, children};
use crate::core::time::Time;
use crate::testing::Probe;
use crate::{
    Because, JoinSet, Reason, Result, Retention, State, TaskState, Why, limits, log, task,
};

#[task(retries = 0)]
async fn mixed() -> Result<()> {
    let mut set = JoinSet::new();
    for n in 0..4 {
        set.spawn(gated(n)).await?;
    }
    set.spawn(failing(4)).await?;
    set.spawn(leaf(5)).await?;
    set.spawn(leaf(6).queue("nobody")).await?;
    set.join_settled().await?;
    Ok(())
}

/// A task's children are counted, and found by their state.
pub async fn children_are_counted_and_found_by_state(lab: Lab) {
    let worker = lab.worker().register(mixed).register(gated).register(failing).register(leaf);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(mixed()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let all = children(&lab, job.id()).await;
    for (n, state) in [(0, TaskState::Running), (4, TaskState::Failed), (5, TaskState::Succeeded)] {
        lab.reaches(all[n].id, state).await;
    }
    lab.homing.cancel(all[3].id).await.unwrap();
    lab.probe.open("gate 2");
    lab.reaches(all[2].id, TaskState::Succeeded).await;
    lab.reaches(all[1].id, TaskState::Running).await;
    let counts = lab.homing.task(job.id()).await.unwrap().children;
    assert_eq!((counts.spawned, counts.open(), counts.ended()), (7, 3, 4));
    assert_eq!((counts.succeeded, counts.failed, counts.cancelled), (2, 1, 1));
    let expected = [
        (TaskState::Pending, vec![6]),
        (TaskState::Running, vec![0, 1]),
        (TaskState::Waiting, vec![]),
        (TaskState::Succeeded, vec![2, 5]),
        (TaskState::Failed, vec![4]),
        (TaskState::Cancelled, vec![3]),
    ];
    for (state, numbers) in expected {
        let mut found = lab.homing.children_in(job.id(), state, 10).await.unwrap();
        found.sort_by_key(|child| child.set);
        let wanted: Vec<_> = numbers.iter().map(|n: &usize| all[*n].id).collect();
        assert_eq!(found.iter().map(|child| child.id).collect::<Vec<_>>(), wanted, "{state}");
    }
    assert_eq!(lab.homing.children_in(job.id(), TaskState::Running, 1).await.unwrap().len(), 1);
    job.cancel().await.unwrap();
    lab.close([worker]).await;
}

#[task]
async fn two_sets(plans: Vec<Plan>) -> Result<u64> {
    let mut alone = JoinSet::named("alone");
    for n in 0..3 {
        alone.spawn(leaf(n)).await?;
    }
    let mut set = JoinSet::named("growing").growing();
    for plan in plans {
        set.spawn(member(plan)).await?;
    }
    Ok((alone.join_all().await?.len() + set.join_all().await?.len()) as u64)
}

/// A set's children are read by their place in it, those that other members have added behind the body's own.
pub async fn sets_have_windows(lab: Lab) {
    let worker = lab.worker().register(two_sets).register(leaf).register(member);
    let worker = worker.start().await.unwrap();
    let plans = vec![plan(0, []), plan(1, [plan(10, []), plan(11, [])]), plan(2, [])];
    let job = lab.homing.submit(two_sets(plans)).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 8);
    let homing = &lab.homing;
    let sets = homing.sets(job.id(), None, 10).await.unwrap();
    let mut counts: Vec<_> = sets.iter().map(|set| (set.children.spawned, set.own)).collect();
    counts.sort_unstable();
    assert_eq!(counts, [(3, 3), (5, 3)]);
    // By pages, too.
    let first = homing.sets(job.id(), None, 1).await.unwrap();
    let second = homing.sets(job.id(), Some(first[0].key), 1).await.unwrap();
    assert_eq!([&first[..], &second[..]].concat(), sets);
    assert_eq!(homing.sets(job.id(), Some(second[0].key), 1).await.unwrap(), []);
    let grown = sets.iter().find(|set| set.children.spawned == 5).unwrap();
    let key = grown.key.to_string().parse().unwrap();
    let whole = homing.window(job.id(), key, 0, 10).await.unwrap();
    let values: Vec<_> = whole.iter().map(|task| task.value.clone().unwrap()).collect();
    assert_eq!(values, ["0", "1", "2", "10", "11"]);
    assert!(whole.iter().all(|task| task.place().map(|(set, _)| set) == Some(key)));
    for (from, limit) in [(0, 2), (1, 3), (2, 2), (3, 1), (4, 9), (5, 9), (1 << 40, 1)] {
        let window = homing.window(job.id(), key, from, limit).await.unwrap();
        let wanted = whole.iter().skip(usize::try_from(from).unwrap()).take(limit).cloned();
        assert_eq!(window, wanted.collect::<Vec<_>>(), "{limit} from {from} on");
    }
    let unknown = "0123".repeat(8).parse().unwrap();
    assert_eq!(homing.window(job.id(), unknown, 0, 10).await.unwrap(), []);
    lab.close([worker]).await;
}

#[task]
async fn talkative(lines: u64) -> Result<()> {
    for n in 0..lines {
        log!("line {n}");
    }
    Ok(())
}

/// A log can be read from its end.
pub async fn the_last_lines_of_a_log(lab: Lab) {
    let worker = lab.worker().register(talkative).start().await.unwrap();
    let job = lab.homing.submit(talkative(9)).await.unwrap();
    job.outcome().await.unwrap();
    for (wanted, first) in [(2, "line 7"), (9, "line 0"), (100, "line 0")] {
        let lines = job.log().last(wanted).await.unwrap().page().await.unwrap();
        assert_eq!(lines[0].message, first);
        assert_eq!(lines.len() as u64, wanted.min(9));
    }
    let quiet = lab.homing.submit(talkative(0)).await.unwrap();
    quiet.outcome().await.unwrap();
    assert!(quiet.log().last(5).await.unwrap().page().await.unwrap().is_empty());
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn waits_for_children(State(probe): State<Probe>) -> Result<()> {
    let mut pages = JoinSet::named("pages");
    for n in 0..8 {
        pages.spawn(gated(n)).await?;
    }
    probe.hit("spawned");
    pages.join_all().timeout(Duration::from_hours(1)).await?;
    Ok(())
}

#[task(retries = 0)]
async fn waits_for_one() -> Result<u64> {
    Ok(crate::spawn(gated(9)).await?.await?)
}

#[task(retries = 0)]
async fn waits_for_a_signal() -> Result<u64> {
    Ok(crate::signal::<u64>("approve").await?)
}

async fn why(lab: &Lab, id: impl Into<crate::TaskId>) -> Why {
    lab.homing.why(id).await.unwrap()
}

/// A parked task says what it waits for, and which children are open.
pub async fn parked_tasks_say_what_they_wait_for(lab: Lab) {
    let worker = lab.worker().register(waits_for_children).register(waits_for_one);
    let worker = worker.register(waits_for_a_signal).register(gated).start().await.unwrap();
    let many = lab.homing.submit(waits_for_children()).await.unwrap();
    lab.reaches(many.id(), TaskState::Waiting).await;
    lab.probe.open("gate 0");
    let first = children(&lab, many.id()).await.remove(0);
    lab.reaches(first.id, TaskState::Succeeded).await;
    let told = why(&lab, many.id()).await;
    let Because::Children { place, counts, ended, failed, some_failed, some_open, .. } =
        &told.because[0]
    else {
        panic!("{told:#?}")
    };
    assert!(place.contains("pages") && place.contains("join_all"), "{place}");
    assert_eq!((counts.spawned, counts.succeeded, counts.open()), (8, 1, 7));
    assert_eq!((*ended, *failed), (Some(8), Some(1)));
    assert!(some_failed.is_empty());
    let open: Vec<_> = some_open.iter().map(|child| child.set.unwrap().1).collect();
    assert_eq!(open, [1, 2, 3, 4, 5]);
    let later = lab.homing.now() + Duration::from_secs(3599);
    assert!(
        matches!(&told.because[1], Because::Until { time, .. } if *time > Time::from(later)),
        "{told:#?}"
    );

    let one = lab.homing.submit(waits_for_one()).await.unwrap();
    let signal = lab.homing.submit(waits_for_a_signal()).await.unwrap();
    lab.reaches(signal.id(), TaskState::Waiting).await;
    let told = why(&lab, signal.id()).await;
    assert!(matches!(&told.because[0], Because::Signal { name, .. } if name == "approve"));
    lab.reaches(one.id(), TaskState::Waiting).await;
    let told = why(&lab, one.id()).await;
    let [Because::Child { child, .. }] = &told.because[..] else { panic!("{told:#?}") };
    assert_eq!(child.id, children(&lab, one.id()).await[0].id);
    many.cancel().await.unwrap();
    one.cancel().await.unwrap();
    signal.cancel().await.unwrap();
    lab.close([worker]).await;
}

#[task(retries = 2, backoff = "10m")]
async fn flaky() -> Result<()> {
    Err(crate::Error::msg("the feed is down"))
}

/// A pending task says what keeps it from running.
pub async fn pending_tasks_say_what_keeps_them(lab: Lab) {
    let nobody = lab.homing.submit(leaf(1)).await.unwrap();
    assert!(matches!(&why(&lab, nobody.id()).await.because[..],
        [Because::NoWorker { queue }] if queue == "default"));
    let worker = lab.worker().register(flaky).queues(["default", "other"]).start().await.unwrap();
    assert!(matches!(&why(&lab, nobody.id()).await.because[..],
        [Because::NoKind { kind, known: false, .. }] if kind == "leaf"));
    let later = lab.homing.submit(flaky().delay(Duration::from_mins(5)).queue("other"));
    let later = later.await.unwrap();
    assert!(matches!(&why(&lab, later.id()).await.because[..], [Because::Scheduled { .. }]));
    let retried = lab.homing.submit(flaky()).await.unwrap();
    lab.observe(retried.id(), "retried", |view| view.failures == 1).await;
    assert!(matches!(&why(&lab, retried.id()).await.because[0],
        Because::Retrying { reason: Some(reason), failures: 1, .. } if reason.contains("feed")));
    lab.homing.pause("other").await.unwrap();
    let deadline = flaky().queue("other").deadline(Duration::from_hours(1));
    let held = lab.homing.submit(deadline.expires(Duration::from_mins(1))).await.unwrap();
    assert!(matches!(
        &why(&lab, held.id()).await.because[..],
        [Because::Paused { .. }, Because::Expires { .. }, Because::Deadline { .. }]
    ));
    lab.close([worker]).await;
}

#[task(kind = "drifting")]
async fn before() -> Result<()> {
    crate::spawn(leaf(1)).await?.await?;
    Ok(crate::signal::<()>("go").await?)
}

#[task(kind = "drifting")]
async fn after() -> Result<()> {
    crate::spawn(leaf(2)).await?.await?;
    Ok(crate::signal::<()>("go").await?)
}

/// A task that stands still says what drifted.
pub async fn a_standing_task_says_what_drifted(lab: Lab) {
    let first = lab.worker().register(before).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(before()).await.unwrap();
    let parked =
        |view: &crate::TaskView| view.state == TaskState::Waiting && view.children.succeeded == 1;
    lab.observe(job.id(), "parked", parked).await;
    first.shutdown(Duration::from_secs(1)).await;
    let second = lab.worker().register(after).register(leaf).start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    lab.turning(lab.observe(job.id(), "stalled", |view| view.stalls > 0)).await;
    let told = why(&lab, job.id()).await;
    assert!(
        matches!(&told.because[0], Because::Drift { reason, .. } if reason.contains("leaf")),
        "{told:#?}"
    );
    lab.close([second]).await;
}

#[task(retries = 0)]
async fn fails_by_a_child() -> Result<u64> {
    Ok(crate::spawn(failing(3)).await?.await?)
}

/// What has ended says why, down to the child that failed.
pub async fn ended_tasks_say_why(lab: Lab) {
    let worker = lab.worker().register(fails_by_a_child).register(failing).register(leaf);
    let worker = worker.start().await.unwrap();
    let failed = lab.homing.submit(fails_by_a_child()).await.unwrap();
    failed.outcome().await.unwrap_err();
    let told = why(&lab, failed.id()).await;
    let Because::Failed { some_failed, .. } = &told.because[0] else { panic!("{told:#?}") };
    assert_eq!(some_failed.len(), 1);
    let told = why(&lab, some_failed[0].id).await;
    assert!(matches!(&told.because[..],
        [Because::Failed { failure, some_failed }]
            if failure.reason == Reason::Error && failure.message == "no 3" && some_failed.is_empty()));
    let good = lab.homing.submit(leaf(1)).await.unwrap();
    good.outcome().await.unwrap();
    assert!(matches!(why(&lab, good.id()).await.because[..], [Because::Succeeded]));
    let cancelled = lab.homing.submit(leaf(1).queue("nobody")).await.unwrap();
    cancelled.cancel().await.unwrap();
    assert!(matches!(&why(&lab, cancelled.id()).await.because[..],
        [Because::Cancelled { failure }] if failure.message.contains("somebody")));
    assert!(lab.homing.why(crate::JobId::named("nobody")).await.is_err());
    lab.close([worker]).await;
}

/// A worker that died is told as dead until somebody takes over.
pub async fn dead_workers_are_told(lab: Lab) {
    let worker = lab.worker().register(gated).lease(limits::LEASE).start().await.unwrap();
    let job = lab.homing.submit(gated(0)).await.unwrap();
    lab.reaches(job.id(), TaskState::Running).await;
    assert!(matches!(&why(&lab, job.id()).await.because[..],
        [Because::Running { worker: Some(view) }] if view.alive && view.id == worker.id()));
    worker.kill().await;
    let told = why(&lab, job.id()).await;
    assert!(
        matches!(&told.because[..], [Because::Running { worker: Some(view) }] if !view.alive),
        "{told:#?}"
    );
    job.cancel().await.unwrap();
    lab.close([]).await;
}

/// A worker tells how many tasks it has brought to their ends, whatever the ends; parking is none.
pub async fn workers_tell_how_much_they_end(lab: Lab) {
    let worker = lab.worker().register(waits_for_children).register(gated).register(failing);
    let worker = worker.lease(limits::LEASE).start().await.unwrap();
    let parent = lab.homing.submit(waits_for_children()).await.unwrap();
    lab.reaches(parent.id(), TaskState::Waiting).await;
    lab.homing.submit(failing(1)).await.unwrap().outcome().await.unwrap_err();
    lab.probe.open("gate 0");
    let first = children(&lab, parent.id()).await.remove(0);
    lab.reaches(first.id, TaskState::Succeeded).await;
    let told = async {
        loop {
            let workers = lab.homing.workers().await.unwrap();
            if workers[0].ended == 2 {
                return;
            }
            assert!(workers[0].ended < 2, "{workers:#?}");
            lab.advance(limits::LEASE / 3).await;
        }
    };
    told.await;
    // Tasks it holds, all of the parent's children but one, are counted at once.
    while lab.homing.workers().await.unwrap()[0].running < 7 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    parent.cancel().await.unwrap();
    assert_eq!(lab.homing.workers().await.unwrap()[0].running, 0);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn kept(fails: bool) -> Result<u64> {
    if fails { Err(crate::Error::msg("it fails")) } else { Ok(1) }
}

/// Ended jobs go once their time is over, by end and kind, and open ones never. A worker that is asked does it by
/// itself.
pub async fn a_retention_removes_ended_jobs(lab: Lab) {
    let builder = lab.worker().register(kept).register(leaf).register(gated);
    let worker = builder.start().await.unwrap();
    let hour = Duration::from_hours(1);
    let good = lab.homing.submit(kept(false)).await.unwrap();
    let bad = lab.homing.submit(kept(true)).await.unwrap();
    let special = lab.homing.submit(leaf(1)).await.unwrap();
    let open = lab.homing.submit(gated(1)).await.unwrap();
    good.outcome().await.unwrap();
    bad.outcome().await.unwrap_err();
    special.outcome().await.unwrap();
    let retention = Retention::default().completed(hour).kind("leaf", 3 * hour);
    let left = async || {
        let jobs = lab.homing.jobs(crate::JobFilter::default()).await.unwrap();
        let mut kinds: Vec<String> = jobs.into_iter().map(|job| job.kind).collect();
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(lab.homing.retain(&retention).await.unwrap(), 0);
    lab.advance(2 * hour).await;
    assert_eq!(lab.homing.retain(&retention).await.unwrap(), 1);
    assert_eq!(left().await, ["gated", "kept", "leaf"]);
    lab.advance(2 * hour).await;
    assert_eq!(lab.homing.retain(&retention).await.unwrap(), 1);
    assert_eq!(left().await, ["gated", "kept"]);
    let refused = lab.homing.retain(&Retention::all(Duration::ZERO)).await.unwrap_err();
    assert!(refused.to_string().contains("the retention"), "{refused}");

    // The failed one is kept for ever so far; a worker goes by what it is given, now and later.
    let gone = async || {
        for _ in 0..7_000 {
            if left().await == ["gated"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("left are {:?}", left().await)
    };
    let tidy = lab.worker().register(leaf).retention(Retention::all(hour)).start().await.unwrap();
    gone().await;
    let late = lab.homing.submit(leaf(2)).await.unwrap();
    late.outcome().await.unwrap();
    lab.advance(2 * hour).await;
    gone().await;
    assert_eq!(open.status().await.unwrap(), crate::Status::InProgress);
    lab.probe.open("gate 1");
    open.outcome().await.unwrap();
    lab.close([worker, tidy]).await;
}
