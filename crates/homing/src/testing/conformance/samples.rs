//! What workers did, minute by minute: what stores keep, and what workers count.

use std::time::Duration;

use super::Lab;
use crate::core::id::WorkerId;
use crate::core::time::Time;
use crate::store::Sample;
use crate::store::read::{Histogram, WorkSample};
use crate::{Result, SampleFilter, SampleView, TaskState, limits, signal, task};

#[task(retries = 1, backoff = "1ms..1ms")]
async fn counted(page: u64) -> Result<u64> {
    if page == 7 { Err(crate::Error::msg("page 7 cannot be parsed")) } else { Ok(page) }
}

#[task]
async fn parked() -> Result<u64> {
    Ok(signal::<u64>("go").await?)
}

fn sample(minute: i64, worker: WorkerId, name: &str) -> Sample {
    let text = format!(r#"{{"name":"{name}","slots":1,"busy":0,"resident":0,"work":[]}}"#);
    Sample { minute: Time(minute * 60_000_000), worker, text }
}

/// Minutes are listed in order, by range and worker, page by page; one that is told again is the same row; old ones go.
pub async fn samples_are_kept(lab: Lab) {
    let mut workers = [WorkerId::fresh(), WorkerId::fresh()];
    workers.sort();
    let [a, b] = workers;
    let now = lab.store().clock().now().0.div_euclid(60_000_000);
    let keep = async |samples: Vec<Sample>| lab.store().keep_samples(samples).await.unwrap();
    keep(vec![sample(now, b, "b0")]).await;
    keep(vec![sample(now, a, "wrong"), sample(now + 1, a, "a1")]).await;
    keep(vec![sample(now, a, "a0")]).await;
    keep(vec![sample(now + 2, b, "b2")]).await;
    keep(Vec::new()).await;
    let list = async |filter: SampleFilter| {
        let found = lab.homing.samples(filter).await.unwrap();
        found.into_iter().map(|sample| sample.name).collect::<Vec<_>>()
    };
    let all = SampleFilter::default;
    assert_eq!(list(all()).await, ["a0", "b0", "a1", "b2"]);
    let at = |minute: i64| Some(Time((now + minute) * 60_000_000));
    assert_eq!(list(SampleFilter { since: at(1), ..all() }).await, ["a1", "b2"]);
    assert_eq!(list(SampleFilter { since: at(0), until: at(1), ..all() }).await, ["a0", "b0"]);
    assert_eq!(list(SampleFilter { worker: Some(b), ..all() }).await, ["b0", "b2"]);
    let (mut seen, mut after) = (Vec::new(), None);
    while let Some(SampleView { minute, worker, name, .. }) =
        lab.homing.samples(SampleFilter { after, limit: 1, ..all() }).await.unwrap().pop()
    {
        seen.push(name);
        after = Some((minute, worker));
    }
    assert_eq!(seen, ["a0", "b0", "a1", "b2"]);
    let after = Some((Time(now * 60_000_000), b));
    assert_eq!(list(SampleFilter { after, since: at(2), ..all() }).await, ["b2"]);
    lab.clock.advance(limits::SAMPLES_KEPT + Duration::from_secs(90));
    keep(vec![sample(now + 20_000, a, "new")]).await;
    assert_eq!(list(all()).await, ["b2", "new"], "the others are too old");
    lab.close([]).await;
}

/// The work of all samples, by queue and kind.
fn sums(samples: &[SampleView]) -> Vec<WorkSample> {
    let mut sums: Vec<WorkSample> = Vec::new();
    for work in samples.iter().flat_map(|sample| &sample.work) {
        match sums.iter_mut().find(|sum| sum.queue == work.queue && sum.kind == work.kind) {
            Some(sum) => sum.add(work),
            None => sums.push(work.clone()),
        }
    }
    sums.sort_by(|a, b| a.kind.cmp(&b.kind));
    sums
}

/// The same without the histograms, whose buckets depend on the machine.
fn plain(work: &WorkSample) -> WorkSample {
    WorkSample { wait: Histogram::default(), run: Histogram::default(), ..work.clone() }
}

/// A worker counts what it begins and what comes of it, by queue and kind, minute by minute; the store hears of it with a
/// heartbeat once the minute is over, and of the last minute as the worker leaves.
pub async fn workers_count_their_minutes(lab: Lab) {
    let worker = lab.worker().concurrency(2).name("the counter").queues(["default", "slow"]);
    let worker = worker.register(counted).register(parked).start().await.unwrap();
    let job = lab.homing.submit(parked().queue("slow")).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    for page in 1..=3 {
        lab.homing.submit(counted(page)).await.unwrap().outcome().await.unwrap();
    }
    let failing = lab.homing.submit(counted(7)).await.unwrap();
    lab.turning(failing.outcome()).await.unwrap_err();
    // The store hears of them while the worker works: a minute is over, and so is the first of its life.
    let told = async {
        loop {
            let samples = lab.homing.samples(SampleFilter::default()).await.unwrap();
            if sums(&samples).len() == 2 {
                return samples;
            }
            lab.advance(Duration::from_secs(4)).await;
        }
    };
    let told = told.await;
    assert!(told.iter().all(|sample| sample.worker == worker.id() && sample.name == "the counter"));
    assert!(
        told.iter().all(|sample| sample.slots == 2 && sample.minute.0 % 60_000_000 == 0),
        "{told:#?}"
    );
    let told = sums(&told);
    let of = |kind: &str, queue: &str| WorkSample {
        kind: kind.to_owned(),
        queue: queue.to_owned(),
        ..WorkSample::default()
    };
    let first =
        WorkSample { begun: 5, succeeded: 3, failed: 1, retried: 1, ..of("counted", "default") };
    assert_eq!(plain(&told[0]), first);
    assert_eq!(
        (told[0].wait.total(), told[0].run.total()),
        (4, 5),
        "a retry has not waited for a slot"
    );
    assert_eq!(plain(&told[1]), WorkSample { begun: 1, parked: 1, ..of("parked", "slow") });
    job.signal("go", &5).await.unwrap();
    job.outcome().await.unwrap();
    let id = worker.id();
    let homing = lab.homing.clone();
    lab.close([worker]).await;
    let told = sums(
        &homing
            .samples(SampleFilter { worker: Some(id), ..SampleFilter::default() })
            .await
            .unwrap(),
    );
    let last = WorkSample { begun: 2, parked: 1, succeeded: 1, ..of("parked", "slow") };
    assert_eq!(plain(&told[1]), last, "the last minute is told at the end");
    assert_eq!(
        (told[1].wait.total(), told[1].run.total()),
        (1, 2),
        "what goes on has not waited for a slot"
    );
}
