//! Several things in one body: `select!`, branches, streams, signals, sleeps, combinators.

use std::time::Duration;

use futures_util::{StreamExt, pin_mut};

use super::waits::{children_when, failing, gated, leaf};
use super::{Lab, children};
use crate::testing::Probe;
use crate::{JoinSet, Reason, Result, State, TaskState, step, task};

#[task]
async fn selecting(State(probe): State<Probe>) -> Result<Vec<String>> {
    let mut set = JoinSet::new();
    set.spawn(gated(0)).await?;
    let handle = crate::spawn(gated(1)).await?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let line = crate::select! {
            outcome = set.join_next() => match outcome { Some(value) => format!("set {}", value?), None => "empty".to_owned() },
            value = &handle => format!("handle {}", value?),
            told = crate::signal::<String>("go") => format!("signal {}", told?),
            slept = crate::sleep(Duration::from_mins(1)) => { slept?; "slept".to_owned() },
        };
        probe.hit("selected");
        seen.push(line);
    }
    Ok(seen)
}

/// `select!` records the winner; the others consume nothing.
pub async fn select_takes_the_first_and_records_it(lab: Lab) {
    let worker = lab.worker().register(gated).register(selecting).start().await.unwrap();
    let job = lab.homing.submit(selecting()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert!(job.signal("go", "now").await.unwrap().is_sent());
    lab.probe.hits("selected", 1).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 1");
    lab.probe.hits("selected", 2).await;
    lab.probe.open("gate 0");
    let seen = job.outcome().await.unwrap();
    // A handle's outcome may be asked for again, and it stands before the signal and the sleep; the
    // set stands before it.
    assert_eq!(seen[..2], ["signal now", "handle 1"]);
    assert!(["set 0", "handle 1"].contains(&seen[2].as_str()), "{seen:?}");
    lab.close([worker]).await;
}

#[task]
async fn selecting_in_time() -> Result<String> {
    let mut set = JoinSet::new();
    set.spawn(gated(0)).await?;
    Ok(crate::select! {
        next = set.join_next().timeout(Duration::from_secs(5)) => {
            format!("timed out: {}", next.is_some_and(|next| next.is_err_and(|error| error.is_timeout())))
        },
        told = crate::signal::<u64>("go").timeout(Duration::from_secs(9)) => {
            format!("told: {}", told.is_ok())
        },
    })
}

/// An arm's timeout is its own: it ends that arm, and the arms behind it keep their places.
pub async fn arms_of_a_select_have_timeouts(lab: Lab) {
    let builder = lab.worker().register(gated).register(selecting_in_time);
    let worker = builder.start().await.unwrap();
    let late = lab.homing.submit(selecting_in_time()).await.unwrap();
    let told = lab.homing.submit(selecting_in_time()).await.unwrap();
    lab.reaches(late.id(), TaskState::Waiting).await;
    lab.reaches(told.id(), TaskState::Waiting).await;
    assert!(told.signal("go", &1).await.unwrap().is_sent());
    // Each has gone on before its child ends, which it then waits for.
    let at_its_end = |view: &crate::TaskView| {
        view.state == TaskState::Waiting && !format!("{:?}", view.waits).contains("Signal")
    };
    lab.observe(told.id(), "at its end", at_its_end).await;
    lab.advance(Duration::from_secs(5)).await;
    lab.observe(late.id(), "at its end", at_its_end).await;
    lab.probe.open("gate 0");
    assert_eq!(told.outcome().await.unwrap(), "told: true");
    assert_eq!(late.outcome().await.unwrap(), "timed out: true");
    lab.close([worker]).await;
}

async fn branch(n: u64) -> Result<u64> {
    let before = step("before", || async move { Ok(n * 10) }).await?;
    let child = crate::spawn(gated(n)).await?.await?;
    let after = step("after", || async move { Ok(child + before) }).await?;
    Ok(after)
}

#[task]
async fn branching(State(probe): State<Probe>) -> Result<Vec<u64>> {
    let (first, second) = crate::join!(branch(0), async {
        let value = branch(1).await?;
        probe.hit("second");
        Ok::<_, crate::Error>(value)
    });
    let more = crate::join_all((2..6).map(branch)).await;
    let mut all = vec![first?, second?];
    for value in more {
        all.push(value?);
    }
    Ok(all)
}

/// `join!` and `join_all` give each branch its own places: steps run beside waits.
pub async fn branches_run_beside_each_other(lab: Lab) {
    let worker = lab.worker().register(gated).register(branching).start().await.unwrap();
    let job = lab.homing.submit(branching()).await.unwrap();
    // The second branch goes on to its end while the first waits.
    lab.probe.open("gate 1");
    lab.probe.hits("second", 1).await;
    for n in [5, 4, 0, 3, 2] {
        lab.probe.open(&format!("gate {n}"));
    }
    assert_eq!(job.outcome().await.unwrap(), [0, 11, 22, 33, 44, 55]);
    lab.close([worker]).await;
}

#[task]
async fn streaming() -> Result<u64> {
    let mut set = JoinSet::new();
    for n in 0..50 {
        set.spawn(leaf(n)).await?;
    }
    let mut sum = 0;
    {
        let outcomes = set.outcomes();
        pin_mut!(outcomes);
        for _ in 0..20 {
            sum += outcomes.next().await.unwrap()?;
        }
    }
    set.for_each(|outcome| {
        let added = outcome.map(|value| sum += value);
        std::future::ready(added)
    })
    .await?;
    Ok(sum)
}

/// Streams bring every outcome once.
pub async fn streams_bring_every_outcome(lab: Lab) {
    let worker = lab.worker().register(leaf).register(streaming).start().await.unwrap();
    let job = lab.homing.submit(streaming()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 49 * 50 / 2);
    lab.close([worker]).await;
}

#[task]
async fn listening(State(probe): State<Probe>) -> Result<Vec<u64>> {
    probe.pass("listen").await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(crate::signal::<u64>("n").await?);
        probe.hit("heard");
    }
    Ok(told)
}

