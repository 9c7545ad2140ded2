//! Many processes on one tree: nothing is lost between them, and nobody waits in a circle.

use super::talk::{TestWorker, done, new_job, set, spawn, store, unit};
use super::*;
use crate::core::state::State;
use crate::core::wait::{Condition, Wait};
use crate::store::read::{Read, Records};
use crate::store::{Entry, Event, Refusal, Store};

const CHILDREN: u32 = 400;

fn for_all(task: crate::core::id::TaskId) -> Event {
    let (set, ended) = (set(task), Some(u64::from(CHILDREN)));
    let arms = vec![Condition::Set { set, ended, lost: None, succeeded: None, drained: false }];
    let wait = Wait { place: "all".to_owned(), seq: 1, arms, members: 0 };
    Event::Park { waits: vec![wait], resident: false }
}

/// Eight processes end the children of one parent: each end is counted once, under a number of its own,
/// and the last one, whoever has it, wakes the parent, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_end_the_children_of_one_parent() {
    end_the_children(7).await;
}

/// The same where each claims whole bundles, and ends their members bit by bit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_end_bundles_of_one_parent() {
    end_the_children(100).await;
}

async fn end_the_children(at_once: usize) {
    let url = with_option(&common_schema(), "pool=2");
    let first = store(&url).await;
    let job = new_job("parent");
    let task = job.id.root();
    first.submit(vec![job]).await.unwrap();
    let mut parent = TestWorker::begin(&first, &["root"]).await;
    let root = parent.say(Vec::new(), 1).await.claimed.remove(0);
    let mut events: Vec<Event> = (0..CHILDREN).map(|n| spawn(set(task), n, "leaf")).collect();
    events.push(for_all(task));
    parent.say(vec![unit(&root, events)], 0).await;
    let mut processes = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        processes.spawn(async move {
            let store = store(&url).await;
            let mut peer = TestWorker::begin(&store, &["leaf", "root"]).await;
            let (mut units, mut woken) = (Vec::new(), 0);
            loop {
                let spoke = !units.is_empty();
                let said = units.split_off(units.len().saturating_sub(7));
                let reply = peer.say(said, at_once - units.len()).await;
                assert!(reply.refused.is_empty());
                for claimed in &reply.claimed {
                    if claimed.kind == "root" {
                        assert_eq!(claimed.answers.len(), 1);
                        woken += 1;
                        continue;
                    }
                    units.push(unit(claimed, vec![done()]));
                }
                let over = store.set(task, set(task)).await.unwrap().ended();
                if !spoke && units.is_empty() && over == u64::from(CHILDREN) {
                    return woken;
                }
            }
        });
    }
    // A bound on hangs, never a measure.
    let woken = tokio::time::timeout(Duration::from_mins(1), processes.join_all()).await.unwrap();
    assert_eq!(woken.iter().sum::<u32>(), 1, "{woken:?}");
    let ends = first.ends(task, set(task), 0, 1000).await.unwrap();
    let numbers: Vec<u64> = ends.iter().filter_map(|child| child.end).collect();
    assert_eq!(numbers, (1..=u64::from(CHILDREN)).collect::<Vec<_>>());
    assert_eq!(first.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// Two processes end children of the same two parents, and name them in opposite orders. Both wait for
/// the same parent first, so neither holds what the other wants. The parent that is held up is the one
/// that comes first; a process that locked as it was told would hold the other one by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_locked_in_one_order() {
    let server = Server::start();
    let url = server.url("postgres");
    let store = store(&url).await;
    let mut jobs = vec![new_job("a"), new_job("b")];
    jobs.sort_by_key(|job| job.id);
    let [upper, lower] = [jobs[0].id.root(), jobs[1].id.root()];
    store.submit(jobs).await.unwrap();
    let mut parents = TestWorker::begin(&store, &["root"]).await;
    let roots = parents.say(Vec::new(), 2).await.claimed;
    let units = roots.iter().map(|root| {
        let set = set(root.task);
        unit(root, vec![spawn(set, 0, "x"), spawn(set, 1, "y"), for_all(root.task)])
    });
    parents.say(units.collect(), 0).await;
    let (mut x, mut y) =
        (TestWorker::begin(&store, &["x"]).await, TestWorker::begin(&store, &["y"]).await);
    let of = async |peer: &mut TestWorker<'_>, first: crate::core::id::TaskId| {
        let mut claimed = peer.say(Vec::new(), 2).await.claimed;
        claimed.sort_by_key(|child| child.task.job != first.job);
        assert_eq!(claimed.len(), 2);
        claimed.iter().map(|child| unit(child, vec![done()])).collect::<Vec<_>>()
    };
    let (first, second) = (of(&mut x, upper).await, of(&mut y, lower).await);

    let mut holder = pool(&url).get().await.unwrap();
    let held = holder.transaction().await.unwrap();
    let lock = "SELECT FROM homing.open WHERE job = $1 AND parent IS NULL FOR UPDATE";
    held.execute(lock, &[&upper.job]).await.unwrap();
    let waiting = async {
        while server.sql("SELECT count(*) FROM pg_locks WHERE NOT granted") != "2" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Both wait for the upper one, and nobody has the lower one.
        let lock = "SELECT FROM homing.open WHERE job = $1 AND parent IS NULL FOR UPDATE NOWAIT";
        held.execute(lock, &[&lower.job]).await.unwrap();
        held.commit().await.unwrap();
    };
    let both = async { tokio::join!(x.say(first, 0), y.say(second, 0), waiting) };
    let (x, y, ()) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
    assert!(x.refused.is_empty() && y.refused.is_empty());
    assert!(!server.log().contains("deadlock"), "{}", server.log());
    assert_eq!(store.audit().await.unwrap(), []);
}

