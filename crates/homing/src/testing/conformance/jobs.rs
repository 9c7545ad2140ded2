//! Jobs as a whole: keys and ids, removal, tags, many at once, trees page by page.

use std::time::Duration;

use super::records::reporting;
use super::waits::{gated, leaf};
use super::{Lab, children};
use crate::{JobFilter, JobId, JoinSet, Result, task};

/// A key is unique among open jobs: a held one returns the open job.
pub async fn a_held_key_returns_the_open_job(lab: Lab) {
    let worker = lab.worker().register(gated).start().await.unwrap();
    let submit = |n| lab.homing.submit(gated(n)).key("import");
    let first = submit(1).await.unwrap();
    assert_eq!(submit(2).await.unwrap().id(), first.id());
    lab.probe.open("gate 1");
    first.outcome().await.unwrap();
    let next = submit(3).await.unwrap();
    assert_ne!(next.id(), first.id());
    next.cancel().await.unwrap();
    lab.close([worker]).await;
}

/// The same id later returns the same job, finished or not, and is an error with other arguments.
pub async fn an_id_is_idempotent(lab: Lab) {
    let worker = lab.worker().register(leaf).start().await.unwrap();
    let id = JobId::named("2026-11-22");
    for _ in 0..2 {
        let job = lab.homing.submit(leaf(4)).id(id).await.unwrap();
        assert_eq!((job.id(), job.outcome().await.unwrap()), (id, 4));
    }
    let error = lab.homing.submit(leaf(5)).id(id).await.unwrap_err().to_string();
    assert!(error.contains("another kind or with other arguments"), "{error}");
    assert_eq!(lab.homing.jobs(JobFilter::default()).await.unwrap().len(), 1);
    lab.advance(Duration::from_hours(1)).await;
    assert_eq!(lab.homing.prune(Duration::from_mins(1)).await.unwrap(), 1);
    assert_eq!(lab.homing.submit(leaf(5)).id(id).await.unwrap().outcome().await.unwrap(), 5);
    lab.close([worker]).await;
}

/// `prune` removes finished jobs by age, whole, and never an open one.
pub async fn prune_spares_open_jobs(lab: Lab) {
    let worker = lab.worker().register(reporting).register(gated).register(leaf);
    let worker = worker.start().await.unwrap();
    lab.probe.open("report");
    let open = lab.homing.submit(reporting()).await.unwrap();
    let mut old = Vec::new();
    for n in 10..13 {
        old.push(lab.homing.submit(leaf(n)).await.unwrap());
    }
    for job in &old {
        job.outcome().await.unwrap();
    }
    lab.advance(Duration::from_secs(100)).await;
    let fresh = lab.homing.submit(leaf(1)).await.unwrap();
    fresh.outcome().await.unwrap();
    assert_eq!(lab.homing.prune(Duration::from_secs(50)).await.unwrap(), 3);
    assert_eq!(lab.homing.prune(Duration::from_secs(50)).await.unwrap(), 0);
    for (n, job) in (10..13).zip(old) {
        assert_eq!(job.outcome().await.unwrap(), n, "known while its handle is held");
        let id = job.id();
        drop(job);
        let job = lab.homing.job::<u64>(id);
        let error = job.outcome().await.unwrap_err().to_string();
        assert!(error.contains("pruned"), "{error}");
    }
    assert!(fresh.view().await.is_ok());
    lab.probe.open("gate 0");
    open.outcome().await.unwrap();
    lab.advance(Duration::from_secs(100)).await;
    assert_eq!(lab.homing.prune(Duration::from_secs(50)).await.unwrap(), 2);
    assert!(
        children(&lab, open.id()).await.is_empty() && open.log().page().await.unwrap().is_empty()
    );
    lab.close([worker]).await;
}

/// One job is removed, whole: a bystander of the same age stays, an open one is refused.
pub async fn one_job_is_removed(lab: Lab) {
    let worker = lab.worker().register(wide).register(gated).register(leaf).start().await.unwrap();
    let (gone, stays) =
        (lab.homing.submit(wide()).await.unwrap(), lab.homing.submit(leaf(1)).await.unwrap());
    gone.outcome().await.unwrap();
    stays.outcome().await.unwrap();
    let open = lab.homing.submit(gated(3)).await.unwrap();
    let refused = open.remove().await.unwrap_err();
    assert!(matches!(refused, crate::RemoveError::Open { .. }), "{refused:?}");
    gone.remove().await.unwrap();
    let unknown = gone.remove().await.unwrap_err().to_string();
    assert!(unknown.contains("no task has the id"), "{unknown}");
    assert!(children(&lab, gone.id()).await.is_empty());
    assert!(stays.view().await.is_ok() && open.view().await.is_ok());
    let again = lab.homing.submit(wide()).id(gone.id()).await.unwrap();
    assert_eq!(again.outcome().await.unwrap(), 300, "its id was free");
    open.cancel().await.unwrap();
    open.remove().await.unwrap();
    assert_eq!(lab.homing.jobs(JobFilter::default()).await.unwrap().len(), 2);
    lab.close([worker]).await;
}

