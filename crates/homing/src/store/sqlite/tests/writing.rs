//! Groups of commits, and work that takes several transactions.

use super::*;

/// Holds the writer up, so that what is queued meanwhile is committed together.
async fn together<T>(store: &Sqlite, queued: impl Future<Output = T>) -> T {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let busy = store.write("test", move |_| {
        // Disconnected on a second run: then there is nothing to wait for.
        let _ = held.recv();
        Ok(())
    });
    let release = async {
        tokio::task::yield_now().await;
        drop(release);
    };
    let (_, answer, ()) = tokio::join!(busy, queued, release);
    answer
}

#[tokio::test]
async fn a_unit_that_does_not_fit_harms_no_neighbour() {
    let directory = Directory::new();
    let store = directory.store().await;
    directory.poison();
    store.submit(vec![new_job("a"), new_job("b"), new_job("c")]).await.unwrap();
    let mut peer = TestWorker::begin(&store).await;
    let claimed = peer.say(Vec::new(), 10).await.claimed;
    let record = |place: &str| {
        let entry = Entry::Value("1".into());
        Event::Record { seq: 1, place: place.into(), entry }
    };
    let units = vec![
        unit(&claimed[0], vec![record("fine"), done()]),
        unit(&claimed[1], vec![Event::Progress { done: 1, total: 2 }, record("poison"), done()]),
        unit(&claimed[2], vec![record("fine"), done()]),
    ];
    let exchange = peer.exchange(units, 10);
    let (reply, jobs) = together(&store, async {
        tokio::join!(store.exchange(exchange), store.submit(vec![new_job("d")]))
    })
    .await;
    let reply = reply.unwrap();
    assert_eq!(jobs.unwrap(), [Submitted::New(new_job("d").id)]);
    assert_eq!(reply.refused.len(), 1);
    let (task, refusal) = &reply.refused[0];
    assert_eq!(*task, claimed[1].task);
    assert!(matches!(refusal, Refusal::Unfit(text) if text.contains("poisoned")), "{refusal:?}");
    let state = async |at: usize| store.task(claimed[at].task).await.unwrap().unwrap();
    assert_eq!(state(0).await.state, State::Succeeded);
    assert_eq!((state(1).await.state, state(1).await.progress), (State::Running, None));
    assert_eq!(state(2).await.state, State::Succeeded);
}

#[tokio::test]
async fn requests_that_wait_together_are_committed_together() {
    let directory = Directory::new();
    let store = directory.store().await;
    let other = directory.other();
    let version =
        || -> i64 { other.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap() };
    let before = version();
    together(&store, async {
        let submits = (0..20).map(|n| store.submit(vec![new_job(&n.to_string())]));
        for answer in futures_util::future::join_all(submits).await {
            answer.unwrap();
        }
    })
    .await;
    assert_eq!(version(), before + 1);
}

#[tokio::test]
async fn a_wide_cascade_takes_bounded_steps_and_reaches_every_child() {
    let directory = Directory::new();
    let clock = ManualClock::default();
    let memory = Memory::new(Clock::Manual(clock.clone()));
    let sqlite = Sqlite::with(directory.options(), Clock::Manual(clock.clone())).await.unwrap();
    let mut seen = Vec::new();
    for store in [&memory as &dyn Store, &sqlite] {
        let job = new_job("wide").id;
        store.submit(vec![new_job("wide")]).await.unwrap();
        let mut peer = TestWorker::begin(store).await;
        let parent = peer.say(Vec::new(), 1).await.claimed.remove(0);
        let sets = [parent.task.set("a"), parent.task.set("b")];
        let spawns = |set: Local| (0..900).map(move |n| child(set, n, n % 3 == 0));
        peer.say(vec![unit(&parent, sets.into_iter().flat_map(spawns).collect())], 0).await;
        let ended = peer.say(Vec::new(), 100).await.claimed;
        peer.say(ended.iter().map(|claimed| unit(claimed, vec![done()])).collect(), 0).await;
        let mut steps = vec![store.cancel(job.root(), None).await.unwrap()];
        while *steps.last().unwrap() {
            steps.push(store.sweep(5).await.unwrap());
        }
        assert!(store.audit().await.unwrap().is_empty());
        let mut ends = Vec::new();
        for set in sets {
            let page = store.ends(parent.task, set, 0, 2000).await.unwrap();
            ends.extend(page.into_iter().map(|child| (child.local, child.end, child.state)));
        }
        assert_eq!(ends.len(), 1800);
        seen.push((steps, ends, store.job(job).await.unwrap().map(|job| job.counts)));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].0.len(), 4, "1,700 open children, 500 at a time");
}

