//! Every misuse of section 3 is found, named, and final.

use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::stream::{self, StreamExt as _};

use super::Lab;
use super::waits::{gated, leaf};
use crate::testing::Probe;
use crate::{Homing, JoinSet, Reason, Result, State, limits, step, task};

async fn message(lab: &Lab, job: crate::JobHandle<()>) -> String {
    let error = job.outcome().await.unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.reason, failure.attempt), (Reason::Misuse, 1), "{failure}");
    assert!(lab.homing.task(job.id()).await.unwrap().state.is_ended());
    failure.message.clone()
}

/// The verbs of a body say what to do where no task runs.
pub async fn outside_a_task(lab: Lab) {
    let hint = "was called outside a task: call it in the body of a #[task], or in a function the body awaits; not in a future handed to `tokio::spawn`";
    let texts = [
        ("spawn", crate::spawn(leaf(1)).await.unwrap_err().to_string()),
        ("JoinSet::spawn", JoinSet::new().spawn(leaf(1)).await.unwrap_err().to_string()),
        ("join_all", JoinSet::<u64>::new().join_all().await.unwrap_err().to_string()),
        ("join_next", JoinSet::<u64>::new().join_next().await.unwrap().unwrap_err().to_string()),
        (
            "join_next",
            JoinSet::<u64>::new().join_next_with_id().await.unwrap().unwrap_err().to_string(),
        ),
        ("join_settled", JoinSet::<u64>::new().join_settled().await.unwrap_err().to_string()),
        ("join_first", JoinSet::<u64>::new().join_first().await.unwrap_err().to_string()),
        ("join_some", JoinSet::<u64>::new().join_some(2).await.unwrap_err().to_string()),
        ("step", step("s", async || Ok(1)).await.unwrap_err().to_string()),
        ("sleep", crate::sleep(Duration::ZERO).await.unwrap_err().to_string()),
        ("signal", crate::signal::<u64>("s").await.unwrap_err().to_string()),
        ("detach", crate::detach(leaf(1)).await.unwrap_err().to_string()),
        ("now", crate::now().await.unwrap_err().to_string()),
        ("id", crate::try_id().unwrap_err().to_string()),
        ("cancelled", crate::cancelled().unwrap_err().to_string()),
        ("overdue", crate::overdue().unwrap_err().to_string()),
        ("info", crate::info().unwrap_err().to_string()),
        ("parent", crate::parent().unwrap_err().to_string()),
    ];
    for (verb, text) in texts {
        assert_eq!(text, format!("`{verb}` {hint}"));
    }
    crate::progress(1, 2);
    crate::log!("nobody listens");
    lab.close([]).await;
}

#[task]
async fn submitting(State(homing): State<Homing>) -> Result<()> {
    homing.submit(leaf(1)).await?;
    Ok(())
}

#[task]
async fn awaiting_outcome(State(homing): State<Homing>) -> Result<()> {
    let id = crate::id().job;
    // Even an error that is swallowed ends the task.
    let _ = homing.job::<()>(id).outcome().await;
    Ok(())
}

/// Client verbs inside a body are refused, and fatal.
pub async fn client_verbs_inside(lab: Lab) {
    let builder = lab.worker().register(submitting).register(awaiting_outcome).register(leaf);
    let worker = builder.state(lab.homing.clone()).start().await.unwrap();
    let hint = "was called inside a task: a body spawns children with `homing::spawn` or starts a new job with `homing::detach`, and waits for that one with `homing::job(id).await`";
    let job = lab.homing.submit(submitting()).await.unwrap();
    assert_eq!(message(&lab, job).await, format!("`submit` {hint}"));
    let hint = "was called inside a task: a body waits for another job with `homing::job(id).await`, which holds no slot, and for a child with its handle";
    let job = lab.homing.submit(awaiting_outcome()).await.unwrap();
    assert_eq!(message(&lab, job).await, format!("`outcome` {hint}"));
    assert_eq!(lab.homing.jobs(crate::JobFilter::default()).await.unwrap().len(), 2);
    lab.close([worker]).await;
}

#[task]
async fn both_at_once() -> Result<()> {
    let one = crate::spawn(gated(1)).await?;
    let two = crate::spawn(gated(2)).await?;
    let (one, two) = join(one.into_future(), two.into_future()).await;
    one?;
    two?;
    Ok(())
}

/// A second open operation in one branch is named with the first.
pub async fn two_operations_at_once(lab: Lab) {
    let worker = lab.worker().register(both_at_once).register(gated).start().await.unwrap();
    let job = lab.homing.submit(both_at_once()).await.unwrap();
    assert_eq!(
        message(&lab, job).await,
        "`spawn:gated[1].await#1` was begun while `spawn:gated[0].await#1` is open: await one after the other, or use homing's own `join!`, `join_all` or `select!`, which give each branch its own places; a `JoinSet` gives what children return as they end"
    );
    lab.close([worker]).await;
}

