//! Growing sets: members add to the set they are in, once, and the parent's waits mean what they have added.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::waits::{children_when, leaf};
use super::{Lab, children};
use crate::testing::Probe;
use crate::{Error, FailurePolicy, JoinError, JoinSet, Result, State, TaskState, step, task};

/// What a member does: pass its gate, add others, fail or return its number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    n: u64,
    gate: bool,
    fails: bool,
    adds: Vec<Plan>,
}

pub(super) fn plan(n: u64, adds: impl IntoIterator<Item = Plan>) -> Plan {
    Plan { n, adds: adds.into_iter().collect(), ..Plan::default() }
}

fn fails(n: u64) -> Plan {
    Plan { fails: true, ..plan(n, []) }
}

pub(super) fn gated(plan: Plan) -> Plan {
    Plan { gate: true, ..plan }
}

#[task(retries = 0)]
pub(super) async fn member(plan: Plan, State(probe): State<Probe>) -> Result<u64> {
    if plan.gate {
        probe.pass(&format!("gate {}", plan.n)).await;
    }
    for next in plan.adds {
        crate::spawn_sibling(member(next)).await?;
    }
    if plan.fails { Err(Error::msg(format!("no {}", plan.n))) } else { Ok(plan.n) }
}

#[task]
async fn all_of(plans: Vec<Plan>, State(probe): State<Probe>) -> Result<Vec<u64>> {
    let mut set = JoinSet::new().growing();
    for plan in plans {
        set.spawn(member(plan)).await?;
    }
    probe.hit("parent came by");
    let values = set.join_all().await?;
    assert!(set.is_empty());
    Ok(values)
}

/// The parent holds no slot while its only slot's members add further members. The values of those that its body
/// spawned come first, then the others in the order in which they were added.
pub async fn growing_sets_are_joined_whole(lab: Lab) {
    let worker = lab.worker().concurrency(1).register(all_of).register(member);
    let worker = worker.start().await.unwrap();
    let deep = plan(3, [plan(4, [plan(5, [])]), plan(6, [plan(7, []), plan(8, [])])]);
    let call = all_of(vec![plan(1, [deep]), plan(2, [plan(9, [])])]);
    let job = lab.homing.submit(call).await.unwrap();
    let values = job.outcome().await.unwrap();
    assert_eq!(values[..2], [1, 2]);
    let mut sorted = values.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=9).collect::<Vec<_>>());
    let all = children(&lab, job.id()).await;
    assert!(
        all.iter().all(|child| child.parent == Some(job.id().root())),
        "one flat set: {all:#?}"
    );
    let numbers: Vec<u32> = all.iter().map(|child| child.set.unwrap().1).collect();
    assert_eq!(numbers[..2], [0, 1]);
    assert!(numbers[2..].iter().copied().eq((1 << 31)..(1 << 31) + 7), "{numbers:?}");
    let mut told = Vec::new();
    for child in &all {
        let child = lab.store().child(job.id().root(), child.id.local).await.unwrap().unwrap();
        told.push(child.outcome.unwrap().parse::<u64>().unwrap());
    }
    assert_eq!(told, values, "the children are listed in the same order");
    lab.close([worker]).await;
}

#[task]
async fn next_of(State(probe): State<Probe>) -> Result<Vec<u64>> {
    let mut set = JoinSet::named("pages").growing();
    let first = set.spawn(member(gated(plan(1, [gated(plan(2, []))])))).await?.id();
    assert_eq!(set.len(), 1);
    let (mut order, mut ids) = (Vec::new(), Vec::new());
    while let Some(next) = set.join_next_with_id().await {
        let (id, value) = next?;
        order.push(value);
        ids.push(id);
        probe.hit("delivered");
        assert!(set.is_empty(), "the body's own child was given out");
    }
    assert!(set.join_next().await.is_none(), "it stays drained");
    assert_eq!(ids[0], first);
    // More of the body's own begin anew.
    set.spawn(member(plan(3, [plan(4, [])]))).await?;
    while let Some(next) = set.join_next().await {
        order.push(next?);
    }
    Ok(order)
}

