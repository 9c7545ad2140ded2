//! Bundles: one row for many, and nothing of one of them is lost.

use super::talk::{TestWorker, done, new_job, set, spawn, store, unit};
use super::*;
use crate::core::id::TaskId;
use crate::core::state::State;
use crate::core::wait::{Condition, Wait};
use crate::store::postgres::Postgres;
use crate::store::postgres::transaction::bundle::dissolve;
use crate::store::read::{Read, Records};
use crate::store::{Claimed, Entry, Event, Refusal, Store, Submitted, Unit};

/// Submits so many jobs, in one page.
async fn submit(store: &Postgres, jobs: std::ops::Range<u32>) {
    let jobs: Vec<_> = jobs.map(|n| new_job(&n.to_string())).collect();
    let submitted = store.submit(jobs).await.unwrap();
    assert!(submitted.iter().all(|one| matches!(one, Submitted::New(_))), "{submitted:?}");
}

async fn count(url: &str, sql: &str) -> i64 {
    let sql = options(url).unwrap().schema.render(&format!("SELECT count(*) FROM homing.{sql}"));
    pool(url).get().await.unwrap().query_one(&sql, &[]).await.unwrap().get(0)
}

fn ends(claimed: &[Claimed]) -> Vec<std::sync::Arc<Unit>> {
    claimed.iter().map(|claimed| unit(claimed, vec![done()])).collect()
}