#[task]
async fn spawning_in_a_step() -> Result<()> {
    Ok(step("outer", || async {
        crate::spawn(leaf(1)).await?;
        Ok(())
    })
    .await?)
}

/// Nothing durable runs inside a step.
pub async fn nothing_durable_inside_a_step(lab: Lab) {
    let worker = lab.worker().register(spawning_in_a_step).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(spawning_in_a_step()).await.unwrap();
    assert_eq!(
        message(&lab, job).await,
        "`spawn:leaf[0]` was begun inside the step `step:outer#1`: a step holds plain work only, do this beside it"
    );
    lab.close([worker]).await;
}

#[task]
async fn steps_at_once(foreign: bool) -> Result<()> {
    let work = async || {
        tokio::task::yield_now().await;
        Ok(1)
    };
    let one = step("one", work);
    let two = step("two", work);
    if foreign {
        let (one, two) = tokio::join!(one, two);
        one?;
        two?;
    } else {
        let (one, two) = crate::join!(one, two);
        one?;
        two?;
    }
    Ok(())
}

/// Two steps at once are told apart from a step inside a step, and the text names what to write.
pub async fn steps_beside_each_other(lab: Lab) {
    let worker = lab.worker().register(steps_at_once).start().await.unwrap();
    let job = lab.homing.submit(steps_at_once(true)).await.unwrap();
    assert_eq!(
        message(&lab, job).await,
        "`step:two#1` was begun while `step:one#1` is open: await one after the other, or use homing's own `join!`, `join_all` or `select!`, which give each branch its own places; a `JoinSet` gives what children return as they end"
    );
    let job = lab.homing.submit(steps_at_once(false)).await.unwrap();
    job.outcome().await.unwrap();
    lab.close([worker]).await;
}

#[task]
async fn twice_at_a_place(verb: String) -> Result<()> {
    for _ in 0..2 {
        match verb.as_str() {
            "set" => drop(JoinSet::named("pages").spawn(leaf(1)).await?),
            "detach" => drop(crate::detach(leaf(1).at("here")).await?),
            _ => drop(crate::spawn(leaf(1).at("here")).await?),
        }
    }
    Ok(())
}

/// A place that is given twice is named.
pub async fn doubled_places(lab: Lab) {
    let worker = lab.worker().register(twice_at_a_place).register(leaf).start().await.unwrap();
    let hint = "is taken twice in this body: a name given with `.at(…)` is unique in its set, one given with `JoinSet::named` or to a detached call in the body";
    let verbs = [("spawn", "spawn:leaf@here"), ("set", "set:pages"), ("detach", "detach@here")];
    for (verb, place) in verbs {
        let job = lab.homing.submit(twice_at_a_place(verb.to_owned())).await.unwrap();
        assert_eq!(message(&lab, job).await, format!("the place `{place}` {hint}"));
    }
    lab.close([worker]).await;
}

#[task]
async fn foreign_timeout() -> Result<()> {
    let handle = crate::spawn(gated(1)).await?;
    let _ = tokio::time::timeout(Duration::from_hours(1), handle).await;
    Ok(())
}

#[task]
async fn foreign_select(State(probe): State<Probe>) -> Result<()> {
    let handle = crate::spawn(gated(1)).await?;
    tokio::select! {
        _ = handle => {}
        () = probe.pass("never") => {}
    }
    Ok(())
}

/// A foreign timer or channel beside a durable wait is found by the second poll.
pub async fn foreign_futures_beside_a_wait(lab: Lab) {
    let builder = lab.worker().register(foreign_timeout).register(foreign_select).register(gated);
    let worker = builder.start().await.unwrap();
    let text = "a foreign future is awaited together with the durable wait `spawn:gated[0].await#1`: put plain work into a `step`, take a timeout with `.timeout(d)`, wait for several things with `homing::select!`";
    let job = lab.homing.submit(foreign_timeout()).await.unwrap();
    assert_eq!(message(&lab, job).await, text);
    let job = lab.homing.submit(foreign_select()).await.unwrap();
    assert_eq!(message(&lab, job).await, text);
    lab.close([worker]).await;
}

#[task]
async fn moving_away() -> Result<()> {
    let moved = tokio::spawn(async { crate::spawn(leaf(1)).await.map(drop) });
    moved.await??;
    Ok(())
}

/// A future handed to `tokio::spawn` has no task; its error is final when the body returns it.
pub async fn a_tokio_task_has_no_context(lab: Lab) {
    let worker = lab.worker().register(moving_away).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(moving_away()).await.unwrap();
    let text = message(&lab, job).await;
    assert!(text.starts_with("`spawn` was called outside a task"), "{text}");
    lab.close([worker]).await;
}

