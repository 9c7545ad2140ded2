//! G6, G7, G11: crash means resume, answers replay the same, poison is contained.

use std::time::Duration;

use super::Lab;
use super::by_hand::ByHand;
use super::waits::{children_when, gated, leaf};
use super::workers::Staged;
use crate::testing::Probe;
use crate::{JoinSet, Reason, Result, State, TaskState, step, step_blocking, task};

#[task]
async fn careful(State(probe): State<Probe>) -> Result<u64> {
    let mut set = JoinSet::new();
    let mut sum = 0;
    for n in 0..5 {
        sum += step("page", || async {
            probe.hit("page");
            Ok(n)
        })
        .await?;
        set.spawn(gated(n)).await?;
    }
    step("last", || async { Ok(()) }).await?;
    probe.hit("spawned");
    sum += set.join_all().await?.iter().sum::<u64>();
    Ok(sum)
}

/// After the death of its worker a parent goes on where it was: steps are not repeated.
pub async fn g06_crash_means_resume(lab: Lab) {
    let start = || lab.worker().register(careful).register(gated).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(careful()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = start().await.unwrap();
    for n in 0..5 {
        lab.probe.open(&format!("gate {n}"));
    }
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 20);
    assert_eq!(lab.probe.count("page"), 5, "steps are remembered");
    lab.close([second]).await;
}

/// A parent whose future died with its worker is anybody's at once: the clock here never turns, so a
/// hold for the dead would never end.
pub async fn g06_nothing_is_held_for_the_dead(lab: Lab) {
    let start = || lab.worker().register(careful).register(gated).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(careful()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = start().await.unwrap();
    for n in 0..5 {
        lab.probe.open(&format!("gate {n}"));
    }
    assert_eq!(job.outcome().await.unwrap(), 20);
    lab.close([second]).await;
}

#[task]
async fn spawning(State(probe): State<Probe>) -> Result<u64> {
    let mut set = JoinSet::new();
    for n in 0..2500 {
        set.spawn(leaf(n)).await?;
    }
    let handle = crate::spawn(leaf(1)).await?;
    step("all there", || async { Ok(()) }).await?;
    probe.hit("there");
    probe.pass("join").await;
    handle.await?;
    Ok(set.join_all().await?.len() as u64)
}

/// Children are found again, page by page, and not doubled; ended ones are not run again.
pub async fn g06_children_are_found_again(lab: Lab) {
    let start = || lab.worker().register(spawning).register(leaf).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(spawning()).await.unwrap();
    lab.probe.hits("there", 1).await;
    first.kill().await;
    lab.probe.open("join");
    let second = start().await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 2500);
    assert_eq!(job.view().await.unwrap().counts.succeeded, 2502);
    lab.close([second]).await;
}

#[task]
async fn committing(State(homing): State<crate::Homing>) -> Result<u64> {
    let mut set = JoinSet::new();
    for n in 0..4 {
        set.spawn(leaf(n)).await?;
    }
    let mut kept = 0;
    while let Some(value) = set.join_next().await {
        value?;
        step("seen", || async { Ok(()) }).await?;
        let record = homing.store().record(crate::id(), 0, 100).await?;
        let steps = record.iter().filter(|(_, place, _)| place.starts_with("step:seen"));
        kept += 1;
        assert!(steps.count() >= kept, "a step returned before its commit");
    }
    Ok(kept as u64)
}

/// Once a unit that held a park alone was committed without having been counted as said, and every
/// later step of that future returned one commit too early.
pub async fn g06_a_step_returns_after_its_commit(lab: Lab) {
    let builder = lab.worker().register(committing).register(leaf).state(lab.homing.clone());
    let worker = builder.concurrency(1).start().await.unwrap();
    let job = lab.homing.submit(committing()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 4);
    lab.close([worker]).await;
}

#[task(timeout = "5s", retries = 0)]
async fn blocking(State(probe): State<Probe>) -> Result<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let gate = probe.clone();
    tokio::spawn(async move {
        gate.pass("unblock").await;
        let _ = sender.send(());
    });
    Ok(step_blocking("wait", move || {
        probe.hit("blocking");
        let _ = receiver.recv();
        probe.hit("unblocked");
        Ok(())
    })
    .await?)
}