/// `join_next` waits for one more while anybody is left who may add one, and is `None` after that.
pub async fn growing_sets_give_the_next_until_they_are_drained(lab: Lab) {
    let worker = lab.worker().register(next_of).register(member).start().await.unwrap();
    let job = lab.homing.submit(next_of()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 1");
    lab.probe.hits("delivered", 1).await;
    let view = lab.reaches(job.id(), TaskState::Waiting).await;
    assert_eq!((view.children.spawned, view.children.open()), (2, 1));
    lab.probe.open("gate 2");
    assert_eq!(job.outcome().await.unwrap(), [1, 2, 3, 4]);
    lab.close([worker]).await;
}

#[task]
async fn judged(policy: FailurePolicy, plans: Vec<Plan>, closing: bool) -> Result<Vec<u64>> {
    let mut set = JoinSet::new().policy(policy).growing();
    for plan in plans {
        set.spawn(member(plan)).await?;
    }
    if closing {
        return Ok(vec![7]);
    }
    Ok(set.join_all().await?)
}

/// Policies count what was added: a share of the whole is judged once the whole is known.
pub async fn growing_sets_keep_their_policies(lab: Lab) {
    let worker = lab.worker().register(judged).register(member).start().await.unwrap();
    let tolerant = |failures| FailurePolicy::Tolerate { failures };
    let percent = |percent| FailurePolicy::ToleratePercent { percent };
    let require = |successes| FailurePolicy::Require { successes };
    // One of the body's own that fails, after it has added three that do not and one that does.
    let five = [plan(2, []), plan(3, []), plan(4, []), fails(5)];
    let five = vec![Plan { fails: true, ..plan(1, five) }];
    let cases = [
        (FailurePolicy::FailFast, "failed"),
        (tolerant(1), "failed"),
        (tolerant(2), "[2, 3, 4]"),
        (percent(39.0), "failed"),
        (percent(40.0), "[2, 3, 4]"),
        (require(3), "[2, 3, 4]"),
        (require(4), "failed"),
        (require(6), "failed"),
    ];
    for (policy, expected) in cases {
        for closing in [false, true] {
            let call = judged(policy, five.clone(), closing).retries(0);
            let told = match lab.homing.submit(call).await.unwrap().outcome().await {
                Ok(values) => format!("{values:?}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("no ") || text.contains("were needed"), "{text}");
                    "failed".to_owned()
                }
            };
            let expected = if closing && expected != "failed" { "[7]" } else { expected };
            assert_eq!(told, expected, "{policy:?}, closing {closing}");
        }
    }
    // All succeed, and there are too few.
    let few = vec![plan(1, [plan(2, [])])];
    for closing in [false, true] {
        let call = judged(require(3), few.clone(), closing).retries(0);
        let error = lab.homing.submit(call).await.unwrap().outcome().await.unwrap_err();
        assert!(error.to_string().contains("2 of 2 children succeeded, 3 were needed"), "{error}");
    }
    lab.close([worker]).await;
}

#[task]
async fn some_of(verb: String) -> Result<String> {
    let mut set = JoinSet::new().growing();
    set.spawn(member(plan(1, [plan(2, []), fails(3), gated(plan(4, []))]))).await?;
    Ok(match verb.as_str() {
        "first" => format!("{:?}", set.join_first().await?),
        "some" => format!("{:?}", set.join_some(2).await?.len()),
        "many" => match set.join_some(4).timeout(Duration::from_hours(1)).await {
            Err(JoinError::TooFew { succeeded, spawned, needed, .. }) => {
                format!("{succeeded} of {spawned}, not {needed}")
            }
            other => format!("{other:?}"),
        },
        "settled" => {
            let all = set.join_settled().await?;
            format!("{:?}", all.iter().map(|outcome| outcome.as_ref().ok()).collect::<Vec<_>>())
        }
        other => return Err(Error::msg(format!("{other}?"))),
    })
}

/// The other waits for a set mean what was added too, and abort it where they abort the rest.
pub async fn growing_sets_answer_every_wait(lab: Lab) {
    let worker = lab.worker().register(some_of).register(member).start().await.unwrap();
    let ends = async |verb: &str| {
        let job = lab.homing.submit(some_of(verb.to_owned())).await.unwrap();
        let value = lab.turning(job.outcome()).await.unwrap();
        let counts = job.view().await.unwrap().counts;
        assert_eq!((counts.spawned(), counts.ended()), (5, 5), "{verb}: {counts:?}");
        value
    };
    assert!(["1", "2"].contains(&ends("first").await.as_str()));
    assert_eq!(ends("some").await, "2");
    lab.probe.open("gate 4");
    assert_eq!(ends("many").await, "3 of 4, not 4");
    assert_eq!(ends("settled").await, "[Some(1), Some(2), None, Some(4)]");
    lab.close([worker]).await;
}

#[task]
async fn timing_out() -> Result<(u64, u64, Vec<u64>)> {
    let mut set = JoinSet::new().growing();
    set.spawn(member(plan(1, [gated(plan(2, [plan(3, [])]))]))).await?;
    let (done, open) = match set.join_all().timeout(Duration::from_mins(1)).await {
        Err(JoinError::TimedOut(timed_out)) => (timed_out.done, timed_out.open),
        other => return Err(Error::msg(format!("{other:?}"))),
    };
    crate::signal::<()>("go on").await?;
    Ok((done, open, set.join_all().await?))
}

/// A wait that times out leaves the set as it was, and the next one is given everything.
pub async fn growing_sets_outlive_a_timeout(lab: Lab) {
    let worker = lab.worker().register(timing_out).register(member).start().await.unwrap();
    let job = lab.homing.submit(timing_out()).await.unwrap();
    let first = children_when(&lab, job.id().root(), 2).await.remove(0);
    lab.reaches(first.id, TaskState::Succeeded).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_secs(61)).await;
    let told = |view: &crate::TaskView| format!("{:?}", view.waits).contains("signal:go on");
    lab.observe(job.id(), "told of the timeout", told).await;
    job.signal("go on", &()).await.unwrap();
    lab.probe.open("gate 2");
    assert_eq!(job.outcome().await.unwrap(), (1, 1, vec![1, 2, 3]));
    lab.close([worker]).await;
}

