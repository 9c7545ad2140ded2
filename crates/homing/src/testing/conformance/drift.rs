//! G10: drift is caught, costs nothing, and mends.

use std::time::Duration;

use super::Lab;
use super::waits::{children_when, gated, leaf};
use crate::testing::Probe;
use crate::{AmendError, JoinSet, Result, RetryError, State, TaskState, step, task};

/// Two versions of a program: tasks of one kind with different bodies.
mod new {
    use super::{Probe, Result, State, gated, leaf, step, task};

    #[task(kind = "release")]
    pub(super) async fn release(State(probe): State<Probe>) -> Result<u64> {
        let handle = crate::spawn(gated(2)).await?;
        probe.hit("new went on");
        Ok(handle.await?)
    }

    #[task(kind = "members")]
    pub(super) async fn members(verb: u64) -> Result<u64> {
        super::joining(3, verb).await
    }

    #[task(kind = "fewer")]
    pub(super) async fn fewer(State(probe): State<Probe>) -> Result<u64> {
        super::first_of(1, &probe).await
    }

    /// Leaves the child out, and waits for all of the set where the other waits for the child.
    #[task(kind = "all_of_fewer")]
    pub(super) async fn all_of_fewer(verb: u64, State(probe): State<Probe>) -> Result<u64> {
        let mut set = super::JoinSet::<u64>::named("pages");
        let hour = crate::sleep(std::time::Duration::from_hours(1));
        match verb {
            0 => crate::select! { all = set.join_all() => drop(all), slept = hour => slept? },
            1 => crate::select! { all = set.join_settled() => drop(all), slept = hour => slept? },
            _ => crate::select! { some = set.join_some(1) => drop(some), slept = hour => slept? },
        }
        probe.hit("told");
        Ok(0)
    }

    #[task(kind = "another_wait")]
    pub(super) async fn another_wait(State(probe): State<Probe>) -> Result<u64> {
        let told = crate::select! {
            told = crate::signal::<u64>("word") => told.is_ok(),
            job = crate::job::<u64>(crate::JobId::named("another")) => job.is_ok(),
        };
        probe.hit("told");
        Ok(u64::from(told))
    }

    #[task(kind = "stepping")]
    pub(super) async fn stepping(State(probe): State<Probe>) -> Result<String> {
        let second = super::remembered("second", &probe).await?;
        let extra = super::remembered("extra", &probe).await?;
        let first = super::remembered("first", &probe).await?;
        crate::signal::<()>("go").await?;
        Ok(format!("{first} {second} {extra}"))
    }

    #[task(kind = "typed")]
    pub(super) async fn typed() -> Result<u64> {
        step("first", async || Ok(())).await?;
        // Said in the same poll as what ends the run, and no more part of the record than the run is.
        crate::spawn(leaf(1)).await?;
        let n = step("value", || async { Ok(1u64) }).await?;
        crate::signal::<()>("go").await?;
        Ok(n)
    }

    #[task(kind = "valued")]
    pub(super) async fn valued() -> Result<String> {
        Ok("text".to_owned())
    }

    #[task(kind = "placed")]
    pub(super) async fn placed() -> Result<Vec<u64>> {
        super::placing(&[3, 1, 4, 2]).await
    }
}

#[task(kind = "release")]
async fn release(State(probe): State<Probe>) -> Result<u64> {
    let handle = crate::spawn(gated(1)).await?;
    probe.hit("old");
    Ok(handle.await?)
}

/// A replay whose call has other arguments stands still with the place, what was expected and what
/// came; it spends no retry and touches no child; a rollback goes on.
pub async fn g10_drift_is_caught_and_mended(lab: Lab) {
    let first = lab.worker().register(release).register(gated).start().await.unwrap();
    let job = lab.homing.submit(release()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    lab.reaches(child.id, TaskState::Running).await;
    first.kill().await;
    lab.probe.open("gate 1");
    let before = lab.store().clock().now();
    let second = lab.worker().register(new::release).register(gated).start().await.unwrap();
    let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some());
    let view = lab.turning(view).await;
    assert_eq!((view.state, view.attempt, view.failures), (TaskState::Pending, 1, 0));
    assert!(view.due >= before.after(Duration::from_secs(1)), "it is tried again later");
    let reason = view.reason.unwrap();
    let expected = "the body has drifted from its record at `spawn:gated[0]`: expected gated({\"n\":1}), got gated({\"n\":2}); look first for iteration over a HashMap";
    assert!(reason.starts_with(expected), "{reason}");
    assert_eq!(lab.probe.count("new went on"), 0);
    let children = super::children(&lab, job.id()).await;
    assert_eq!((children.len(), children[0].state), (1, TaskState::Succeeded));
    second.shutdown(Duration::from_secs(5)).await;
    let third = lab.worker().register(release).register(gated).start().await.unwrap();
    lab.advance(Duration::from_mins(10)).await;
    assert_eq!(job.outcome().await.unwrap(), 1);
    lab.close([third]).await;
}

