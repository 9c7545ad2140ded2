//! Claims begin where something is left, and pass over nothing that is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::talk::{TestWorker, done, new_job, new_task, set, spawn, store, unit};
use super::*;
use crate::core::id::{JobId, Local, TaskId, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::store::postgres::hints::scan_starts::{
    Level, List, Place, Ready, ScanResult, ScanStarts, place,
};
use crate::store::postgres::transaction::task::Task;
use crate::store::read::{Read, Records};
use crate::store::{Abort, Claim, Event, Refusal, Store};

fn claim(kinds: &[&str]) -> Claim {
    assert!(kinds.is_sorted());
    Claim {
        tasks: 10,
        ahead: 0,
        search: true,
        queues: Arc::new(["default".to_owned()]),
        kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
        suspect: true,
        max_crashes: 5,
    }
}

fn task(kind: &str, due: i64) -> Task {
    let id = JobId::named(&format!("{kind} {due}")).root();
    Task::born(id, &new_task(kind), None, Time(due))
}

fn level(kind: &str) -> Level {
    Level::of(&task(kind, 0))
}

/// Where the next claim begins; `None`: everywhere.
fn begins(scan_starts: &ScanStarts) -> Option<Vec<Place>> {
    let levels = scan_starts.look(&claim(&["a"])).levels.clone();
    levels.map(|levels| levels.into_iter().map(|(_, place)| place).collect())
}

/// A claim that took tasks due at these times.
fn took(now: i64, dues: &[i64], more: bool) -> ScanResult {
    let places = dues.iter().map(|&due| (level("a"), place(&task("a", due)), true)).collect();
    let lists = [List { places, more }, List::default()];
    ScanResult { now: Time(now), levels: vec![level("a")], lists, ..ScanResult::default() }
}

/// What tasks say that can be claimed.
fn ready<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> Ready {
    Ready::of(tasks.into_iter().map(|task| (task, place(task))))
}

fn looked(now: i64, dues: &[i64], more: bool) -> ScanStarts {
    let scan_starts = ScanStarts::default();
    let look = scan_starts.look(&claim(&["a"]));
    assert!(look.levels.is_none());
    look.found(&claim(&["a"]), &took(now, dues, more));
    scan_starts
}

fn at(due: i64) -> Place {
    (Time(due), JobId::from_bytes([0; 16]), Local::ROOT)
}

#[test]
fn a_claim_begins_where_the_last_one_ended() {
    let scan_starts = looked(100, &[3, 5, 7], true);
    assert_eq!(begins(&scan_starts), Some(vec![place(&task("a", 7))]));
    // What was locked and not taken is still there.
    let look = scan_starts.look(&claim(&["a"]));
    let mut found = took(100, &[8, 9], true);
    found.lists[0].places[0].2 = false;
    look.found(&claim(&["a"]), &found);
    assert_eq!(begins(&scan_starts), Some(vec![place(&task("a", 8))]));
    // Nothing is left that is due by now.
    scan_starts.look(&claim(&["a"])).found(&claim(&["a"]), &took(100, &[8], false));
    assert_eq!(begins(&scan_starts), Some(vec![at(100)]));
    // A queue that is paused was passed over.
    let paused = ScanResult { paused: vec!["default".to_owned()], ..took(200, &[], false) };
    scan_starts.look(&claim(&["a"])).found(&claim(&["a"]), &paused);
    assert_eq!(begins(&scan_starts), Some(vec![at(100)]));
}

#[test]
fn what_becomes_claimable_is_begun_at() {
    let scan_starts = looked(100, &[], false);
    scan_starts.ready(&ready(&[task("a", 40), task("a", 30)]));
    assert_eq!(begins(&scan_starts), Some(vec![place(&task("a", 30))]));
    // While a claim is under way, too: it may have looked before.
    let look = scan_starts.look(&claim(&["a"]));
    scan_starts.ready(&ready(&[task("a", 60)]));
    look.found(&claim(&["a"]), &took(200, &[30, 40], false));
    assert_eq!(begins(&scan_starts), Some(vec![place(&task("a", 60))]));
    // A claim that comes to nothing changes nothing.
    drop(scan_starts.look(&claim(&["a"])));
    assert_eq!(begins(&scan_starts), Some(vec![place(&task("a", 60))]));
    // What is one worker's alone is not seen by the others, until it is everybody's.
    let worker = Some(WorkerId::fresh());
    let mut held = task("a", 20);
    (held.holder, held.held_until) = (worker, Some(Time(500)));
    scan_starts.ready(&ready(&[held]));
    scan_starts.look(&claim(&["a"])).found(&claim(&["a"]), &took(499, &[], false));
    assert_eq!(begins(&scan_starts), Some(vec![place(&task("a", 20))]));
    scan_starts.look(&claim(&["a"])).found(&claim(&["a"]), &took(500, &[], false));
    assert_eq!(begins(&scan_starts), Some(vec![at(500)]));
}

#[test]
fn what_is_not_known_is_looked_for_everywhere() {
    let known = || looked(100, &[], false);
    for unknown in [Ready::anything(), ready(&[task("b", 200)])] {
        let scan_starts = known();
        scan_starts.ready(&unknown);
        assert_eq!(begins(&scan_starts), None);
        // And again, if it came while everything was looked at.
        let look = scan_starts.look(&claim(&["a"]));
        scan_starts.ready(&unknown);
        look.found(&claim(&["a"]), &took(300, &[], false));
        assert_eq!(begins(&scan_starts), None);
    }
    assert!(known().look(&claim(&["a", "b"])).levels.is_none(), "other lanes");
}

#[test]
fn a_notification_says_where() {
    let (scan_starts, mut heard, mut payload) =
        (looked(100, &[], false), Ready::default(), String::new());
    assert!(ready(&[task("a", 30)]).write(&mut payload));
    for word in payload.split_whitespace() {
        heard.read(word).unwrap();
    }
    scan_starts.ready(&heard);
    assert_eq!(begins(&scan_starts), Some(vec![at(30)]));
    let mut unknown = Ready::default();
    unknown.read("@77:1:1").unwrap();
    scan_starts.ready(&unknown);
    assert_eq!(begins(&scan_starts), None);
    for word in ["@", "@7", "@7:1", "@x:1:1", "@7:1:y"] {
        assert_eq!(Ready::default().read(word), None, "{word}");
    }
    let many: Vec<Task> = (0..9).map(|n| task(&format!("kind {n}"), 1)).collect();
    assert!(!ready(&many).write(&mut String::new()), "more than fits");
}

/// A task that another process gives back is due long ago: before anything that is left here.
#[tokio::test]
async fn what_another_process_gives_back_is_found() {
    let url = common_schema();
    let (here, there) = (store(&url).await, store(&url).await);
    let mut one = TestWorker::begin(&here, &["root"]).await;
    let mut other = TestWorker::begin(&there, &["root"]).await;
    for round in 0..5 {
        here.submit(vec![new_job(&format!("{round}"))]).await.unwrap();
        let mut given = Vec::new();
        while given.is_empty() {
            given = other.say(Vec::new(), 1).await.claimed;
        }
        assert!(one.say(Vec::new(), 1).await.claimed.is_empty(), "there is one");
        other.say(vec![unit(&given[0], vec![Event::HandBack])], 0).await;
        let mut found = Vec::new();
        for _ in 0..1000 {
            found = one.say(Vec::new(), 1).await.claimed;
            if !found.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(found.len(), 1, "round {round}: never found");
        one.say(vec![unit(&found[0], vec![done()])], 0).await;
    }
    server::drop_schema(&url);
}

/// With many units the claim is a transaction of its own beside theirs.
#[tokio::test]
async fn units_and_a_claim_side_by_side() {
    let url = common_schema();
    let store = store(&url).await;
    let names: Vec<String> = (0..128).map(|n| format!("side {n}")).collect();
    let jobs: Vec<_> = names.iter().map(|name| new_job(name)).collect();
    store.submit(jobs).await.unwrap();
    let mut worker = TestWorker::begin(&store, &["root"]).await;
    let first = worker.say(Vec::new(), 64).await.claimed;
    let ends: Vec<_> = first.iter().map(|claimed| unit(claimed, vec![done()])).collect();
    let reply = worker.say(ends.clone(), 64).await;
    assert!(reply.refused.is_empty());
    let ids = |claimed: &[crate::store::Claimed]| -> BTreeSet<TaskId> {
        claimed.iter().map(|claimed| claimed.task).collect()
    };
    assert_eq!((first.len(), reply.claimed.len()), (64, 64));
    assert!(ids(&first).is_disjoint(&ids(&reply.claimed)));
    for task in ids(&first) {
        assert_eq!(store.task(task).await.unwrap().unwrap().state, State::Succeeded);
    }
    // The reply was lost: what was claimed is given again, and what ended has ended.
    let again = worker.again(ends, 64).await;
    assert_eq!(ids(&again.claimed), ids(&reply.claimed));
    assert!(again.refused.iter().all(|(_, refusal)| *refusal == Refusal::Lost));
    assert_eq!(again.refused.len(), 64);
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}

/// What units abort falls in the same exchange, though the claim beside them was made before.
#[tokio::test]
async fn cancellations_beside_a_claim_go_down() {
    let url = common_schema();
    let schema = options(&url).unwrap().schema;
    let store = store(&url).await;
    let jobs: Vec<_> = (0..80).map(|n| new_job(&format!("falling {n}"))).collect();
    store.submit(jobs).await.unwrap();
    let mut worker = TestWorker::begin(&store, &["root"]).await;
    let parents = worker.say(Vec::new(), 40).await.claimed;
    let events = |claimed: &crate::store::Claimed, event| unit(claimed, vec![event]);
    let born = parents.iter().map(|parent| events(parent, spawn(set(parent.task), 0, "idle")));
    worker.say(born.collect(), 0).await;
    // The units wait for a row until the claim is over.
    let mut other = pool(&url).get().await.unwrap();
    let lock = other.transaction().await.unwrap();
    let of = |sql: &str| schema.render(sql);
    let row = of("SELECT FROM homing.open WHERE job = $1 FOR UPDATE");
    lock.query(&row, &[&parents[0].task.job]).await.unwrap();
    let abort =
        |task: TaskId| Event::Abort(Abort { set: set(task), child: None, below: 1, policy: false });
    let aborts = parents.iter().map(|parent| events(parent, abort(parent.task))).collect();
    let release = async {
        let running = of("SELECT count(*) FROM homing.open WHERE state = 1");
        let watch = pool(&url).get().await.unwrap();
        while watch.query_one(&running, &[]).await.unwrap().get::<_, i64>(0) < 80 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        lock.rollback().await.unwrap();
    };
    // A bound on hangs, never a measure.
    let both = async { tokio::join!(worker.say(aborts, 40), release) };
    let (reply, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    assert_eq!((reply.refused.len(), reply.claimed.len()), (0, 40));
    for parent in &parents {
        let child = TaskId { job: parent.task.job, local: set(parent.task).numbered(0) };
        assert_eq!(store.task(child).await.unwrap().unwrap().state, State::Cancelled);
    }
    assert_eq!(store.audit().await.unwrap(), []);
    server::drop_schema(&url);
}
