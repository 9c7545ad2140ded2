//! Cancelled in homing, heard in Celery: at once, without a look, also when no bridge was there. The store records with
//! each such end what is left to do.

use std::time::Duration;

use homing::{Homing, JobHandle, JobId, TaskState};
use homing_celery::wire::Status;
use homing_celery::{Bridge, Celery, args, call};
use serde_json::{Value, json};

use crate::rabbit::{Client, shared};
use crate::tasks::park;
use crate::world::{Redis, message, until};

/// A bridge whose next look is an hour away.
async fn join(homing: &Homing, url: &str, results: &str) -> Bridge {
    let bridge = homing.celery(url).results(results).queue("homing").hostname("homing@test");
    bridge.look_every(Duration::from_hours(1)).start().await.unwrap()
}

async fn store() -> Homing {
    let homing = Homing::open("memory:").await.unwrap();
    homing.worker().register(park).start().await.unwrap();
    homing
}

/// A task that Celery has called, once it waits.
async fn parked(homing: &Homing, id: &str) -> JobId {
    let job = JobId::named(&format!("celery:{id}"));
    until("the job to be under way", || async {
        let view = homing.job::<Value>(job).view().await.ok()?;
        (view.counts.waiting == 2).then_some(())
    })
    .await;
    job
}

const REVOKED: (Status, &str) = (Status::Revoked, "[\"terminated\"]");

#[tokio::test]
async fn a_caller_hears_of_a_cancel_at_once() {
    let redis = Redis::start();
    let homing = store().await;
    let bridge = join(&homing, &redis.url(), &redis.url()).await;
    for id in ["there", "away"] {
        redis.send("homing", &message(id, "h.park", [json!(id)])).await;
    }
    let (there, away) = (parked(&homing, "there").await, parked(&homing, "away").await);
    assert!(homing.cancel(there).by("ada").await.unwrap());
    let meta = redis.result("there").await;
    assert_eq!((meta.status, meta.result["exc_message"].to_string().as_str()), REVOKED);
    bridge.shutdown(Duration::from_secs(5)).await;
    assert!(homing.cancel(away).by("ada").await.unwrap());
    let _bridge = join(&homing, &redis.url(), &redis.url()).await;
    let meta = redis.result("away").await;
    assert_eq!((meta.status, meta.result["exc_message"].to_string().as_str()), REVOKED);
    until("an empty register", || async {
        (redis.cli(&["ZCARD", "homing:celery:in"]) == "0").then_some(())
    })
    .await;
    assert_eq!(homing.check().await.unwrap(), []);
}

/// Where nothing of the bridge's outlives it but the store.
#[tokio::test]
async fn a_caller_over_rpc_hears_of_a_cancel_at_once() {
    let url = shared("cancel");
    let client = Client::empty(&url, &["homing", "client"]).await;
    client.declare("client", &[]).await;
    let homing = store().await;
    let bridge = join(&homing, &url, "rpc://").await;
    for id in ["there", "away"] {
        let mut one = message(id, "h.park", [json!(id)]);
        one.reply_to = Some("client".to_owned());
        client.send("homing", &one).await;
    }
    let (there, away) = (parked(&homing, "there").await, parked(&homing, "away").await);
    assert!(homing.cancel(there).by("ada").await.unwrap());
    let meta = client.result("client", "there").await;
    assert_eq!((meta.status, meta.result["exc_message"].to_string().as_str()), REVOKED);
    bridge.shutdown(Duration::from_secs(5)).await;
    assert!(homing.cancel(away).by("ada").await.unwrap());
    let _bridge = join(&homing, &url, "rpc://").await;
    let meta = client.result("client", "away").await;
    assert_eq!((meta.status, meta.result["exc_message"].to_string().as_str()), REVOKED);
    assert_eq!(homing.check().await.unwrap(), []);
}

/// A call that has been sent, and waits.
async fn called(homing: &Homing, client: &Client) -> (JobHandle<u64>, String) {
    let job = homing.submit(call::<u64>("c.page", args![1])).await.unwrap();
    let (sent, _) = client.take("celery").await;
    until("the call to wait", || async {
        let view = homing.task(job.id()).await.unwrap();
        (view.state == TaskState::Waiting).then_some(())
    })
    .await;
    (job, sent.correlation_id().as_ref().unwrap().to_string())
}

#[tokio::test]
async fn celery_hears_of_a_cancel_at_once() {
    let url = shared("cancel-out");
    let client = Client::empty(&url, &["homing", "celery", "heard"]).await;
    client.hear("celery.pidbox", "heard").await;
    let homing = store().await;
    let bridge = join(&homing, &url, "rpc://").await;
    let (there, there_id) = called(&homing, &client).await;
    let (away, away_id) = called(&homing, &client).await;
    let revoked = async |id: &str| {
        let (_, command) = client.take("heard").await;
        let wanted = (&json!("revoke"), &json!(id));
        assert_eq!((&command["method"], &command["arguments"]["task_id"]), wanted);
    };
    assert!(there.cancel().by("ada").await.unwrap());
    revoked(&there_id).await;
    bridge.shutdown(Duration::from_secs(5)).await;
    assert!(away.cancel().by("ada").await.unwrap());
    let _bridge = join(&homing, &url, "rpc://").await;
    revoked(&away_id).await;
    assert_eq!(homing.check().await.unwrap(), []);
}
