//! The bridge on RabbitMQ, beyond what Celery's clients see of it: hostile messages, those that come twice, queues that
//! are declared otherwise or go, and a server that is killed.

use std::time::Duration;

use homing::{Homing, JobId};
use homing_celery::wire::{Embed, Signature};
use homing_celery::{Bridge, Celery, check};
use lapin::options::QueueDeleteOptions;
use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::crash::dies_everywhere;
use crate::rabbit::{Client, Server, properties, shared, there};
use crate::tasks::{add, parent, park};
use crate::world::{NEWEST, Redis, celery_worker, message, until};

pub(crate) async fn start(url: &str, results: &str) -> (Homing, Bridge) {
    let homing = Homing::open("memory:").await.unwrap();
    let bridge = join(&homing, url, results).await;
    (homing, bridge)
}

pub(crate) async fn join(homing: &Homing, url: &str, results: &str) -> Bridge {
    homing.worker().register(add).register(park).register(parent).start().await.unwrap();
    let bridge = homing.celery(url).results(results).queue("homing").hostname("homing@test");
    bridge.look_every(Duration::from_secs(1)).start().await.unwrap()
}

pub(crate) fn asked(id: &str, x: i64, y: i64) -> homing_celery::wire::Message {
    let mut asked = message(id, "h.add", [json!(x), json!(y)]);
    asked.reply_to = Some("client".to_owned());
    asked
}

