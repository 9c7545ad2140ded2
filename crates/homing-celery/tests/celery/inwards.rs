//! Messages that come: hostile ones, those that come twice, those whose jobs are ended from outside; and servers that go.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use homing::{Homing, JobId, task};
use homing_celery::wire::{Embed, Envelope, Signature, Status};
use homing_celery::{Bridge, Celery};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::tasks::{add, fail, park};
use crate::world::{Redis, message, until};

/// Opened by a test.
static GATE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

/// Waits at the gate.
#[task(kind = "h.gate")]
async fn gate() -> homing::Result<u64> {
    let _passed = GATE.acquire().await?;
    Ok(1)
}

async fn start(redis: &Redis) -> (Homing, Bridge) {
    let homing = Homing::open("memory:").await.unwrap();
    let worker = homing.worker().register(add).register(gate).register(park).register(fail);
    worker.start().await.unwrap();
    let bridge = homing.celery(&redis.url()).queue("homing").look_every(Duration::from_secs(1));
    let bridge = bridge.track_started(true).start().await.unwrap();
    (homing, bridge)
}

async fn empty(redis: &Redis) {
    until("nothing to be left", || async {
        let left =
            redis.cli(&["HLEN", "homing.unacked"]) == "0" && redis.cli(&["LLEN", "homing"]) == "0";
        left.then_some(())
    })
    .await;
}

#[allow(clippy::too_many_lines, reason = "one table")]
#[tokio::test]
async fn hostile_messages_are_told_of_and_harm_nothing() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let good = Envelope::of(&message("good", "h.add", [json!(1), json!(2)]), "homing");
    let changed = |id: &str, change: &dyn Fn(&mut Envelope)| {
        let mut envelope = Envelope::of(&message(id, "h.add", [json!(1), json!(2)]), "homing");
        change(&mut envelope);
        envelope.text()
    };
    let told = [
        (
            "yaml",
            changed("yaml", &|e| e.content_type = Some("application/x-yaml".into())),
            "`task_serializer",
        ),
        (
            "signed",
            changed("signed", &|e| e.content_type = Some("application/data".into())),
            "`security_*`",
        ),
        (
            "gzip",
            changed("gzip", &|e| e.headers["compression"] = json!("application/x-gzip")),
            "`task_compression`",
        ),
        ("utf16", changed("utf16", &|e| e.content_encoding = Some("utf-16".into())), "UTF-8"),
        ("proto1", changed("proto1", &|e| e.headers = json!({})), "`task_protocol = 2`"),
        ("body", changed("body", &|e| e.body = "e30=".to_owned()), "the body"),
        ("eta", changed("eta", &|e| e.headers["eta"] = json!("soon")), "`eta`"),
        (
            "homing",
            changed("homing", &|e| e.headers["task"] = json!("homing.celery.entry")),
            "homing.celery.entry",
        ),
        (
            "wide",
            changed("wide", &|e| {
                e.body = "[[18446744073709551616,1],{},null]".to_owned();
                e.properties.body_encoding = None;
            }),
            "18446744073709551616",
        ),
        (
            "deep",
            changed("deep", &|e| {
                e.body = format!("[[{}{}],{{}},null]", "[".repeat(5000), "]".repeat(5000));
                e.properties.body_encoding = None;
            }),
            "nested",
        ),
        (
            "deeper",
            changed("deeper", &|e| {
                e.body = format!("[[{}{}],{{}},null]", "[".repeat(110), "]".repeat(110));
                e.properties.body_encoding = None;
            }),
            "nested",
        ),
        (
            "headers",
            changed("headers", &|e| e.headers["tenant"] = json!("DEEP"))
                .replace("\"DEEP\"", &format!("{}{}", "[".repeat(5000), "]".repeat(5000))),
            "no message of kombu's",
        ),
    ];
    for text in ["", "no JSON", "[]", "{\"body\": 1}", "\u{0}\u{1}"] {
        redis.push("homing", text.as_bytes()).await;
    }
    redis.push("homing", b"\xff\xfe").await;
    for (_, text, _) in &told {
        redis.push("homing", text.as_bytes()).await;
    }
    redis.push("homing", good.text().as_bytes()).await;
    for (id, _, wanted) in &told {
        let meta = redis.result(id).await;
        assert_eq!(meta.status, Status::Failure, "{id}");
        assert!(meta.result["exc_message"].to_string().contains(wanted), "{id}: {}", meta.result);
    }
    assert_eq!(redis.result("good").await.result, json!(3));
    empty(&redis).await;
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test]
async fn a_message_that_comes_twice_is_one_job() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let mut twice = message("twice", "h.add", [json!(1), json!(2)]);
    let count: Signature = serde_json::from_value(json!({"task": "c.count"})).unwrap();
    twice.embed = Embed { callbacks: vec![count], ..Embed::default() };
    redis.send("homing", &twice).await;
    assert_eq!(redis.result("twice").await.result, json!(3));
    let mut again = Envelope::of(&twice, "homing");
    again.properties.delivery_info.others.insert("redelivered".to_owned(), json!(true));
    redis.push("homing", again.text().as_bytes()).await;
    // Other arguments under the same id: the first stands.
    redis.send("homing", &message("twice", "h.add", [json!(5), json!(5)])).await;
    redis.send("homing", &message("after", "h.add", [json!(0), json!(0)])).await;
    redis.result("after").await;
    empty(&redis).await;
    assert_eq!(redis.result("twice").await.result, json!(3));
    assert_eq!(redis.cli(&["LLEN", "celery"]), "1", "one callback");
    let job = homing.job::<Value>(JobId::named("celery:twice")).view().await.unwrap();
    assert_eq!((job.counts.succeeded, job.title.as_deref()), (2, Some("h.add")));
}