#[task(kind = "members")]
async fn members(verb: u64) -> Result<u64> {
    joining(2, verb).await
}

const WAITS: [&str; 6] = [
    "set:pages.join_all",
    "set:pages.join_next",
    "set:pages.join_next",
    "set:pages.join_settled",
    "set:pages.join_first",
    "select!",
];

async fn joining(children: u64, verb: u64) -> Result<u64> {
    let mut set = JoinSet::named("pages");
    for n in 0..children {
        set.spawn(leaf(n)).await?;
    }
    let value = match verb {
        0 => set.join_all().await?.iter().sum(),
        1 => set.join_next().await.transpose()?.unwrap_or_default(),
        2 => set.join_next_with_id().await.transpose()?.map_or(0, |(_, value)| value),
        3 => set.join_settled().await?.len() as u64,
        4 => set.join_first().await?,
        _ => crate::select! { next = set.join_next() => next.transpose()?.unwrap_or_default() },
    };
    crate::signal::<()>("go").await?;
    Ok(value)
}

/// A wait that was answered for two children is not given to a replay that spawned three, whatever the wait.
pub async fn g10_membership_is_checked(lab: Lab) {
    let first = lab.worker().register(members).register(leaf).start().await.unwrap();
    let mut jobs = Vec::new();
    for verb in 0..WAITS.len() as u64 {
        jobs.push(lab.homing.submit(members(verb)).await.unwrap());
    }
    let named = |view: &crate::TaskView| {
        view.state == TaskState::Waiting && format!("{:?}", view.waits).contains("signal:go")
    };
    for job in &jobs {
        lab.observe(job.id(), "at the signal", named).await;
    }
    first.kill().await;
    let second = lab.worker().register(new::members).register(leaf).start().await.unwrap();
    for (job, wait) in jobs.into_iter().zip(WAITS) {
        job.signal("go", &()).await.unwrap();
        let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some());
        let view = lab.turning(view).await;
        let reason = view.reason.unwrap();
        let text = format!("`{wait}#1`: expected a wait for 2 children, got one for 3");
        assert!(reason.contains(&text), "{reason}");
        job.cancel().await.unwrap();
    }
    lab.close([second]).await;
}

#[task(kind = "fewer")]
async fn fewer(State(probe): State<Probe>) -> Result<u64> {
    first_of(2, &probe).await
}

async fn first_of(children: u64, probe: &Probe) -> Result<u64> {
    let mut set = JoinSet::named("pages");
    for n in 1..=children {
        set.spawn(gated(n)).await?;
    }
    crate::signal::<()>("go").await?;
    let first = set.join_next().await.transpose()?.unwrap_or_default();
    probe.hit("told");
    Ok(first)
}

/// A child that a replay leaves out has ended before the others: the replay is not told of it. It was, because an
/// end at hand was given without a look at whose it is; only a wait that parked was compared with the record.
pub async fn g10_the_end_of_a_child_left_out_is_not_given(lab: Lab) {
    let first = lab.worker().register(fewer).register(gated).start().await.unwrap();
    let job = lab.homing.submit(fewer()).await.unwrap();
    let children = children_when(&lab, job.id().root(), 2).await;
    lab.probe.open("gate 2");
    lab.reaches(children[1].id, TaskState::Succeeded).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = lab.worker().register(new::fewer).register(gated).start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some());
    let reason = lab.turning(view).await.reason.unwrap();
    let text = "`set:pages.join_next#1`: expected a spawn of the next child to end, got none: its kind is gated";
    assert!(reason.contains(text), "{reason}");
    assert_eq!(lab.probe.count("told"), 0);
    second.shutdown(Duration::ZERO).await;
    let third = lab.worker().register(fewer).register(gated).start().await.unwrap();
    lab.advance(Duration::from_mins(10)).await;
    lab.probe.hits("told", 1).await;
    lab.probe.open("gate 1");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 2);
    lab.close([third]).await;
}

#[task(kind = "all_of_fewer")]
async fn all_of_fewer(verb: u64) -> Result<u64> {
    assert!(verb < 3, "what waits in its place");
    let mut set = JoinSet::named("pages");
    let child = set.spawn(leaf(1)).await?;
    let hour = crate::sleep(Duration::from_hours(1));
    crate::select! { value = child => drop(value), slept = hour => slept? }
    Ok(crate::signal("go").await?)
}

