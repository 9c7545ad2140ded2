//! Connections: found again, waited for within bounds, and told of in the right class.

use std::sync::Arc;

use super::*;
use crate::store::postgres::link::fault::Fault;

/// The backend that answers. The end of a connection may be heard of only when it is used: then the fault
/// must say so.
async fn backend(pool: &Pool) -> i32 {
    for _ in 0..100 {
        let client = pool.get().await.unwrap();
        match client.query_one("SELECT pg_backend_pid()", &[]).await {
            Ok(row) => return row.get(0),
            Err(error) => {
                let fault = Fault::from(error);
                assert!(fault.is_of_the_connection() && fault.told("").is_transient(), "{fault}");
            }
        }
    }
    panic!("it is not replaced")
}

#[tokio::test]
async fn a_killed_connection_is_replaced() {
    let pool = pool(&common_schema());
    let first = backend(&pool).await;
    server::psql(&server::common(), &format!("SELECT pg_terminate_backend({first})"));
    assert_ne!(backend(&pool).await, first);
}

#[tokio::test]
async fn an_exhausted_pool_says_so_in_time() {
    let pool = pool(&with_option(&common_schema(), "pool=2&pool_timeout=100ms"));
    let first = pool.get().await.unwrap();
    let _second = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("`pool=`"), "{error}");
    drop(first);
    drop(pool.get().await.unwrap());
}

#[tokio::test]
async fn a_restart_is_waited_for() {
    let mut server = Server::start();
    let pool = Arc::new(pool(&server.url("postgres")));
    backend(&pool).await;
    for how in [Stop::Fast, Stop::Immediate] {
        server.stop(how);
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { backend(&pool).await }
        });
        tokio::task::yield_now().await;
        let started = tokio::task::spawn_blocking(move || {
            server.run();
            server
        });
        server = started.await.unwrap();
        waiting.await.unwrap();
    }
    server.stop(Stop::Fast);
    let impatient = super::pool(&with_option(&server.url("postgres"), "pool_timeout=50ms"));
    let error = impatient.get().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_silent_is_not_waited_for_longer_than_asked() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://anna@127.0.0.1:{port}/d?connect_timeout=1&pool_timeout=10ms");
    let error = pool(&url).get().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("does not answer"), "{error}");
}

#[tokio::test]
async fn a_missing_database_and_role_are_refused_for_good() {
    let common = server::common();
    let (head, _) = common.rsplit_once('/').unwrap();
    let error = pool(&format!("{head}/nowhere")).get().await.unwrap_err();
    assert!(matches!(&error, Error::Refused { .. }) && !error.is_transient(), "{error}");
}

#[tokio::test]
async fn the_servers_clock_counts() {
    let options = options(&common_schema()).unwrap();
    let clock = ServerClock::unread();
    let read = crate::clock::Clock::Server(clock.clone());
    // A machine that is ten years behind.
    let past = crate::core::time::Time(1_451_606_400_000_000);
    let now = crate::clock::monotonic();
    clock.read(now, now, past);
    let behind = read.now();
    let pool = Pool::new(&options, Connector::new(&options, clock).unwrap()).unwrap();
    let client = pool.get().await.unwrap();
    assert!(read.now().since(behind) > Duration::from_hours(24 * 365), "{:?}", read.now());
    let sql = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";
    let before = read.now();
    let shown: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    let after = read.now();
    let slack = Duration::from_millis(500);
    assert!(before.before(slack).0 <= shown && shown <= after.after(slack).0);
}

#[tokio::test]
async fn a_pooler_that_loses_prepared_statements_is_told_of() {
    let client = pool(&common_schema()).get().await.unwrap();
    let lost = client.batch_execute("EXECUTE never_prepared").await.unwrap_err();
    let error = Fault::from(lost).told("store");
    assert!(
        !error.is_transient() && error.to_string().contains("max_prepared_statements"),
        "{error}"
    );
}
