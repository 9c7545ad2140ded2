//! Failure policies, and the errors they bring.

use super::waits::{failing, gated, leaf};
use super::{Lab, children};
use crate::{FailurePolicy, JoinError, JoinSet, Reason, Result, TaskState, task};

#[task]
async fn fast() -> Result<u64> {
    let mut set = JoinSet::new();
    set.spawn(gated(0)).await?;
    set.spawn(failing(1)).await?;
    set.spawn(gated(2)).await?;
    Ok(set.join_all().await?.iter().sum())
}

/// `FailFast`: the first final failure aborts the rest and fails the join.
pub async fn fail_fast_aborts_and_fails(lab: Lab) {
    let worker = lab.worker().register(fast).register(gated).register(failing);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(fast()).await.unwrap();
    let error = job.outcome().await.unwrap_err();
    assert!(error.to_string().contains("no 1"), "{error}");
    let children = children(&lab, job.id()).await;
    assert_eq!(children.len(), 3);
    for child in children {
        // The end goes down the tree in transactions of its own.
        let child = lab.observe(child.id, "ended", |view| view.state.is_ended()).await;
        assert_ne!(child.state, TaskState::Succeeded);
    }
    lab.close([worker]).await;
}

#[task]
async fn mixed(policy: String, good: u64, bad: u64) -> Result<String> {
    let policy = match policy.as_str() {
        "one" => FailurePolicy::Tolerate { failures: 1 },
        "many" => FailurePolicy::Tolerate { failures: 320 },
        "half" => FailurePolicy::ToleratePercent { percent: 50.0 },
        _ => FailurePolicy::Require { successes: 2 },
    };
    let mut set = JoinSet::new().policy(policy);
    for n in 0..good {
        set.spawn(leaf(n)).await?;
    }
    for n in 0..bad {
        // The losses come first, the values after them.
        set.spawn(failing(n).priority(1)).await?;
    }
    Ok(match set.join_all().await {
        Ok(values) => format!("{values:?}"),
        Err(JoinError::Failed { failure, .. }) => format!("failed {}", failure.kind),
        Err(error) => error.to_string(),
    })
}

async fn judge(lab: &Lab, policy: &str, good: u64, bad: u64) -> String {
    let call = mixed(policy.to_owned(), good, bad);
    lab.homing.submit(call).await.unwrap().outcome().await.unwrap()
}

/// `Tolerate`: so many losses are left out of the result, one more fails.
pub async fn tolerate_bears_so_many(lab: Lab) {
    let worker = lab.worker().register(mixed).register(leaf).register(failing);
    let worker = worker.start().await.unwrap();
    assert_eq!(judge(&lab, "one", 2, 1).await, "[0, 1]");
    assert_eq!(judge(&lab, "one", 2, 2).await, "failed failing");
    assert_eq!(judge(&lab, "one", 0, 1).await, "[]");
    // The limit of a list is on the sum of values and losses, which their product goes beyond.
    let many = judge(&lab, "many", 320, 320).await;
    assert_eq!(many, format!("{:?}", (0..320).collect::<Vec<u64>>()));
    lab.close([worker]).await;
}

/// `ToleratePercent`: of the children spawned when the wait is answered, rounded down.
pub async fn tolerate_percent_counts_children(lab: Lab) {
    let worker = lab.worker().register(mixed).register(leaf).register(failing);
    let worker = worker.start().await.unwrap();
    assert_eq!(judge(&lab, "half", 2, 2).await, "[0, 1]");
    assert_eq!(judge(&lab, "half", 3, 2).await, "[0, 1, 2]");
    assert_eq!(judge(&lab, "half", 2, 3).await, "failed failing");
    lab.close([worker]).await;
}

/// `Require`: fails once so many successes can no longer be reached.
pub async fn require_needs_so_many(lab: Lab) {
    let worker = lab.worker().register(mixed).register(leaf).register(failing);
    let worker = worker.start().await.unwrap();
    assert_eq!(judge(&lab, "two", 2, 5).await, "[0, 1]");
    assert_eq!(judge(&lab, "two", 1, 1).await, "failed failing");
    assert_eq!(judge(&lab, "two", 1, 0).await, "1 of 1 children succeeded, 2 were needed");
    lab.close([worker]).await;
}

