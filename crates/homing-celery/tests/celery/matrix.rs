//! What unmodified clients of each version of Celery see: `tests/python/matrix.py`, case by case.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rabbit::{self, Client, there};
use crate::tasks;
use crate::world::{NEWEST, Redis, celery_log, celery_worker, script};

/// What each case is to bring.
fn wanted() -> BTreeMap<&'static str, Value> {
    let failed = |text: &str| json!(["HomingFailure", [text]]);
    let with = |mut list: Value, more: &[Value]| {
        list.as_array_mut().unwrap().extend(more.iter().cloned());
        list
    };
    let revoked = json!(["TaskRevokedError", ["revoked"], "REVOKED"]);
    let shutdown = "homing's program stops its bridge, not Celery's `shutdown`";
    BTreeMap::from([
        ("get", json!([3, "SUCCESS", []])),
        ("failure", with(failed("no such page"), &[json!("FAILURE"), json!(true)])),
        ("type_error", json!(["TypeError", "TypeError", "TypeError", "TypeError", "TypeError"])),
        ("ignored", Value::Null),
        ("chain_homing_only", json!(10)),
        ("chain_mixed", json!(15)),
        ("chain_children", json!([true])),
        ("chain_failing", json!(["HomingFailure", true])),
        ("chord_members", json!(21)),
        ("chord_body", json!(10)),
        ("chord_all", json!(20)),
        ("chord_failing", json!(["FAILURE", "ChordError", true])),
        ("chord_failing_last", json!(["FAILURE", "ChordError"])),
        ("groups", json!([3, 7, 11])),
        ("chain_into_group", json!(36)),
        ("chain_ending_in_group", json!([13, 23])),
        ("link", json!([13, 23])),
        ("link_error", json!([true])),
        ("priority", json!([9, 6, 3, 0])),
        ("countdown", json!(3)),
        ("expired", json!(["TaskRevokedError", ["expired"], "REVOKED"])),
        ("time_limit", json!(["TimeLimitExceeded", "FAILURE"])),
        ("revoke_running", revoked.clone()),
        ("revoke_before", revoked.clone()),
        ("revoke_unknown", revoked),
        ("not_registered", json!(["NotRegistered", ["h.nothing"]])),
        (
            "inspect",
            json!([
                {"homing@test": {"ok": "pong"}},
                ["homing"],
                true,
                false,
                true,
                true,
                [{"homing@test": {"error": shutdown}}],
            ]),
        ),
        ("pickled", json!(["ContentDisallowed", "ContentDisallowed"])),
        ("large", json!("InvalidTaskError")),
        ("parent", json!(406)),
        ("events", json!(["task-received", "task-started", "task-succeeded"])),
    ])
}

/// Cases that need what `rpc://` has not: a result that can be read again, chords, or Redis to look into.
const NOT_OVER_RPC: [&str; 11] = [
    "ignored",
    "chord_members",
    "chord_body",
    "chord_all",
    "chord_failing",
    "chord_failing_last",
    "chain_into_group",
    "revoke_before",
    "revoke_unknown",
    "chain_failing",
    "link",
];

async fn matrix(version: &str, store: &str, redis: Redis, broker: &str) {
    let rpc = redis.results() == "rpc://";
    let _worker = celery_worker(version, &redis);
    let urls = (broker, redis.results());
    let (homing, worker, bridge) =
        tasks::start(store, (urls.0, &urls.1), Duration::from_secs(1)).await;
    there(broker).await;
    let mut wanted = wanted();
    wanted.retain(|name, _| !(rpc && NOT_OVER_RPC.contains(name)));
    let mut client = script(version, &redis, "matrix.py");
    client.args(wanted.keys());
    let done = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    let mut came = BTreeMap::new();
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        let (name, value): (String, Value) = serde_json::from_str(line).unwrap();
        came.insert(name, value);
    }
    let names: Vec<_> = came.keys().map(String::as_str).collect();
    assert_eq!(names, wanted.keys().copied().collect::<Vec<_>>(), "{told}\n{}", celery_log(&redis));
    let differ: Vec<_> = wanted.iter().filter(|(name, value)| came[**name] != **value).collect();
    let told = format!("{told}\n{}", celery_log(&redis));
    let differ: Vec<String> = differ
        .iter()
        .map(|(name, value)| format!("{name}: wanted {value}, got {:#}", came[**name]))
        .collect();
    assert!(differ.is_empty(), "{version} on {store}:\n{}\n{told}", differ.join("\n"));
    assert_eq!(
        redis.cli(&["HLEN", "homing.unacked"]),
        "0",
        "a message is noted and not acknowledged"
    );
    assert_eq!(homing.check().await.unwrap(), []);
    bridge.shutdown(Duration::from_secs(5)).await;
    worker.shutdown(Duration::from_secs(5)).await;
}

async fn over_redis(version: &str, store: &str) {
    let redis = Redis::start();
    let broker = redis.url();
    matrix(version, store, redis, &broker).await;
}

/// `options` are those of the bridge's URL, and of the queue `homing` as the application declares it.
async fn over_rabbit(version: &str, (vhost, options): (&str, &str), rpc: bool) {
    let url = rabbit::shared(vhost);
    Client::empty(&url, &["homing", "celery"]).await;
    let mut redis = Redis::beside(&url, rpc);
    redis.quorum = options == "?queue_type=quorum";
    matrix(version, "memory:", redis, &format!("{url}{options}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_5_7() {
    over_redis(NEWEST, "memory:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_5_6_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    over_redis("5.6.2", &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_5_4() {
    over_redis("5.4.0", "memory:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbit_5_7_on_quorum_queues() {
    over_rabbit(NEWEST, ("matrix-5.7.0", "?queue_type=quorum"), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbit_5_6_over_rpc() {
    over_rabbit("5.6.2", ("matrix-5.6.2", ""), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbit_5_4() {
    over_rabbit("5.4.0", ("matrix-5.4.0", ""), false).await;
}
