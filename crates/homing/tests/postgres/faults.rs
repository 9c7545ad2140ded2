//! Faults of servers, networks, disks and clocks, under load.

use std::sync::atomic::Ordering;

use super::load::{Load, Notes, register};
use super::process::Process;
use super::server::{Server, Stop, with_option};
use super::transactions::{World, import};
use super::wire::Wire;
use super::*;

/// Does something that blocks, with a server.
async fn with_server(
    mut server: Server,
    work: impl FnOnce(&mut Server) + Send + 'static,
) -> Server {
    let done = tokio::task::spawn_blocking(move || {
        work(&mut server);
        server
    });
    done.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_restarted() {
    let mut server = Server::start();
    let load = Load::on(&server.url("postgres")).await;
    for how in [Stop::Fast, Stop::Immediate, Stop::Immediate] {
        server = with_server(server, move |server| server.restart(how)).await;
        load.goes_on().await;
    }
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_away_for_longer_than_a_verb_waits() {
    let mut server = Server::start();
    let url = with_option(&server.url("postgres"), "pool_timeout=100ms&connect_timeout=1");
    let load = Load::on(&url).await;
    server.stop(Stop::Immediate);
    // The worker's lease of two seconds runs out meanwhile: nobody is there to ask whether it has.
    tokio::time::sleep(Duration::from_secs(3)).await;
    server = with_server(server, Server::run).await;
    load.survived().await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_killed() {
    let server = Server::start();
    let load = Load::on(&server.url("postgres")).await;
    for _ in 0..20 {
        let killed = server.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
        assert_ne!(killed, "0");
        let connected =
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'homing'";
        eventually("it connects again", async || server.sql(connected) == "t").await;
    }
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_no_connections_left() {
    let server = Server::with("superuser_reserved_connections = 3", "");
    server.sql("CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app");
    let load = Load::on(&server.url("app")).await;
    let mut taken = Vec::new();
    // Whoever has a connection keeps it, so all are ended once those free are taken.
    for round in 0..3 {
        while let Ok((client, wire)) =
            tokio_postgres::connect(&server.url("app"), tokio_postgres::NoTls).await
        {
            tokio::spawn(wire);
            taken.push(client);
        }
        if round < 2 {
            server.sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE application_name = 'homing'",
            );
        }
    }
    let impatient = with_option(&server.url("app"), "pool_timeout=50ms");
    let error = Homing::open(&impatient).await.unwrap_err();
    assert!(error.to_string().contains("53300"), "{error}");
    drop(taken);
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_exhausted() {
    let server = Server::start();
    let url = with_option(&server.url("postgres"), "pool=2&pool_timeout=20ms");
    let load = Load::on(&url).await;
    let crowd = Homing::open(&with_option(&url, "application_name=crowd")).await.unwrap();
    let jobs = {
        let crowd = crowd.clone();
        move || {
            let crowd = crowd.clone();
            async move { crowd.jobs(homing::JobFilter::default()).await }
        }
    };
    let mut blocker = connect(&server.url("postgres")).await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE homing.tasks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let held = [tokio::spawn(jobs()), tokio::spawn(jobs())];
    let waiting = "SELECT count(*) FROM pg_stat_activity
      WHERE application_name = 'crowd' AND wait_event_type = 'Lock'";
    eventually("both connections are taken", async || server.sql(waiting) == "2").await;
    let error = jobs().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("`pool=`"), "{error}");
    lock.rollback().await.unwrap();
    for held in held {
        held.await.unwrap().unwrap();
    }
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_read_only_for_a_while() {
    let server = Server::start();
    let url = server.url("postgres");
    let load = Load::on(&url).await;
    let set = |value: &str| {
        server.sql(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        server.sql("SELECT pg_reload_conf()");
    };
    set("on");
    let other = Homing::open(&url).await.unwrap();
    eventually("writes are refused", async || {
        let refused = other.pause("q").await;
        matches!(refused, Err(homing::SubmitError::Store(homing::StoreError::ReadOnly { .. })))
    })
    .await;
    other.jobs(homing::JobFilter::default()).await.unwrap();
    set("off");
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_full_for_a_while() {
    let server = Server::start();
    let Some(disk) = server.small_disk(48) else {
        println!("not tried: only root may mount a small disk");
        return;
    };
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display()));
    server.sql("CREATE DATABASE jobs TABLESPACE small");
    let url = format!("{}jobs", server.url("postgres").trim_end_matches("postgres"));
    let load = Load::on(&url).await;
    disk.fill();
    let other = Homing::open(&url).await.unwrap();
    let big = "x".repeat(100_000);
    eventually("the disk is full", async || {
        match other.submit_named("ballast", &serde_json::json!({ "big": big })).force().await {
            Ok(_) => false,
            Err(homing::SubmitError::Store(error)) => {
                assert!(error.is_transient(), "{error}");
                matches!(error, homing::StoreError::Full { .. })
            }
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    disk.empty();
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_time_out() {
    let server = Server::start();
    server.sql(
        "CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app;
         ALTER ROLE app SET statement_timeout = '500ms'",
    );
    let load = Load::on(&server.url("app")).await;
    let mut blocker = connect(&server.url("postgres")).await;
    let timed_out = || server.log().matches("statement timeout").count();
    for _ in 0..2 {
        let before = timed_out();
        let lock = blocker.transaction().await.unwrap();
        lock.batch_execute("LOCK TABLE homing.open IN ACCESS EXCLUSIVE MODE").await.unwrap();
        eventually("a statement times out", async || timed_out() > before).await;
        lock.rollback().await.unwrap();
        load.goes_on().await;
    }
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_ddl_does_all_the_work() {
    let server = Server::start();
    server.sql(
        "CREATE ROLE owner LOGIN; CREATE ROLE worker LOGIN; GRANT CREATE ON DATABASE postgres TO owner",
    );
    let migrated = Homing::migrate(&server.url("owner")).await.unwrap();
    assert_eq!(
        (migrated.from, Homing::migrate(&server.url("owner")).await.unwrap().from),
        (0, migrated.to)
    );
    server.sql(server::GRANTS);
    let load = Load::on(&server.url("worker")).await;
    load.goes_on().await;
    let homing = Homing::open(&server.url("worker")).await.unwrap();
    let created = tokio::spawn(async move {
        let client = connect(&server.url("worker")).await;
        let error = client.batch_execute("CREATE TABLE homing.more (id int)").await.unwrap_err();
        (error.code().cloned(), server)
    });
    let (code, server) = created.await.unwrap();
    assert_eq!(code, Some(tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE));
    load.survived().await;
    assert!(homing.prune(Duration::ZERO).await.unwrap() > 0);
    drop(server);
}

/// Two ways to keep notifications away: to swallow them, as a pooler does that lends a connection for one
/// transaction, and to refuse `LISTEN`.
#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_notifications() {
    for refuse in [false, true] {
        let url = server::common_schema();
        let wire = Wire::to(&url).await;
        wire.tricks.refuse_listen.store(refuse, Ordering::SeqCst);
        wire.tricks.swallow.store(!refuse, Ordering::SeqCst);
        let led = wire.through(&with_option(&url, "poll=50ms"));
        // The worker does not hear of what others submit.
        Load::with(&led, &url).await.survived().await;
    }
}

async fn pages(client: &Client, world: &World, wanted: i64) {
    eventually("the pages are written", async || world.pages(client).await.0 >= wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_frozen_past_its_lease_and_thaws() {
    let (homing, client, url) = opened().await;
    let world = World::new(&client, &url).await;
    for round in 0..3 {
        let job = homing.submit(import(30)).await.unwrap();
        let frozen = Process::start(&url, None);
        pages(&client, &world, 30 * round + 5).await;
        frozen.signal("STOP");
        // Its lease runs out: another does the rest.
        let other = Process::start(&url, None);
        assert_eq!(job.outcome().await.unwrap(), 435, "{}", other.log());
        frozen.signal("CONT");
        // It works on under a new id: the job that nobody else is there to do.
        drop(other);
        let next = homing.submit(import(0)).await.unwrap();
        assert_eq!(next.outcome().await.unwrap(), 0, "{}", frozen.log());
        assert_eq!(world.pages(&client).await, (30 * (round + 1), 0));
        sound(&homing).await;
    }
}

/// Its lease would last an hour. What others see is that its session is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_noticed_by_its_session() {
    let (homing, client, url) = opened().await;
    let world = World::new(&client, &url).await;
    let said = async |workers: i64| {
        let sql = format!("SELECT count(server) FROM {}.workers", schema_of(&url));
        eventually("the workers have said that they live", async || {
            client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) == workers
        })
        .await;
    };
    for round in 0..3 {
        let killed = Process::leased(&url);
        said(1).await;
        let job = homing.submit(import(30)).await.unwrap();
        pages(&client, &world, 30 * round + 5).await;
        // A stopped process keeps its session, and its tasks.
        killed.signal("STOP");
        let other = Process::leased(&url);
        said(2).await;
        killed.signal("KILL");
        assert_eq!(job.outcome().await.unwrap(), 435, "{}", other.log());
        assert_eq!(world.pages(&client).await, (30 * (round + 1), 0));
        sound(&homing).await;
        // The next one sees that this one is gone.
    }
}

/// Machines whose clocks are a day apart: delays, retries and leases follow the server's clock.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_differ_between_machines() {
    let (homing, client, url) = opened().await;
    let world = World::new(&client, &url).await;
    for skew in ["86400", "-86400"] {
        let process = Process::skewed(&url, skew);
        // It fails once: the retry's instant is fixed by the worker.
        let job = homing.submit(import(3).delay(Duration::from_millis(50))).await.unwrap();
        assert_eq!(job.outcome().await.unwrap(), 3, "{}", process.log());
        let workers = homing.workers().await.unwrap();
        let (now, hour) = (homing.now(), Duration::from_hours(1));
        for worker in workers {
            let heartbeat = std::time::SystemTime::from(worker.heartbeat);
            assert!(heartbeat > now - hour && heartbeat < now + hour, "{worker:?}");
        }
    }
    assert_eq!(world.pages(&client).await, (6, 0));
    sound(&homing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_open_a_new_store_at_once_both_work() {
    let url = server::common_schema();
    let notes = Notes::default();
    let both = (0..6).map(|_| async {
        let homing = Homing::open(&url).await.unwrap();
        register(homing.worker(), &notes).start().await.unwrap();
        homing
    });
    let opened = futures_util::future::join_all(both).await;
    sound(&opened[0]).await;
}
