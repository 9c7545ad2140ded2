//! G10: a replay is compared with the whole record, and G7: every outcome is given out once.

use std::time::Duration;

use super::Lab;
use super::waits::{children_when, gated, leaf};
use crate::testing::Probe;
use crate::{FailurePolicy, JoinError, JoinSet, Result, State, TaskState, step, task};

/// Fails the first attempt once it has said everything, and goes another way in the second.
#[task(backoff = "1s..1s", retries = 9)]
async fn wavering(way: String, State(probe): State<Probe>) -> Result<Vec<u64>> {
    probe.hit("attempt");
    let second = probe.count("attempt") == 2;
    let short = |what: &str| second && way == what;
    let mut set = JoinSet::named("pages");
    let others = short("another") || short("another, no wait");
    for n in 0..if short("fewer") || short("fewer, next") || others { 2 } else { 3 } {
        set.spawn(leaf(n)).await?;
    }
    if others {
        set.spawn(leaf(2).at("another")).await?;
    }
    if !short("no bare child") {
        crate::spawn(leaf(7)).await?;
    }
    if !short("no step") {
        step("said", || async { Ok(()) }).await?;
    }
    if probe.count("attempt") == 1 {
        return Err(crate::Error::msg("the first attempt fails"));
    }
    if short("early") || short("another, no wait") {
        return Ok(Vec::new());
    }
    if short("fewer, next") {
        let mut values = Vec::new();
        while let Some(value) = set.join_next().await {
            values.push(value?);
        }
        return Ok(values);
    }
    Ok(set.join_all().await?)
}

/// A replay that spawns fewer children than are recorded, leaves out a step or ends early is drift that
/// says so; a mended body goes on.
pub async fn g10_a_replay_is_compared_with_the_whole_record(lab: Lab) {
    let left_out = "expected a spawn of the next child to end, got none";
    let texts: [(_, &[&str]); 7] = [
        ("fewer", &["`set:pages.join_all#1`: expected a wait for 3 children, got one for 2"]),
        // At the end of the child that is left out or, if it has not ended before the others, of the body.
        ("fewer, next", &[left_out, "`set:pages`: the body returned with 2 children, expected 3"]),
        // Whether the other child is counted by then hangs on the store.
        ("another", &["`set:pages.join_all#1`: expected a wait for"]),
        ("another, no wait", &["the body returned with"]),
        ("no bare child", &["the body returned without spawning them, expected 1"]),
        ("no step", &["`step:said#1`: the body returned without coming to what is recorded here"]),
        ("early", &[]),
    ];
    for (way, texts) in texts {
        let probe = Probe::default();
        let worker = lab.homing.worker().state(probe.clone()).resident(0);
        let worker = worker.register(wavering).register(leaf).start().await.unwrap();
        let job = lab.homing.submit(wavering(way.to_owned())).await.unwrap();
        if way == "early" {
            // Everything recorded was come to: the children that are left belong to the closing join.
            assert!(lab.turning(job.outcome()).await.unwrap().is_empty());
        } else {
            let view = lab.observe(job.id(), "standing still", |view| {
                view.reason.as_ref().is_some_and(|reason| reason.contains("drifted"))
            });
            let reason = lab.turning(view).await.reason.unwrap();
            assert!(texts.iter().any(|text| reason.contains(text)), "{way}: {reason}");
            if way.starts_with("another") {
                // The other child is recorded by now too, so that no body of these two can go on.
                assert!(lab.homing.cancel(job.id()).await.unwrap());
            } else {
                assert_eq!(lab.turning(job.outcome()).await.unwrap(), [0, 1, 2], "{way}");
            }
        }
        lab.turning(worker.shutdown(Duration::from_secs(20))).await;
    }
    lab.close([]).await;
}

/// Waits for what it is told to, fails its first attempt after that, and leaves a part out in the second.
#[task(backoff = "1s..1s", retries = 9)]
async fn forgetful(way: String, State(probe): State<Probe>) -> Result<u64> {
    let attempt = crate::info()?.attempt;
    if attempt == 2 {
        probe.hit("second");
    }
    let left_out = |what: &str| probe.count("second") == 1 && way == what;
    let mut sum = 0;
    if !left_out("the set") {
        let mut set = JoinSet::named("pages");
        set.spawn(leaf(1)).await?;
        if !left_out("its wait") {
            sum += set.join_next().await.unwrap()?;
        }
    }
    if way.starts_with("the handle") {
        let child = crate::spawn(leaf(2)).await?;
        if !left_out("the handle's wait") {
            sum += child.await?;
        }
    }
    if way == "the sleep" && !left_out("the sleep") {
        crate::sleep(Duration::from_secs(1)).await?;
    }
    if attempt == 1 {
        return Err(crate::Error::msg("the first attempt fails"));
    }
    Ok(sum)
}