/// How a handle or a set may be used.
const WAYS: u64 = 8;

/// Where one body leaves its handle and its set for another.
type Left = std::sync::Arc<std::sync::Mutex<Vec<(crate::JoinHandle<u64>, crate::JoinSet<u64>)>>>;

#[task]
async fn leaving(State(left): State<Left>) -> Result<()> {
    let mut set = crate::JoinSet::new();
    for _ in 0..WAYS {
        let handle = set.spawn(gated(1)).await?;
        let other = std::mem::take(&mut set);
        left.lock().unwrap().push((handle, other));
    }
    Ok(())
}

#[task]
async fn taking(what: u64, State(left): State<Left>) -> Result<()> {
    let (handle, mut set) = left.lock().unwrap().pop().unwrap();
    match what {
        0 => drop(handle.await?),
        1 => drop(set.join_all().await?),
        2 => drop(set.join_next().await),
        3 => drop(set.join_next_with_id().await),
        4 => drop(set.join_settled().await?),
        5 => drop(set.join_first().await?),
        6 => crate::select! {
            one = set.join_next() => drop(one),
            slept = crate::sleep(Duration::MAX) => drop(slept),
        },
        _ => drop(set.spawn(gated(1)).await?),
    }
    Ok(())
}

/// A handle or a set of one task is refused in another, which would wait for it for ever. `join_next_with_id` once
/// took the set for an empty one.
pub async fn handles_of_another_task(lab: Lab) {
    let worker = lab.worker().register(leaving).register(taking).register(gated);
    let worker = worker.state(Left::default()).start().await.unwrap();
    let owner = lab.homing.submit(leaving()).await.unwrap();
    lab.reaches(owner.id(), crate::TaskState::Waiting).await;
    for what in 0..WAYS {
        let job = lab.homing.submit(taking(what)).await.unwrap();
        let text = message(&lab, job).await;
        assert!(text.contains("belongs to another task"), "{what}: {text}");
    }
    lab.probe.open("gate 1");
    owner.outcome().await.unwrap();
    lab.close([worker]).await;
}

#[task]
async fn many_foreign(n: u64) -> Result<()> {
    let mut handles = Vec::new();
    for n in 0..n {
        handles.push(crate::spawn(gated(n)).await?.into_future());
    }
    join_all(handles).await;
    Ok(())
}

/// `futures::join_all` changes its strategy beyond 30 futures; both are found.
pub async fn foreign_join_all(lab: Lab) {
    let worker = lab.worker().register(many_foreign).register(gated).start().await.unwrap();
    for n in [3, 40] {
        let job = lab.homing.submit(many_foreign(n)).await.unwrap();
        let text = message(&lab, job).await;
        assert!(text.contains("was begun while"), "{n}: {text}");
    }
    lab.close([worker]).await;
}

/// Some futures at once, as users of streams write it.
async fn unordered<T>(futures: Vec<impl Future<Output = Result<T>>>, width: usize) -> Result<()> {
    let mut done = stream::iter(futures).buffer_unordered(width);
    while let Some(one) = done.next().await {
        one?;
    }
    Ok(())
}

#[task]
async fn unordered_steps(width: usize) -> Result<()> {
    let page = async |n: u64| {
        let work = async || {
            tokio::task::yield_now().await;
            Ok(n)
        };
        Ok(step("page", work).await?)
    };
    unordered((0..3).map(page).collect(), width).await
}

#[task]
async fn unordered_joins(width: usize) -> Result<()> {
    let mut handles = Vec::new();
    for n in 0..3 {
        handles.push(crate::spawn(gated(n)).await?);
    }
    unordered(handles.into_iter().map(async |one| Ok(one.await?)).collect(), width).await
}

#[task]
async fn unordered_spawns(width: usize) -> Result<()> {
    unordered((0..3).map(async |n| Ok(crate::spawn(gated(n)).await?.await?)).collect(), width).await
}

/// `buffer_unordered` is found, one at a time too, and the text names what to write for steps and for children.
pub async fn foreign_streams(lab: Lab) {
    let builder = lab.worker().register(unordered_steps).register(unordered_joins);
    let worker = builder.register(unordered_spawns).register(gated).start().await.unwrap();
    for (width, what) in [(3, "was begun while"), (1, "is awaited in a stream or set of futures")] {
        let jobs = [
            lab.homing.submit(unordered_steps(width)).await.unwrap(),
            lab.homing.submit(unordered_joins(width)).await.unwrap(),
            lab.homing.submit(unordered_spawns(width)).await.unwrap(),
        ];
        for job in jobs {
            let text = message(&lab, job).await;
            let names_all = ["`join!`", "`join_all`", "`JoinSet`"].map(|what| text.contains(what));
            assert!(text.contains(what) && names_all == [true; 3], "{width}: {text}");
            let operation = text.split('`').nth(1).unwrap();
            assert!(
                operation.ends_with(|end: char| end.is_ascii_digit() || end == ']'),
                "{width}: {text}"
            );
        }
    }
    lab.close([worker]).await;
}

