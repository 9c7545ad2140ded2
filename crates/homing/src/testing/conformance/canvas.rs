//! Combinators in any place of one another, and calls as values: what Celery's users know as a canvas.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::waits::{children_when, failing};
use super::{Lab, children};
use crate::task::Kind;
use crate::testing::Probe;
use crate::{
    AnyCall, Call, JoinSet, Result, State, TaskState, WorkerBuilder, chain, chord, group, task,
};

#[task]
pub(super) async fn add(x: i64, y: i64) -> Result<i64> {
    Ok(x + y)
}

#[task]
pub(super) async fn sum(of: Vec<i64>) -> Result<i64> {
    Ok(of.iter().sum())
}

#[task]
async fn spell(n: i64) -> Result<String> {
    Ok(n.to_string())
}

#[task]
async fn parse(text: String) -> Result<i64> {
    Ok(text.parse()?)
}

#[task]
async fn pair(of: (i64, String)) -> Result<String> {
    Ok(format!("{} {}", of.0, of.1))
}

#[task]
async fn seven() -> Result<i64> {
    Ok(7)
}

pub(super) fn with_all(builder: WorkerBuilder) -> WorkerBuilder {
    let builder = builder.register(add).register(sum).register(spell).register(parse);
    builder.register(pair).register(seven)
}

/// What a call brings, submitted.
async fn value<K: Kind>(lab: &Lab, call: Call<K>) -> K::Output {
    lab.homing.submit(call).await.unwrap().outcome().await.unwrap()
}

/// What follows a value is given it, with the rest of its arguments and the options that were given
/// beforehand; a whole call is not given it. A chain's children are listed in its order.
pub async fn canvas_partials_carry_arguments_and_options(lab: Lab) {
    let worker = with_all(lab.worker()).queues(["default", "slow"]).start().await.unwrap();
    let links = chain(add(4, 4)).then(add::with(8).queue("slow").priority(9)).then(add::with(1));
    let job = lab.homing.submit(links.call()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 17);
    let links = children(&lab, job.id()).await;
    let told = |view: &crate::TaskView| (view.arguments.clone(), view.queue.clone(), view.priority);
    let told: Vec<_> = links.iter().map(told).collect();
    let expected = [
        (r#"{"x":4,"y":4}"#, "default", 0),
        (r#"{"x":8,"y":8}"#, "slow", 9),
        (r#"{"x":16,"y":1}"#, "default", 0),
    ];
    assert_eq!(told, expected.map(|(of, queue, priority)| (of.into(), queue.into(), priority)));
    assert_eq!(value(&lab, chain(add(4, 4)).then(seven()).then(add::with(1)).call()).await, 8);
    // Of one link, and of chains of one link.
    let one = chain(chain(seven()).call()).then(chain(add::with(1)).call()).call();
    assert_eq!(value(&lab, one).await, 8);
    lab.close([worker]).await;
}

/// Chains, groups and chords stand in any place of one another.
pub async fn canvas_combinators_compose(lab: Lab) {
    let worker = with_all(lab.worker()).start().await.unwrap();
    // task | group | task | group, each strictly after the other.
    let fan = || group([add::with(1), add::with(2)]);
    let call = chain(add(1, 1)).then(fan()).then(sum::with()).then(fan()).then(sum::with()).call();
    assert_eq!(value(&lab, call).await, 17);
    // A chain in a group takes the value before it; a group ends a chain in a group.
    let inner = || chain(add::with(10)).then(fan()).then(sum::with()).call();
    let call = chain(seven()).then(group([inner(), inner()])).then(sum::with()).call();
    assert_eq!(value(&lab, call).await, 74);
    let call = group([chain(seven()).then(fan()).call(), chain(add(1, 1)).then(fan()).call()]);
    assert_eq!(value(&lab, call).await, [[8, 9], [3, 4]]);
    // A chord after a value; its members chains and chords, its body a chain.
    let body = || chain(sum::with()).then(add::with(100)).call();
    let call = chain(seven()).then(chord([inner(), inner()], body())).call();
    assert_eq!(value(&lab, call).await, 174);
    let call = chord([chord([seven(), seven()], body()), chord([seven()], body())], body());
    assert_eq!(value(&lab, call).await, 321);
    // A chord's body is a group, each member given the values of all.
    let call = chord((0..3).map(|n| add(n, n)), group([sum::with(), sum::with()]));
    assert_eq!(value(&lab, call).await, [6, 6]);
    // Nine chords, one in the other's body.
    let nine = (0..8).fold(chord([seven(), seven()], sum::with()).any(), |inner, _| {
        chain(inner).then(chord([add::with(1), add::with(-1)], sum::with())).call().any()
    });
    assert_eq!(value(&lab, nine).await, 14 << 8);
    lab.close([worker]).await;
}

/// Unlike calls in a tuple bring a tuple, as a group, as a chord's header and after a value.
pub async fn canvas_groups_of_unlike_calls(lab: Lab) {
    let worker = with_all(lab.worker()).start().await.unwrap();
    let homing = &lab.homing;
    let job = homing.submit(group((add(1, 2), spell(3)))).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), (3, "3".to_owned()));
    let job = homing.submit(chord((add(1, 2), spell(3)), pair::with())).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), "3 3");
    let following = group((add::with(1), spell::with(), seven().ignoring()));
    let job = homing.submit(chain(seven()).then(following).call()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), (8, "7".to_owned(), 7));
    let header = (seven(), chain(seven()).call(), group([seven()]), chord([seven()], sum::with()));
    let job = homing.submit(group(header)).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), (7, 7, vec![7], 7));
    // A list of unlike calls that bring the same.
    let header = [seven().any(), chord([seven()], sum::with()).any(), add(1, 1).any()];
    let job = homing.submit(chord(header, sum::with())).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 16);
    let none = chord(Vec::<AnyCall<i64>>::new(), sum::with());
    assert_eq!(homing.submit(none).await.unwrap().outcome().await.unwrap(), 0);
    let large = chord((0..1000).map(|n| add(n, 0)), sum::with());
    assert_eq!(homing.submit(large).await.unwrap().outcome().await.unwrap(), 499_500);
    lab.close([worker]).await;
}