#[tokio::test]
async fn a_success_stays() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let known = json!({"status": "SUCCESS", "result": 7, "task_id": "known"}).to_string();
    redis.put("known", &known, false).await;
    // A failure whose own value looks like one does not.
    let look = json!({"status": "FAILURE", "result": {"status": "SUCCESS"}, "task_id": "looks"});
    redis.put("looks", &look.to_string(), false).await;
    redis.send("homing", &message("known", "h.add", [json!(1), json!(2)])).await;
    redis.send("homing", &message("looks", "h.add", [json!(1), json!(2)])).await;
    until("a success", || async {
        let meta = redis.result("looks").await;
        (meta.status == Status::Success).then_some(())
    })
    .await;
    let job = homing::JobId::named("celery:known");
    homing.job::<Value>(job).ended().await.unwrap();
    assert_eq!(redis.result("known").await.result, json!(7));
}

/// A person cancels the job in homing: Celery's caller is told, though the body is gone.
#[tokio::test]
async fn a_cancelled_job_is_told_to_its_caller() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let mut parked = message("parked", "h.park", [json!("never")]);
    let errback: Signature = serde_json::from_value(json!({"task": "c.errback"})).unwrap();
    parked.embed = Embed { errbacks: vec![errback], ..Embed::default() };
    redis.send("homing", &parked).await;
    let job = JobId::named("celery:parked");
    until("the job to be under way", || async {
        let view = homing.job::<Value>(job).view().await.ok()?;
        (view.counts.waiting == 2).then_some(())
    })
    .await;
    assert!(homing.cancel(job).by("ada").await.unwrap());
    let meta = redis.result("parked").await;
    assert_eq!(
        (meta.status, &meta.result["exc_message"]),
        (Status::Revoked, &json!(["terminated"]))
    );
    let errback = redis.take("celery").await;
    assert_eq!((errback.headers.task.as_str(), errback.args), ("c.errback", vec![json!("parked")]));
    until("an empty register", || async {
        (redis.cli(&["ZCARD", "homing:celery:in"]) == "0").then_some(())
    })
    .await;
}