/// Waits until so many statements of a server wait for locks.
async fn waiting(server: &Server, count: &str) {
    for _ in 0..6_000 {
        if server.sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{count} statements do not wait");
}

async fn states(store: &Postgres, claimed: &[Claimed]) -> Vec<State> {
    let mut states = Vec::new();
    for claimed in claimed {
        states.push(store.task(claimed.task).await.unwrap().unwrap().state);
    }
    states
}

#[tokio::test]
async fn what_is_born_together_is_one_row_until_it_ends() {
    let url = common_schema();
    let store = store(&url).await;
    submit(&store, 0..250).await;
    assert_eq!((count(&url, "bundles").await, count(&url, "open").await), (3, 0));
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let claimed = peer.say(Vec::new(), 250).await.claimed;
    assert_eq!(claimed.len(), 250);
    assert_eq!(count(&url, "bundles WHERE worker IS NOT NULL").await, 3);
    // A reply that never arrived is given again.
    let mut again = peer.again(Vec::new(), 250).await.claimed;
    again.sort_unstable_by_key(|claimed| claimed.task);
    let mut first: Vec<_> = claimed.iter().map(|claimed| claimed.task).collect();
    first.sort_unstable();
    assert_eq!(again.iter().map(|claimed| claimed.task).collect::<Vec<_>>(), first);
    for part in claimed.chunks(30) {
        assert_eq!(store.audit().await.unwrap(), []);
        assert!(peer.say(ends(part), 0).await.refused.is_empty());
        assert_eq!(count(&url, "open").await, 0);
    }
    assert_eq!((count(&url, "bundles").await, count(&url, "ended").await), (0, 250));
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// Another worker is about to claim the first bundles: those behind them are claimed meanwhile, and not none.
#[tokio::test]
async fn a_claim_passes_over_bundles_that_others_are_claiming() {
    let url = common_schema();
    let schema = options(&url).unwrap().schema;
    let store = store(&url).await;
    submit(&store, 0..400).await;
    let mut other = pool(&url).get().await.unwrap();
    let held = other.transaction().await.unwrap();
    let first = "SELECT FROM homing.bundles ORDER BY due, job, local LIMIT 2 FOR UPDATE";
    assert_eq!(held.query(&schema.render(first), &[]).await.unwrap().len(), 2);
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    assert_eq!(peer.say(Vec::new(), 100).await.claimed.len(), 100);
    assert_eq!(peer.say(Vec::new(), 200).await.claimed.len(), 100, "the others are held");
    held.rollback().await.unwrap();
    // By a process that begins: this one has passed over what was held, and finds it by its look at everything.
    let fresh = self::store(&url).await;
    let mut third = TestWorker::begin(&fresh, &["root"]).await;
    assert_eq!(third.say(Vec::new(), 300).await.claimed.len(), 200);
    server::drop_schema(&url);
}

/// Who has room for a part takes that part, unless it takes enough without it: then it comes again for it.
#[tokio::test]
async fn a_bundle_is_claimed_whole_or_dissolved() {
    let url = common_schema();
    let store = store(&url).await;
    submit(&store, 0..300).await;
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let reply = peer.say(Vec::new(), 120).await;
    assert_eq!((reply.claimed.len(), reply.spared), (100, true));
    assert_eq!(count(&url, "bundles WHERE worker IS NULL").await, 2);
    let reply = peer.say(Vec::new(), 20).await;
    assert_eq!((reply.claimed.len(), reply.spared), (20, false));
    assert_eq!(count(&url, "open WHERE state = 0").await, 80);
    assert_eq!(count(&url, "bundles WHERE worker IS NULL").await, 1);
    let reply = peer.say(Vec::new(), 1000).await;
    assert_eq!((reply.claimed.len(), reply.spared), (180, false));
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// What a member does beside recording and ending needs a row of its own, and the others stay.
#[tokio::test]
async fn a_member_that_spawns_and_waits_leaves() {
    let url = common_schema();
    let store = store(&url).await;
    submit(&store, 0..10).await;
    let mut peer = TestWorker::begin(&store, &["root", "leaf"]).await;
    let claimed = peer.say(Vec::new(), 10).await.claimed;
    let record = || {
        let (place, entry) = ("a".to_owned(), Entry::Value("1".to_owned()));
        Event::Record { seq: 1, place, entry }
    };
    peer.say(vec![unit(&claimed[0], vec![record()])], 0).await;
    assert_eq!(count(&url, "open").await, 0);
    let task = claimed[1].task;
    // Its children's ends will want to lock it.
    let children = (0..9).map(|number| spawn(set(task), number, "leaf"));
    peer.say(vec![unit(&claimed[1], children.collect())], 0).await;
    assert_eq!(count(&url, "open WHERE state = 1").await, 1);
    let arms = vec![Condition::Set {
        set: set(task),
        ended: Some(9),
        lost: None,
        succeeded: None,
        drained: false,
    }];
    let wait = Wait { place: "all".to_owned(), seq: 1, arms, members: 0 };
    let park = Event::Park { waits: vec![wait], resident: false };
    let reply = peer.say(vec![unit(&claimed[1], vec![park])], 0).await;
    assert!(reply.refused.is_empty());
    assert_eq!(count(&url, "open WHERE state = 2").await, 1);
    assert_eq!(count(&url, "bundles").await, 2);
    let leaves = peer.say(Vec::new(), 10).await.claimed;
    assert_eq!(leaves.len(), 9);
    assert!(peer.say(ends(&leaves), 0).await.refused.is_empty());
    let woken = peer.say(Vec::new(), 10).await.claimed;
    assert_eq!(woken.iter().map(|claimed| claimed.task).collect::<Vec<_>>(), [task]);
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// The bundle is locked before rows are looked for: whoever gives its members rows of their own in between
/// loses none of their ends. Neither where the process knows of the bundle nor where it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_wait_for_whoever_dissolves_the_bundle() {
    let server = Server::start();
    for knows in [false, true] {
        let url = with_option(&server.url("postgres"), &format!("schema=knows_{knows}"));
        let (store, other) = (store(&url).await, store(&url).await);
        submit(&store, 0..10).await;
        let mut peer = TestWorker::begin(&store, &["root"]).await;
        let claimed = peer.say(Vec::new(), 10).await.claimed;
        let mut peer = if knows { peer } else { peer.over(&other) };
        let mut holder = pool(&url).get().await.unwrap();
        let held = holder.transaction().await.unwrap();
        let (jobs, locals) = (vec![claimed[0].task.job], vec![claimed[0].task.local]);
        let text = options(&url).unwrap().schema.render(dissolve::NAMED);
        held.query(&text, &[&jobs, &locals]).await.unwrap();
        let commit = async {
            waiting(&server, "1").await;
            held.commit().await.unwrap();
        };
        // A bound on hangs, never a measure.
        let both = async { tokio::join!(peer.say(ends(&claimed), 0), commit) };
        let (reply, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
        assert!(reply.refused.is_empty(), "{:?}", reply.refused);
        assert_eq!(states(&store, &claimed).await, [State::Succeeded; 10]);
        assert_eq!(store.audit().await.unwrap(), []);
    }
}

/// A member that is cancelled takes nothing from the others, and its worker is told.
#[tokio::test]
async fn a_member_is_cancelled_alone() {
    let url = common_schema();
    let store = store(&url).await;
    submit(&store, 0..10).await;
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let claimed = peer.say(Vec::new(), 10).await.claimed;
    assert!(store.cancel(claimed[3].task, None).await.unwrap());
    let reply = peer.say(ends(&claimed), 0).await;
    assert_eq!(reply.refused, [(claimed[3].task, Refusal::Lost)]);
    assert_eq!(reply.cancelled, [(claimed[3].task, claimed[3].token)]);
    let mut wanted = [State::Succeeded; 10];
    wanted[3] = State::Cancelled;
    assert_eq!(states(&store, &claimed).await, wanted);
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// A cancellation goes down a bundle after the other until there is none.
#[tokio::test]
async fn a_wide_parent_falls_with_all_its_bundles() {
    let url = common_schema();
    let store = store(&url).await;
    submit(&store, 0..1).await;
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let root = peer.say(Vec::new(), 1).await.claimed.remove(0);
    let children = (0..1250).map(|number| spawn(set(root.task), number, "leaf"));
    assert!(peer.say(vec![unit(&root, children.collect())], 0).await.refused.is_empty());
    assert_eq!(count(&url, "bundles").await, 13);
    assert!(store.cancel(root.task, None).await.unwrap());
    while store.sweep(5).await.unwrap() {}
    assert_eq!((count(&url, "bundles").await, count(&url, "open").await), (0, 0));
    assert_eq!(count(&url, "ended WHERE state = 5").await, 1251);
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// A claim that passes over a bundle because somebody has locked it believes that there is nothing. Who has
/// dissolved it says that there is.
#[tokio::test]
async fn what_is_left_of_a_dissolved_bundle_is_found() {
    let url = common_schema();
    let schema = options(&url).unwrap().schema;
    let store = store(&url).await;
    submit(&store, 0..10).await;
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let mut holder = pool(&url).get().await.unwrap();
    let held = holder.transaction().await.unwrap();
    held.query(&schema.render("SELECT FROM homing.bundles FOR UPDATE"), &[]).await.unwrap();
    assert!(peer.say(Vec::new(), 10).await.claimed.is_empty());
    held.rollback().await.unwrap();
    assert!(store.cancel(new_job("0").id.root(), None).await.unwrap());
    assert_eq!(peer.say(Vec::new(), 10).await.claimed.len(), 9);
    server::drop_schema(&url);
}

/// A worker that leaves gives back what it has claimed in bundles.
#[tokio::test]
async fn a_worker_that_leaves_gives_its_bundles_back() {
    let url = common_schema();
    let store = store(&url).await;
    submit(&store, 0..10).await;
    let mut first = TestWorker::begin(&store, &["root"]).await;
    let claimed = first.say(Vec::new(), 10).await.claimed;
    assert!(first.say(ends(&claimed[..4]), 0).await.refused.is_empty());
    store.leave(first.worker).await.unwrap();
    let mut second = TestWorker::begin(&store, &["root"]).await;
    let again = second.say(Vec::new(), 10).await.claimed;
    assert_eq!(again.len(), 6);
    assert!(second.say(ends(&again), 0).await.refused.is_empty());
    assert_eq!(states(&store, &claimed).await, [State::Succeeded; 10]);
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// A bundle is named after its first task, which may be pruned and submitted again while others still run.
#[tokio::test]
async fn a_pruned_job_may_come_again() {
    let url = common_schema();
    let store = store(&url).await;
    submit(&store, 0..10).await;
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let mut claimed = peer.say(Vec::new(), 10).await.claimed;
    claimed.sort_unstable_by_key(|claimed| claimed.task);
    let first = claimed.remove(0);
    let pruned = first.task.job;
    peer.say(vec![unit(&first, vec![done()])], 0).await;
    assert_eq!(store.prune(crate::core::time::Time::NEVER).await.unwrap().jobs, 1);
    // In the page are the same first one and nine others that come after it.
    let mut jobs: Vec<_> = (10..1000).map(|n| new_job(&n.to_string())).collect();
    jobs.retain(|job| job.id > pruned);
    jobs.truncate(9);
    jobs.extend((0..10).map(|n| new_job(&n.to_string())).filter(|job| job.id == pruned));
    assert_eq!(jobs.len(), 10);
    let submitted = store.submit(jobs).await.unwrap();
    assert!(submitted.iter().all(|one| matches!(one, Submitted::New(_))), "{submitted:?}");
    assert!(peer.say(ends(&claimed), 0).await.refused.is_empty());
    assert_eq!(peer.say(Vec::new(), 10).await.claimed.len(), 10);
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// Whether a caller's transaction was committed is known when it is over, be the task in a bundle till then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_transaction_is_waited_for() {
    let server = Server::start();
    let url = server.url("postgres");
    let schema = options(&url).unwrap().schema;
    let store = store(&url).await;
    submit(&store, 0..10).await;
    let mut peer = TestWorker::begin(&store, &["root"]).await;
    let claimed = peer.say(Vec::new(), 10).await.claimed.remove(0);
    let TaskId { job, local } = claimed.task;
    let (place, entry) = ("write".to_owned(), Entry::Value("1".to_owned()));
    let unit = unit(&claimed, vec![Event::Record { seq: 1, place, entry }]);
    let mut caller = pool(&url).get().await.unwrap();
    let tx = caller.transaction().await.unwrap();
    tx.query(&schema.render(dissolve::NAMED), &[&vec![job], &vec![local]]).await.unwrap();
    let record = "INSERT INTO homing.records (job, task, seq, place, entry)
        VALUES ($1, $2, 1, 'write', '{}')";
    tx.execute(&schema.render(record), &[&job, &local]).await.unwrap();
    let commit = async {
        waiting(&server, "1").await;
        tx.commit().await.unwrap();
    };
    let find = store.transactions().unwrap().find(&unit);
    // A bound on hangs, never a measure.
    let both = async { tokio::join!(find, commit) };
    let (found, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    assert!(found.unwrap());
}