/// A replay that leaves out a wait that was answered, or a whole set with its answer, is drift that names the place.
pub async fn g10_what_was_answered_is_not_left_out(lab: Lab) {
    let not_come_to = "the body returned without coming to what is recorded here";
    for (way, text, value) in [
        ("the set", "the body returned without spawning them, expected 1".to_owned(), 1),
        ("its wait", format!("`set:pages.join_next#1`: {not_come_to}"), 1),
        ("the handle's wait", format!("`spawn:leaf[0].await#1`: {not_come_to}"), 3),
        ("the sleep", format!("`sleep#1`: {not_come_to}"), 1),
    ] {
        let probe = Probe::default();
        let worker = lab.homing.worker().state(probe.clone()).resident(0);
        let worker = worker.register(forgetful).register(leaf).start().await.unwrap();
        let job = lab.homing.submit(forgetful(way.to_owned())).await.unwrap();
        let view = lab.observe(job.id(), "standing still", |view| {
            view.reason.as_ref().is_some_and(|reason| reason.contains("drifted"))
        });
        let reason = lab.turning(view).await.reason.unwrap();
        assert!(reason.contains(&text), "{way}: {reason}");
        assert_eq!(lab.turning(job.outcome()).await.unwrap(), value, "{way}");
        lab.turning(worker.shutdown(Duration::from_secs(20))).await;
    }
    lab.close([]).await;
}

#[task]
async fn handle_first(State(probe): State<Probe>) -> Result<(u64, Vec<u64>)> {
    let mut set = JoinSet::new();
    let first = set.spawn(gated(1)).await?;
    set.spawn(gated(2)).await?;
    set.spawn(gated(3)).await?;
    let first = first.await?;
    assert_eq!(set.len(), 2);
    probe.hit("handle");
    let mut rest = Vec::new();
    while let Some(value) = set.join_next().await {
        rest.push(value?);
        assert_eq!(set.len() + rest.len(), 2);
    }
    Ok((first, rest))
}

#[task]
async fn next_first(State(probe): State<Probe>) -> Result<Vec<u64>> {
    let mut set = JoinSet::new();
    let first = set.spawn(gated(1)).await?;
    set.spawn(gated(2)).await?;
    let Some(next) = set.join_next().await else { return Ok(Vec::new()) };
    let next = next?;
    assert_eq!(set.len(), 1);
    let again = crate::select! { value = &first => value? };
    probe.hit("handle");
    assert_eq!(set.len(), 1, "what was given is not given again");
    let Some(last) = set.join_next().await else { return Ok(Vec::new()) };
    assert!(set.join_next().await.is_none());
    let values = vec![next, again, last?, first.await?];
    assert!(set.is_empty());
    Ok(values)
}

/// A handle and then `join_next`, or the other way round: each outcome is given out once, and the wait
/// for a child that is still open waits.
pub async fn g07_handles_and_join_next_share_the_ends(lab: Lab) {
    let worker = lab.worker().register(handle_first).register(next_first).register(gated);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(handle_first()).await.unwrap();
    let children = children_when(&lab, job.id().root(), 3).await;
    lab.probe.open("gate 1");
    lab.probe.hits("handle", 1).await;
    let view = lab.reaches(job.id(), TaskState::Waiting).await;
    assert_eq!(view.reason, None);
    lab.probe.open("gate 3");
    lab.reaches(children[2].id, TaskState::Succeeded).await;
    lab.probe.open("gate 2");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), (1, vec![3, 2]));
    let probe = Probe::default();
    worker.shutdown(Duration::from_secs(5)).await;
    let worker = lab.homing.worker().state(probe.clone());
    let worker = worker.resident(if lab.is_resident() { 9 } else { 0 });
    let worker = worker.register(next_first).register(gated).start().await.unwrap();
    let job = lab.homing.submit(next_first()).await.unwrap();
    probe.open("gate 1");
    probe.hits("handle", 1).await;
    let view = lab.reaches(job.id(), TaskState::Waiting).await;
    assert_eq!(view.reason, None);
    probe.open("gate 2");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), [1, 1, 2, 1]);
    lab.close([worker]).await;
}

#[task]
async fn returning_early(State(probe): State<Probe>) -> Result<u64> {
    let mut set = JoinSet::new();
    let first = set.spawn(gated(1)).await?;
    set.spawn(gated(2)).await?;
    set.join_next().await;
    let value = first.await?;
    probe.hit("returned");
    Ok(value)
}

/// The closing join waits for the child whose outcome nobody was given, however the others were.
pub async fn g09_the_closing_join_knows_what_was_given(lab: Lab) {
    let worker = lab.worker().register(returning_early).register(gated).start().await.unwrap();
    let job = lab.homing.submit(returning_early()).await.unwrap();
    lab.probe.open("gate 1");
    lab.probe.hits("returned", 1).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 2");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 1);
    assert_eq!(lab.homing.task(job.id()).await.unwrap().children.open(), 0);
    lab.close([worker]).await;
}

