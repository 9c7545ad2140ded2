//! G12, G13: values, numbers and names are checked at one door, alike on every store.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::Lab;
use super::waits::{gated, leaf};
use crate::task::Backoff;
use crate::{
    Error, FailurePolicy, JobFilter, JobId, JoinSet, Reason, Result, TaskState, chain, chord,
    group, limits, step, task,
};

/// Lists within each other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("core"), |below, _| Value::Array(vec![below]))
}

#[task(retries = 0)]
async fn echo(value: Value) -> Result<Value> {
    Ok(value)
}

#[task(retries = 0)]
async fn stepping(levels: usize) -> Result<Value> {
    Ok(step("read", async || Ok(nested(levels))).await?)
}

#[task(retries = 0)]
async fn returning(levels: usize) -> Result<Value> {
    Ok(nested(levels))
}

#[task(retries = 0)]
async fn spawning(levels: usize) -> Result<Value> {
    Ok(crate::spawn(echo(nested(levels))).await?.await?)
}

#[task(retries = 0)]
async fn detaching(levels: usize) -> Result<JobId> {
    Ok(crate::detach(echo(nested(levels))).await?)
}

#[task(retries = 0)]
async fn hearing() -> Result<Value> {
    Ok(crate::signal("go").await?)
}

#[task(retries = 0)]
async fn counting(values: Vec<Value>) -> Result<usize> {
    Ok(values.len())
}

/// A value of the deepest kind goes everywhere and comes back; a deeper one is refused where it would go in,
/// however deep it is.
pub async fn g13_values_have_a_depth(lab: Lab) {
    let worker = lab.worker().register(echo).register(stepping).register(returning);
    let worker = worker.register(spawning).register(detaching).register(hearing);
    let worker = worker.register(counting).start().await.unwrap();
    let (deepest, homing) = (limits::DEPTH, &lab.homing);
    let fits = nested(deepest);
    assert_eq!(homing.submit(echo(fits.clone())).await.unwrap().outcome().await.unwrap(), fits);
    let named = homing.submit_named("echo", &json!({ "value": fits })).await.unwrap();
    assert_eq!(named.outcome().await.unwrap(), fits);
    for call in
        [stepping(deepest).into_any(), returning(deepest).into_any(), spawning(deepest).into_any()]
    {
        assert_eq!(
            homing.submit_named(&call.0, &call.1).await.unwrap().outcome().await.unwrap(),
            fits
        );
    }
    let job = homing.submit(hearing()).await.unwrap();
    job.signal("go", &fits).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), fits);
    let most = nested(90);
    let job = homing.submit(chord([echo(most.clone())], counting::with())).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 1);
    let job = homing.submit(chain(echo(most.clone())).then(echo::with()).call()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), most);
    for (levels, said) in [(deepest + 1, "101"), (20_000, "more than 256")] {
        deep_values_are_refused(&lab, levels, said).await;
    }
    lab.close([worker]).await;
}

/// Arguments by name, so that calls of several kinds stand in one list.
trait IntoAny {
    fn into_any(self) -> (String, Value);
}

impl<K: crate::task::Kind> IntoAny for crate::Call<K> {
    fn into_any(self) -> (String, Value) {
        let arguments = serde_json::from_str(&self.draft.arguments.unwrap()).unwrap();
        (self.draft.kind, arguments)
    }
}

async fn deep_values_are_refused(lab: &Lab, levels: usize, said: &str) {
    let homing = &lab.homing;
    let refusal = |field: &str| {
        format!(
            "{field} is nested {said} levels deep, at most 100 are allowed: keep it flatter, or pass a part of it as text"
        )
    };
    let before = homing.jobs(JobFilter::default()).await.unwrap().len();
    let submitted = homing.submit(echo(nested(levels))).await.unwrap_err().to_string();
    assert_eq!(submitted, refusal("the argument `value`"));
    let grouped = homing.submit(group([echo(nested(levels))])).await.unwrap_err().to_string();
    assert_eq!(grouped, refusal("the argument `value`"));
    if levels < 1_000 {
        // What the caller keeps is dropped by the caller.
        let named = homing.submit_named("echo", &json!({ "value": nested(levels) }));
        let text = named.await.unwrap_err().to_string();
        assert!(text.contains("the argument list is nested 102 levels deep"), "{text}");
        let text = homing.signal(JobId::named("x"), "go", &nested(levels)).await.unwrap_err();
        assert_eq!(text.to_string(), refusal("the signal's value"));
    }
    assert_eq!(homing.jobs(JobFilter::default()).await.unwrap().len(), before);
    let calls = [
        (stepping(levels).into_any(), "the step's result"),
        (returning(levels).into_any(), "the returned value"),
        (spawning(levels).into_any(), "the argument `value`"),
        (detaching(levels).into_any(), "the argument `value`"),
    ];
    for ((kind, arguments), field) in calls {
        let job = homing.submit_named(&kind, &arguments).await.unwrap();
        let error = job.outcome().await.unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!((failure.attempt, &failure.message), (1, &refusal(field)), "{kind}");
    }
}