#[allow(clippy::too_many_lines, reason = "one table")]
#[tokio::test]
async fn hostile_messages_are_told_of_and_harm_nothing() {
    let url = shared("hostile");
    let client = Client::empty(&url, &["homing", "client"]).await;
    client.declare("client", &[]).await;
    let (homing, bridge) = start(&url, "rpc://").await;
    let good = |id: &str| asked(id, 1, 2);
    let bears = |id: &str| {
        let properties = properties(&good(id).header_values());
        properties.with_correlation_id(id.into()).with_reply_to("client".into())
    };
    let body = good("x").body().to_string();
    let deep = |n: usize| format!("[[{}{}],{{}},null]", "[".repeat(n), "]".repeat(n));
    let with = |id: &str, change: &dyn Fn(&mut Value)| {
        let mut headers = good(id).header_values();
        change(&mut headers);
        properties(&headers).with_correlation_id(id.into()).with_reply_to("client".into())
    };
    let told = [
        (
            "pickle",
            bears("pickle").with_content_type("application/x-python-serialize".into()),
            "\u{80}\u{2}".to_owned(),
            "`task_serializer",
        ),
        (
            "signed",
            bears("signed").with_content_type("application/data".into()),
            body.clone(),
            "`security_*`",
        ),
        ("utf16", bears("utf16").with_content_encoding("utf-16".into()), body.clone(), "UTF-8"),
        (
            "gzip",
            with("gzip", &|h| h["compression"] = json!("application/x-gzip")),
            body.clone(),
            "`task_compression`",
        ),
        ("proto1", with("proto1", &|h| *h = json!({})), body.clone(), "`task_protocol = 2`"),
        ("eta", with("eta", &|h| h["eta"] = json!("soon")), body.clone(), "`eta`"),
        ("type", with("type", &|h| h["retries"] = json!("three")), body.clone(), "a header"),
        (
            "limit",
            with("limit", &|h| h["timelimit"] = json!([-1, null])),
            body.clone(),
            "`timelimit`",
        ),
        ("array", bears("array"), "{}".to_owned(), "the body"),
        ("deep", bears("deep"), deep(5000), "nested"),
        ("large", bears("large"), "x".repeat(2_000_000), "2000000 bytes"),
        (
            "own",
            with("own", &|h| h["task"] = json!("homing.celery.entry")),
            body.clone(),
            "homing.celery.entry",
        ),
    ];
    // Nobody waits for these, and nobody can be told. They are more than the server hands over unacknowledged.
    for _ in 0..300 {
        client.push("homing", b"", lapin::BasicProperties::default()).await;
    }
    client.push("homing", b"\xff\xfe\0", lapin::BasicProperties::default()).await;
    for (_, properties, body, _) in &told {
        client.push("homing", body.as_bytes(), properties.clone()).await;
    }
    client.send("homing", &good("good")).await;
    let mut left: Vec<_> = told.iter().map(|(id, .., wanted)| (*id, *wanted)).collect();
    while !left.is_empty() {
        let (properties, body) = client.take("client").await;
        let id = properties.correlation_id().as_ref().unwrap().to_string();
        let Some(at) = left.iter().position(|(known, _)| *known == id) else {
            assert_eq!((id.as_str(), &body["result"]), ("good", &json!(3)));
            continue;
        };
        let (_, wanted) = left.remove(at);
        assert_eq!(body["status"], json!("FAILURE"), "{id}");
        assert!(body["result"]["exc_message"].to_string().contains(wanted), "{id}: {body}");
    }
    client.send("homing", &good("after")).await;
    assert_eq!(client.result("client", "after").await.result, json!(3));
    // What was not acknowledged would be back in the queue once its consumer has gone.
    bridge.shutdown(Duration::from_secs(5)).await;
    let gone = || async { client.counts("homing").await.filter(|(_, consumers)| *consumers == 0) };
    assert_eq!(until("the consumer to go", gone).await, (0, 0));
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test]
async fn a_message_that_comes_twice_is_one_job() {
    let url = shared("twice");
    let client = Client::empty(&url, &["homing", "client", "celery"]).await;
    client.declare("client", &[]).await;
    let (homing, _bridge) = start(&url, "rpc://").await;
    let mut twice = asked("twice", 1, 2);
    let count: Signature = serde_json::from_value(json!({"task": "c.count"})).unwrap();
    twice.embed = Embed { callbacks: vec![count], ..Embed::default() };
    client.send("homing", &twice).await;
    assert_eq!(client.result("client", "twice").await.result, json!(3));
    client.send("homing", &twice).await;
    // Other arguments under the same id: the first stands.
    client.send("homing", &asked("twice", 5, 5)).await;
    client.send("homing", &asked("after", 0, 0)).await;
    client.result("client", "after").await;
    let (callback, _) = client.take("celery").await;
    assert_eq!(
        callback.reply_to().as_ref().unwrap().as_str(),
        "client",
        "who waits for the first waits on"
    );
    assert_eq!(client.counts("celery").await, Some((0, 0)), "one callback");
    let job = homing.job::<Value>(JobId::named("celery:twice")).view().await.unwrap();
    assert_eq!((job.counts.succeeded, job.title.as_deref()), (2, Some("h.add")));
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test]
async fn queues_are_taken_as_they_are_or_as_the_url_says() {
    let url = shared("queues");
    let client = Client::empty(&url, &["homing", "plain", "ranked", "client", "new"]).await;
    client.declare("client", &[]).await;
    let homing = Homing::open("memory:").await.unwrap();
    homing.worker().register(add).concurrency(1).start().await.unwrap();
    // As the application has declared them.
    let lazy = [("x-max-length", AMQPValue::LongInt(1000))];
    client.declare("plain", &lazy).await;
    client.declare("ranked", &[("x-max-priority", AMQPValue::LongInt(10))]).await;
    let refused = |options: &'static str, queue: &'static str| {
        let bridge = homing.celery(&format!("{url}?{options}")).results("rpc://").queue(queue);
        async move { bridge.start().await.map(drop).unwrap_err().to_string() }
    };
    let told = refused("queue_type=quorum", "plain").await;
    assert!(told.contains("`plain`") && told.contains("`queue_type`"), "{told}");
    assert!(told.contains("x-queue-type"), "{told}");
    let told = refused("max_priority=5", "ranked").await;
    assert!(told.contains("x-max-priority") && !told.contains("guest:"), "{told}");
    // The highest priority goes first: they wait in the queue until somebody serves it.
    for priority in [0, 9, 5] {
        let mut one = asked(&format!("p{priority}"), 0, priority);
        one.priority = priority as u8;
        client.send("ranked", &one).await;
    }
    let bridge = homing.celery(&url).results("rpc://").queue("plain").queue("ranked");
    // One at a time, so that the order shows.
    let bridge = bridge.concurrency(1).start().await.unwrap();
    for wanted in [9, 5, 0] {
        assert_eq!(client.take("client").await.1["result"], json!(wanted));
    }
    client.send("plain", &asked("plain", 1, 2)).await;
    assert_eq!(client.result("client", "plain").await.result, json!(3));
    for (queue, consumers) in [("plain", 1), ("ranked", 1)] {
        let counts = client.counts(queue).await;
        assert_eq!(counts.map(|(_, consumers)| consumers), Some(consumers), "{queue}");
    }
    bridge.shutdown(Duration::from_secs(5)).await;
    // What is not there is declared, with its exchange: senders that use that arrive too.
    let quorum = homing.celery(&format!("{url}?queue_type=quorum")).results("rpc://").queue("new");
    let _quorum = quorum.start().await.unwrap();
    let sent = asked("exchange", 2, 2);
    let bears = properties(&sent.header_values()).with_reply_to("client".into());
    client.publish(("new", "new"), sent.body().to_string().as_bytes(), bears).await;
    assert_eq!(client.result("client", "exchange").await.result, json!(4));
    let plain = homing.celery(&format!("{url}?queue_type=classic")).results("rpc://").queue("new");
    let told = plain.start().await.map(drop).unwrap_err().to_string();
    assert!(told.contains("x-queue-type"), "{told}");
}

