//! Lists of the jobs of one kind go by the seconds in which such jobs were created.

use super::*;

fn of_kind(name: &str, kind: &str) -> NewJob {
    let task = NewTask { kind: kind.into(), ..new_task("{}") };
    NewJob { task, ..new_job(name) }
}

async fn list(store: &Sqlite, kind: &str, limit: usize) -> Vec<JobId> {
    let mut filter = JobFilter { kind: Some(kind.into()), limit, ..JobFilter::default() };
    let mut ids = Vec::new();
    loop {
        let page = store.jobs(filter.clone()).await.unwrap();
        let Some(last) = page.last() else { return ids };
        filter.after = Some((last.created, last.id));
        ids.extend(page.iter().map(|job| job.id));
    }
}

fn seconds(directory: &Directory) -> i64 {
    let sql = "SELECT count(*) FROM kinds_by_second";
    directory.other().query_row(sql, (), |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn jobs_of_a_kind_are_listed_whenever_they_were_created() {
    let directory = Directory::new();
    let clock = ManualClock::default();
    let store = Sqlite::with(directory.options(), Clock::Manual(clock.clone())).await.unwrap();
    let mut rare = Vec::new();
    for at in 0..6 {
        // Two in one second, then none for a while.
        for n in 0..2 {
            let job = of_kind(&format!("rare {at} {n}"), "rare");
            rare.push(job.id);
            let common = (0..5).map(|c| of_kind(&format!("common {at} {n} {c}"), "common"));
            store.submit(common.chain([job]).collect()).await.unwrap();
            clock.advance(Duration::from_millis(1));
        }
        clock.advance(Duration::from_millis(2_500));
    }
    rare.reverse();
    for limit in [1, 2, 3, 100] {
        assert_eq!(list(&store, "rare", limit).await, rare, "{limit}");
    }
    assert_eq!(list(&store, "common", 7).await.len(), 60);
    assert!(list(&store, "nobody's", 7).await.is_empty());
    assert_eq!(seconds(&directory), 12, "one of each kind and second");
    assert!(store.audit().await.unwrap().is_empty());
    let lost = "DELETE FROM kinds_by_second WHERE kind = 'rare'";
    directory.other().execute_batch(lost).unwrap();
    assert_eq!(store.audit().await.unwrap().len(), rare.len());
}

#[tokio::test]
async fn seconds_go_with_the_jobs() {
    let directory = Directory::new();
    let clock = ManualClock::default();
    let store = Sqlite::with(directory.options(), Clock::Manual(clock.clone())).await.unwrap();
    let jobs = ["a", "b", "c"].map(|kind| of_kind(kind, kind));
    for job in &jobs {
        store.submit(vec![job.clone()]).await.unwrap();
        clock.advance(Duration::from_secs(2));
    }
    for job in &jobs[..2] {
        store.cancel(job.id.root(), None).await.unwrap();
    }
    clock.advance(Duration::from_secs(1));
    let pruned = store.prune(store.clock().now()).await.unwrap();
    assert_eq!((pruned.jobs, pruned.more), (2, false));
    assert_eq!(seconds(&directory), 1);
    assert_eq!(list(&store, "c", 10).await, [jobs[2].id]);
    store.cancel(jobs[2].id.root(), None).await.unwrap();
    clock.advance(Duration::from_secs(1));
    store.prune(store.clock().now()).await.unwrap();
    assert_eq!(seconds(&directory), 0);
}

/// What a refused unit had written is taken back, also that a job of this kind was created in this second.
#[tokio::test]
async fn a_refused_unit_takes_its_kind_along() {
    let directory = Directory::new();
    let store = directory.store().await;
    directory.poison();
    store.submit(vec![new_job("a"), new_job("b")]).await.unwrap();
    let mut peer = TestWorker::begin(&store).await;
    let claimed = peer.say(Vec::new(), 10).await.claimed;
    let detach = |name: &str| Event::Detach(Box::new(of_kind(name, "detached")));
    let entry = Entry::Value("1".into());
    let poison = Event::Record { seq: 1, place: "poison".into(), entry };
    let units = vec![
        unit(&claimed[0], vec![detach("refused"), poison]),
        unit(&claimed[1], vec![detach("taken"), done()]),
    ];
    assert_eq!(peer.say(units, 0).await.refused.len(), 1);
    assert_eq!(list(&store, "detached", 10).await, [of_kind("taken", "").id]);
    assert!(store.audit().await.unwrap().is_empty());
}