/// A signal sent before the wait is kept; each answers one wait, the oldest first.
pub async fn signals_are_kept_and_taken_in_order(lab: Lab) {
    let worker = lab.worker().register(listening).start().await.unwrap();
    let job = lab.homing.submit(listening()).await.unwrap();
    assert!(
        job.signal("n", &1).await.unwrap().is_sent()
            && job.signal("n", &2).await.unwrap().is_sent()
    );
    lab.probe.open("listen");
    lab.probe.hits("heard", 2).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert!(job.signal("other", &7).await.unwrap().is_sent());
    assert!(job.signal("n", &3).await.unwrap().is_sent());
    assert_eq!(job.outcome().await.unwrap(), [1, 2, 3]);
    assert!(!job.signal("n", &4).await.unwrap().is_sent(), "the task has ended");
    lab.close([worker]).await;
}

#[task]
async fn sleeping() -> Result<()> {
    Ok(crate::sleep(Duration::from_hours(1)).await?)
}

/// A sleep parks: it holds no slot.
pub async fn sleep_parks(lab: Lab) {
    let worker = lab.worker().register(sleeping).register(leaf).concurrency(1);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(sleeping()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert_eq!(lab.homing.submit(leaf(1)).await.unwrap().outcome().await.unwrap(), 1);
    lab.advance(Duration::from_hours(1)).await;
    job.outcome().await.unwrap();
    lab.close([worker]).await;
}

#[task]
async fn double(n: u64) -> Result<u64> {
    Ok(n * 2)
}

#[task]
async fn sum(values: Vec<u64>) -> Result<u64> {
    Ok(values.iter().sum())
}

#[task]
async fn growing() -> Result<u64> {
    let mut chord = crate::ChordSet::new();
    let mut next = Some(3);
    while let Some(n) = next {
        chord.add(double(n)).await?;
        next = (n > 0).then(|| n - 1);
    }
    Ok(chord.run(sum).await?)
}

/// `chain`, `group` and `chord`, submitted and spawned, empty, failing, growing.
pub async fn chains_groups_and_chords(lab: Lab) {
    let builder = lab.worker().register(double).register(sum).register(failing).register(growing);
    let worker = builder.start().await.unwrap();
    let homing = &lab.homing;
    let chain = crate::chain(double(1)).then(double::with()).then(double::with()).call();
    assert_eq!(homing.submit(chain).await.unwrap().outcome().await.unwrap(), 8);
    let group = crate::group((0..5).map(double));
    assert_eq!(homing.submit(group).await.unwrap().outcome().await.unwrap(), [0, 2, 4, 6, 8]);
    let chord = crate::chord((0..5).map(double), sum::with());
    assert_eq!(homing.submit(chord).await.unwrap().outcome().await.unwrap(), 20);
    let none = crate::chord(Vec::<crate::Call<double>>::new(), sum::with());
    assert_eq!(homing.submit(none).await.unwrap().outcome().await.unwrap(), 0);
    assert_eq!(homing.submit(growing()).await.unwrap().outcome().await.unwrap(), 12);
    let broken = crate::chord([failing(7)], sum::with());
    let error = homing.submit(broken).await.unwrap().outcome().await.unwrap_err();
    assert_eq!(error.failure().unwrap().reason, Reason::Error);
    assert!(error.to_string().contains("no 7"), "{error}");
    lab.close([worker]).await;
}

#[task(queue = "slow", priority = 7)]
async fn last(n: u64) -> Result<u64> {
    Ok(n)
}

/// The calls inside combinators keep their options, and those of their kinds.
pub async fn combinators_keep_options(lab: Lab) {
    let worker = lab.worker().register(double).register(last).queues(["default", "slow"]);
    let worker = worker.start().await.unwrap();
    let first = double(1).delay(Duration::from_secs(30)).priority(3);
    let job = lab.homing.submit(crate::chain(first).then(last::with()).call()).await.unwrap();
    let first = children_when(&lab, job.id().root(), 1).await.remove(0);
    assert_eq!((first.priority, first.state), (3, TaskState::Pending));
    lab.advance(Duration::from_secs(30)).await;
    assert_eq!(job.outcome().await.unwrap(), 2);
    let all = children(&lab, job.id()).await;
    let last = all.iter().find(|child| child.kind == "last").unwrap();
    assert_eq!((last.queue.as_str(), last.priority), ("slow", 7));
    lab.close([worker]).await;
}
