//! Kills at random moments, under load: of the bridge's process, of Redis, of both. Afterwards every caller has been told
//! one outcome, every callback and every body of a chord was sent once, and nothing is pending.
//!
//! The seed is printed; `HOMING_CELERY_SEED` repeats one. On RabbitMQ the server that all tests share lives on
//! (`amqp::a_server_that_is_killed_under_load_comes_back_to_everything` kills one of its own).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use homing_celery::wire::{Embed, Envelope, Message, Meta, Signature};
use serde_json::{Value, json};

use crate::crash::bridge;
use crate::rabbit::{Client, shared};
use crate::world::{Process, Redis, message, success, until};

/// Rounds of load and a kill.
const ROUNDS: u64 = 8;

#[expect(clippy::print_stdout, reason = "whoever repeats a failure needs it")]
fn seeded() -> fastrand::Rng {
    let seed = std::env::var("HOMING_CELERY_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("HOMING_CELERY_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Lets a moment pass that only chance knows: where the kill after it comes is what these tests are about.
async fn a_moment(chance: &mut fastrand::Rng, most: u64) {
    tokio::time::sleep(Duration::from_millis(chance.u64(..most))).await;
}

fn signature(value: Value) -> Signature {
    serde_json::from_value(value).unwrap()
}

/// A round's messages: some with a callback, two chords of three, and a parent whose children run in Celery.
fn load(round: u64) -> Vec<Message> {
    let mut all = Vec::new();
    for n in 0..6 {
        let mut one = message(&format!("one-{round}-{n}"), "h.add", [json!(round), json!(n)]);
        let next = signature(
            json!({"task": "c.next", "options": {"task_id": format!("next-{round}-{n}")}}),
        );
        one.embed = Embed { callbacks: vec![next], ..Embed::default() };
        all.push(one);
    }
    for chord in 0..2 {
        for n in 0..3_u64 {
            let id = format!("member-{round}-{chord}-{n}");
            let mut member = message(&id, "h.add", [json!(n), json!(1)]);
            member.headers.group = Some(format!("group-{round}-{chord}"));
            member.headers.group_index = Some(n);
            let body =
                json!({"task": "c.body", "options": {"task_id": format!("body-{round}-{chord}")}});
            member.embed.chord = Some(signature(body));
            all.push(member);
        }
    }
    all.push(message(&format!("parent-{round}"), "h.parent", [json!(3)]));
    all
}

/// What must have gone out to Celery: each once.
fn wanted(rounds: u64) -> Vec<String> {
    let next = |round| (0..6).map(move |n| format!("next-{round}-{n}"));
    let bodies = |round| (0..2).map(move |chord| format!("body-{round}-{chord}"));
    (0..rounds).flat_map(|round| next(round).chain(bodies(round))).collect()
}

/// Everything that lies in Celery's queue: nobody takes anything from it.
async fn sent(
    connection: &mut redis::aio::MultiplexedConnection,
) -> redis::RedisResult<Vec<Message>> {
    let all: Vec<Vec<u8>> =
        redis::cmd("LRANGE").arg("celery").arg(0).arg(-1).query_async(connection).await?;
    Ok(all.iter().map(|text| Envelope::read(text).unwrap().message().unwrap()).collect())
}

/// Plays a worker of Celery's: what homing's parents wait for gets its result, again and again, whatever is killed. The
/// list keeps all messages, to be counted in the end, so nothing wakes who looks into it.
async fn answers(url: String) {
    loop {
        // It ends with the server's death.
        let _ = answer_until_it_dies(&url).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn answer_until_it_dies(url: &str) -> redis::RedisResult<Infallible> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    loop {
        for one in sent(&mut connection).await? {
            if one.headers.task == "c.add" {
                let key = format!("celery-task-meta-{}", one.headers.id);
                let text = success(&json!(7));
                redis::cmd("SET").arg(&key).arg(&text).exec_async(&mut connection).await?;
                redis::cmd("PUBLISH").arg(&key).arg(&text).exec_async(&mut connection).await?;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_of_bridge_and_redis() {
    let mut chance = seeded();
    let mut redis = Redis::start();
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let answering = tokio::spawn(answers(redis.url()));
    let mut process: Option<Process> = Some(bridge(&store, &redis, ""));
    for round in 0..ROUNDS {
        for group in 0..2 {
            redis.cli(&["SET", &format!("celery-taskset-meta-group-{round}-{group}.s"), "3"]);
        }
        for message in load(round) {
            redis.send("homing", &message).await;
        }
        a_moment(&mut chance, 700).await;
        let what = chance.u64(..3);
        if what != 1 {
            drop(process.take());
        }
        if what != 0 {
            redis.kill();
            a_moment(&mut chance, 300).await;
            redis.run();
        }
        if process.is_none() {
            process = Some(bridge(&store, &redis, ""));
        }
    }
    for round in 0..ROUNDS {
        for one in load(round) {
            let (id, task) = (&one.headers.id, one.headers.task.as_str());
            let meta = redis.result(id).await;
            let value = if task == "h.parent" {
                json!(21)
            } else {
                json!(one.args.iter().filter_map(Value::as_i64).sum::<i64>())
            };
            assert_eq!(meta.result, value, "{id}: {meta:?}");
        }
    }
    let mut connection = redis.connect().await;
    let everything = wanted(ROUNDS);
    let mut counts = BTreeMap::<String, u32>::new();
    until("everything to be sent", || {
        let mut connection = connection.clone();
        let everything = &everything;
        async move {
            let all = sent(&mut connection).await.unwrap();
            let is_there = |id: &String| all.iter().any(|one| one.headers.id == *id);
            everything.iter().all(is_there).then_some(())
        }
    })
    .await;
    for one in sent(&mut connection).await.unwrap() {
        *counts.entry(one.headers.id).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(counts.len(), everything.len() + 3 * ROUNDS as usize, "and the parents' children");
    drop(process);
    answering.abort();
    let homing = homing::Homing::open(&store).await.unwrap();
    assert_eq!(homing.check().await.unwrap(), []);
}

/// RabbitMQ cannot note that it was sent with what is sent: a kill between the two sends it again, under its id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_of_the_bridge_on_rabbit() {
    let mut chance = seeded();
    let url = shared("seeded");
    let redis = Redis::beside(&url, false);
    let client = Client::empty(&url, &["homing", "celery"]).await;
    client.declare("homing", &[]).await;
    client.declare("celery", &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("jobs.db").display());
    let mut process = bridge(&store, &redis, "");
    for round in 0..ROUNDS {
        for group in 0..2 {
            redis.cli(&["SET", &format!("celery-taskset-meta-group-{round}-{group}.s"), "3"]);
        }
        for message in load(round) {
            if message.headers.task != "h.parent" {
                client.send("homing", &message).await;
            }
        }
        a_moment(&mut chance, 700).await;
        drop(std::mem::replace(&mut process, bridge(&store, &redis, "")));
    }
    for round in 0..ROUNDS {
        for one in load(round).iter().filter(|one| one.headers.task != "h.parent") {
            let meta: Meta = redis.result(&one.headers.id).await;
            let value = json!(one.args.iter().filter_map(Value::as_i64).sum::<i64>());
            assert_eq!(meta.result, value, "{}: {meta:?}", one.headers.id);
        }
    }
    let mut counts = BTreeMap::<String, u32>::new();
    let everything = wanted(ROUNDS);
    while everything.iter().any(|id| !counts.contains_key(id)) {
        let (bears, _) = client.take("celery").await;
        *counts.entry(bears.correlation_id().as_ref().unwrap().to_string()).or_default() += 1;
    }
    assert_eq!(counts.len(), everything.len());
    assert!(counts.values().all(|count| *count <= 2), "{counts:?}");
    drop(process);
    let homing = homing::Homing::open(&store).await.unwrap();
    assert_eq!(homing.check().await.unwrap(), []);
}
