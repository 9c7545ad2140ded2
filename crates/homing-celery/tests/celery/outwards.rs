//! A parent of homing's that waits for Celery's tasks: the test plays Celery's worker, or lets a real one run.

use std::time::Duration;

use futures_util::StreamExt;
use homing::{Homing, JoinSet, task};
use homing_celery::wire::Command;
use homing_celery::{Bridge, Celery, Raised, args, call, signature};
use serde_json::{Value, json};

use crate::tasks::parent;
use crate::world::{NEWEST, Redis, celery_worker, failure, success, until};

/// One child in Celery, its end in words.
#[task]
async fn one(page: u64) -> homing::Result<String> {
    let child = homing::spawn(call::<u64>("c.page", args![page])).await?;
    Ok(match child.await {
        Ok(rows) => format!("{rows} rows"),
        Err(error) => {
            let failure = error.failure().ok_or("no failure")?;
            match Raised::of(failure) {
                Some(raised) => format!("{raised} | {} {}", raised.exc_module, raised.task),
                None => failure.message.clone(),
            }
        }
    })
}

/// A child that it does not want for long.
#[task]
async fn impatient() -> homing::Result<bool> {
    let call = signature("c.page").args(args![1]).terminate(true).call::<u64>();
    let child = homing::spawn(call).await?;
    homing::signal::<bool>("enough").await?;
    child.abort();
    Ok(true)
}

/// A child of which nothing will be heard.
#[task]
async fn lost() -> homing::Result<()> {
    let call = signature("c.page").lost_after(Duration::from_secs(1)).call::<u64>();
    homing::spawn(call).await?.await?;
    Ok(())
}

/// A child with an argument that cannot be JSON.
#[task]
async fn odd() -> homing::Result<()> {
    homing::spawn(call::<u64>(
        "c.page",
        args![f64::NAN, [(vec![1], 2)].into_iter().collect::<std::collections::BTreeMap<_, _>>()],
    ))
    .await?
    .await?;
    Ok(())
}

/// Everything that a child can be told.
#[task]
async fn options() -> homing::Result<u64> {
    let call = signature("c.page")
        .args(args![1])
        .kwarg("tenant", "a")
        .queue("fast")
        .priority(3)
        .expires(Duration::from_mins(1))
        .time_limit(Duration::from_secs(9));
    let mut set = JoinSet::new();
    set.spawn(call.call::<u64>()).await?;
    Ok(set.join_all().await?.iter().sum())
}

async fn start(redis: &Redis) -> (Homing, Bridge) {
    let homing = Homing::open("memory:").await.unwrap();
    let worker = homing.worker().register(one).register(impatient).register(lost);
    // One slot: a parent that held it would keep the next from starting.
    worker.register(odd).register(options).concurrency(1).start().await.unwrap();
    let bridge = homing.celery(&redis.url()).look_every(Duration::from_secs(1));
    let bridge = bridge.start().await.unwrap();
    (homing, bridge)
}