#[task]
async fn plain(State(probe): State<Probe>) -> Result<u64> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    let blocking = tokio::task::spawn_blocking(|| 1u64).await?;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(async move { sender.send(2u64) });
    let channel = receiver.await?;
    let parts = join_all((0..40).map(async |n| {
        tokio::task::yield_now().await;
        n
    }))
    .await;
    probe.pass("plain").await;
    Ok(blocking + channel + parts.iter().sum::<u64>())
}

/// Plain I/O outside steps is legal: timers, yields, channels, blocking work, foreign combinators.
pub async fn plain_io_is_legal(lab: Lab) {
    let worker = lab.worker().register(plain).start().await.unwrap();
    let job = lab.homing.submit(plain()).await.unwrap();
    lab.probe.open("plain");
    assert_eq!(job.outcome().await.unwrap(), 783);
    lab.close([worker]).await;
}

#[task]
async fn stale(State(probe): State<Probe>) -> Result<u64> {
    let handle = crate::spawn(gated(5)).await?.into_future();
    futures_util::pin_mut!(handle);
    // What was dropped beside the wait is still on its way out in the first poll that parks.
    let mut kept = None;
    std::future::poll_fn(|cx| {
        let polled = handle.as_mut().poll(cx);
        if polled.is_pending() {
            let first = kept.is_none();
            kept = Some(first.then(|| cx.waker().clone()));
            probe.hit(if first { "kept" } else { "gone" });
        }
        polled
    })
    .await
    .map_err(Into::into)
}

/// A dropped future that leaves a stale waker for a poll is no misuse.
pub async fn a_stale_waker_is_no_misuse(lab: Lab) {
    let worker = lab.worker().register(stale).register(gated).start().await.unwrap();
    let job = lab.homing.submit(stale()).await.unwrap();
    lab.reaches(job.id(), crate::TaskState::Waiting).await;
    assert!(lab.probe.count("kept") == 1 && lab.probe.count("gone") >= 1);
    lab.probe.open("gate 5");
    assert_eq!(job.outcome().await.unwrap(), 5);
    lab.close([worker]).await;
}

#[task]
async fn polled_each_time() -> Result<u64> {
    let handle = crate::spawn(gated(5)).await?.into_future();
    futures_util::pin_mut!(handle);
    let waker = futures_util::task::noop_waker();
    std::future::poll_fn(|_| handle.as_mut().poll(&mut std::task::Context::from_waker(&waker)))
        .await
        .map_err(Into::into)
}

/// A waker of somebody else's is no misuse while each poll of the body reaches the future.
pub async fn a_foreign_waker_is_no_misuse(lab: Lab) {
    let worker = lab.worker().register(polled_each_time).register(gated).start().await.unwrap();
    let job = lab.homing.submit(polled_each_time()).await.unwrap();
    lab.reaches(job.id(), crate::TaskState::Waiting).await;
    lab.probe.open("gate 5");
    assert_eq!(job.outcome().await.unwrap(), 5);
    lab.close([worker]).await;
}

#[task]
async fn branching(rounds: usize, open: usize, inside: usize) -> Result<()> {
    for _ in 0..rounds {
        let branch = |n| async move {
            if n == 0 {
                crate::join_all((0..inside).map(|_| async {})).await;
            }
        };
        crate::join_all((0..open).map(branch)).await;
    }
    Ok(())
}

/// So many branches may be open at once and no more, whichever groups they are in; those that are done do not count.
pub async fn branches_are_bounded(lab: Lab) {
    let worker = lab.worker().register(branching).start().await.unwrap();
    let most = limits::BRANCHES;
    for (open, inside) in [(most, 0), (most - 100, 100)] {
        lab.homing.submit(branching(3, open, inside)).await.unwrap().outcome().await.unwrap();
    }
    let refused = [(most + 1, 0, "join_all#1"), (most - 100, 101, "join_all#1[0]/join_all#1")];
    for (open, inside, place) in refused {
        let job = lab.homing.submit(branching(1, open, inside)).await.unwrap();
        let hint = "are allowed at once: spawn children into a `JoinSet`, which takes any number, or join so many after each other";
        let text = format!("1001 branches are open at `{place}`, and 1000 {hint}");
        assert_eq!(message(&lab, job).await, text);
    }
    lab.close([worker]).await;
}