/// A unit that PostgreSQL cannot hold is refused alone, wherever it stands.
#[tokio::test]
async fn a_unit_that_does_not_fit_harms_no_neighbour() {
    let url = common_schema();
    let store = store(&url).await;
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    store.submit(names.iter().map(|name| new_job(name)).collect()).await.unwrap();
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let claimed = peer.say(Vec::new(), 10).await.claimed;
    let record = |place: &str| {
        let entry = Entry::Value("1".to_owned());
        Event::Record { seq: 1, place: place.to_owned(), entry }
    };
    let units = claimed.iter().enumerate().map(|(at, claimed)| {
        let place = if at == 4 { "a\0byte" } else { "fine" };
        unit(claimed, vec![Event::Progress { done: 1, total: 2 }, record(place), done()])
    });
    let reply = peer.say(units.collect(), 10).await;
    assert_eq!(reply.refused.len(), 1, "{:?}", reply.refused);
    let (task, refusal) = &reply.refused[0];
    assert_eq!(*task, claimed[4].task);
    assert!(matches!(refusal, Refusal::Unfit(text) if text.contains("22021")), "{refusal:?}");
    for (at, claimed) in claimed.iter().enumerate() {
        let view = store.task(claimed.task).await.unwrap().unwrap();
        let wanted =
            if at == 4 { (State::Running, None) } else { (State::Succeeded, Some((1, 2))) };
        assert_eq!((view.state, view.progress), wanted);
    }
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// A job that another process submits at the same moment is found, whoever commits first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_takes_the_key() {
    use crate::store::Submitted;
    let url = with_option(&common_schema(), "pool=8");
    let store = std::sync::Arc::new(store(&url).await);
    let mut submits = tokio::task::JoinSet::new();
    for n in 0..32 {
        let store = std::sync::Arc::clone(&store);
        let mut job = new_job(&n.to_string());
        job.key = Some("only".to_owned());
        submits.spawn(async move { store.submit(vec![job]).await.unwrap().remove(0) });
    }
    let answers = submits.join_all().await;
    let fresh: Vec<_> =
        answers.iter().filter(|answer| matches!(answer, Submitted::New(_))).collect();
    let [Submitted::New(winner)] = fresh[..] else { panic!("{answers:?}") };
    let others = answers.iter().filter(|answer| **answer == Submitted::Existing(*winner)).count();
    assert_eq!(others, 31, "{answers:?}");
    server::drop_schema(&url);
}

/// What a worker that leaves was to be told is forgotten with it.
#[tokio::test]
async fn notices_go_with_their_worker() {
    let url = common_schema();
    let store = store(&url).await;
    let schema = options(&url).unwrap().schema;
    store.submit(vec![new_job("a")]).await.unwrap();
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let claimed = peer.say(Vec::new(), 1).await.claimed.remove(0);
    store.cancel(claimed.task, None).await.unwrap();
    let count = || server::psql(&url, &schema.render("SELECT count(*) FROM homing.notices"));
    assert_eq!(count(), "1");
    store.leave(peer.worker).await.unwrap();
    assert_eq!(count(), "0");
    server::drop_schema(&url);
}