/// Work that has begun cannot be dropped: it keeps its slot until it returns; its result is discarded if it came too
/// late.
pub async fn g06_blocking_steps_keep_their_slot(lab: Lab) {
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(blocking).register(leaf).concurrency(1);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(blocking()).await.unwrap();
    lab.probe.hits("blocking", 1).await;
    lab.advance(Duration::from_secs(5)).await;
    let error = job.outcome().await.unwrap_err();
    assert_eq!(error.failure().unwrap().reason, Reason::Timeout);
    let next = lab.homing.submit(leaf(1)).await.unwrap();
    // The slot is taken: in exchange after exchange the worker asks for nothing.
    let before = lab.probe.count("exchange");
    lab.probe.hits("exchange", before + 2).await;
    let asked = staged.script.asked();
    assert_eq!(asked[before as usize..][..2], [(0, 0), (0, 0)]);
    assert_eq!(lab.homing.task(next.id()).await.unwrap().state, TaskState::Pending);
    lab.probe.open("unblock");
    assert_eq!(next.outcome().await.unwrap(), 1);
    assert_eq!(lab.probe.count("unblocked"), 1);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn poison(State(probe): State<Probe>) -> Result<()> {
    probe.hit("poison");
    probe.pass("antidote").await;
    Ok(())
}

/// A task that takes its worker down so many times in a row fails with that reason.
pub async fn g11_poison_is_contained(lab: Lab) {
    let job = lab.homing.submit(poison()).await.unwrap();
    for crash in 1..=5 {
        let worker = lab.worker().register(poison).start().await.unwrap();
        lab.probe.hits("poison", crash).await;
        worker.kill().await;
    }
    let worker = lab.worker().register(poison).start().await.unwrap();
    let error = job.outcome().await.unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.reason, failure.attempt), (Reason::Crashed, 1));
    assert!(failure.message.contains("5 times in a row"), "{failure}");
    assert_eq!(lab.probe.count("poison"), 5);
    lab.close([worker]).await;
}

/// From the second crash in a row tasks are suspects, and a worker is given one at a time.
pub async fn g11_suspects_run_alone(lab: Lab) {
    let jobs = lab.homing.submit_all((0..3).map(|_| poison())).await.unwrap();
    for crash in 1..=2 {
        let worker = lab.worker().register(poison).start().await.unwrap();
        lab.probe.hits("poison", crash * 3).await;
        worker.kill().await;
    }
    let worker = lab.worker().register(poison).start().await.unwrap();
    lab.probe.hits("poison", 7).await;
    let mut other = ByHand::new(&lab).await;
    let second = other.exchange(&["poison"], Vec::new()).await;
    assert_eq!(second.claimed.len(), 1, "another worker takes another one");
    let running = async || {
        let mut running = 0;
        for job in &jobs {
            let state = lab.homing.task(job.id()).await.unwrap().state;
            running += u64::from(state == TaskState::Running);
        }
        running
    };
    assert_eq!(running().await, 2);
    lab.probe.open("antidote");
    // The crash of this one makes its task the innocent beside no suspect.
    lab.store().kill(other.worker);
    for job in jobs {
        job.outcome().await.unwrap();
    }
    lab.close([worker]).await;
}

#[task]
async fn slow(State(probe): State<Probe>) -> Result<u64> {
    probe.hit("slow");
    probe.pass("slow").await;
    Ok(1)
}

/// A shutdown hands back what still runs, at once and without counting it as a crash.
pub async fn shutdown_hands_back(lab: Lab) {
    let first = lab.worker().register(slow).start().await.unwrap();
    let job = lab.homing.submit(slow()).await.unwrap();
    lab.probe.hits("slow", 1).await;
    first.shutdown(Duration::ZERO).await;
    let view = lab.homing.task(job.id()).await.unwrap();
    assert_eq!((view.state, view.crashes, view.attempt), (TaskState::Pending, 0, 1));
    assert!(lab.homing.workers().await.unwrap().is_empty());
    let second = lab.worker().register(slow).start().await.unwrap();
    lab.probe.open("slow");
    assert_eq!(job.outcome().await.unwrap(), 1);
    lab.close([second]).await;
}

/// A worker that the store gave up drops its bodies, takes a new id and goes on.
pub async fn a_given_up_worker_starts_afresh(lab: Lab) {
    let worker = lab.worker().register(slow).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(slow()).await.unwrap();
    lab.probe.hits("slow", 1).await;
    let old = worker.id();
    lab.give_up(old).await;
    lab.turning(lab.probe.hits("slow", 2)).await;
    assert_ne!(worker.id(), old);
    lab.probe.open("slow");
    assert_eq!(job.outcome().await.unwrap(), 1);
    assert_eq!(lab.homing.workers().await.unwrap().len(), 1);
    lab.close([worker]).await;
}

#[task]
async fn fan(n: u64) -> Result<u64> {
    let mut set = JoinSet::new();
    for n in 0..n {
        set.spawn(leaf(n)).await?;
    }
    Ok(set.join_all().await?.iter().sum())
}