/// The failure of a combinator is that of the call that failed, as it is.
pub async fn canvas_failures_are_passed_on(lab: Lab) {
    let worker = with_all(lab.worker()).register(failing).start().await.unwrap();
    let broken = chain(failing(7)).then(failing::with()).call();
    let call = chain(group([chord([broken], seven())])).then(sum::with()).call();
    let job = lab.homing.submit(call).await.unwrap();
    let error = job.outcome().await.unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.kind.as_str(), failure.message.as_str()), ("failing", "no 7"));
    assert_eq!(lab.homing.task(failure.id).await.unwrap().kind, "failing");
    lab.close([worker]).await;
}

#[task]
async fn twice(call: AnyCall<i64>) -> Result<i64> {
    let mut set = JoinSet::new();
    set.spawn(call.clone()).await?;
    set.spawn(call).await?;
    Ok(set.join_all().await?.iter().sum())
}

#[task]
async fn plan(n: i64) -> Result<AnyCall<i64>> {
    Ok(if n > 9 { chain(add(n, 1)).then(add::with(1)).call().any() } else { add(n, 1).any() })
}

#[task]
async fn typed(n: i64) -> Result<Call<add>> {
    Ok(add(n, n))
}

#[task]
async fn replaced(n: i64) -> Result<i64> {
    match n {
        0 => Ok(0),
        1 => crate::replace(group([seven()]).any()).await.map(|values: Vec<i64>| values[0]),
        n => crate::replace(chain(replaced(n - 1)).then(add::with(n)).call()).await,
    }
}

