//! Faults of servers and of ways to them, under load.

use std::sync::atomic::Ordering;

use homing::{StoreError, SubmitError};

use super::load::Load;
use super::server::{ALWAYS, EVERYSEC, Server};
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

/// What a submission is told while the server refuses writes.
async fn refused(homing: &Homing) -> Option<StoreError> {
    let big = "x".repeat(100_000);
    let ballast = homing.submit_named("ballast", &serde_json::json!({ "big": big }));
    match ballast.force().await {
        Ok(_) => None,
        Err(SubmitError::Store(error)) => {
            assert!(error.is_transient(), "{error}");
            Some(error)
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_killed() {
    for (settings, options) in [(ALWAYS, ""), (EVERYSEC, "?durability=second")] {
        let mut server = Server::start(settings);
        let load = Load::on(&server.url(options)).await;
        for _ in 0..3 {
            server = with_server(server, |server| {
                server.kill();
                server.run();
            })
            .await;
            load.goes_on().await;
        }
        load.survived().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stands_still_for_longer_than_a_lease() {
    let server = Server::start(ALWAYS);
    let load = Load::on(&server.url("")).await;
    server.signal("STOP");
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.signal("CONT");
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_forgotten_and_connections_are_killed() {
    let server = Server::start(ALWAYS);
    let load = Load::on(&server.url("")).await;
    for _ in 0..10 {
        server.cli(&["SCRIPT", "FLUSH"]);
        load.goes_on().await;
        assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "(integer) 0");
        load.goes_on().await;
    }
    load.survived().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_pauses() {
    let server = Server::start(ALWAYS);
    let load = Load::on(&server.url("")).await;
    for what in ["WRITE", "ALL"] {
        server.cli(&["CLIENT", "PAUSE", "1000", what]);
        load.goes_on().await;
    }
    load.survived().await;
}

/// Submissions are refused whole; what ends ends, a prune makes room, and all goes on once there is memory again.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_full_for_a_while() {
    let server = Server::start(ALWAYS);
    let url = server.url("");
    let load = Load::on(&url).await;
    let other = Homing::open(&url).await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
    eventually("memory is full", async || {
        matches!(refused(&other).await, Some(StoreError::Full { .. }))
    })
    .await;
    let jobs = other.jobs(homing::JobFilter::default()).await.unwrap();
    assert!(jobs.iter().any(|job| job.status.is_ended()));
    assert!(other.prune(Duration::ZERO).await.unwrap() > 0, "a prune makes room");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    load.goes_on().await;
    sound(&other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_no_writes_for_a_while() {
    let server = Server::start(ALWAYS);
    let url = server.url("");
    let load = Load::on(&url).await;
    let other = Homing::open(&url).await.unwrap();
    let ways = [
        (
            ["CONFIG", "SET", "min-replicas-to-write", "1"],
            ["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        (["REPLICAOF", "127.0.0.1", "1", ""], ["REPLICAOF", "NO", "ONE", ""]),
    ];
    for (refuse, allow) in ways {
        let words = |words: [&'static str; 4]| words.into_iter().filter(|word| !word.is_empty());
        server.cli(&words(refuse).collect::<Vec<_>>());
        eventually("writes are refused", async || {
            matches!(refused(&other).await, Some(StoreError::Busy { .. }))
        })
        .await;
        server.cli(&words(allow).collect::<Vec<_>>());
        load.goes_on().await;
    }
    load.survived().await;
}

/// Somebody else's script runs for ever: everybody is told that the server is busy, until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_busy_with_a_script() {
    let server = Server::start(ALWAYS);
    server.cli(&["CONFIG", "SET", "busy-reply-threshold", "100"]);
    let url = server.url("");
    let load = Load::on(&url).await;
    let other = Homing::open(&url).await.unwrap();
    let endless = url.clone();
    let endless = tokio::task::spawn_blocking(move || {
        super::server::cli(&endless, &["EVAL", "while true do end", "0"])
    });
    eventually("it is busy", async || {
        matches!(refused(&other).await, Some(StoreError::Busy { .. }))
    })
    .await;
    assert_eq!(server.cli(&["SCRIPT", "KILL"]), "OK");
    endless.await.unwrap();
    load.survived().await;
}

/// A client that loses every other reply to a script, and its connection with it.
#[tokio::test(flavor = "multi_thread")]
async fn every_other_reply_is_lost() {
    let server = Server::start(ALWAYS);
    let wire = Wire::to(server.port()).await;
    let url = format!("redis://127.0.0.1:{}/0", wire.port);
    let load = Load::with(&url, &server.url("")).await;
    wire.tricks.lose_every_other.store(true, Ordering::SeqCst);
    let before = wire.tricks.lost.load(Ordering::SeqCst);
    load.goes_on().await;
    load.goes_on().await;
    assert!(wire.tricks.lost.load(Ordering::SeqCst) > before + 3, "replies were lost");
    wire.tricks.lose_every_other.store(false, Ordering::SeqCst);
    load.survived().await;
}

/// Requests whose caller has long given them up arrive after their resends and after later exchanges.
#[tokio::test(flavor = "multi_thread")]
async fn requests_arrive_late() {
    let server = Server::start(ALWAYS);
    let wire = Wire::to(server.port()).await;
    let url = format!("redis://127.0.0.1:{}/0", wire.port);
    let load = Load::with(&url, &server.url("")).await;
    for _ in 0..10 {
        let before = wire.tricks.late.load(Ordering::SeqCst);
        wire.tricks.hold.fetch_add(1, Ordering::SeqCst);
        eventually("a request is held", async || wire.tricks.hold.load(Ordering::SeqCst) == 0)
            .await;
        load.goes_on().await;
        wire.tricks.deliver.notify_waiters();
        eventually("it arrives", async || wire.tricks.late.load(Ordering::SeqCst) > before).await;
    }
    load.survived().await;
}