#[task(retries = 2, backoff = "1ms")]
async fn stumbling(fate: String, State(probe): State<Probe>) -> Result<u64> {
    let added = crate::spawn_sibling(leaf(2)).await?;
    step("committed", || async { Ok(()) }).await?;
    probe.hit("added");
    probe.note(added.to_string());
    match fate.as_str() {
        "crash" => probe.pass("after").await,
        "fail" if probe.count("added") == 1 => return Err(Error::msg("once")),
        _ => {}
    }
    crate::spawn_sibling(leaf(3).at("named")).await?;
    Ok(1)
}

#[task]
async fn over(fate: String) -> Result<Vec<u64>> {
    let mut set = JoinSet::new().growing();
    set.spawn(stumbling(fate)).await?;
    Ok(set.join_all().await?)
}

/// A member whose worker dies after the commit, or that fails and is tried again, adds once.
pub async fn g06_what_a_member_has_added_is_added_once(lab: Lab) {
    let start = || lab.worker().register(over).register(stumbling).register(leaf).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(over("crash".to_owned())).await.unwrap();
    lab.probe.hits("added", 1).await;
    first.kill().await;
    let second = start().await.unwrap();
    lab.probe.open("after");
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), [1, 2, 3]);
    let again = lab.homing.submit(over("fail".to_owned())).await.unwrap();
    assert_eq!(lab.turning(again.outcome()).await.unwrap(), [1, 2, 3]);
    for job in [job.id(), again.id()] {
        assert_eq!(children(&lab, job).await.len(), 3);
    }
    let notes = lab.probe.notes();
    assert_eq!(notes[0], notes[1], "a replay is told the same id");
    lab.close([second]).await;
}

/// A parent that is replayed from its record, by another worker, finds its own children and no others, and is given
/// what was added while nobody kept its future.
pub async fn g06_a_replayed_parent_is_given_what_was_added(lab: Lab) {
    let start = || lab.worker().register(all_of).register(member).start();
    let first = start().await.unwrap();
    let plans = vec![gated(plan(1, [plan(3, [])])), plan(2, [gated(plan(4, [plan(5, [])]))])];
    let job = lab.homing.submit(all_of(plans)).await.unwrap();
    children_when(&lab, job.id().root(), 3).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    lab.probe.open("gate 1");
    lab.probe.open("gate 4");
    let second = start().await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap().iter().sum::<u64>(), 15);
    assert_eq!(lab.probe.count("parent came by"), 2);
    lab.close([second]).await;
}

#[task]
async fn phased(State(probe): State<Probe>) -> Result<u64> {
    let mut set = JoinSet::new().growing();
    set.spawn(member(plan(1, [plan(2, [])]))).await?;
    let first: u64 = set.join_all().await?.iter().sum();
    set.spawn(member(plan(4, [plan(8, [])]))).await?;
    let mut second = 0;
    while let Some(next) = set.join_next().await {
        second += next?;
    }
    probe.hit("phased");
    crate::signal::<()>("go").await?;
    Ok(first + second)
}

/// A replay that comes to waits which were answered is given the same, and ends without drift.
pub async fn g07_a_growing_set_replays_the_same(lab: Lab) {
    let start = || lab.worker().register(phased).register(member).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(phased()).await.unwrap();
    lab.probe.hits("phased", 1).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 15);
    assert_eq!(lab.homing.task(job.id()).await.unwrap().stalls, 0);
    lab.close([second]).await;
}

#[task]
async fn sparing() -> Result<Vec<u64>> {
    let mut set = JoinSet::new().growing();
    set.spawn(member(plan(1, [gated(plan(2, []))]))).await?;
    set.join_next().await.transpose()?;
    set.abort_all();
    set.spawn(member(plan(3, [plan(4, []), plan(5, [])]))).await?;
    let mut order = Vec::new();
    while let Some(next) = set.join_next().await {
        order.extend(next.ok());
    }
    crate::signal::<()>("go").await?;
    Ok(order)
}

/// An abort means what goes back to the children spawned before it, and spares what those after it add, on a replay
/// too.
pub async fn aborts_spare_what_later_members_add(lab: Lab) {
    let start = || lab.worker().register(sparing).register(member).start();
    let first = start().await.unwrap();
    let job = lab.homing.submit(sparing()).await.unwrap();
    let at_signal = |view: &crate::TaskView| format!("{:?}", view.waits).contains("signal:go");
    lab.observe(job.id(), "at the signal", at_signal).await;
    first.kill().await;
    let second = start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    let mut order = lab.turning(job.outcome()).await.unwrap();
    order.sort_unstable();
    assert_eq!(order, [3, 4, 5]);
    let states: Vec<_> = children(&lab, job.id()).await.iter().map(|child| child.state).collect();
    let aborted = states.iter().filter(|state| **state == TaskState::Cancelled).count();
    assert_eq!((states.len(), aborted), (5, 1), "{states:?}");
    lab.close([second]).await;
}
