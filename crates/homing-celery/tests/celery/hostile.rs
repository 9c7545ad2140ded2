//! Messages with headers that would end the library which reads them: nested as deep as a frame of RabbitMQ's allows,
//! or no headers at all. Sent as frames by hand, since no library of AMQP's sends them.

use homing::task;
use homing_celery::wire::Meta;
use homing_celery::{args, call, ping};
use serde_json::{Value, json};
use std::time::Duration;

use crate::amqp::{asked, start};
use crate::frames::{Frames, arrays, long, short};
use crate::rabbit::{Client, properties, shared};

/// RabbitMQ's `frame_max`, less what the frame has besides the header that is nested.
const FRAME: usize = 131_072 - 300;
const HEADERS: u16 = 1 << 13;
const CORRELATION: u16 = 1 << 10;
const REPLY: u16 = 1 << 9;

fn header(name: &[u8], value: &[u8]) -> Vec<u8> {
    [short(name).as_slice(), value].concat()
}

fn text(text: &str) -> Vec<u8> {
    [b"S".as_slice(), &long(text.as_bytes())].concat()
}

/// Properties of a message of this id: headers, `correlation_id` and `reply_to`.
fn bears(id: &str, more: &[Vec<u8>]) -> (u16, Vec<u8>) {
    let own = [header(b"id", &text(id)), header(b"task", &text("h.add"))].concat();
    let table = long(&[own, more.concat()].concat());
    (HEADERS | CORRELATION | REPLY, [table, short(id.as_bytes()), short(b"client")].concat())
}

#[task(kind = "h.one")]
async fn one(page: u64) -> homing::Result<u64> {
    Ok(homing::spawn(call("c.page", args![page])).await?.await?)
}

/// One after the other, beside good ones: each is told of, and what follows is served by the same connections.
#[tokio::test]
async fn headers_nested_as_deep_as_a_frame_allows_harm_nothing() {
    let url = shared("nested");
    let queues = ["homing", "client", "celery", "homing.celery.results"];
    let client = Client::empty(&url, &queues).await;
    client.declare("client", &[]).await;
    let (homing, _bridge) = start(&url, "rpc://").await;
    homing.worker().register(one).start().await.unwrap();
    let mut frames = Frames::connect(&url);
    let deep = arrays(FRAME / 5);
    let body = asked("x", 1, 2).body().to_string();
    let last = |at: &str| asked(at, 1, 2);
    let told = async |id: &str| -> Meta { client.result("client", id).await };

    // A task's message.
    for (id, odd, wanted) in [
        ("deep", header(b"tenant", &deep), "`tenant` is nested deeper than 100 levels"),
        ("named", header(b"\xff", b"V"), "no UTF-8"),
    ] {
        let (flags, bytes) = bears(id, &[odd]);
        frames.publish(("", "homing"), (flags, &bytes), body.as_bytes());
        let meta = told(id).await;
        assert_eq!(meta.result["exc_type"], json!("InvalidTaskError"), "{id}");
        assert!(meta.result["exc_message"][0].as_str().unwrap().contains(wanted), "{meta:?}");
    }
    client.send("homing", &last("after")).await;
    assert_eq!(told("after").await.result, json!(3));
    // What is deep, and not too deep, is a header as any other.
    let (flags, bytes) = bears("flat", &[header(b"tenant", &arrays(90))]);
    frames.publish(("", "homing"), (flags, &bytes), body.as_bytes());
    assert_eq!(told("flat").await.result, json!(3));

    // A result for a parent of homing's: its headers say nothing.
    for page in [7_u64, 8] {
        let job = homing.submit(one(page)).await.unwrap();
        let (sent, _) = client.take("celery").await;
        let id = sent.correlation_id().as_ref().unwrap().to_string();
        let result = json!({"task_id": id, "status": "SUCCESS", "result": page});
        if page == 7 {
            let (flags, bytes) = bears(&id, &[header(b"tenant", &deep)]);
            let to = ("", "homing.celery.results");
            frames.publish(to, (flags, &bytes), result.to_string().as_bytes());
        } else {
            let bears = properties(&json!({})).with_correlation_id(id.as_str().into());
            client.push("homing.celery.results", result.to_string().as_bytes(), bears).await;
        }
        assert_eq!(job.outcome().await.unwrap(), page);
    }

    // A command to all workers.
    let command = json!({"method": "ping", "arguments": {}}).to_string();
    let (flags, bytes) = bears("command", &[header(b"tenant", &deep)]);
    frames.publish(("celery.pidbox", ""), (flags, &bytes), command.as_bytes());
    assert_eq!(ping(&url, Duration::from_secs(1)).await.unwrap(), ["homing@test"]);

    for (queue, consumers) in [("homing", 1), ("homing.celery.results", 1)] {
        assert_eq!(
            client.counts(queue).await,
            Some((0, consumers)),
            "{queue}: nothing comes again"
        );
    }
    let job = homing.job::<Value>(homing::JobId::named("celery:deep")).view().await;
    assert!(job.is_err(), "nothing of it was run");
    assert_eq!(homing.check().await.unwrap(), []);
}