#[task]
async fn labelled() -> Result<(Vec<String>, Vec<String>)> {
    let child = crate::spawn(label().tags(["child", "nightly"])).await?;
    Ok((crate::tags().await?, child.await?))
}

#[task]
async fn label() -> Result<Vec<String>> {
    Ok(crate::tags().await?)
}

/// A body reads its tags; a child has its own and those of the job's root.
pub async fn tags_are_read_and_handed_down(lab: Lab) {
    let worker = lab.worker().register(labelled).register(label).start().await.unwrap();
    let job = lab.homing.submit(labelled().tags(["tenant 7", "nightly"])).await.unwrap();
    let (own, childs) = job.outcome().await.unwrap();
    assert_eq!(own, ["tenant 7", "nightly"]);
    assert_eq!(childs, ["tenant 7", "nightly", "child"]);
    let child = children(&lab, job.id()).await.remove(0);
    assert_eq!(child.tags, ["child", "nightly"]);
    assert_eq!(lab.homing.task(job.id()).await.unwrap().tags, ["tenant 7", "nightly"]);
    assert_eq!(job.view().await.unwrap().tags, ["tenant 7", "nightly"]);
    lab.close([worker]).await;
}

/// Many jobs have keys, ids and titles of their own, and no handle is lost when one of them is refused.
pub async fn many_submissions_lose_no_handle(lab: Lab) {
    let worker = lab.worker().register(leaf).register(gated).start().await.unwrap();
    let of = |n: u64| crate::Submission::of(gated(n)).key(format!("key {}", n % 2)).title("many");
    let held = lab.homing.submit_all((0..4).map(of)).await.unwrap();
    assert_eq!((held[0].id(), held[1].id()), (held[2].id(), held[3].id()));
    assert_eq!(held[0].view().await.unwrap().title.as_deref(), Some("many"));
    let taken = JobId::named("taken");
    lab.homing.submit(leaf(0)).id(taken).await.unwrap();
    let calls = (0..1500).map(|n| match n {
        1200 => crate::Submission::of(leaf(n)).id(taken),
        1300 => crate::Submission::of(leaf(n)).key(""),
        n => leaf(n).into(),
    });
    let refused = lab.homing.submit_all(calls).await.unwrap_err();
    assert_eq!(refused.index, 1200, "{}", refused.error);
    assert!(matches!(refused.error, crate::SubmitError::Conflict { id } if id == taken));
    assert_eq!(refused.submitted.len(), 1299, "all but that one before the next that is refused");
    assert!(refused.unknown.is_empty() && refused.submitted.iter().all(|(n, _)| *n != 1200));
    for (n, job) in refused.submitted.iter().skip(1190) {
        assert_eq!(job.outcome().await.unwrap(), *n as u64);
    }
    // An id that a page names twice: each is compared with the job that is there.
    for wrong in [0, 1] {
        let other = |n: usize| crate::Submission::of(leaf(u64::from(n == wrong))).id(taken);
        let refused = lab.homing.submit_all([0, 1].map(other)).await.unwrap_err();
        assert_eq!((refused.index, refused.submitted.len()), (wrong, 1), "{refused}");
    }
    let calls =
        (0..10).map(|n| crate::Submission::of(leaf(n)).title(if n == 7 { "" } else { "t" }));
    let refused = lab.homing.submit_all(calls).await.unwrap_err();
    assert_eq!((refused.index, refused.submitted.len()), (7, 7), "{refused}");
    held[0].cancel().await.unwrap();
    held[1].cancel().await.unwrap();
    lab.close([worker]).await;
}

#[task]
async fn wide() -> Result<u64> {
    let mut set = JoinSet::new();
    for n in 0..25 {
        set.spawn(leaf(n)).await?;
    }
    crate::spawn(leaf(100)).await?.await?;
    Ok(set.join_all().await?.iter().sum())
}

/// A task's children are read page by page.
pub async fn trees_are_paged(lab: Lab) {
    let worker = lab.worker().register(leaf).register(wide).start().await.unwrap();
    let job = lab.homing.submit(wide()).await.unwrap();
    job.outcome().await.unwrap();
    let (mut cursor, mut pages, mut seen) = (crate::Cursor::default(), 0, Vec::new());
    loop {
        let (page, next) = lab.homing.children(job.id(), cursor, 10).await.unwrap();
        assert!(page.len() <= 10);
        seen.extend(page.into_iter().map(|child| child.id));
        pages += 1;
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    let total = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((total, seen.len()), (26, 26));
    assert!(pages >= 3);
    lab.close([worker]).await;
}
