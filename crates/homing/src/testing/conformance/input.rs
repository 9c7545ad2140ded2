//! G12, G13: limits have errors, bad input is refused at the door and changes nothing.

use std::time::Duration;

use super::Lab;
use super::waits::leaf;
use super::workers::Staged;
use crate::testing::Probe;
use crate::testing::scripted::Turn;
use crate::{Homing, JobFilter, JobId, JoinSet, Result, State, limits, step, task};

#[task(retries = 0)]
async fn carrying(text: String) -> Result<usize> {
    Ok(text.len())
}

#[task(retries = 0)]
async fn measuring(value: f64) -> Result<f64> {
    Ok(value)
}

#[task(retries = 0)]
async fn overflowing(how: String) -> Result<String> {
    let big = "x".repeat(limits::PAYLOAD);
    Ok(match how.as_str() {
        "step" => step("big", || async { Ok(big) }).await?,
        "spawn" => {
            crate::spawn(carrying(big)).await?;
            String::new()
        }
        "name" => {
            step(&big[..=limits::NAME], || async { Ok(()) }).await?;
            String::new()
        }
        _ => big,
    })
}

/// Payloads and names have limits whose errors name the field; nothing is cut off.
pub async fn g12_limits_have_errors(lab: Lab) {
    let worker = lab.worker().register(overflowing).register(carrying).start().await.unwrap();
    let error = async |how: &str| {
        let job = lab.homing.submit(overflowing(how.to_owned())).await.unwrap();
        job.outcome().await.unwrap_err().failure().unwrap().message.clone()
    };
    let long = "has 1048578 bytes, at most 1048576 are allowed: keep large data elsewhere and pass a reference";
    assert_eq!(error("return").await, format!("the returned value {long}"));
    assert_eq!(error("step").await, format!("the step's result {long}"));
    assert!(error("spawn").await.contains("at most 1048576 are allowed"));
    let name = "the step's name has 201 bytes, at most 200 are allowed";
    assert_eq!(error("name").await, name);
    let fits = "x".repeat(limits::PAYLOAD - 20);
    let job = lab.homing.submit(carrying(fits)).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), limits::PAYLOAD - 20);
    let reason = overflown_message(&lab).await;
    assert!(
        reason.len() < limits::MESSAGE + 100 && reason.contains(" bytes left out) … "),
        "{reason}"
    );
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn shouting() -> Result<()> {
    Err(crate::Error::msg("é".repeat(limits::MESSAGE)))
}

async fn overflown_message(lab: &Lab) -> String {
    let worker = lab.worker().register(shouting).start().await.unwrap();
    let job = lab.homing.submit(shouting()).await.unwrap();
    let message = job.outcome().await.unwrap_err().failure().unwrap().message.clone();
    worker.shutdown(Duration::from_secs(5)).await;
    message
}

/// A refused submission names the field and changes nothing.
pub async fn g13_bad_submissions_change_nothing(lab: Lab) {
    let homing = &lab.homing;
    let text = |error: crate::SubmitError| error.to_string();
    let refused = [
        text(homing.submit(carrying("x".repeat(limits::PAYLOAD))).await.unwrap_err()),
        text(homing.submit(measuring(f64::NAN)).await.unwrap_err()),
        text(homing.submit(leaf(1).queue("")).await.unwrap_err()),
        text(homing.submit(leaf(1).queue("q".repeat(201))).await.unwrap_err()),
        text(homing.submit(leaf(1).queue("a\nb")).await.unwrap_err()),
        text(homing.submit(leaf(1)).title("t".repeat(1001)).await.unwrap_err()),
        text(homing.submit(leaf(1)).key("").await.unwrap_err()),
        text(homing.submit(leaf(1).tags((0..21).map(|n| n.to_string()))).await.unwrap_err()),
        text(homing.submit_named("nothing", &serde_json::json!({})).await.unwrap_err()),
        text(homing.submit_named("leaf", &serde_json::json!([1])).await.unwrap_err()),
    ];
    let expected = [
        "the argument list has 1048587 bytes, at most 1048576 are allowed: keep large data elsewhere and pass a reference",
        "the argument `value` cannot be written as JSON: it holds the float NaN, which JSON has no word for",
        "the queue is empty",
        "the queue has 201 bytes, at most 200 are allowed",
        "the queue is `a\\nb`: control characters are not allowed",
        "the title has 1001 bytes, at most 1000 are allowed",
        "the key is empty",
        "21 tags were given, at most 20 are allowed",
        "no worker has ever registered the kind `nothing`: no kind is known yet, start a worker first",
        "no worker has ever registered the kind `leaf`: no kind is known yet, start a worker first",
    ];
    assert_eq!(refused, expected);
    assert!(homing.jobs(JobFilter::default()).await.unwrap().is_empty());
    let worker = lab.worker().register(leaf).start().await.unwrap();
    let error = homing.submit_named("leef", &serde_json::json!({"n": 1})).await.unwrap_err();
    assert!(error.to_string().contains("known are"), "{error}");
    let error = homing.submit_named("leaf", &serde_json::json!([1])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the arguments cannot be written as JSON: give an object with a field for each argument"
    );
    let error =
        homing.submit_named("leaf", &serde_json::json!({"n": 1, "m": 2})).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no argument `m`: `leaf` takes n");
    let job = homing.submit_named("leaf", &serde_json::json!({"n": 7})).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 7);
    lab.close([worker]).await;
}

