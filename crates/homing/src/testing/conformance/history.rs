//! What people read of the past: records with their times, failures over all jobs, what people have done.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Lab;
use crate::store::{Exchange, Heartbeat, Hints, NewAction, Reply, Store, Verb};
use crate::testing::Probe;
use crate::testing::over::over;
use crate::{
    ActionFilter, EntryView, FailureFilter, Result, State, TaskState, limits, signal, step, task,
};

#[task]
async fn approved() -> Result<u64> {
    let first = step("first", async || Ok(1_u64)).await?;
    let more: u64 = signal("go").await?;
    Ok(first + more + step("second", async || Ok(2_u64)).await?)
}

/// An entry is read with the instant of the transaction that has written it, and keeps it whatever comes after.
pub async fn records_tell_when(lab: Lab) {
    let worker = lab.worker().register(approved).start().await.unwrap();
    let before = lab.store().clock().now();
    let job = lab.homing.submit(approved()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let minute = Duration::from_mins(1);
    lab.advance(minute).await;
    let after = lab.store().clock().now();
    job.signal("go", &5).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 8);
    let record = lab.homing.record(job.id(), 0, limits::PAGE).await.unwrap();
    let told = |entry: &EntryView| {
        let EntryView { number, place, what, signal, value, .. } = entry.clone();
        format!("{number} {place} {what} {:?} {:?}", signal.as_deref(), value.as_deref())
    };
    assert_eq!(
        record.iter().map(told).collect::<Vec<_>>(),
        [
            r#"1 step:first#1 value None Some("1")"#,
            r#"2 signal:go#1 wait Some("go") Some("5")"#,
            r#"3 step:second#1 value None Some("2")"#,
        ]
    );
    let times: Vec<_> = record.iter().map(|entry| entry.time.unwrap()).collect();
    assert!((before..after).contains(&times[0]), "{before:?} {times:?} {after:?}");
    assert!(times[0].after(minute) <= times[1] && after <= times[1], "{times:?} {after:?}");
    assert!(times[1] <= times[2], "{times:?}");
    let page = lab.homing.record(job.id(), 1, 1).await.unwrap();
    assert_eq!(page, [record[1].clone()], "pages follow the numbers");
    assert_eq!(lab.homing.record(job.id(), 3, 1).await.unwrap(), []);
    assert_eq!(lab.homing.record(crate::JobId::fresh(), 0, 1).await.unwrap(), []);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn unlucky(page: u64) -> Result<u64> {
    Err(crate::Error::msg(format!("page {page} cannot be parsed")))
}

#[task(retries = 0)]
async fn locked(State(probe): State<Probe>) -> Result<u64> {
    if probe.count("unlocked") > 0 { Ok(1) } else { Err(crate::Error::msg("the table is locked")) }
}

#[task(retries = 0)]
async fn passing_on(page: u64) -> Result<u64> {
    Ok(crate::spawn(unlucky(page)).await?.await?)
}

/// Failed tasks that are alike are counted together over all jobs, each where it failed first; what is retried or
/// removed is counted no more.
pub async fn failures_are_grouped(lab: Lab) {
    let worker = lab.worker().register(unlucky).register(locked).register(passing_on);
    let worker = worker.start().await.unwrap();
    let mut jobs = Vec::new();
    for page in [3, 417, 9] {
        let job = lab.homing.submit(passing_on(page)).await.unwrap();
        job.outcome().await.unwrap_err();
        jobs.push(job);
        lab.advance(Duration::from_secs(10)).await;
    }
    let since: crate::Time = lab.store().clock().now();
    let job = lab.homing.submit(locked()).await.unwrap();
    job.outcome().await.unwrap_err();
    let groups = async |filter: FailureFilter| {
        let groups = lab.homing.failures(filter).await.unwrap();
        let told = groups.iter().map(|group| (group.latest.message.clone(), group.count));
        (told.collect::<Vec<_>>(), groups)
    };
    let all = FailureFilter::default;
    let (told, found) = groups(all()).await;
    let (page, table) = ("page 9 cannot be parsed".to_owned(), "the table is locked".to_owned());
    assert_eq!(told, [(table.clone(), 1), (page.clone(), 3)]);
    let alike = &found[1];
    assert!(alike.first < alike.last && alike.last < since, "{alike:?}");
    assert_eq!((alike.latest.kind.as_str(), alike.latest.id.job), ("unlucky", jobs[2].id()));
    assert_eq!(groups(FailureFilter { limit: 1, ..all() }).await.0, [(table.clone(), 1)]);
    let kind = Some("unlucky".to_owned());
    assert_eq!(groups(FailureFilter { kind, ..all() }).await.0, [(page, 3)]);
    let since = Some(since);
    assert_eq!(groups(FailureFilter { since, ..all() }).await.0, [(table, 1)]);
    // Pages go from the last to the first.
    let (mut seen, mut before) = (Vec::new(), None);
    while let Some(task) =
        lab.homing.failed_alike(alike.fingerprint, before, 1).await.unwrap().pop()
    {
        seen.push(task.id.job);
        before = task.ended.map(|ended| (ended, task.id));
    }
    assert_eq!(seen, [jobs[2].id(), jobs[1].id(), jobs[0].id()]);
    // A retry takes its failure out, a removal those of the whole job.
    lab.probe.hit("unlocked");
    job.retry().await.unwrap();
    job.outcome().await.unwrap();
    jobs[2].remove().await.unwrap();
    let (told, _) = groups(all()).await;
    assert_eq!(told, [("page 417 cannot be parsed".to_owned(), 2)]);
    lab.close([worker]).await;
}

/// Retries a job between a look at what failed alike and the look at those tasks.
#[derive(Debug)]
struct Retrying {
    inner: Arc<dyn Store>,
    job: Mutex<Option<crate::JobId>>,
}

impl Retrying {
    fn pass<'s, T: 's>(
        &'s self,
        name: &'static str,
        verb: impl FnOnce(&'s dyn Store) -> Verb<'s, T>,
    ) -> Verb<'s, T> {
        let verb = verb(&*self.inner);
        let job = (name == "tasks").then(|| self.job.lock().unwrap().take()).flatten();
        let Some(job) = job else { return verb };
        Box::pin(async move {
            self.inner.retry(job, false).await?;
            verb.await
        })
    }

    async fn speak(&self, exchange: Exchange) -> std::result::Result<Reply, crate::StoreError> {
        self.inner.exchange(exchange).await
    }

    async fn beat(&self, heartbeat: Heartbeat) -> std::result::Result<bool, crate::StoreError> {
        self.inner.heartbeat(heartbeat).await
    }

    fn died(&self, worker: crate::WorkerId) {
        self.inner.kill(worker);
    }

    fn heard(&self) -> &Hints {
        self.inner.hints()
    }
}

over!(Retrying);

/// A page of failures that were all retried meanwhile is not the end of the list.
pub async fn retried_failures_end_no_list(lab: Lab) {
    let worker = lab.worker().register(unlucky).start().await.unwrap();
    let mut jobs = Vec::new();
    for page in 1..=2 {
        lab.advance(Duration::from_secs(1)).await;
        let job = lab.homing.submit(unlucky(page)).await.unwrap();
        job.outcome().await.unwrap_err();
        jobs.push(job.id());
    }
    worker.shutdown(Duration::ZERO).await;
    let alike = lab.homing.failures(FailureFilter::default()).await.unwrap().remove(0);
    let job = Mutex::new(Some(jobs[1]));
    let store = Arc::new(Retrying { inner: Arc::clone(lab.store()), job });
    let page = crate::Homing::over(store).failed_alike(alike.fingerprint, None, 1).await.unwrap();
    let found: Vec<_> = page.iter().map(|task| task.id.job).collect();
    assert_eq!(found, [jobs[0]], "the other is pending");
    lab.close([]).await;
}

/// What is done for somebody is kept, before it is done and with what became of it after; what is done for nobody is
/// not. Old actions go as others come.
pub async fn actions_are_kept(lab: Lab) {
    let worker = lab.worker().register(approved).start().await.unwrap();
    let ada = lab.homing.acting("ada");
    let job = ada.submit(approved()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.homing.acting("bo").pause("slow").await.unwrap();
    lab.homing.unpause("slow").await.unwrap();
    ada.signal(job.id(), "other", &5).await.unwrap();
    ada.job::<u64>(job.id()).retry().await.unwrap_err();
    assert!(ada.cancel(job.id()).await.unwrap());
    assert!(!ada.cancel(job.id()).await.unwrap());
    ada.remove(job.id()).await.unwrap();
    let id = job.id().to_string();
    let list = async |filter: ActionFilter| lab.homing.actions(filter).await.unwrap();
    let all = ActionFilter::default;
    let actions = list(all()).await;
    let told = actions.iter().rev().map(|action| {
        let target = if action.target == id { "the job" } else { &action.target };
        format!(
            "{} {} {target}: {}",
            action.who,
            action.verb,
            action.result.as_deref().unwrap_or("?")
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "ada submit the job: approved".to_owned(),
            "bo pause slow: done".to_owned(),
            "ada signal the job: `other`: kept".to_owned(),
            format!("ada retry the job: refused: {}", crate::RetryError::Open { id: job.id() }),
            "ada cancel the job: done".to_owned(),
            "ada cancel the job: it had ended".to_owned(),
            "ada remove the job: done".to_owned(),
        ]
    );
    let newest = &actions[0];
    assert!(actions.windows(2).all(|pair| pair[0].number > pair[1].number), "{actions:#?}");
    assert_eq!(list(ActionFilter { limit: 1, ..all() }).await, actions[..1]);
    let before = Some(newest.number);
    assert_eq!(list(ActionFilter { before, limit: 2, ..all() }).await, actions[1..3]);
    let bo = list(ActionFilter { who: Some("bo".to_owned()), ..all() }).await;
    assert_eq!((bo.len(), bo[0].target.as_str()), (1, "slow"));
    assert_eq!(list(ActionFilter { target: Some(id), ..all() }).await.len(), 6);
    // One whose end nobody kept.
    let action = NewAction { who: "eve".to_owned(), verb: "prune", target: "x".to_owned() };
    let number = lab.store().begin_action(action).await.unwrap();
    assert_eq!(list(ActionFilter { limit: 1, ..all() }).await[0].result, None);
    assert!(number > newest.number);
    lab.close([worker]).await;
}

/// A submission whose key another job holds says which.
pub async fn an_action_names_who_holds_the_key(lab: Lab) {
    let ada = lab.homing.acting("ada");
    let first = ada.submit(approved()).key("the key").await.unwrap();
    assert_eq!(ada.submit(approved()).key("the key").await.unwrap().id(), first.id());
    let actions = lab.homing.actions(ActionFilter::default()).await.unwrap();
    let results: Vec<_> = actions.into_iter().filter_map(|action| action.result).collect();
    assert_eq!(results, [format!("approved: {} holds its key", first.id()), "approved".to_owned()]);
    lab.close([]).await;
}

/// A verb of a store that is made and dropped has done nothing: what is kept of somebody's action is kept before it is done.
pub async fn a_verb_does_nothing_before_it_is_polled(lab: Lab) {
    let job = lab.homing.submit(approved()).await.unwrap();
    let store = lab.store();
    drop(store.cancel(job.id().root(), None));
    drop(store.pause("slow".to_owned(), true));
    drop(store.signal(job.id().root(), "go".to_owned(), "1".to_owned()));
    drop(store.remove(job.id()));
    let queues = lab.homing.queues().await.unwrap();
    assert!(queues.iter().all(|queue| !queue.paused), "{queues:?}");
    assert_eq!(job.status().await.unwrap(), crate::Status::InProgress);
    lab.close([]).await;
}

/// Actions that are older than they are kept go, some with each new one.
pub async fn old_actions_are_forgotten(lab: Lab) {
    for _ in 0..=limits::ACTIONS_FORGOTTEN {
        lab.homing.acting("ada").pause("slow").await.unwrap();
    }
    let count = async || lab.homing.actions(ActionFilter::default()).await.unwrap().len();
    lab.clock.advance(limits::ACTIONS_KEPT + Duration::from_secs(1));
    assert_eq!(count().await, limits::ACTIONS_FORGOTTEN + 1);
    for _ in 0..2 {
        lab.homing.acting("bo").pause("slow").await.unwrap();
    }
    assert_eq!(count().await, 2);
    lab.close([]).await;
}
