//! The bridge's process dies at each named point, as by `kill -9`, and another takes its place: everybody is told one
//! outcome, and nothing of Celery's has run twice.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::tasks;
use crate::world::{NEWEST, Process, Redis, celery_log, celery_worker, script};

/// In the life of a message, then in that of a call.
const POINTS: [&str; 13] = [
    "taken",
    "submitted",
    "acknowledged",
    "begun",
    "published",
    "callbacks",
    "result",
    "claimed",
    "body",
    "chord",
    "errbacks",
    "registered",
    "sent",
];

/// The process that the other tests start and kill; as a test it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process() {
    let Ok(store) = std::env::var("BRIDGE_STORE") else { return };
    let url = |name: &str| std::env::var(name).unwrap();
    let look = std::env::var("BRIDGE_LOOK").map_or(1, |seconds| seconds.parse().unwrap());
    let _running = tasks::start(
        &store,
        (&url("BRIDGE_BROKER"), &url("BRIDGE_RESULTS")),
        Duration::from_secs(look),
    )
    .await;
    std::future::pending::<()>().await;
}

pub(crate) fn bridge(store: &str, redis: &Redis, crash: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["crash::process", "--exact", "--nocapture"]);
    command.env("BRIDGE_STORE", store).env("BRIDGE_BROKER", redis.broker());
    command.env("BRIDGE_RESULTS", redis.results());
    command.env("HOMING_CELERY_CRASH_AT", crash);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process(command.spawn().unwrap())
}

fn workflows(redis: &Redis, store: &str, point: &str, once: &[&str]) {
    let word = point.replace(':', "-");
    let mut dying = bridge(store, redis, point);
    let mut client = script(NEWEST, redis, "workflows.py");
    client.arg(&word).stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = client.spawn().unwrap();
    // It dies by itself. Should it not, the client ends in the end: that this is noticed, the exit code tells.
    let ended = dying.0.wait().unwrap();
    assert!(!ended.success(), "{point} was never passed");
    let _next = bridge(store, redis, "");
    let done = client.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    let text = String::from_utf8_lossy(&done.stdout);
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut came = lines.next().unwrap_or_default();
    let wanted = json!({
        "chain": 1, "chord": 1, "failing chord": "ChordError", "failure": "HomingFailure", "link": 3, "parent": 1,
    });
    // Which of the two a client hears of a chord first depends on which it reads first.
    if came["failing chord"] == json!("HomingFailure") {
        came["failing chord"] = json!("ChordError");
    }
    assert_eq!(came, wanted, "{point}: {told}{}", celery_log(redis));
    assert_eq!(lines.next(), Some(json!([1])), "{point}: the callback: {told}");
    for name in ["next", "body", "link", "errback", "child"] {
        let runs = redis.cli(&["GET", &format!("test:{word}:{name}")]);
        assert!(once.contains(&runs.as_str()), "{point}: {name} ran `{runs}` times");
    }
    assert_eq!(redis.cli(&["GET", &format!("test:{word}:never")]), "", "{point}");
}

/// One point after the other, on one server, each with a store of its own. `once`: how often a task of Celery's may run.
pub(crate) fn dies_everywhere(redis: &Redis, once: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    for point in POINTS {
        let store = format!("sqlite:{}", directory.path().join(format!("{point}.db")).display());
        workflows(redis, &store, &format!("{point}:1"), once);
    }
}

#[test]
fn whenever_it_dies_each_effect_happens_once() {
    let redis = Redis::start();
    let _celery = celery_worker(NEWEST, &redis);
    dies_everywhere(&redis, &["1"]);
}