/// A call is an argument and an outcome; it is spawned by name, run by what follows, and takes the place of
/// the task that made it.
pub async fn canvas_calls_are_values(lab: Lab) {
    let builder = with_all(lab.worker()).register(twice).register(plan).register(typed);
    let worker = builder.register(replaced).start().await.unwrap();
    assert_eq!(value(&lab, twice(add(3, 4).any())).await, 14);
    assert_eq!(value(&lab, twice(chord([seven(), seven()], sum::with()).any())).await, 28);
    assert_eq!(value(&lab, twice(AnyCall::named("add", &json!({"x": 1, "y": 2})))).await, 6);
    assert_eq!(value(&lab, chain(plan(3)).then(crate::run()).call()).await, 4);
    assert_eq!(value(&lab, chain(plan(30)).then(crate::run()).then(add::with(1)).call()).await, 33);
    assert_eq!(value(&lab, chain(typed(4)).then(crate::run()).call()).await, 8);
    assert_eq!(value(&lab, replaced(1)).await, 7);
    assert_eq!(value(&lab, chord([replaced(3), replaced(2)], sum::with())).await, 21);
    // Written and read again it is the same, options and all.
    let text =
        serde_json::to_string(&add(1, 2).queue("kids").delay(Duration::from_secs(1))).unwrap();
    let again: Call<add> = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    let error = serde_json::from_str::<Call<sum>>(&text).unwrap_err().to_string();
    assert_eq!(error, "a call of `add` stands where a call of `sum` is expected");
    let partial = serde_json::to_string(&add::with(2)).unwrap();
    let error = serde_json::from_str::<Call<add>>(&partial).unwrap_err().to_string();
    assert!(error.contains("that lacks an argument stands where one that is whole"), "{error}");
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn stranger(kind: String, State(probe): State<Probe>) -> Result<i64> {
    let call = AnyCall::<i64>::named(&kind, &json!({"x": 1, "y": 1}));
    let handle = crate::spawn(call).await?;
    probe.hit("spawned");
    Ok(handle.await?)
}

/// What a call by name has wrong is told where it is spawned; an unknown kind waits for a worker.
pub async fn canvas_named_calls_are_checked(lab: Lab) {
    let worker = lab.worker().register(stranger).start().await.unwrap();
    let job = lab.homing.submit(stranger(String::new())).await.unwrap();
    let error = job.outcome().await.unwrap_err();
    assert_eq!(error.failure().unwrap().message, "the kind is empty");
    let text = AnyCall::<i64>::named("add", &5);
    let error = lab.homing.submit(text).await.unwrap_err().to_string();
    assert!(error.contains("give an object with a field for each argument"), "{error}");
    let job = lab.homing.submit(stranger("add".to_owned())).await.unwrap();
    let child = children_when(&lab, job.id().root(), 1).await.remove(0);
    assert_eq!((child.kind.as_str(), child.state), ("add", TaskState::Pending));
    let other = with_all(lab.worker()).start().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 2);
    lab.close([worker, other]).await;
}

/// A plan that does not decode can never come right by itself: the task stands still, as after drift.
pub async fn canvas_a_broken_plan_stands_still(lab: Lab) {
    let worker = lab.worker().register(seven).start().await.unwrap();
    for (kind, plan) in [
        ("homing.chain", json!({"first": 1})),
        ("homing.group", json!(42)),
        ("homing.chord", json!([])),
        ("homing.link", json!(null)),
    ] {
        let arguments = json!({"plan": plan});
        let job = lab.homing.submit_named(kind, &arguments).force().await.unwrap();
        let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some()).await;
        assert_eq!((view.state, view.attempt, view.failures), (TaskState::Pending, 1, 0), "{kind}");
        let reason = view.reason.unwrap();
        assert!(reason.starts_with("the argument `plan` does not decode: "), "{reason}");
        job.cancel().await.unwrap();
    }
    lab.close([worker]).await;
}

/// Limits and refusals are told when a combinator is submitted, and name what is at fault; instants before
/// 1970 are instants.
pub async fn canvas_refusals_come_early(lab: Lab) {
    let worker = with_all(lab.worker()).start().await.unwrap();
    let large =
        lab.homing.submit(group((0..60).map(|_| parse("1".repeat(20_000))))).await.unwrap_err();
    let large = large.to_string();
    assert!(large.starts_with("the plan of a group has "), "{large}");
    assert!(
        large.ends_with(": write a task that spawns the calls, which has no such limit"),
        "{large}"
    );
    let queue = chain(seven()).then(add::with(1).queue("")).call();
    let error = lab.homing.submit(queue).await.unwrap_err().to_string();
    assert_eq!(error, "the queue is empty");
    let queue = chord([seven()], sum::with()).on_failure(seven().queue(""));
    assert_eq!(lab.homing.submit(queue).await.unwrap_err().to_string(), "the queue is empty");
    let before = SystemTime::UNIX_EPOCH - Duration::from_hours(24);
    let call = chain(add(1, 1).run_at(before)).then(add::with(1).run_at(before)).call();
    let call = chord([call.any(), seven().run_at(before).any()], sum::with());
    assert_eq!(lab.homing.submit(call).await.unwrap().outcome().await.unwrap(), 10);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn bloated(n: u64) -> Result<String> {
    Ok("x".repeat(n as usize))
}

#[task]
async fn lengths(of: Vec<String>) -> Result<i64> {
    Ok(of.iter().map(|text| text.len() as i64).sum())
}

/// Values that are too many for what follows are refused by name.
pub async fn canvas_values_have_a_limit(lab: Lab) {
    let worker = lab.worker().register(bloated).register(lengths).start().await.unwrap();
    let call = chord((0..3).map(|_| bloated(400_000)), lengths::with());
    let error = lab.homing.submit(call).await.unwrap().outcome().await.unwrap_err();
    let message = &error.failure().unwrap().message;
    assert!(message.starts_with("the argument list of `lengths` has 12000"), "{message}");
    assert_eq!(error.failure().unwrap().reason, crate::Reason::Misuse);
    lab.close([worker]).await;
}