#[task]
async fn bearing_anything(policy: FailurePolicy, joins: bool) -> Result<Vec<u64>> {
    let mut set = JoinSet::new().policy(policy);
    for n in 1..=3 {
        set.spawn(gated(n)).await?;
    }
    if joins { Ok(set.join_all().await?) } else { Ok(Vec::new()) }
}

/// "Any number" is a number like others: no wait is answered before the children have ended.
pub async fn policies_take_any_number(lab: Lab) {
    let worker = lab.worker().register(bearing_anything).register(gated).start().await.unwrap();
    let mut jobs = Vec::new();
    for failures in [u64::MAX, u64::MAX - 1, i64::MAX as u64] {
        for joins in [true, false] {
            let call = bearing_anything(FailurePolicy::Tolerate { failures }, joins);
            jobs.push((joins, lab.homing.submit(call).await.unwrap()));
        }
    }
    for (_, job) in &jobs {
        children_when(&lab, job.id().root(), 3).await;
        lab.reaches(job.id(), TaskState::Waiting).await;
    }
    for n in 1..=3 {
        lab.probe.open(&format!("gate {n}"));
    }
    for (joins, job) in jobs {
        let expected = if joins { vec![1, 2, 3] } else { Vec::new() };
        assert_eq!(lab.turning(job.outcome()).await.unwrap(), expected);
        assert_eq!(lab.homing.task(job.id()).await.unwrap().children.open(), 0);
    }
    lab.close([worker]).await;
}

/// Awaits a set and handles of its children in branches, at once or one after the other.
#[task]
async fn branching(way: String) -> Result<u64> {
    let mut set = JoinSet::named("pages");
    let (first, second) = (set.spawn(leaf(1)).await?, set.spawn(leaf(2)).await?);
    match &*way {
        "next" => {
            let (next, one) =
                crate::join!(async { set.join_next().await.transpose() }, async { first.await });
            Ok(next?.unwrap_or(0) + one?)
        }
        "all" => {
            let (all, one) = crate::join!(async { set.join_all().await }, async { first.await });
            Ok(all?.iter().sum::<u64>() + one?)
        }
        "handles" => {
            let (first, second) = crate::join!(async { first.await }, async { second.await });
            Ok(first? + second?)
        }
        _ => {
            let (first, _) = crate::join!(async { first.await }, async { crate::now().await });
            let (_, next) = crate::join!(async { crate::now().await }, async {
                set.join_next().await.transpose()
            });
            Ok(first? + next?.unwrap_or(0))
        }
    }
}

/// A set that is awaited in one branch and whose child is awaited by its handle in another, beside it, could be
/// given its ends in another order by a replay: that ends the task and says so. Handles alone, and one after
/// the other, have no order to be lost.
pub async fn g07_a_set_is_waited_for_in_one_branch(lab: Lab) {
    let worker = lab.worker().register(branching).register(leaf).start().await.unwrap();
    for way in ["next", "all"] {
        let job = lab.homing.submit(branching(way.to_owned())).await.unwrap();
        let error = lab.turning(job.outcome()).await.unwrap_err().to_string();
        assert!(error.contains("the outcomes of `set:pages` are taken in two branches"), "{error}");
    }
    for way in ["handles", "one after the other"] {
        let job = lab.homing.submit(branching(way.to_owned())).await.unwrap();
        assert_eq!(lab.turning(job.outcome()).await.unwrap(), 3, "{way}");
    }
    lab.close([worker]).await;
}

/// Is told that its child was aborted, and then of a loss whose verb aborts the whole set.
#[task(retries = 0)]
async fn aborting_twice() -> Result<u64> {
    let mut set = JoinSet::new();
    let child = set.spawn(gated(9)).await?;
    child.abort();
    assert!(matches!(child.await, Err(JoinError::Aborted { .. })));
    Ok(set.join_first().await?)
}

/// A retry reopens what the body aborted after the loss, and not what it was told of as aborted before: that
/// answer stays, and would find its child open.
pub async fn job_retry_leaves_what_the_body_knew_as_aborted(lab: Lab) {
    let worker = lab.worker().register(aborting_twice).register(gated).start().await.unwrap();
    let job = lab.homing.submit(aborting_twice()).await.unwrap();
    for retries in 0..2 {
        let error = lab.turning(job.outcome()).await.unwrap_err().to_string();
        assert!(error.contains("0 of 1 children succeeded"), "{error}");
        if retries == 0 {
            assert_eq!(job.retry().await.unwrap().reopened, 1);
        }
    }
    lab.close([worker]).await;
}
