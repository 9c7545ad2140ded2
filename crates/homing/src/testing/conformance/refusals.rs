//! Units that the store refuses: the body hears of it whatever it is doing, and its task goes on or ends.

use std::sync::Arc;
use std::time::Duration;

use super::Lab;
use super::waits::leaf;
use crate::error::OutcomeError;
use crate::store::Refusal;
use crate::testing::Probe;
use crate::testing::refusing::{Refusing, says};
use crate::{Homing, JoinSet, Result, State, TaskState, log, step, task};

/// Says something of everything: a line, children, a step, a wait of each kind, a value.
#[task(retries = 0)]
async fn talking(n: u64) -> Result<u64> {
    log!("it begins");
    let mut set = JoinSet::new();
    set.spawn(leaf(n)).await?;
    let one = step("one", || async { Ok(1) }).await?;
    let handle = set.spawn(leaf(n)).await?;
    let sum: u64 = set.join_all().await?.iter().sum();
    crate::sleep(Duration::from_millis(1)).await?;
    crate::spawn(leaf(5)).await?;
    Ok(sum + one + handle.await?)
}

const WORDS: [&str; 5] = ["record", "spawn", "park", "end", "log"];

/// Runs a body whose first unit that says `word` is refused, and gives its job and worker.
async fn refused(
    lab: &Lab,
    word: &'static str,
    refusal: &Refusal,
) -> (crate::JobHandle<u64>, crate::Worker) {
    let refusal = refusal.clone();
    let choice = move |unit: &crate::store::Unit| {
        let chosen = unit.task.is_root() && says(unit, word);
        chosen.then(|| refusal.clone())
    };
    let store = Refusing::over(Arc::clone(lab.store()), Box::new(choice));
    let resident = if lab.is_resident() { 100 } else { 0 };
    let worker = Homing::over(Arc::new(store)).worker().resident(resident);
    let worker = worker.register(talking).register(leaf).start().await.unwrap();
    (lab.homing.submit(talking(3)).await.unwrap(), worker)
}

/// A unit that is refused as drift makes its task stand still, wherever it is said; then it goes on.
pub async fn g10_a_refused_unit_stands_still(lab: Lab) {
    for word in WORDS {
        let refusal = Refusal::Drift("as the test wants it".to_owned());
        let (job, worker) = refused(&lab, word, &refusal).await;
        let view = lab.observe(job.id(), "standing still", |view| view.reason.is_some());
        let reason = lab.turning(view).await.reason.unwrap();
        assert!(reason.contains("as the test wants it"), "{word}: {reason}");
        let outcome = tokio::time::timeout(Duration::from_mins(1), lab.turning(job.outcome()));
        assert_eq!(outcome.await.unwrap().unwrap(), 10, "{word}");
        lab.turning(worker.shutdown(Duration::from_secs(20))).await;
    }
    lab.close([]).await;
}

/// A unit that the store cannot hold fails its task for good, wherever it is said, and says why.
pub async fn g12_what_the_store_cannot_hold_fails_its_task(lab: Lab) {
    for word in WORDS {
        let refusal = Refusal::Unfit("as the test wants it".to_owned());
        let (job, worker) = refused(&lab, word, &refusal).await;
        let outcome = tokio::time::timeout(Duration::from_mins(1), lab.turning(job.outcome()));
        let error = outcome.await.unwrap().unwrap_err();
        assert!(matches!(error, OutcomeError::Failed(_)), "{word}: {error:?}");
        assert!(error.to_string().contains("as the test wants it"), "{word}: {error}");
        lab.reaches(job.id(), TaskState::Failed).await;
        lab.turning(worker.shutdown(Duration::from_secs(20))).await;
    }
    lab.close([]).await;
}

/// Says a line, and ends while that is under way.
#[task(retries = 0)]
async fn parting(State(probe): State<Probe>) -> Result<u64> {
    log!("the last line");
    probe.pass("go").await;
    probe.hit("ended");
    Ok(3)
}

/// A body that ends while a unit of its is refused does not hear of that any more: how it ended is not taken either, since it
/// rests on what did not happen. A task had succeeded whose last line was lost.
pub async fn g12_an_end_that_rests_on_what_was_refused_is_not_taken(lab: Lab) {
    let said = "as the test wants it";
    for refusal in [Refusal::Unfit(said.to_owned()), Refusal::Drift(said.to_owned())] {
        let (probe, drifts) = (Probe::default(), matches!(refusal, Refusal::Drift(_)));
        let choice = move |unit: &crate::store::Unit| says(unit, "log").then(|| refusal.clone());
        let store = Refusing::over(Arc::clone(lab.store()), Box::new(choice)).held(&probe);
        let worker = Homing::over(Arc::new(store)).worker().state(probe.clone());
        let worker = worker.register(parting).start().await.unwrap();
        let job = lab.homing.submit(parting()).await.unwrap();
        probe.hits("refused", 1).await;
        probe.open("go");
        probe.hits("ended", 1).await;
        probe.open("answer");
        let outcome = tokio::time::timeout(Duration::from_mins(1), lab.turning(job.outcome()));
        let outcome = outcome.await.unwrap();
        if drifts {
            assert_eq!((outcome.unwrap(), probe.count("ended")), (3, 2), "it ran again");
        } else {
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let lines = job.log().page().await.unwrap();
        let last = lines.iter().filter(|line| line.message == "the last line").count();
        assert_eq!(last, usize::from(drifts), "{lines:?}");
        lab.turning(worker.shutdown(Duration::from_secs(20))).await;
    }
    lab.close([]).await;
}