#[tokio::test]
async fn a_queue_that_is_deleted_is_declared_again() {
    let url = shared("gone");
    let client = Client::empty(&url, &["homing", "client", "elsewhere"]).await;
    client.declare("client", &[]).await;
    let (homing, _bridge) = start(&url, "rpc://").await;
    client.send("homing", &asked("one", 1, 2)).await;
    client.result("client", "one").await;
    client.channel.queue_delete("homing".into(), QueueDeleteOptions::default()).await.unwrap();
    until("a consumer", || async { (client.counts("homing").await == Some((0, 1))).then_some(()) })
        .await;
    // A callback for a queue that nobody has declared, then for the same one once it was deleted.
    for id in ["two", "three"] {
        let mut two = asked(id, 1, 2);
        let next = json!({"task": "c.count", "options": {"queue": "elsewhere"}});
        two.embed.callbacks = vec![serde_json::from_value(next).unwrap()];
        client.send("homing", &two).await;
        assert_eq!(client.result("client", id).await.result, json!(3));
        assert_eq!(client.take("elsewhere").await.1[0], json!([3]));
        client
            .channel
            .queue_delete("elsewhere".into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    }
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_comes_back_to_everything() {
    const MESSAGES: i64 = 400;
    let mut server = Server::start();
    let redis = Redis::beside(&server.url(), false);
    let client = Client::connect(&server.url()).await;
    let (homing, _bridge) = start(&server.url(), &redis.results()).await;
    for n in 0..MESSAGES {
        client.send("homing", &asked(&format!("n{n}"), n, 1)).await;
        if n == MESSAGES / 2 {
            redis.result("n0").await;
        }
    }
    server.kill();
    server.run();
    for n in 0..MESSAGES {
        assert_eq!(redis.result(&format!("n{n}")).await.result, json!(n + 1), "n{n}");
    }
    let client = Client::connect(&server.url()).await;
    client.send("homing", &asked("after", 3, 4)).await;
    assert_eq!(redis.result("after").await.result, json!(7));
    // It listens to commands again, too.
    let again = until("an answer", || async {
        let names = homing_celery::ping(&server.url(), Duration::from_secs(1)).await.ok()?;
        (!names.is_empty()).then_some(names)
    });
    assert_eq!(again.await, ["homing@test"]);
    let counts = homing.job::<Value>(JobId::named("celery:n0")).view().await.unwrap().counts;
    assert_eq!(counts.succeeded, 2, "the message and the task, once");
    assert_eq!(homing.check().await.unwrap(), []);
}

/// Another bridge's process takes over at each point, as on Redis. A message that RabbitMQ has confirmed and that was
/// not noted yet when the process died goes out again under its id: nothing is sent more often, and nothing never.
#[test]
fn whenever_it_dies_each_effect_happens() {
    let url = shared("crash");
    let redis = Redis::beside(&url, false);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Client::empty(&url, &["homing", "celery"]));
    let _celery = celery_worker(NEWEST, &redis);
    runtime.block_on(there(&url));
    dies_everywhere(&redis, &["1", "2"]);
}

#[tokio::test]
async fn an_application_is_looked_at() {
    let url = shared("checks");
    Client::empty(&url, &["homing", "celery"]).await;
    let redis = Redis::beside(&url, true);
    let _celery = celery_worker(NEWEST, &redis);
    there(&url).await;
    let (_homing, _bridge) = start(&url, "rpc://").await;
    let findings = check(&url, Duration::from_secs(3)).await.unwrap();
    let of = |subject: &str| {
        let found = findings.iter().filter(move |finding| finding.subject == subject);
        found.map(|finding| finding.text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("homing@test"), ["a bridge of homing's"]);
    let celery = of("celery@test");
    assert!(celery[0] == "the bridge works with it" && celery[1].contains("rpc://"), "{celery:?}");
    assert!(findings.iter().all(|finding| !finding.text.contains("guest")), "{findings:?}");
}