async fn listed(redis: &Redis) -> Vec<String> {
    let mut connection = redis.connect().await;
    let mut listed = redis::cmd("ZRANGE");
    listed.arg("homing:celery:out").arg(0).arg(-1);
    listed.query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn parents_hold_no_slot_and_are_woken_by_results() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let mut jobs = Vec::new();
    for page in 0..3 {
        jobs.push(homing.submit(one(page)).await.unwrap());
    }
    // All three have sent their messages over one slot, and all wait.
    let mut messages = Vec::new();
    for _ in 0..3 {
        messages.push(redis.take("celery").await);
    }
    for message in &messages {
        let id = &message.headers.id;
        assert!(id.starts_with("homing.") && id.len() <= 155, "{id}");
        assert_eq!((message.headers.ignore_result, message.headers.retries), (Some(false), 0));
        redis.put(id, &success(&json!(message.args[0].as_u64().unwrap() + 10)), true).await;
    }
    for (page, job) in jobs.into_iter().enumerate() {
        assert_eq!(job.outcome().await.unwrap(), format!("{} rows", page + 10));
    }
    until("an empty register", || async { listed(&redis).await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_result_whose_word_was_lost_is_found_by_a_look() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let job = homing.submit(one(1)).await.unwrap();
    let message = redis.take("celery").await;
    redis.put(&message.headers.id, &success(&json!(5)), false).await;
    // The body's own look, the last net, would come after two minutes.
    let outcome = tokio::time::timeout(Duration::from_mins(1), job.outcome()).await;
    assert_eq!(outcome.unwrap().unwrap(), "5 rows");
}

/// What was told while no bridge ran is found as soon as one listens, however far away the next look is.
#[tokio::test]
async fn a_bridge_that_starts_finds_what_was_told_before() {
    let redis = Redis::start();
    let homing = Homing::open("memory:").await.unwrap();
    homing.worker().register(one).start().await.unwrap();
    let start = || homing.celery(&redis.url()).look_every(Duration::from_mins(30)).start();
    let first = start().await.unwrap();
    let job = homing.submit(one(1)).await.unwrap();
    let message = redis.take("celery").await;
    first.shutdown(Duration::from_secs(5)).await;
    redis.put(&message.headers.id, &success(&json!(5)), true).await;
    let _second = start().await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_mins(1), job.outcome()).await;
    assert_eq!(outcome.unwrap().unwrap(), "5 rows");
}

#[tokio::test]
async fn the_first_end_that_is_heard_stands() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let job = homing.submit(one(1)).await.unwrap();
    let id = redis.take("celery").await.headers.id;
    let started = json!({"status": "STARTED", "result": {"pid": 1}, "task_id": id}).to_string();
    redis.put(&id, &started, true).await;
    redis.put(&id, &json!({"status": "RETRY", "result": null}).to_string(), true).await;
    redis.put(&id, &failure("PageGone", "gone"), true).await;
    redis.put(&id, &success(&json!(5)), true).await;
    redis.put(&id, &success(&json!(5)), true).await;
    let text = job.outcome().await.unwrap();
    assert_eq!(text, "PageGone: gone | shop.errors c.page");
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test]
async fn results_that_cannot_be_taken_fail_with_what_to_do() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let large = success(&json!("x".repeat(2_000_000)));
    let deep = success(&Value::Null)
        .replace("\"result\":null", &format!("\"result\":{}{}", "[".repeat(110), "]".repeat(110)));
    for (text, told) in [
        (deep.as_str(), "nested"),
        (large.as_str(), "return the key or the path"),
        ("\0celery-compressed\0application/x-gzip\0zz", "`result_compression`"),
        (
            success(&json!(0)).replace(":0,", ":-9223372036854775809,").leak(),
            "-9223372036854775809",
        ),
        ("not JSON", "`result_serializer = \"json\"`"),
    ] {
        let job = homing.submit(one(1)).await.unwrap();
        let id = redis.take("celery").await.headers.id;
        redis.put(&id, text, true).await;
        let said = job.outcome().await.unwrap();
        assert!(said.contains(told) && said.contains(&format!("celery-task-meta-{id}")), "{said}");
    }
}

#[tokio::test]
async fn silence_ends() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let job = homing.submit(lost()).await.unwrap();
    let id = redis.take("celery").await.headers.id;
    let error = job.outcome().await.unwrap_err().to_string();
    assert!(
        error.contains("lost: ") && error.contains(&id) && error.contains("may have run"),
        "{error}"
    );
}

/// A retry of the job sends the task again, under another id; what is still heard of the first is nothing to it.
#[tokio::test]
async fn a_retried_job_sends_its_failed_task_again() {
    /// It falls with its child.
    #[task]
    async fn falling() -> homing::Result<u64> {
        Ok(homing::spawn(call::<u64>("c.page", args![1])).await?.await?)
    }
    let redis = Redis::start();
    let homing = Homing::open("memory:").await.unwrap();
    homing.worker().register(falling).start().await.unwrap();
    let _bridge = homing.celery(&redis.url()).start().await.unwrap();
    let job = homing.submit(falling()).await.unwrap();
    let first = redis.take("celery").await.headers.id;
    redis.put(&first, &failure("PageGone", "gone"), true).await;
    let error = job.outcome().await.unwrap_err().to_string();
    assert!(error.contains("PageGone: gone"), "{error}");
    job.retry().await.unwrap();
    let second = redis.take("celery").await.headers.id;
    assert_eq!(second, format!("{first}~1"));
    redis.put(&first, &success(&json!(1)), true).await;
    redis.put(&second, &success(&json!(2)), true).await;
    assert_eq!(homing.job::<u64>(job.id()).outcome().await.unwrap(), 2);
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test]
async fn what_is_lost_is_sent_again_if_that_was_asked_for() {
    /// Its child is lost once.
    #[task]
    async fn patient() -> homing::Result<u64> {
        let call = signature("c.page").lost_after(Duration::from_secs(1)).resend_lost(1);
        Ok(homing::spawn(call.call()).await?.await?)
    }
    let redis = Redis::start();
    let homing = Homing::open("memory:").await.unwrap();
    homing.worker().register(patient).start().await.unwrap();
    let _bridge = homing.celery(&redis.url()).start().await.unwrap();
    let job = homing.submit(patient()).await.unwrap();
    let first = redis.take("celery").await.headers.id;
    let second = redis.take("celery").await.headers.id;
    assert_eq!(second, format!("{first}~1"));
    redis.put(&second, &success(&json!(2)), true).await;
    assert_eq!(job.outcome().await.unwrap(), 2);
}