/// A body that has told its caller and whose process died before it struck itself off the register.
#[tokio::test]
async fn what_a_caller_was_told_is_not_told_otherwise_by_a_look() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let mut late = message("late", "h.add", [json!(1), json!(2)]);
    late.headers.expires = Some("2020-01-01T00:00:00+00:00".to_owned());
    redis.send("homing", &late).await;
    assert_eq!(redis.result("late").await.status, Status::Revoked);
    homing.job::<Value>(JobId::named("celery:late")).ended().await.unwrap();
    redis.cli(&["ZADD", "homing:celery:in", "1", "0#late"]);
    until("a look", || async { (redis.cli(&["ZCARD", "homing:celery:in"]) == "0").then_some(()) })
        .await;
    // A job that tells it anew would be there before the register is without it.
    let again = homing.job::<Value>(JobId::named("celery-aftermath:0#late:1")).view().await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(redis.result("late").await.status, Status::Revoked);
}

/// A broadcast of `celery control`, as it goes over the channel.
async fn broadcast(redis: &Redis, method: &str, arguments: Value) {
    let body = json!({"method": method, "arguments": arguments}).to_string();
    let envelope = json!({"body": body, "content-type": "application/json", "properties": {}});
    let mut publish = redis::cmd("PUBLISH");
    publish.arg("/0.celery.pidbox").arg(envelope.to_string());
    let mut connection = redis.connect().await;
    // The bridge hears it once it listens.
    until("somebody who hears it", || {
        let (publish, mut connection) = (publish.clone(), connection.clone());
        async move {
            let heard: u64 = publish.query_async(&mut connection).await.unwrap();
            (heard > 0).then_some(())
        }
    })
    .await;
    let _: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_task_that_is_revoked_before_it_comes_never_runs() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    broadcast(&redis, "revoke", json!({"task_id": ["early", "other"]})).await;
    until("it to be remembered", || async {
        (redis.cli(&["EXISTS", "homing:revoked:early", "homing:revoked:other"]) == "2")
            .then_some(())
    })
    .await;
    redis.send("homing", &message("early", "h.add", [json!(1), json!(2)])).await;
    let meta = redis.result("early").await;
    assert_eq!((meta.status, &meta.result["exc_message"]), (Status::Revoked, &json!(["revoked"])));
    let job = homing.job::<Value>(JobId::named("celery:early"));
    assert_eq!(job.ended().await.unwrap(), homing::Status::Failed);
    assert_eq!(job.view().await.unwrap().counts.ended(), 1, "the user's task was never spawned");
}

/// A job's retry runs the task again, and its success takes the place of the failure.
#[tokio::test]
async fn a_retried_job_tells_its_caller_of_the_success() {
    /// Whether it is to succeed.
    static MENDED: AtomicBool = AtomicBool::new(false);
    /// Fails until it is mended.
    #[task(kind = "h.broken", retries = 0)]
    async fn broken() -> homing::Result<u64> {
        if MENDED.load(Ordering::SeqCst) { Ok(1) } else { Err("broken")? }
    }
    let redis = Redis::start();
    let homing = Homing::open("memory:").await.unwrap();
    homing.worker().register(broken).start().await.unwrap();
    let _bridge = homing.celery(&redis.url()).queue("homing").start().await.unwrap();
    redis.send("homing", &message("mend", "h.broken", [])).await;
    assert_eq!(redis.result("mend").await.status, Status::Failure);
    let job = homing.job::<Value>(JobId::named("celery:mend"));
    assert_eq!(job.ended().await.unwrap(), homing::Status::Failed);
    MENDED.store(true, Ordering::SeqCst);
    job.retry().await.unwrap();
    assert_eq!(job.ended().await.unwrap(), homing::Status::Completed);
    assert_eq!(redis.result("mend").await.result, json!(1));
}