#[task]
async fn optional(value: Option<Value>) -> Result<bool> {
    Ok(value.is_some())
}

/// A stored argument list that is no JSON, or deeper than anybody reads, is told as such: no argument becomes
/// `null` for it.
pub async fn g13_what_does_not_parse_is_no_null(lab: Lab) {
    let worker = lab.worker().register(optional).start().await.unwrap();
    let deep = format!("{{\"value\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for (n, (text, said)) in
        [("{\"value\":", "EOF"), (&deep, "recursion limit")].into_iter().enumerate()
    {
        let id = JobId::named(&format!("damaged {n}"));
        let mut task = optional(None).draft.fix(lab.store().clock().now(), "default", 0).unwrap();
        text.clone_into(&mut task.arguments);
        let (title, key, origin) = (None, None, None);
        let job = crate::store::NewJob { id, task, title, key, origin };
        lab.store().submit(vec![job]).await.unwrap();
        let view = lab.observe(id, "standing still", |view| view.reason.is_some()).await;
        let reason = view.reason.unwrap();
        assert!(
            reason.contains("the argument list does not decode") && reason.contains(said),
            "{reason}"
        );
        lab.homing.cancel(id).await.unwrap();
    }
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn wide(value: u128) -> Result<u128> {
    Ok(value)
}

#[task(retries = 0)]
async fn lingering(value: Duration) -> Result<Duration> {
    crate::progress(u64::MAX, 0);
    crate::progress(u64::MAX, u64::MAX);
    let child = crate::spawn(leaf(3)).await?;
    crate::sleep(Duration::ZERO).await?;
    let longest = Duration::MAX;
    let n: u64 = crate::signal("go").timeout(longest).await?;
    assert_eq!((child.timeout(longest).await?, n), (3, 7));
    let none = crate::signal::<u64>("none").timeout(Duration::ZERO).await;
    assert!(none.unwrap_err().is_timeout());
    let mut set = JoinSet::<u64>::new().policy(FailurePolicy::ToleratePercent { percent: 100.0 });
    set.spawn(leaf(1)).await?;
    assert_eq!(set.join_some(0).await?, Vec::<u64>::new());
    assert!(set.join_some(usize::MAX).await.is_err());
    Ok(value)
}

#[task(retries = 3)]
async fn for_ever(how: String) -> Result<()> {
    match how.as_str() {
        "sleep" => Ok(crate::sleep(Duration::MAX).await?),
        _ => Err(Error::msg("not now").retry_after(Duration::MAX)),
    }
}

/// Numbers at their ends mean what they say, or are refused; none wraps, panics or is passed over.
pub async fn g13_numbers_at_their_ends(lab: Lab) {
    let worker = lab.worker().register(leaf).register(lingering).register(for_ever).register(wide);
    let worker = worker.grace(Duration::MAX).resident_age(Duration::MAX).start().await.unwrap();
    let (homing, longest) = (&lab.homing, Duration::MAX);
    let all = leaf(1).expires(longest).deadline(longest).timeout(longest).retries(u32::MAX);
    let all = all.max_attempts(u32::MAX).backoff(Backoff::exponential(longest, longest));
    let before = SystemTime::UNIX_EPOCH - Duration::from_hours(24);
    for call in [all.clone(), all.delay(Duration::ZERO), leaf(1).run_at(before)] {
        assert_eq!(
            homing.submit(call.priority(i16::MIN)).await.unwrap().outcome().await.unwrap(),
            1
        );
    }
    let combined =
        homing.submit(chain(leaf(4).run_at(before)).then(leaf::with()).call()).await.unwrap();
    assert_eq!(combined.outcome().await.unwrap(), 4);
    let widest = homing.submit(wide(u64::MAX.into())).await.unwrap();
    assert_eq!(widest.outcome().await.unwrap(), u64::MAX.into());
    let job = homing.submit(lingering(longest)).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert!(lab.homing.why(job.id()).await.is_ok());
    job.signal("go", &7).await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), longest);
    let never = [
        homing.submit(leaf(1).delay(longest)).await.unwrap().id(),
        homing.submit(group([leaf(1).delay(longest)])).await.unwrap().id(),
        homing.submit(for_ever("sleep".to_owned())).await.unwrap().id(),
        homing.submit(for_ever("retry".to_owned())).await.unwrap().id(),
    ];
    lab.reaches(never[2], TaskState::Waiting).await;
    lab.observe(never[3], "retrying", |view| view.failures == 1).await;
    assert_eq!(homing.prune(longest).await.unwrap(), 0);
    let many = JobFilter { limit: usize::MAX, ..JobFilter::default() };
    assert_eq!(homing.jobs(many).await.unwrap().len(), 10);
    for id in never {
        assert!(!homing.why(id).await.unwrap().because.is_empty());
        assert!(homing.cancel(id).await.unwrap());
    }
    lab.close([worker]).await;
}

