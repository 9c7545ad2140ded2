//! What a check finds of real workers and servers.

use std::process::Command;
use std::time::Duration;

use homing::Homing;
use homing_celery::{Celery, Finding, Level, check, ping};

use crate::world::{NEWEST, Process, Redis, celery_worker, python, worker};

const PATIENCE: Duration = Duration::from_secs(20);

fn said(findings: &[Finding], level: Level, words: &str) -> bool {
    findings.iter().any(|finding| finding.level == level && finding.text.contains(words))
}

/// A worker with settings of its own.
fn configured(name: &str, settings: &str, redis: &Redis) -> Process {
    let code = format!(
        "import shop; shop.app.conf.update({settings}); \
        shop.app.worker_main(['worker', '-P', 'solo', '--without-gossip', '--without-mingle', '-n', '{name}'])"
    );
    let mut command = Command::new(python(NEWEST));
    command.args(["-c", &code]).env("C_FORCE_ROOT", "1");
    worker(command, redis)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_looked_at() {
    let redis = Redis::start();
    let _celery = celery_worker(NEWEST, &redis);
    let homing = Homing::open("memory:").await.unwrap();
    let bridge = homing.celery(&redis.url()).hostname("homing@test").start().await.unwrap();
    assert_eq!(bridge.name(), "homing@test");
    let names = ping(&redis.url(), PATIENCE).await.unwrap();
    assert_eq!(names, ["celery@test", "homing@test"]);
    let findings = check(&redis.url(), PATIENCE).await.unwrap();
    assert!(said(&findings, Level::Good, "Redis "), "{findings:?}");
    assert!(said(&findings, Level::Good, "noeviction"), "{findings:?}");
    let own: Vec<_> = findings.iter().filter(|finding| finding.subject == "celery@test").collect();
    assert!(said(&findings, Level::Good, "a bridge of homing's"), "{findings:?}");
    assert!(own.len() == 1 && own[0].text == "the bridge works with it", "{findings:?}");
    // Nothing is left behind.
    assert_eq!(redis.cli(&["SCARD", "_kombu.binding.reply.celery.pidbox"]), "0");
}

#[tokio::test]
async fn settings_to_change_are_named() {
    let redis = Redis::start();
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let odd = "result_serializer='pickle', accept_content=['pickle', 'json'], task_compression='gzip', \
        task_track_started=False, broker_transport_options={'priority_steps': [0, 5]}";
    let _odd = configured("odd@test", odd, &redis);
    let findings = check(&redis.url(), PATIENCE).await.unwrap();
    for (level, words) in [
        (Level::Bad, "`result_serializer = \"pickle\"`"),
        (Level::Bad, "`task_compression = \"gzip\"`"),
        (Level::Warning, "`task_track_started`"),
        (Level::Warning, "`priority_steps` is [0,5]"),
        (Level::Warning, "`maxmemory-policy allkeys-lru`"),
    ] {
        assert!(said(&findings, level, words), "{words}: {findings:?}");
    }
}

/// A worker whose very answers are pickled.
#[tokio::test]
async fn a_worker_that_pickles_is_told_of() {
    let redis = Redis::start();
    let settings = "task_serializer='pickle', accept_content=['pickle', 'json']";
    let _worker = configured("pickling@test", settings, &redis);
    let findings = check(&redis.url(), PATIENCE).await.unwrap();
    assert!(said(&findings, Level::Bad, "`task_serializer = \"json\"`"), "{findings:?}");
}

#[tokio::test]
async fn nobody_is_found_where_nobody_is() {
    let redis = Redis::start();
    assert_eq!(ping(&redis.url(), PATIENCE).await.unwrap(), [] as [String; 0]);
    let findings = check(&redis.url(), PATIENCE).await.unwrap();
    assert!(said(&findings, Level::Warning, "no worker answered"), "{findings:?}");
    let error = check("amqp://guest@127.0.0.1:1//", PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1/ cannot be reached"), "{error}");
}