#[tokio::test]
async fn an_aborted_child_is_revoked() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut commands = client.get_async_pubsub().await.unwrap();
    commands.subscribe("/0.celery.pidbox").await.unwrap();
    let job = homing.submit(impatient()).await.unwrap();
    let id = redis.take("celery").await.headers.id;
    homing.signal(job.id(), "enough", &true).await.unwrap();
    assert!(job.outcome().await.unwrap());
    let mut commands = commands.into_on_message();
    let told = tokio::time::timeout(Duration::from_mins(1), commands.next()).await;
    let told = told.unwrap().unwrap();
    let (command, _) = Command::read(told.get_payload_bytes()).unwrap();
    let arguments = command.arguments.unwrap();
    assert_eq!((command.method.as_str(), &arguments["task_id"]), ("revoke", &json!(id)));
    assert_eq!(arguments["terminate"], json!(true));
    until("an empty register", || async { listed(&redis).await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn every_option_is_in_the_message() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let job = homing.submit(options()).await.unwrap();
    let message = redis.take("fast\u{6}\u{16}3").await;
    let headers = &message.headers;
    assert_eq!((message.priority, headers.timelimit), (3, (Some(9.0), None)));
    let rest = headers.expires().unwrap().duration_since(homing.now()).unwrap();
    assert!(rest <= Duration::from_mins(1) && rest > Duration::from_secs(1), "{rest:?}");
    assert_eq!(Value::from(message.kwargs.clone()), json!({"tenant": "a"}));
    redis.put(&headers.id, &success(&json!(1)), true).await;
    assert_eq!(job.outcome().await.unwrap(), 1);
}

#[tokio::test]
async fn arguments_that_cannot_be_json_are_refused_at_the_spawn() {
    let redis = Redis::start();
    let (homing, _bridge) = start(&redis).await;
    let error = homing.submit(odd()).await.unwrap().outcome().await.unwrap_err().to_string();
    assert!(error.contains("argument 2 cannot be JSON"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_workers_run_children() {
    /// A child that fails in Python.
    #[task]
    async fn failing() -> homing::Result<(String, bool)> {
        let child = homing::spawn(call::<u64>("c.fail", args!["gone"])).await?;
        let error = child.await.err().ok_or("it succeeded")?;
        let raised = error.failure().and_then(Raised::of).ok_or("nothing was raised")?;
        Ok((raised.to_string(), raised.traceback().is_some_and(|text| text.contains("c_fail"))))
    }
    /// A name that no worker has.
    #[task]
    async fn unknown() -> homing::Result<()> {
        homing::spawn(call::<()>("c.no_such_task", args![])).await?.await?;
        Ok(())
    }
    let redis = Redis::start();
    let _celery = celery_worker(NEWEST, &redis);
    let homing = Homing::open("memory:").await.unwrap();
    let worker = homing.worker().register(failing).register(parent).register(unknown);
    worker.concurrency(1).start().await.unwrap();
    let _bridge = homing.celery(&redis.url()).start().await.unwrap();
    let told = homing.submit(failing()).await.unwrap().outcome().await.unwrap();
    assert_eq!(told, ("PageGone: gone, 7".to_owned(), true));
    assert_eq!(homing.submit(parent(200)).await.unwrap().outcome().await.unwrap(), 39_900);
    let error = homing.submit(unknown()).await.unwrap().outcome().await.unwrap_err().to_string();
    assert!(error.contains("NotRegistered"), "{error}");
}