#[tokio::test]
async fn a_large_job_is_pruned_in_bounded_steps() {
    let directory = Directory::new();
    let clock = ManualClock::default();
    let store = Sqlite::with(directory.options(), Clock::Manual(clock.clone())).await.unwrap();
    let job = new_job("large").id;
    store.submit(vec![new_job("large")]).await.unwrap();
    let mut peer = TestWorker::begin(&store).await;
    let parent = peer.say(Vec::new(), 1).await.claimed.remove(0);
    let set = parent.task.set("a");
    let spawns = (0..12_000).map(|n| child(set, n, false)).collect();
    peer.say(vec![unit(&parent, spawns)], 0).await;
    store.cancel(job.root(), None).await.unwrap();
    while store.sweep(5).await.unwrap() {}
    clock.advance(Duration::from_secs(1));
    let first = store.prune(clock_now(&store)).await.unwrap();
    assert_eq!((first.jobs, first.more), (0, true));
    assert_eq!(store.job(job).await.unwrap().unwrap().counts.cancelled, 12_001);
    let retry = store.retry(job, false).await.unwrap();
    assert_eq!(retry, crate::store::Retry::Removing, "what is being removed is not reopened");
    assert_eq!(store.submit(vec![new_job("large")]).await.unwrap(), [Submitted::Existing(job)]);
    let second = store.prune(clock_now(&store)).await.unwrap();
    assert_eq!((second.jobs, second.more), (1, false));
    assert!(store.job(job).await.unwrap().is_none());
    assert_eq!(store.submit(vec![new_job("large")]).await.unwrap(), [Submitted::New(job)]);
    let gone = TaskId { job, local: set.numbered(11_999) };
    assert!(store.task(gone).await.unwrap().is_none());
}

fn clock_now(store: &Sqlite) -> Time {
    store.clock().now()
}

/// A panic in a verb once ended the thread, and with it the store for the whole process.
#[tokio::test]
async fn a_panic_is_the_end_of_one_verb() {
    let directory = Directory::new();
    let store = directory.store().await;
    let (panicked, jobs) = together(&store, async {
        let panicking = store.write("test", |tx| -> super::super::fault::Result<()> {
            tx.sql("INSERT INTO paused (queue) VALUES ('half done')")?.execute(())?;
            panic!("a defect")
        });
        tokio::join!(panicking, store.submit(vec![new_job("a")]))
    })
    .await;
    let error = panicked.unwrap_err();
    assert!(matches!(&error, Error::Failed { reason } if reason.contains("a defect")), "{error}");
    assert_eq!(jobs.unwrap(), [Submitted::New(new_job("a").id)]);
    assert!(store.queues().await.unwrap().iter().all(|queue| !queue.paused), "it was rolled back");
    // More often than there are threads, and within their transactions.
    for _ in 0..5 {
        let panicked =
            store.readers.read(|_| -> super::super::fault::Result<()> { panic!("a defect") });
        panicked.await.unwrap_err();
        assert_eq!(store.jobs(JobFilter::default()).await.unwrap().len(), 1);
    }
}

/// What a worker that leaves was to be told is forgotten with it.
#[tokio::test]
async fn notices_go_with_their_worker() {
    let directory = Directory::new();
    let store = directory.store().await;
    store.submit(vec![new_job("a")]).await.unwrap();
    let mut peer = TestWorker::begin(&store).await;
    let claimed = peer.say(Vec::new(), 1).await.claimed.remove(0);
    store.cancel(claimed.task, None).await.unwrap();
    let count = || {
        let sql = "SELECT count(*) FROM notices";
        directory.other().query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(), 1);
    store.leave(peer.worker).await.unwrap();
    assert_eq!(count(), 0);
}

/// Among the children of one task, or among what is ready, whichever are fewer: each finds the same.
#[tokio::test]
async fn pending_children_are_found_either_way() {
    let directory = Directory::new();
    let store = directory.store().await;
    store.submit(vec![new_job("a")]).await.unwrap();
    let mut peer = TestWorker::begin(&store).await;
    let root = peer.say(Vec::new(), 1).await.claimed.remove(0);
    let set = root.task.set("s");
    let events = (0..5).map(|n| child(set, n, n == 2)).collect();
    peer.say(vec![unit(&root, events)], 0).await;
    let find = async || {
        let mut found = store.children_in(root.task, State::Pending, 10).await.unwrap();
        found.sort();
        found
    };
    let few = find().await;
    assert_eq!(few.len(), 5);
    let others = (0..20).map(|n| new_job(&n.to_string())).collect();
    store.submit(others).await.unwrap();
    assert_eq!(find().await, few);
    assert_eq!(store.children_in(root.task, State::Pending, 3).await.unwrap().len(), 3);
}