/// Numbers that mean nothing are refused, and name themselves.
pub async fn g13_senseless_numbers_are_refused(lab: Lab) {
    let zero = Duration::ZERO;
    let submitted = async |call| lab.homing.submit::<leaf>(call).await.unwrap_err().to_string();
    assert_eq!(
        submitted(leaf(1).max_attempts(0)).await,
        "max_attempts is `0`: it must be at least 1"
    );
    let longer = "is `0s`: it must be longer, or the task could never run";
    assert_eq!(submitted(leaf(1).timeout(zero)).await, format!("the task's timeout {longer}"));
    assert_eq!(submitted(leaf(1).deadline(zero)).await, format!("the task's deadline {longer}"));
    assert_eq!(submitted(leaf(1).expires(zero)).await, format!("the task's expiry {longer}"));
    let placed = submitted(leaf(1).at("x")).await;
    assert!(placed.starts_with("the place is `x`: a submitted job has no place"), "{placed}");
    let all = lab.homing.submit_all([leaf(2).at("x")]).await.unwrap_err();
    assert_eq!(std::error::Error::source(&all).unwrap().to_string(), placed);
    let wide = lab.homing.submit(wide(u128::from(u64::MAX) + 1)).await.unwrap_err().to_string();
    assert!(wide.contains("the argument `value` cannot be written as JSON"), "{wide}");
    assert!(wide.contains("18446744073709551616, which has more than 64 bits"), "{wide}");
    assert!(lab.homing.jobs(JobFilter::default()).await.unwrap().is_empty());
    let builder = || lab.worker().register(leaf);
    let started =
        async |builder: crate::WorkerBuilder| builder.start().await.unwrap_err().to_string();
    let slots = "it must be from 1 to 1,000,000";
    assert_eq!(started(builder().concurrency(0)).await, format!("concurrency is `0`: {slots}"));
    let most = format!("concurrency is `{}`: {slots}", usize::MAX);
    assert_eq!(started(builder().concurrency(usize::MAX)).await, most);
    assert!(started(builder().max_crashes(0)).await.contains("max_crashes is `0`"));
    for lease in [zero, Duration::from_millis(50), Duration::MAX] {
        let text = started(builder().lease(lease)).await;
        assert!(text.contains("it must be from 250 ms to 24 hours"), "{text}");
    }
    for name in ["", "w\u{1b}]0;x", "a\0b", "\u{202e}w"] {
        assert!(
            started(builder().name(name)).await.starts_with("the worker's name is "),
            "{name:?}"
        );
    }
    assert!(lab.homing.workers().await.unwrap().is_empty());
    lab.close([]).await;
}

#[task]
async fn misnaming(verb: String, name: String) -> Result<()> {
    match verb.as_str() {
        "set" => drop(JoinSet::<u64>::named(&name).join_all().await?),
        "signal" => crate::signal::<()>(&name).await?,
        "step" => step(&name, async || Ok(())).await?,
        "place" => drop(JoinSet::new().spawn(leaf(1).at(name)).await?),
        "queue" => drop(crate::spawn(leaf(1).queue(name)).await?),
        "key" => drop(crate::detach(leaf(1)).key(name).await?),
        "title" => drop(crate::detach(leaf(1)).title(name).await?),
        "tag" => drop(crate::detach(leaf(1).tags([name])).await?),
        _ => {
            let percent = name.parse().unwrap_or(f64::NAN);
            let policy = FailurePolicy::ToleratePercent { percent };
            drop(JoinSet::<u64>::new().policy(policy).join_all().await?);
        }
    }
    Ok(())
}