/// An unknown id is an error at once, never an eternal "pending".
pub async fn g13_unknown_ids_are_errors(lab: Lab) {
    let id = JobId::named("never submitted");
    let job = lab.homing.job::<u64>(id);
    let unknown =
        format!("no task has the id {id}: it was never submitted to this store, or it was pruned");
    assert_eq!(job.outcome().await.unwrap_err().to_string(), unknown);
    assert_eq!(job.view().await.unwrap_err().to_string(), unknown);
    assert_eq!(job.cancel().await.unwrap_err().to_string(), unknown);
    assert_eq!(job.retry().await.unwrap_err().to_string(), unknown);
    assert_eq!(job.signal("go", &1).await.unwrap_err().to_string(), unknown);
    assert_eq!(job.log().next().await.unwrap_err().to_string(), unknown);
    assert_eq!(lab.homing.task(id).await.unwrap_err().to_string(), unknown);
    for url in ["postgres:x", "memory:x", "nothing", "memory:?a=b"] {
        assert!(Homing::open(url).await.is_err(), "{url}");
    }
    lab.close([]).await;
}

#[task]
async fn wanting(State(n): State<u128>) -> Result<u128> {
    Ok(n)
}

mod twice {
    #[crate::task]
    pub(super) async fn leaf(n: u64) -> crate::Result<u64> {
        Ok(n)
    }
}

/// A worker is checked when it starts, not in a job.
pub async fn g13_workers_are_checked(lab: Lab) {
    let text = async |builder: crate::WorkerBuilder| builder.start().await.unwrap_err().to_string();
    assert_eq!(
        text(lab.worker().register(wanting)).await,
        "the task `wanting` wants `State<u128>`: give it to the worker with `.state(…)`"
    );
    assert_eq!(
        text(lab.worker().register(leaf).register(twice::leaf)).await,
        "the kind `leaf` is registered twice: give one of them `#[task(kind = \"…\")]`"
    );
    assert!(text(lab.worker()).await.contains("the worker has no task"));
    let named = || lab.worker().register(leaf);
    assert!(text(named().concurrency(0)).await.contains("concurrency is `0`"));
    assert_eq!(text(named().queues(Vec::<String>::new())).await, "queues is empty");
    assert_eq!(text(named().queues([""])).await, "the queue is empty");
    assert!(lab.homing.workers().await.unwrap().is_empty());
    lab.close([]).await;
}

#[task(retries = 0)]
async fn prolific(n: u64, size: usize, State(probe): State<Probe>) -> Result<u64> {
    probe.hit("begun");
    probe.pass("spawn").await;
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(carrying("x".repeat(size))).await?;
        probe.hit("spawned");
    }
    probe.hit("all");
    Ok(set.join_all().await?.len() as u64)
}

/// Spawns that wait for their commit are bounded, by number and by bytes: the next one waits.
pub async fn many_spawns_are_held_back(lab: Lab) {
    let staged = Staged::of(&lab);
    let worker = staged.worker(&lab).register(carrying).register(prolific).concurrency(256);
    let worker = worker.start().await.unwrap();
    let bounds = [(limits::UNFLUSHED_SPAWNS, 1), (limits::UNFLUSHED_BYTES / 100_000, 100_000)];
    for (turn, (most, size)) in bounds.into_iter().enumerate() {
        let (before, n) = (lab.probe.count("spawned"), most as u64 + 100);
        // A body that is replayed begins once more.
        let (begun, all) = (lab.probe.count("begun"), lab.probe.count("all"));
        let job = lab.homing.submit(prolific(n, size)).await.unwrap();
        lab.probe.hits("begun", begun + 1).await;
        staged.script.always("exchange", Turn::Waits(["first", "second"][turn]));
        lab.probe.open("spawn");
        let bound = before + most as u64;
        lab.probe.hits("spawned", bound - 1).await;
        // Nothing is committed. There is nothing to see of a spawn that waits but that it does not return.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let spawned = lab.probe.count("spawned");
        assert!(spawned <= bound, "{spawned} spawns, of which none is committed");
        assert_eq!(lab.probe.count("all"), all);
        staged.script.always("exchange", Turn::Passes);
        lab.probe.open(["first", "second"][turn]);
        assert_eq!(job.outcome().await.unwrap(), n);
    }
    lab.close([worker]).await;
}

const CHATTER: usize = 1_100;

#[task]
async fn chattering() -> Result<()> {
    let line = "x".repeat(limits::MESSAGE);
    for _ in 0..2 {
        for _ in 0..CHATTER {
            crate::log!("{line}");
        }
        crate::step("commit", async || Ok(())).await?;
    }
    Ok(())
}

/// Lines said faster than they are stored are dropped and counted; once earlier ones are stored there is room again.
pub async fn g12_lines_that_wait_for_their_commit_are_bounded(lab: Lab) {
    let worker = lab.worker().register(chattering).start().await.unwrap();
    let job = lab.homing.submit(chattering()).await.unwrap();
    job.outcome().await.unwrap();
    let (mut log, mut told) = (job.log(), vec![0_usize]);
    loop {
        let page = log.page().await.unwrap();
        if page.is_empty() {
            break;
        }
        for line in page {
            match line.message.strip_suffix(
                " lines were dropped here: the body said them faster than they could be stored",
            ) {
                Some(count) => told.extend([count.parse().unwrap(), 0]),
                None => *told.last_mut().unwrap() += 1,
            }
        }
    }
    let kept = told[0];
    // With their names, the lines are a little longer than their messages.
    assert!((1_000..limits::UNFLUSHED_LINE_BYTES / limits::MESSAGE).contains(&kept), "{told:?}");
    assert_eq!(told, [kept, CHATTER - kept, kept, CHATTER - kept, 0]);
    lab.close([worker]).await;
}