#[tokio::test]
async fn what_was_taken_and_never_became_a_job_is_taken_again() {
    let redis = Redis::start();
    // As a bridge leaves it that died between taking and submitting.
    let text = Envelope::of(&message("orphan", "h.add", [json!(1), json!(2)]), "homing").text();
    redis.cli(&["HSET", "homing.unacked", "tag", &text]);
    redis.cli(&["ZADD", "homing.unacked_index", "1", "tag"]);
    redis.cli(&["ZADD", "homing.unacked_index", "1", "gone"]);
    let (_homing, _bridge) = start(&redis).await;
    assert_eq!(redis.result("orphan").await.result, json!(3));
    empty(&redis).await;
    assert_eq!(redis.cli(&["ZCARD", "homing.unacked_index"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_comes_back_to_everything() {
    let mut redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    redis.send("homing", &message("gate", "h.gate", Vec::new())).await;
    redis.send("homing", &message("before", "h.add", [json!(1), json!(2)])).await;
    redis.result("before").await;
    let job = JobId::named("celery:gate");
    until("the task to run", || async {
        let view = homing.job::<Value>(job).view().await.ok()?;
        (view.counts.running == 1 && view.counts.waiting == 1).then_some(())
    })
    .await;
    redis.kill();
    GATE.add_permits(1);
    until("the body to be done", || async {
        let view = homing.job::<Value>(job).view().await.ok()?;
        (view.counts.succeeded == 1).then_some(())
    })
    .await;
    redis.run();
    assert_eq!(redis.result("gate").await.result, json!(1));
    redis.send("homing", &message("after", "h.add", [json!(3), json!(4)])).await;
    assert_eq!(redis.result("after").await.result, json!(7));
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test]
async fn what_a_bridge_cannot_start_with_is_refused() {
    let redis = Redis::start();
    let homing = Homing::open("memory:").await.unwrap();
    let refused = |error: homing_celery::StartError| error.to_string();
    let rabbit = "amqp://guest:secret@127.0.0.1:1//";
    let bare = homing.celery(rabbit).results("rpc://").start().await.map(drop).map_err(refused);
    let told = bare.unwrap_err();
    assert!(told.contains("127.0.0.1:1/ cannot be reached") && !told.contains("secret"), "{told}");
    let tls = homing
        .celery("amqps://guest@localhost//?sslcert=x")
        .start()
        .await
        .map(drop)
        .map_err(refused);
    assert!(tls.unwrap_err().contains("the broker is refused"));
    let rpc =
        homing.celery(&redis.url()).results("rpc://").start().await.map(drop).map_err(refused);
    assert!(rpc.unwrap_err().contains("`result_backend`"));
    let name = homing.celery(&redis.url()).name("a b").start().await.map(drop).map_err(refused);
    assert!(name.unwrap_err().contains("the bridge's name `a b`"));
    let queue = homing.celery(&redis.url()).queue("").start().await.map(drop).map_err(refused);
    assert!(queue.unwrap_err().contains("the queue ``"));
    let nobody = homing.celery("redis://127.0.0.1:1/0").start().await.map(drop).map_err(refused);
    assert!(nobody.unwrap_err().contains("127.0.0.1:1/0 cannot be reached"));
}

/// Fails until it is told that it may go on.
#[homing::task(kind = "h.flaky", retries = 1000, backoff = "100ms..100ms")]
async fn flaky(file: String) -> homing::Result<i64> {
    if std::fs::exists(&file).unwrap() { Ok(1) } else { Err(homing::Error::msg("not yet")) }
}

#[tokio::test]
async fn retries_within_homing_are_events() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    homing.worker().register(flaky).start().await.unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut heard = client.get_async_pubsub().await.unwrap();
    heard.psubscribe("/0.celeryev/task.*").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("go").display().to_string();
    redis.send("homing", &message("flaky", "h.flaky", [json!(file)])).await;
    let mut messages = heard.on_message();
    let mut next = async |wanted: &str| loop {
        let told = futures_util::StreamExt::next(&mut messages).await.unwrap();
        let body = Envelope::read(told.get_payload_bytes()).unwrap().bytes().unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let events = body.as_array().cloned().unwrap_or_else(|| vec![body]);
        if let Some(event) = events.into_iter().find(|event| event["type"] == wanted) {
            return event;
        }
    };
    let event = next("task-retried").await;
    assert_eq!(event["uuid"], "flaky");
    assert!(event["exception"].as_str().unwrap().contains("not yet"), "{event}");
    std::fs::write(&file, "").unwrap();
    assert_eq!(next("task-succeeded").await["uuid"], "flaky");
    assert_eq!(redis.result("flaky").await.result, json!(1));
    assert_eq!(homing.check().await.unwrap(), []);
}
