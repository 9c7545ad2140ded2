//! Results over `rpc://`: parents of homing's that wait for them, and callers that cannot be told.

use std::time::Duration;

use homing::{JobId, task};
use homing_celery::wire::{Signature, Status};
use homing_celery::{args, call, signature};
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::amqp::{asked, join, start};
use crate::rabbit::{Client, properties, shared, there};
use crate::tasks::parent;
use crate::world::{NEWEST, Redis, celery_worker, message, until};

/// One child in Celery.
#[task]
async fn one(page: u64) -> homing::Result<u64> {
    Ok(homing::spawn(call("c.page", args![page])).await?.await?)
}

/// A child that it does not want for long.
#[task]
async fn impatient() -> homing::Result<bool> {
    let child = homing::spawn(signature("c.page").terminate(true).call::<u64>()).await?;
    homing::signal::<bool>("enough").await?;
    child.abort();
    Ok(true)
}

#[tokio::test]
async fn results_over_rpc_wake_parents_before_during_and_after_the_park() {
    let url = shared("rpc");
    let client = Client::empty(&url, &["homing", "celery", "homing.celery.results"]).await;
    let (homing, bridge) = start(&url, "rpc://").await;
    homing.worker().register(one).start().await.unwrap();
    let mut jobs = Vec::new();
    for page in 0..3_u64 {
        let job = homing.submit(one(page)).await.unwrap();
        let (sent, body) = client.take("celery").await;
        assert_eq!(body[0], json!([page]));
        assert_eq!(sent.reply_to().as_ref().unwrap().as_str(), "homing.celery.results");
        jobs.push((job, sent.correlation_id().as_ref().unwrap().to_string()));
    }
    let send = |id: &str, status: &str, result: Value| {
        let body = json!({"task_id": id, "status": status, "result": result, "traceback": null, "children": []});
        let bears = properties(&json!({})).with_correlation_id(id.into());
        let client = &client;
        async move {
            client.push("homing.celery.results", body.to_string().as_bytes(), bears).await;
        }
    };
    // What is not for good, then twice, the second as another end: the first stands.
    let (first, id) = jobs.remove(0);
    send(&id, "STARTED", json!({"pid": 1})).await;
    send(&id, "SUCCESS", json!(10)).await;
    send(&id, "FAILURE", json!({"exc_type": "Late", "exc_message": [], "exc_module": "x"})).await;
    assert_eq!(first.outcome().await.unwrap(), 10);
    let (second, id) = jobs.remove(0);
    send(&id, "FAILURE", json!({"exc_type": "Gone", "exc_message": ["p"], "exc_module": "x"}))
        .await;
    let told = second.outcome().await.unwrap_err().to_string();
    assert!(told.contains("Gone: p"), "{told}");
    // While no bridge is there, it waits in our queue. Words for nobody are no fault.
    bridge.shutdown(Duration::from_secs(5)).await;
    let (third, id) = jobs.remove(0);
    until("nobody", || async {
        (client.counts("homing.celery.results").await.is_some_and(|(_, n)| n == 0)).then_some(())
    })
    .await;
    send("homing.nobody", "SUCCESS", json!(0)).await;
    client.push("homing.celery.results", b"\xff", BasicProperties::default()).await;
    send(&id, "SUCCESS", json!(12)).await;
    let _bridge = join(&homing, &url, "rpc://").await;
    assert_eq!(homing.job::<u64>(third.id()).outcome().await.unwrap(), 12);
    until("an empty queue", || async {
        (client.counts("homing.celery.results").await == Some((0, 1))).then_some(())
    })
    .await;
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test]
async fn an_aborted_child_is_revoked_by_a_broadcast() {
    let url = shared("abort");
    let client = Client::empty(&url, &["homing", "celery", "heard"]).await;
    client.hear("celery.pidbox", "heard").await;
    let (homing, _bridge) = start(&url, "rpc://").await;
    homing.worker().register(impatient).start().await.unwrap();
    let job = homing.submit(impatient()).await.unwrap();
    let (sent, _) = client.take("celery").await;
    let id = sent.correlation_id().as_ref().unwrap().to_string();
    homing.signal(job.id(), "enough", &true).await.unwrap();
    assert!(job.outcome().await.unwrap());
    let (_, command) = client.take("heard").await;
    assert_eq!(
        (&command["method"], &command["arguments"]["task_id"]),
        (&json!("revoke"), &json!(id))
    );
    assert_eq!(command["arguments"]["terminate"], json!(true));
}