#[task]
async fn closing(failures: u64, require: u64) -> Result<u64> {
    let policy = if require > 0 {
        FailurePolicy::Require { successes: require }
    } else {
        FailurePolicy::Tolerate { failures }
    };
    let mut set = JoinSet::new().policy(policy);
    set.spawn(leaf(0)).await?;
    set.spawn(failing(1)).await?;
    set.spawn(leaf(2)).await?;
    Ok(9)
}

/// The closing join obeys each set's policy; bare handles are `FailFast`.
pub async fn policies_govern_the_closing_join(lab: Lab) {
    let worker = lab.worker().register(closing).register(leaf).register(failing);
    let worker = worker.start().await.unwrap();
    let ends = async |failures, require| {
        lab.homing.submit(closing(failures, require)).await.unwrap().outcome().await
    };
    assert_eq!(ends(1, 0).await.unwrap(), 9);
    assert!(ends(0, 0).await.unwrap_err().to_string().contains("no 1"));
    assert_eq!(ends(0, 2).await.unwrap(), 9);
    assert!(ends(0, 3).await.is_err());
    lab.close([worker]).await;
}

#[task]
async fn hopeless() -> Result<u64> {
    let mut set = JoinSet::new().policy(FailurePolicy::Require { successes: 2 });
    set.spawn(failing(1)).await?;
    set.spawn(super::waits::gated(7)).await?;
    Ok(9)
}

/// Successes that can no longer be reached are not waited for, and not given up: another child is still open.
pub async fn a_closing_join_fails_as_soon_as_it_must(lab: Lab) {
    let worker = lab.worker().register(hopeless).register(failing).register(super::waits::gated);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(hopeless()).await.unwrap();
    assert!(job.outcome().await.unwrap_err().to_string().contains("no 1"));
    lab.close([worker]).await;
}

#[task]
async fn hopeless_join(grows: bool) -> Result<String> {
    let mut set = if grows {
        JoinSet::new().growing()
    } else {
        JoinSet::new().policy(FailurePolicy::Require { successes: 2 })
    };
    set.spawn(failing(1)).await?;
    set.spawn(super::waits::gated(7)).await?;
    Ok(set.join_all().await.unwrap_err().to_string())
}

/// Nor does `join_all` wait for a child that is still open, once its policy is broken.
pub async fn join_all_fails_as_soon_as_it_must(lab: Lab) {
    let worker = lab.worker().register(hopeless_join).register(failing);
    let worker = worker.register(super::waits::gated).start().await.unwrap();
    for grows in [false, true] {
        let job = lab.homing.submit(hopeless_join(grows)).await.unwrap();
        lab.reaches(job.id(), TaskState::Succeeded).await;
        assert!(job.outcome().await.unwrap().contains("no 1"));
    }
    lab.close([worker]).await;
}

#[derive(Debug, thiserror::Error)]
#[error("the page is broken")]
struct Broken(#[source] std::num::ParseIntError);

#[task(retries = 0, kind = "read_page")]
async fn broken(text: String) -> Result<u64> {
    Ok(text.parse().map_err(Broken)?)
}

#[task]
async fn asking() -> Result<String> {
    let error = crate::spawn(broken("x".to_owned())).await?.await.unwrap_err();
    let Some(failure) = error.failure() else { return Err(error.into()) };
    assert_eq!((failure.reason, failure.attempt), (Reason::Error, 1));
    let chain = failure.sources.join(" < ");
    Ok(format!("{} {} < {chain}", failure.kind, failure.message))
}

/// A failed child comes back with kind, id, attempt, message and source chain.
pub async fn a_child_failure_is_typed(lab: Lab) {
    let worker = lab.worker().register(asking).register(broken).start().await.unwrap();
    let job = lab.homing.submit(asking()).await.unwrap();
    let text = "read_page the page is broken < invalid digit found in string";
    assert_eq!(job.outcome().await.unwrap(), text);
    lab.close([worker]).await;
}
