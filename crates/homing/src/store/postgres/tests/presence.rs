//! Whose process is gone: seen by its session, said on that session alone, taken back where the session alone
//! was lost. The leases here last ten minutes: none of them decides.

use super::talk::{TestWorker, new_job, store};
use super::*;
use crate::core::id::WorkerId;
use crate::store::postgres::Postgres;
use crate::store::{Read as _, Records as _, Store as _};

/// Waits until something holds in the store, for 30 seconds at most.
async fn until(url: &str, sql: &str) {
    let schema = options(url).unwrap().schema;
    let sql = schema.render(sql);
    for _ in 0..3000 {
        if server::psql(&server::common(), &sql) == "t" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "not so: {sql}: {}",
        server::psql(
            &server::common(),
            &schema.render("SELECT array_agg(w) FROM homing.workers AS w")
        )
    );
}

async fn said(url: &str, workers: usize) {
    let sql = format!("SELECT count(server) = {workers} FROM homing.workers");
    until(url, &sql).await;
}

async fn worker(store: &Postgres) -> TestWorker<'_> {
    TestWorker::begin(store, &["root"]).await
}

async fn known(store: &Postgres) -> Vec<WorkerId> {
    store.workers().await.unwrap().into_iter().map(|worker| worker.id).collect()
}

/// The session that holds the lock of a process.
fn holding(session: i64) -> String {
    format!(
        "FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock'
          AND (classid::bigint << 32) | objid::bigint = {session}"
    )
}

/// A worker goes on asking for tasks until its process has looked three times: what is gone for two looks is given up.
async fn looked_on(store: &Postgres, worker: &mut TestWorker<'_>) {
    let presence = store.shared.wake.presence();
    let looks = presence.looks();
    while presence.looks() < looks + 3 {
        assert!(worker.say(Vec::new(), 1).await.claimed.is_empty());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(worker.say(Vec::new(), 1).await.claimed.is_empty());
}

/// The store object is its process: with it goes its session.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_gone_is_given_up_before_its_lease() {
    let url = common_schema();
    let (first, second) = (store(&url).await, store(&url).await);
    first.submit(vec![new_job("a")]).await.unwrap();
    let task = {
        let mut gone = worker(&first).await;
        gone.say(Vec::new(), 1).await.claimed.remove(0).task
    };
    let mut stays = worker(&second).await;
    said(&url, 2).await;
    drop(first);
    let mut claimed = Vec::new();
    while claimed.is_empty() {
        claimed = stays.say(Vec::new(), 1).await.claimed;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((claimed[0].task, claimed[0].crashes), (task, 1));
    assert_eq!(known(&second).await, [stays.worker]);
}

/// The server ends the sessions of one process, and its program goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_its_session_keeps_its_work() {
    let url = common_schema();
    let apart = with_option(&url, "application_name=homing_cut");
    let (first, second) = (store(&apart).await, store(&url).await);
    first.submit(vec![new_job("a")]).await.unwrap();
    let mut cut = worker(&first).await;
    let claimed = cut.say(Vec::new(), 1).await.claimed.remove(0);
    let mut stays = worker(&second).await;
    said(&url, 2).await;
    let session = first.shared.wake.presence().session();
    let mine = holding(session);
    for _ in 0..3 {
        let ended =
            server::psql(&server::common(), &format!("SELECT pg_terminate_backend(pid) {mine}"));
        assert_eq!(ended, "t");
        // It holds the lock again, on another session, and says so.
        until(&url, &format!("SELECT count(*) = 1 {mine}")).await;
        said(&url, 2).await;
    }
    looked_on(&second, &mut stays).await;
    let task = second.task(claimed.task).await.unwrap().unwrap();
    assert_eq!((task.crashes, task.worker), (0, Some(cut.worker)));
}

/// A process that cannot get its session back takes back what it said, over another connection, and the lease decides.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_a_session_keeps_its_work() {
    let server = Server::start();
    server.sql("CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app");
    let (first, second) = (store(&server.url("app")).await, store(&server.url("postgres")).await);
    first.submit(vec![new_job("a")]).await.unwrap();
    let mut cut = worker(&first).await;
    let claimed = cut.say(Vec::new(), 1).await.claimed.remove(0);
    let mut stays = worker(&second).await;
    let said = async |workers: usize| {
        let sql = format!("SELECT count(server) = {workers} FROM homing.workers");
        let so = async {
            while server.sql(&sql) != "t" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), so).await.unwrap();
    };
    said(2).await;
    // What it has it keeps; it gets no more.
    server.sql("ALTER ROLE app CONNECTION LIMIT 0");
    let session = first.shared.wake.presence().session();
    let ended = server.sql(&format!("SELECT pg_terminate_backend(pid) {}", holding(session)));
    assert_eq!(ended, "t");
    said(1).await;
    looked_on(&second, &mut stays).await;
    let task = second.task(claimed.task).await.unwrap().unwrap();
    assert_eq!((task.crashes, task.worker), (0, Some(cut.worker)));
    server.sql("ALTER ROLE app CONNECTION LIMIT -1");
    said(2).await;
}

/// As after a restart, or on a standby that has taken over: what was said to another run of the server means nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_to_another_run_of_the_server_means_nothing() {
    let url = common_schema();
    let (first, second) = (store(&url).await, store(&url).await);
    first.submit(vec![new_job("a")]).await.unwrap();
    let gone = {
        let mut gone = worker(&first).await;
        gone.say(Vec::new(), 1).await;
        gone.worker
    };
    let mut stays = worker(&second).await;
    said(&url, 2).await;
    let schema = options(&url).unwrap().schema;
    let earlier = format!("UPDATE homing.workers SET server = server - 1 WHERE id = '{gone}'");
    server::psql(&server::common(), &schema.render(&earlier));
    drop(first);
    looked_on(&second, &mut stays).await;
    assert!(known(&second).await.contains(&gone));
}

/// Behind a pooler that lends a connection for one transaction nothing is ever said.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_that_lends_for_a_transaction_nothing_is_said() {
    let server = Server::start();
    let Some(pooler) = super::bouncer::Bouncer::start(&server, "transaction") else {
        println!("not tried: there is no pgbouncer");
        return;
    };
    let _schema = store(&server.url("postgres")).await;
    let url = with_option(&pooler.url(), "poll=10ms");
    let options = options(&url).unwrap();
    let wake = Wake::start(&options, connector(&options), pool(&url));
    wake.presence().announced();
    let mut changed = wake.hints().changed();
    // So often only once it knows that it does not hear itself.
    let looks = async {
        for _ in 0..700 {
            changed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_mins(1), looks).await.unwrap();
    assert_eq!(wake.presence().looks(), 0);
}