/// Two workers on one store finish the same trees.
pub async fn two_workers_share_the_work(lab: Lab) {
    let start = || lab.worker().register(fan).register(leaf).concurrency(2).start();
    let workers = [start().await.unwrap(), start().await.unwrap()];
    let jobs = lab.homing.submit_all((0..10).map(|_| fan(20))).await.unwrap();
    let all = async {
        for job in jobs {
            assert_eq!(job.outcome().await.unwrap(), 190);
        }
    };
    lab.turning(all).await;
    lab.close(workers).await;
}

#[task]
async fn deciding(State(probe): State<Probe>) -> Result<Vec<String>> {
    let mut set = JoinSet::new();
    for n in 0..3 {
        set.spawn(gated(n)).await?;
    }
    let mut seen = Vec::new();
    for n in 0..5 {
        let outcome = set.join_next().timeout(Duration::from_secs(10)).await;
        let line = match outcome {
            None => "none".to_owned(),
            Some(Ok(value)) => format!("value {value}"),
            Some(Err(error)) => error.to_string(),
        };
        seen.push(line);
        probe.hit(&format!("seen {n}"));
    }
    let first = probe.count("decided") == 0;
    probe.note(seen.join("|"));
    probe.hit("decided");
    if first {
        probe.pass("never").await;
    }
    Ok(seen)
}

/// Values, their order and timeouts replay as they were seen, though by then all has ended.
pub async fn g07_answers_replay_the_same(lab: Lab) {
    let start = || lab.worker().register(deciding).register(gated).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(deciding()).await.unwrap();
    let all = children_when(&lab, job.id().root(), 3).await;
    for (turn, open) in [Some(2), None, Some(0), Some(1)].into_iter().enumerate() {
        lab.observe(job.id(), "parked", |view| {
            view.state == TaskState::Waiting && lab.probe.count(&format!("seen {turn}")) == 0
        })
        .await;
        match open {
            Some(n) => {
                lab.probe.open(&format!("gate {n}"));
                lab.reaches(all[n].id, TaskState::Succeeded).await;
            }
            None => lab.advance(Duration::from_secs(10)).await,
        }
        lab.probe.hits(&format!("seen {turn}"), 1).await;
    }
    lab.probe.hits("decided", 1).await;
    first.kill().await;
    let second = start().await.unwrap();
    let seen = lab.turning(job.outcome()).await.unwrap();
    let notes = lab.probe.notes();
    assert_eq!(notes[0], seen.join("|"), "the replay saw something else");
    assert_eq!((seen[0].as_str(), seen[2].as_str()), ("value 2", "value 0"));
    assert!(seen[1].contains("timed out: 1 children done, 2 open"), "{}", seen[1]);
    lab.close([second]).await;
}

#[task]
async fn hurried(State(probe): State<Probe>) -> Result<String> {
    let handle = crate::spawn(gated(0)).await?;
    let line = match handle.timeout(Duration::from_secs(10)).await {
        Ok(value) => format!("value {value}"),
        Err(error) => error.to_string(),
    };
    probe.note(line.clone());
    probe.hit("answered");
    Ok(line)
}

/// A completion written before a deadline is answered beats it, though the deadline has passed.
pub async fn g07_a_completion_beats_a_late_deadline(lab: Lab) {
    let first = lab.worker().register(hurried).register(gated).start().await.unwrap();
    let job = lab.homing.submit(hurried()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    lab.reaches(child.id, TaskState::Running).await;
    // Nobody can resume the parent: its kind is not registered while child and clock go on.
    first.kill().await;
    let second = lab.worker().register(gated).start().await.unwrap();
    lab.advance(Duration::from_secs(11)).await;
    lab.reaches(job.id(), TaskState::Pending).await;
    lab.probe.open("gate 0");
    lab.reaches(child.id, TaskState::Succeeded).await;
    let third = lab.worker().register(hurried).start().await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), "value 0");
    lab.close([second, third]).await;
}

/// A timeout counts from the first park, whatever is replayed since.
pub async fn g07_deadlines_are_absolute(lab: Lab) {
    let start = || lab.worker().register(hurried).register(gated).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(hurried()).await.unwrap();
    let wait = lab.reaches(job.id(), TaskState::Waiting).await.waits;
    first.kill().await;
    lab.advance(Duration::from_secs(6)).await;
    let second = start().await.unwrap();
    assert_eq!(lab.homing.task(job.id()).await.unwrap().waits, wait);
    assert_eq!(lab.probe.count("answered"), 0);
    lab.advance(Duration::from_secs(4)).await;
    lab.turning(lab.probe.hits("answered", 1)).await;
    assert!(lab.probe.notes()[0].contains("timed out"), "{:?}", lab.probe.notes());
    lab.probe.open("gate 0");
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    lab.reaches(child.id, TaskState::Succeeded).await;
    job.outcome().await.unwrap();
    lab.close([second]).await;
}
