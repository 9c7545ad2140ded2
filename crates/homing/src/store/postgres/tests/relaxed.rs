//! What a crash of the server may take: a mere claim, and nothing else that it has acknowledged.
//!
//! The server's log writer is frozen, so a commit that does not wait for the disk itself is gone after a
//! crash. The first test sees a claim go; under the same conditions the second sees everything else stay.

use super::server::FORGETFUL;
use super::talk::{TestWorker, done, new_job, set, spawn, store, unit};
use super::*;
use crate::core::id::TaskId;
use crate::core::state::State;
use crate::core::wait::{Condition, Wait};
use crate::store::postgres::Postgres;
use crate::store::read::{Read, Records};
use crate::store::{End, Entry, Event, Refusal, Store};

fn forgetful() -> Server {
    let mut server = Server::with(FORGETFUL, "");
    server.freeze_log_writer();
    server
}

/// Takes the server's memory away; a way to the store as it then is.
async fn crash(server: &mut Server) -> Postgres {
    server.restart(Stop::Immediate);
    server.freeze_log_writer();
    let store = store(&server.url("postgres")).await;
    assert_eq!(store.audit().await.unwrap(), []);
    store
}

/// State and claim of an open task.
fn row(server: &Server, task: TaskId) -> String {
    let (job, local) = (task.job.uuid(), uuid::Uuid::from_bytes(task.local.0));
    server.sql(&format!(
        "SELECT state, claim FROM homing.open WHERE job = '{job}' AND local = '{local}'"
    ))
}

fn step() -> Event {
    let entry = Entry::Value("7".to_owned());
    Event::Record { seq: 1, place: "step".to_owned(), entry }
}

fn parked(task: TaskId) -> Event {
    let arms = vec![Condition::Set {
        set: set(task),
        ended: Some(1),
        lost: None,
        succeeded: None,
        drained: false,
    }];
    let wait = Wait { place: "all".to_owned(), seq: 2, arms, members: 0 };
    Event::Park { waits: vec![wait], resident: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_the_server_forgot_is_made_again() {
    let mut server = forgetful();
    let before = store(&server.url("postgres")).await;
    let job = new_job("job");
    let task = job.id.root();
    before.submit(vec![job]).await.unwrap();
    let mut peer = TestWorker::begin(&before, &["root"]).await;
    let lost = peer.say(Vec::new(), 1).await.claimed.remove(0);
    assert_eq!(row(&server, task), format!("1|{}", lost.token.claim));
    // What a process says of its session takes no claim to the disk.
    server.sql("SET synchronous_commit = off; UPDATE homing.workers SET server = NULL");
    while server.sql("SELECT server IS NULL FROM homing.workers") == "t" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let store = crash(&mut server).await;
    assert_eq!(row(&server, task), "0|", "nothing was provoked: the claim is still there");
    let mut peer = peer.over(&store);
    let refused = [(task, Refusal::Lost)];
    assert_eq!(peer.say(vec![unit(&lost, vec![step(), done()])], 0).await.refused, refused);
    let claimed = peer.say(Vec::new(), 1).await.claimed.remove(0);
    assert_ne!(claimed.token, lost.token);
    // Nobody has died of it, and nothing that was refused is there.
    assert_eq!((claimed.attempt, claimed.crashes, claimed.records), (1, 0, 0));
    let late = Event::End(End::Succeeded("\"under the lost token\"".to_owned()));
    assert_eq!(peer.say(vec![unit(&lost, vec![late.clone()])], 0).await.refused, refused);
    assert_eq!(peer.say(vec![unit(&claimed, vec![step(), done()])], 0).await.refused, []);
    assert_eq!(peer.say(vec![unit(&lost, vec![late])], 0).await.refused, refused);
    let view = store.task(task).await.unwrap().unwrap();
    assert_eq!((view.state, view.value.as_deref()), (State::Succeeded, Some("1")));
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_forgotten() {
    let mut server = forgetful();
    let before = store(&server.url("postgres")).await;
    let (job, other) = (new_job("job"), new_job("other"));
    let (task, top) = (job.id.root(), other.id.root());
    before.submit(vec![job, other]).await.unwrap();

    let store = crash(&mut server).await;
    assert_eq!((row(&server, task), row(&server, top)), ("0|".into(), "0|".into()), "a submission");
    let mut peer = TestWorker::begin(&store, &["root", "leaf"]).await;
    let claimed = peer.say(Vec::new(), 2).await.claimed;
    let of = |task: TaskId| claimed.iter().find(|claimed| claimed.task == task).unwrap().clone();
    let (parent, other) = (of(task), of(top));
    peer.say(vec![unit(&parent, vec![step()])], 0).await;

    let store = crash(&mut server).await;
    let mut peer = peer.over(&store);
    assert_eq!(store.record(task, 0, 9).await.unwrap().len(), 1, "a step's result");
    // The log is one: what stands before a commit that waited for the disk is there too.
    assert_eq!(row(&server, top), format!("1|{}", other.token.claim), "a claim before it");
    peer.say(vec![unit(&parent, vec![spawn(set(task), 0, "leaf"), parked(task)])], 0).await;

    let store = crash(&mut server).await;
    let mut peer = peer.over(&store);
    assert_eq!(store.task(task).await.unwrap().unwrap().state, State::Waiting, "a park");
    let child = peer.say(Vec::new(), 1).await.claimed.remove(0);
    assert_eq!(child.kind, "leaf", "a spawn");
    peer.say(vec![unit(&child, vec![done()])], 0).await;

    let store = crash(&mut server).await;
    let mut peer = peer.over(&store);
    assert_eq!(store.set(task, set(task)).await.unwrap().ended(), 1, "a child's end");
    assert_eq!(row(&server, task), "0|", "a wake-up");
    let parent = peer.say(Vec::new(), 1).await.claimed.remove(0);
    assert_eq!((parent.task, parent.answers.len()), (task, 1));

    let store = crash(&mut server).await;
    let mut peer = peer.over(&store);
    assert_eq!(
        store.record(task, 0, 9).await.unwrap().len(),
        2,
        "an answer that a claim handed out"
    );
    assert_eq!(row(&server, task), format!("1|{}", parent.token.claim), "and that claim");
    peer.say(vec![unit(&parent, vec![done()])], 0).await;

    let store = crash(&mut server).await;
    let view = store.task(task).await.unwrap().unwrap();
    assert_eq!((view.state, view.value.as_deref()), (State::Succeeded, Some("1")), "an outcome");
    store.signal(top, "go".to_owned(), "1".to_owned()).await.unwrap();

    let store = crash(&mut server).await;
    assert_eq!(server.sql("SELECT count(*) FROM homing.signals"), "1", "a signal");
    assert!(store.cancel(top, None).await.unwrap());

    let store = crash(&mut server).await;
    assert_eq!(store.task(top).await.unwrap().unwrap().state, State::Cancelled, "a cancellation");
}