/// Whatever verb a body gives a name to, it is checked at the same door, and a refused one is misuse at once.
pub async fn g13_names_in_bodies_are_checked(lab: Lab) {
    let worker = lab.worker().register(misnaming).register(leaf).start().await.unwrap();
    let long = "n".repeat(limits::TITLE + 1);
    let names = ["", "a\0b", "a\nb", "\u{1b}[31m", "a\u{202e}b", "\u{2066}", "\u{2028}", &long];
    let verbs = ["set", "signal", "step", "place", "queue", "key", "title", "tag"];
    for (verb, name) in verbs.iter().flat_map(|verb| names.map(|name| (*verb, name))) {
        let call = misnaming(verb.to_owned(), name.to_owned());
        let job = lab.homing.submit(call).await.unwrap();
        let error = job.outcome().await.unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!((failure.reason, failure.attempt), (Reason::Misuse, 1), "{verb} {failure}");
        let refused = ["is empty", "not allowed", "are allowed"];
        assert!(refused.iter().any(|text| failure.message.contains(text)), "{verb}: {failure}");
        assert!(!failure.message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{verb}");
    }
    for percent in ["NaN", "inf", "-inf", "-0.5", "100.5"] {
        let call = misnaming("percent".to_owned(), percent.to_owned());
        let error = lab.homing.submit(call).await.unwrap().outcome().await.unwrap_err();
        let text = format!("the percentage of a policy is `{percent}`: it must be from 0 to 100");
        assert_eq!(error.failure().unwrap().message, text);
    }
    lab.close([worker]).await;
}

/// Names from outside are checked at that door too; a filter that nothing can match finds nothing.
pub async fn g13_names_of_jobs_are_checked(lab: Lab) {
    let homing = &lab.homing;
    for name in ["", "a\0b", "a\nb", "a\u{202e}b", "\u{2029}"] {
        let refused = [
            homing.submit(leaf(1).queue(name)).await.unwrap_err(),
            homing.submit(leaf(1).tags([name])).await.unwrap_err(),
            homing.submit(leaf(1)).title(name).await.unwrap_err(),
            homing.submit(leaf(1)).key(name).await.unwrap_err(),
            homing.submit_named(name, &json!({})).force().await.unwrap_err(),
            homing.pause(name).await.unwrap_err(),
            homing.signal(JobId::named("x"), name, &()).await.unwrap_err(),
        ];
        for error in refused {
            assert!(matches!(error, crate::SubmitError::Invalid(_)), "{name:?}: {error}");
        }
    }
    let worker = lab.worker().register(gated).start().await.unwrap();
    let job = homing.submit(gated(1)).await.unwrap();
    let text = || Some("a\0b".to_owned());
    for filter in [
        JobFilter { kind: text(), ..JobFilter::default() },
        JobFilter { title: text(), ..JobFilter::default() },
        JobFilter { tag: text(), ..JobFilter::default() },
        JobFilter { queue: text(), ..JobFilter::default() },
    ] {
        assert!(homing.jobs(filter).await.unwrap().is_empty());
    }
    assert!(job.signal("later", &"a\0b").await.is_ok(), "in a value it is escaped");
    job.cancel().await.unwrap();
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn look_alikes() -> Result<Vec<u64>> {
    let mut values = Vec::new();
    // The second turn of `a` has the place `a~1`.
    let (mut a, mut other) = (JoinSet::named("a"), JoinSet::named("a~1"));
    a.spawn(leaf(1)).await?;
    values.extend(a.join_all().await?);
    a.spawn(leaf(2)).await?;
    other.spawn(leaf(3)).await?;
    other.spawn(leaf(4)).await?;
    values.extend(other.join_all().await?);
    values.extend(a.join_all().await?);
    let (mut b, mut at) = (JoinSet::named("b"), JoinSet::named("b@x"));
    let placed = b.spawn(leaf(5).at("x[0]")).await?;
    values.push(at.spawn(leaf(6)).await?.await?);
    values.push(placed.await?);
    let first = crate::detach(leaf(7).at("j")).id(JobId::fresh()).await?;
    let second = crate::detach(leaf(8).at("j~job")).await?;
    assert_ne!(first, second);
    values.push(step("s#1", async || Ok(9)).await?);
    values.push(step("s", async || Ok(10)).await?);
    values.push(step("s", async || Ok(11)).await?);
    crate::signal::<()>("go").await?;
    Ok(values)
}

/// A name made of the characters that places are made of is not taken for the place it looks like.
pub async fn names_that_look_like_places(lab: Lab) {
    let worker = lab.worker().register(look_alikes).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(look_alikes()).await.unwrap();
    let waiting = lab.observe(job.id(), "at its signal", |view| {
        view.state == TaskState::Waiting
            && view.waits.iter().any(|wait| wait.place.contains("signal"))
    });
    lab.turning(waiting).await;
    job.signal("go", &()).await.unwrap();
    let values = lab.turning(job.outcome()).await.unwrap();
    assert_eq!(values, [1, 3, 4, 2, 6, 5, 9, 10, 11]);
    lab.close([worker]).await;
}
