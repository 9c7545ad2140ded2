//! Sessions whose default is another isolation: no wake-up is lost, and nothing is migrated twice.
//!
//! What is locked is read by later statements, so each must see what the lock's last holder committed.

use super::talk::{TestWorker, done, new_job, set, spawn, store, unit};
use super::*;
use crate::core::state::State;
use crate::core::wait::{Condition, Wait};
use crate::store::postgres::link::pipeline::{Missed, Session, Statement};
use crate::store::postgres::worker;
use crate::store::read::{Read, Records};
use crate::store::{Event, Store};

const ISOLATIONS: [&str; 2] = ["repeatable%5C%20read", "serializable"];

/// A URL of a store of one's own whose sessions begin transactions so unless they say otherwise.
fn url(isolation: &str) -> String {
    let option = format!("options=-c%20default_transaction_isolation%3D{isolation}");
    with_option(&common_schema(), &option)
}

/// A child ends while its parent's park has begun and waits for a lock: the park must see the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_park_sees_what_was_committed_before_its_locks() {
    for isolation in ISOLATIONS {
        let url = url(isolation);
        let store = store(&url).await;
        let job = new_job("parent");
        let task = job.id.root();
        store.submit(vec![job]).await.unwrap();
        let mut parent = TestWorker::begin(&store, &["root"]).await;
        let root = parent.say(Vec::new(), 1).await.claimed.remove(0);
        parent.say(vec![unit(&root, vec![spawn(set(task), 0, "leaf")])], 0).await;
        let mut peer = TestWorker::begin(&store, &["leaf"]).await;
        let child = peer.say(Vec::new(), 1).await.claimed.remove(0);

        // The parent's exchange waits for its worker's lock, which is the first it asks for.
        let mut holder = pool(&url).get().await.unwrap();
        let held = holder.transaction().await.unwrap();
        let lock = worker::lock(options(&url).unwrap().schema.name(), parent.worker);
        held.execute("SELECT pg_advisory_xact_lock($1)", &[&lock]).await.unwrap();
        let arms = vec![Condition::Child { set: set(task), child: child.task.local }];
        let wait = Wait { place: "child".to_owned(), seq: 1, arms, members: 1 };
        let park = Event::Park { waits: vec![wait], resident: false };
        let end = async {
            let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory' \
                AND (classid::bigint << 32 | objid::bigint) = $1)";
            while !held.query_one(waiting, &[&lock]).await.unwrap().get::<_, bool>(0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            peer.say(vec![unit(&child, vec![done()])], 0).await;
            held.commit().await.unwrap();
        };
        let (reply, ()) = tokio::join!(parent.say(vec![unit(&root, vec![park])], 0), end);
        assert_eq!(reply.ready.len(), 1, "the park has not seen the child's end: {reply:?}");
        let view = store.task(task).await.unwrap().unwrap();
        assert_eq!(view.state, State::Running);
        assert_eq!(store.audit().await.unwrap(), []);
        server::drop_schema(&url);
    }
}

/// Every transaction that homing begins, whatever the session's default.
#[tokio::test]
async fn transactions_name_their_isolation() {
    for isolation in ISOLATIONS {
        let url = url(isolation);
        let store = store(&url).await;
        let client = pool(&url).get().await.unwrap();
        let session = Session::new(&store.shared, client, Missed::default());
        let shown =
            session.run(vec![Statement::begin(), Statement::plain("SHOW transaction_isolation")]);
        let shown: String = shown.await.unwrap()[1][0].get(0);
        assert_eq!(shown, "read committed");
        session.roll_back().await;
        let (mut client, _permit) = store.shared.transactions.lend().await.unwrap();
        let before = client.query_one("SHOW default_transaction_isolation", &[]).await.unwrap();
        assert_ne!(before.get::<_, String>(0), "read committed", "the option reaches the server");
        let tx = store.shared.transactions.begin(&mut client).await.unwrap();
        let shown = tx.query_one("SHOW transaction_isolation", &[]).await.unwrap();
        assert_eq!(shown.get::<_, String>(0), "read committed");
        drop(tx);
        server::drop_schema(&url);
    }
}

/// Two processes open a new store together: the second sees what the first has made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_open_a_new_store() {
    for isolation in ISOLATIONS {
        let url = url(isolation);
        let schema = options(&url).unwrap().schema;
        let mut holder = pool(&url).get().await.unwrap();
        let held = holder.transaction().await.unwrap();
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('homing:' || $1::text, 0))";
        held.execute(lock, &[&schema.name()]).await.unwrap();
        let both = async {
            let waiting = "SELECT count(*) FROM pg_locks AS w WHERE NOT granted AND locktype = 'advisory' \
                AND EXISTS (SELECT FROM pg_locks AS h WHERE h.granted AND h.pid = pg_backend_pid() \
                  AND h.locktype = 'advisory' AND h.classid = w.classid AND h.objid = w.objid)";
            while held.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            held.commit().await.unwrap();
        };
        tokio::join!(store(&url), store(&url), both);
        server::drop_schema(&url);
    }
}
