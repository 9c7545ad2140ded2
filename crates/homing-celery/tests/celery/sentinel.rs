//! Behind sentinels: the bridge finds the primary, and goes on with the one that takes over.

use std::process::{Command, Stdio};
use std::time::Duration;

use homing::{JoinSet, task};
use homing_celery::{args, call, signature};
use serde_json::json;

use crate::rabbit::there;
use crate::tasks;
use crate::world::{NEWEST, Process, Redis, log, message, module, script, until};

/// A child that is sent before the failover, and one that is sent after it.
#[task(kind = "h.before_and_after")]
async fn before_and_after() -> homing::Result<Vec<i64>> {
    let mut rows = JoinSet::<i64>::new();
    rows.spawn(signature("c.add").args(args![1, 1]).queue("later").call()).await?;
    homing::signal::<bool>("failover").await?;
    rows.spawn(call("c.add", args![2, 2])).await?;
    Ok(rows.join_all().await?)
}

/// A sentinel with its files.
struct Sentinel {
    directory: tempfile::TempDir,
    port: u16,
    _process: Process,
}

/// A primary, its replica, and a sentinel that knows both.
async fn watched() -> (Redis, Redis, Sentinel) {
    let primary = Redis::start();
    let replica = Redis::start();
    let port = |redis: &Redis| redis.url().rsplit([':', '/']).nth(1).unwrap().to_owned();
    replica.cli(&["REPLICAOF", "127.0.0.1", &port(&primary)]);
    until("the replica", || async {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let own = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let file = directory.path().join("sentinel.conf");
    let settings = format!(
        "port {own}\nbind 127.0.0.1\ndir {}\nsentinel monitor mine 127.0.0.1 {} 1\n\
         sentinel down-after-milliseconds mine 1000\nsentinel failover-timeout mine 4000\n",
        directory.path().display(),
        port(&primary)
    );
    std::fs::write(&file, settings).unwrap();
    let told = log(directory.path(), "log");
    let sentinel = Command::new("redis-server")
        .arg(&file)
        .arg("--sentinel")
        .stdin(Stdio::null())
        .stdout(told)
        .spawn()
        .unwrap();
    let process = Process(sentinel);
    let ask = |words: &[&str]| {
        let asked = Command::new("redis-cli").args(["-p", &own.to_string()]).args(words).output();
        String::from_utf8_lossy(&asked.unwrap().stdout).into_owned()
    };
    until("the sentinel", || async {
        ask(&["SENTINEL", "REPLICAS", "mine"]).contains(&port(&replica)).then_some(())
    })
    .await;
    (primary, replica, Sentinel { directory, port: own, _process: process })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_is_killed_and_its_replica_takes_over() {
    let (mut primary, replica, sentinel) = watched().await;
    // As Celery names it; one that is not there is passed over, on which Celery itself waits long.
    let celerys = format!("sentinel://127.0.0.1:{}/0", sentinel.port);
    let url = format!("sentinel://127.0.0.1:1/0;{celerys}?master_name=mine");
    let count = Redis::counting(&celerys, &celerys);
    let look = Duration::from_secs(1);
    let (homing, worker, _bridge) = tasks::start("memory:", (&url, &url), look).await;
    homing.worker().register(before_and_after).start().await.unwrap();
    let celery = || {
        let arguments = ["celery", "-A", "shop", "worker", "-P", "threads", "-c", "4"];
        let mut command = module(NEWEST, &count, &arguments);
        command.args(["--without-gossip", "--without-mingle", "-n", "celery@test"]);
        let log = log(sentinel.directory.path(), "celery.log");
        command.env("SHOP_MASTER", "mine").stdout(log.try_clone().unwrap()).stderr(log);
        Process(command.spawn().unwrap())
    };
    let _celery = celery();
    there(&url).await;
    let added = |x: &str, y: &str| {
        let mut client = script(NEWEST, &count, "add.py");
        let done = client.env("SHOP_MASTER", "mine").args([x, y]).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{told}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    assert_eq!(added("1", "2"), "3");
    let job = homing.submit(before_and_after()).await.unwrap();
    until("the first child", || async { (replica.cli(&["LLEN", "later"]) == "1").then_some(()) })
        .await;
    primary.kill();
    until("the failover", || async {
        replica.cli(&["INFO", "replication"]).contains("role:master").then_some(())
    })
    .await;
    // What was in the primary is in the one that took over: calls and messages are found there.
    replica.send("homing", &message("after", "h.add", [json!(3), json!(4)])).await;
    assert_eq!(replica.result("after").await.result, json!(7));
    homing.signal(job.id(), "failover", &true).await.unwrap();
    replica.cli(&["LMOVE", "later", "celery", "LEFT", "LEFT"]);
    assert_eq!(job.outcome().await.unwrap(), [2, 4]);
    assert_eq!(added("20", "22"), "42");
    worker.shutdown(Duration::from_secs(5)).await;
    assert_eq!(homing.check().await.unwrap(), []);
}
