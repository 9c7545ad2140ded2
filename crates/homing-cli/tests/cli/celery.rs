//! `celery`, and what `why` says of a task that Celery runs. A Redis server of its own; no Celery.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homing::TaskState;
use homing_celery::{Celery, args, call};

use crate::world::World;

struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn redis() -> (Redis, String) {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
    let server = Redis(command.stdout(Stdio::null()).spawn().unwrap());
    // Another program, which tells nobody that it is up: it is asked again and again. The bound is one on hangs.
    for _ in 0..1000 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return (server, format!("redis://127.0.0.1:{port}/0"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("redis-server did not start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_looked_at_and_a_call_is_explained() {
    let world = World::idle().await;
    let (_redis, url) = redis().await;
    let ran = world.run(&["celery", "ping", &url]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "nobody answers: {ran:?}");
    let ran = world.run(&["celery", "check", &url]);
    assert!(ran.out.contains("warning") && ran.out.contains("no worker answered"), "{ran:?}");
    assert_eq!(ran.code, Some(0), "{ran:?}");

    let bridge = world.homing.celery(&url).hostname("homing@test").start().await.unwrap();
    world.until(async || world.run(&["celery", "ping", &url]).out == "homing@test\n").await;
    let lines = world.json(&["celery", "ping", &url]);
    assert_eq!(lines, [serde_json::json!({"type": "celery-worker", "name": "homing@test"})]);
    let lines = world.json(&["celery", "check", &url]);
    let found = |subject: &str, level: &str| {
        lines.iter().any(|line| line["subject"] == subject && line["level"] == level)
    };
    assert!(found("homing@test", "good") && found(&url[8..], "good"), "{lines:?}");
    let job = world.homing.submit(call::<u64>("shop.write_page", args![7])).await.unwrap();
    world.reaches(job.id(), TaskState::Waiting).await;
    let id = job.id().to_string();
    let ran = world.run(&["why", &id]);
    let told =
        format!("it waits for Celery's task `shop.write_page`, whose id there is homing.{id}");
    assert!(ran.out.contains(&told), "{ran:?}");
    let ran = world.run(&["why", &id, "--celery", &url]);
    assert!(ran.out.contains("Celery has said nothing of it"), "{ran:?}");
    let client = redis::Client::open(url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let started = r#"{"status": "STARTED", "result": {"pid": 1}}"#;
    let key = format!("celery-task-meta-homing.{id}");
    let () = redis::cmd("SET").arg(key).arg(started).query_async(&mut connection).await.unwrap();
    let ran = world.run(&["why", &id, "--celery", &url]);
    let told = format!("Celery's last word of homing.{id} is STARTED");
    assert!(ran.out.contains(&told), "{ran:?}");
    let lines = world.json(&["why", &id, "--celery", &url]);
    assert!(lines[0]["reasons"].to_string().contains(&told), "{lines:?}");
    bridge.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_told() {
    let world = World::idle().await;
    let away = world.run(&["celery", "check", "amqp://u:secret@127.0.0.1:1//"]);
    assert_eq!(away.code, Some(4), "{away:?}");
    assert!(away.err.contains("127.0.0.1:1/ cannot be reached"), "{away:?}");
    assert!(!away.err.contains("secret"), "{away:?}");
    let refused = world.run(&["celery", "ping", "amqps://host//?sslcert=/nowhere.pem"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("`sslkey`"), "{refused:?}");
    let json = world.run(&["--json", "celery", "ping", "redis://127.0.0.1:1/0"]);
    assert_eq!((json.code, json.out.as_str()), (Some(4), ""), "{json:?}");
}
