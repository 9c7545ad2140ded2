//! Flower, as it is, beside the bridge: it shows homing's worker and its tasks.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rabbit::{Client, shared};
use crate::tasks;
use crate::world::{NEWEST, Process, Redis, module, script};

async fn seen(redis: &Redis) {
    let (broker, results) = (redis.broker(), redis.results());
    let started = tasks::start("memory:", (&broker, &results), Duration::from_secs(1)).await;
    let port =
        TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port().to_string();
    let mut flower = module(NEWEST, redis, &["celery", "-A", "shop", "flower"]);
    flower.args(["--address=127.0.0.1", &format!("--port={port}"), "--inspect_timeout=1000"]);
    flower.env("FLOWER_UNAUTHENTICATED_API", "true").stdout(Stdio::null()).stderr(Stdio::null());
    let _flower = Process(flower.spawn().unwrap());
    let mut client = script(NEWEST, redis, "flower_sees.py");
    client.arg(port);
    let done = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    let shown: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{told}"));
    assert_eq!((&shown["queues"], &shown["pong"]), (&json!(["homing"]), &json!("homing")));
    let (done, failed) = (&shown["tasks"][0], &shown["tasks"][1]);
    assert_eq!(done, &json!(["h.add", "homing@test", "3", null]));
    assert_eq!((&failed[0], &failed[1]), (&json!("h.fail"), &json!("homing@test")));
    assert!(failed[3].to_string().contains("HomingFailure"), "{failed}");
    started.2.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flower_on_redis() {
    seen(&Redis::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flower_on_rabbit() {
    let url = shared("flower");
    Client::empty(&url, &["homing", "celery"]).await;
    seen(&Redis::beside(&url, false)).await;
}