/// The answer of a wait for a child is found where a replay, which has left the child out, waits for all of the set: the replay
/// is not told of the child. It was, by the verbs that go through all ends.
pub async fn g10_a_set_gives_no_end_of_a_child_left_out(lab: Lab) {
    let first = lab.worker().register(all_of_fewer).register(leaf).start().await.unwrap();
    let mut jobs = Vec::new();
    for verb in 0..3 {
        let job = lab.homing.submit(all_of_fewer(verb)).await.unwrap();
        lab.observe(job.id(), "at the signal", |view| {
            view.state == TaskState::Waiting && format!("{:?}", view.waits).contains("signal:go")
        })
        .await;
        jobs.push(job);
    }
    first.kill().await;
    let second = lab.worker().register(new::all_of_fewer).register(leaf).start().await.unwrap();
    for job in jobs {
        job.signal("go", &1u64).await.unwrap();
        let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some());
        let reason = lab.turning(view).await.reason.unwrap();
        let text =
            "`select!#1/0`: expected a spawn of the next child to end, got none: its kind is leaf";
        assert!(reason.contains(text), "{reason}");
    }
    assert_eq!(lab.probe.count("told"), 0);
    lab.close([second]).await;
}

#[task(kind = "another_wait")]
async fn another_wait(arm: u64) -> Result<u64> {
    let (slept, word) = (crate::sleep(Duration::ZERO), crate::signal::<u64>("never"));
    if arm == 0 {
        crate::select! { slept = slept => slept?, word = word => assert_eq!(word?, 0) }
    } else {
        crate::select! { word = word => assert_eq!(word?, 0), slept = slept => slept? }
    }
    Ok(crate::signal("go").await?)
}

/// The answer of a wait that brings nothing is not taken for a signal, or for the end of a job, that stands at its
/// place now. The body was told that the signal had brought no value of its type.
pub async fn g10_an_answer_is_not_anothers(lab: Lab) {
    let first = lab.worker().register(another_wait).start().await.unwrap();
    let mut jobs = Vec::new();
    let at_the_signal = |view: &crate::TaskView| {
        view.state == TaskState::Waiting && format!("{:?}", view.waits).contains("signal:go")
    };
    for arm in 0..2 {
        jobs.push(lab.homing.submit(another_wait(arm)).await.unwrap());
        lab.observe(jobs[arm as usize].id(), "at the signal", at_the_signal).await;
    }
    first.kill().await;
    let second = lab.worker().register(new::another_wait).start().await.unwrap();
    for (job, kind) in jobs.into_iter().zip(["a signal", "a job"]) {
        job.signal("go", &1u64).await.unwrap();
        let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some());
        let reason = lab.turning(view).await.reason.unwrap();
        assert!(reason.contains(&format!("expected another wait, got one for {kind}")), "{reason}");
        job.cancel().await.unwrap();
    }
    assert_eq!(lab.probe.count("told"), 0);
    lab.close([second]).await;
}

async fn remembered(name: &'static str, probe: &Probe) -> Result<String> {
    Ok(step(name, || async move {
        probe.hit(name);
        Ok(name.to_owned())
    })
    .await?)
}

#[task(kind = "stepping")]
async fn stepping(State(probe): State<Probe>) -> Result<String> {
    let first = remembered("first", &probe).await?;
    let second = remembered("second", &probe).await?;
    crate::signal::<()>("go").await?;
    Ok(format!("{first} {second}"))
}

/// Adding and reordering other steps is safe: each is found by its name.
pub async fn g10_other_steps_may_come_and_go(lab: Lab) {
    let first = lab.worker().register(stepping).start().await.unwrap();
    let job = lab.homing.submit(stepping()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = lab.worker().register(new::stepping).start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), "first second extra");
    for name in ["first", "second", "extra"] {
        assert_eq!(lab.probe.count(name), 1, "{name}");
    }
    lab.close([second]).await;
}

#[task(kind = "typed")]
async fn typed() -> Result<u64> {
    step("first", async || Ok(())).await?;
    step("value", || async { Ok("text".to_owned()) }).await?;
    crate::signal::<()>("go").await?;
    Ok(1)
}

#[task(kind = "typed_arguments")]
async fn typed_arguments(n: u64) -> Result<u64> {
    Ok(n)
}