#[tokio::test]
async fn what_is_revoked_or_cancelled_over_rpc_is_told() {
    let url = shared("started");
    let client = Client::empty(&url, &["homing", "client"]).await;
    client.declare("client", &[]).await;
    let (homing, bridge) = start(&url, "rpc://").await;
    until("the bridge to listen", || async {
        let names = homing_celery::ping(&url, Duration::from_secs(1)).await.unwrap();
        (names == ["homing@test"]).then_some(())
    })
    .await;
    // Before it has come.
    let command = json!({"method": "revoke", "arguments": {"task_id": ["early"]}});
    let bears = properties(&json!({"clock": 1, "expires": 0}));
    client.publish(("celery.pidbox", ""), command.to_string().as_bytes(), bears).await;
    // It hears commands in their order.
    let names = homing_celery::ping(&url, Duration::from_secs(1)).await.unwrap();
    assert_eq!(names, ["homing@test"]);
    client.send("homing", &asked("early", 1, 2)).await;
    let meta = client.result("client", "early").await;
    assert_eq!((meta.status, &meta.result["exc_message"]), (Status::Revoked, &json!(["revoked"])));
    // A job that one bridge took, and that is cancelled by a person while another is there.
    let mut parked = message("parked", "h.park", [json!("never")]);
    parked.reply_to = Some("client".to_owned());
    client.send("homing", &parked).await;
    let job = JobId::named("celery:parked");
    until("the job to be under way", || async {
        let view = homing.job::<Value>(job).view().await.ok()?;
        (view.counts.waiting == 2).then_some(())
    })
    .await;
    bridge.shutdown(Duration::from_secs(5)).await;
    let _bridge = join(&homing, &url, "rpc://").await;
    assert!(homing.cancel(job).by("ada").await.unwrap());
    let meta = client.result("client", "parked").await;
    assert_eq!(
        (meta.status, &meta.result["exc_message"]),
        (Status::Revoked, &json!(["terminated"]))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_workers_run_children_over_rpc() {
    let url = shared("calls");
    Client::empty(&url, &["homing", "celery", "homing.celery.results"]).await;
    let redis = Redis::beside(&url, true);
    let _celery = celery_worker(NEWEST, &redis);
    there(&url).await;
    let (homing, _bridge) = start(&url, "rpc://").await;
    assert_eq!(homing.submit(parent(200)).await.unwrap().outcome().await.unwrap(), 39_900);
}

/// What is refused is acknowledged, though its sender cannot be told: else its queue would stand still for it.
#[tokio::test]
async fn a_refused_message_whose_sender_cannot_be_told_holds_up_no_queue() {
    let url = shared("untold");
    let client = Client::empty(&url, &["homing", "client", "full"]).await;
    client.declare("client", &[]).await;
    let reject = AMQPValue::LongString("reject-publish".into());
    client
        .declare("full", &[("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", reject)])
        .await;
    client.push("full", b"", BasicProperties::default()).await;
    let (homing, _bridge) = start(&url, "rpc://").await;
    let headers = |id: &str| asked(id, 1, 2).header_values();
    // A name that AMQP has not; a queue that takes nothing; one that is known to be too large only as a job.
    let large = format!("[[1,\"{}\"],{{}},null]", "x".repeat(homing::limits::PAYLOAD - 100));
    for (id, reply_to, body) in [
        ("x".repeat(300).as_str(), "client", "{}"),
        ("full", "full", "{}"),
        ("large", "full", &large),
    ] {
        let bears = properties(&headers(id)).with_reply_to(reply_to.into());
        client.push("homing", body.as_bytes(), bears).await;
    }
    // The first may have been taken with them, and what is good is stored first. The second is taken after them.
    for id in ["good", "after"] {
        client.send("homing", &asked(id, 1, 2)).await;
        assert_eq!(client.result("client", id).await.result, json!(3));
    }
    assert_eq!(homing.check().await.unwrap(), []);
}

/// What RabbitMQ never takes is not sent again and again: the caller is told, and others are not kept waiting.
#[tokio::test]
async fn what_rabbit_cannot_carry_ends_its_job_and_no_connection() {
    let url = shared("carries");
    let client = Client::empty(&url, &["homing", "client"]).await;
    client.declare("client", &[]).await;
    let (homing, _bridge) = start(&url, "rpc://").await;
    let long = "x".repeat(300);
    let follows = |options: Value| -> Vec<Signature> {
        vec![serde_json::from_value(json!({"task": "c.count", "options": options})).unwrap()]
    };
    for (id, options, wanted) in [
        ("headers", json!({"headers": {"tenant": "x".repeat(200_000)}}), "the headers"),
        ("reply_to", json!({"reply_to": long}), "`reply_to`"),
    ] {
        let mut one = asked(id, 1, 2);
        one.embed.callbacks = follows(options);
        client.send("homing", &one).await;
        let meta = client.result("client", id).await;
        assert!(meta.result["exc_message"].to_string().contains(wanted), "{}", meta.result);
    }
    // A chain's next, which fails with it, and of which nobody can be told.
    let mut failing = message("chain", "h.add", [json!("no number")]);
    failing.embed.chain = follows(json!({"task_id": long, "reply_to": "client"}));
    client.send("homing", &failing).await;
    until("the job to fail", || async {
        let view = homing.job::<Value>(JobId::named("celery:chain")).view().await.ok()?;
        (view.status == homing::Status::Failed).then_some(())
    })
    .await;
    assert_eq!(homing.check().await.unwrap(), []);
}

/// Celery's clients start none where results are `rpc://`; one that believes they are elsewhere is told.
#[tokio::test]
async fn a_chord_over_rpc_is_refused_in_celerys_words() {
    let url = shared("rpc");
    let client = Client::empty(&url, &["homing", "client", "celery"]).await;
    client.declare("client", &[]).await;
    let (homing, _bridge) = start(&url, "rpc://").await;
    let mut member = asked("member", 1, 2);
    member.headers.group = Some("group".to_owned());
    member.embed.chord = Some(serde_json::from_value(json!({"task": "c.sum"})).unwrap());
    client.send("homing", &member).await;
    let meta = client.result("client", "member").await;
    assert_eq!(meta.result["exc_type"], "NotImplementedError");
    let told = meta.result["exc_message"][0].as_str().unwrap();
    assert!(told.starts_with("The \"rpc\" result backend does not support chords!"), "{told}");
    assert!(told.contains("`result_backend`"), "{told}");
    assert_eq!(homing.check().await.unwrap(), []);
}