/// A stored value that no longer decodes stands still as drift does; so do arguments.
pub async fn g10_an_undecodable_value_stands_still(lab: Lab) {
    let first = lab.worker().register(typed).start().await.unwrap();
    let job = lab.homing.submit(typed()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = lab.worker().register(new::typed).register(typed_arguments).register(leaf);
    let second = second.start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some());
    let view = lab.turning(view).await;
    let reason = view.reason.unwrap();
    assert_eq!(super::children(&lab, job.id()).await.len(), 0);
    assert!(reason.contains("`step:value#1`: the step's result does not decode"), "{reason}");
    let arguments = serde_json::json!({"n": "seven"});
    let wrong = lab.homing.submit_named("typed_arguments", &arguments).force().await.unwrap();
    let view = lab.observe(wrong.id(), "standing still", |view| view.reason.is_some()).await;
    assert_eq!((view.state, view.attempt), (TaskState::Pending, 1));
    assert!(view.reason.unwrap().contains("the argument `n` does not decode"));
    job.cancel().await.unwrap();
    wrong.cancel().await.unwrap();
    lab.close([second]).await;
}

#[task(kind = "valued")]
async fn valued() -> Result<u64> {
    Ok(1)
}

#[task]
async fn valuing() -> Result<u64> {
    Ok(crate::spawn(valued()).await?.await?)
}

/// So does a parent that is given a value of another type by a child: it is mended by a release, and spends nothing.
pub async fn g10_an_undecodable_outcome_stands_still(lab: Lab) {
    let worker = lab.worker().register(valuing).register(new::valued).start().await.unwrap();
    let job = lab.homing.submit(valuing()).await.unwrap();
    let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some()).await;
    assert_eq!((view.state, view.attempt), (TaskState::Pending, 1));
    assert!(view.reason.unwrap().contains("does not decode"));
    job.cancel().await.unwrap();
    lab.close([worker]).await;
}

async fn placing(order: &[u64]) -> Result<Vec<u64>> {
    let mut set = JoinSet::named("pages");
    for n in order {
        set.spawn(gated(*n).at(format!("page {n}"))).await?;
    }
    crate::signal::<()>("go").await?;
    let mut all = set.join_all().await?;
    all.sort_unstable();
    Ok(all)
}

#[task(kind = "placed")]
async fn placed() -> Result<Vec<u64>> {
    placing(&[1, 2, 3]).await
}

/// Children with places of their own are found again in whatever order they are spawned.
pub async fn placed_children_are_found_again(lab: Lab) {
    let first = lab.worker().register(placed).register(gated).start().await.unwrap();
    let job = lab.homing.submit(placed()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = lab.worker().register(new::placed).register(gated).start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    for n in 1..5 {
        lab.probe.open(&format!("gate {n}"));
    }
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), [1, 2, 3, 4]);
    assert_eq!(job.view().await.unwrap().counts.succeeded, 5);
    lab.close([second]).await;
}

#[task(kind = "priced")]
async fn priced_in_words(price: String) -> Result<u64> {
    Ok(price.len() as u64)
}

#[task(kind = "priced")]
async fn priced(price: u64) -> Result<u64> {
    Ok(price)
}

#[task]
async fn ordering() -> Result<u64> {
    let price = crate::spawn(priced_in_words("ten".to_owned())).await?.await?;
    crate::signal::<()>("go").await?;
    Ok(price)
}

/// A task whose arguments no release takes any more is given others, which are held to its types; its parent's call
/// still fits. What does not stand still keeps its arguments.
pub async fn wrong_arguments_are_amended(lab: Lab) {
    let worker = lab.worker().register(ordering).register(priced).start().await.unwrap();
    let job = lab.homing.submit(ordering()).await.unwrap();
    let child = children_when(&lab, job.id().root(), 1).await.remove(0).id;
    lab.observe(child, "standing still", |view| {
        view.state == TaskState::Pending && view.stalls > 0
    })
    .await;
    assert!(matches!(job.retry().await, Err(RetryError::Stalled { .. })));
    let ten = serde_json::json!({"price": 10});
    let whole = lab.homing.amend(job.id(), &serde_json::json!({})).await;
    assert!(matches!(whole, Err(AmendError::NotStalled { .. })), "{whole:?}");
    for wrong in [serde_json::json!({"price": "ten"}), serde_json::json!({"cost": 10})] {
        let refused = lab.homing.amend(child, &wrong).await;
        assert!(matches!(refused, Err(AmendError::Refused(_))), "{wrong}: {refused:?}");
    }
    lab.homing.amend(child, &ten).await.unwrap();
    lab.reaches(child, TaskState::Succeeded).await;
    job.signal("go", &()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 10);
    let late = lab.homing.amend(child, &ten).await;
    assert!(matches!(late, Err(AmendError::Ended { .. })), "{late:?}");
    lab.close([worker]).await;
}
