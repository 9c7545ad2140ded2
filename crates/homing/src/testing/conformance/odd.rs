//! What users' own code does where it is least expected: errors without a message, chains that go round,
//! zero bytes, values whose encoders, decoders and destructors panic.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Lab;
use crate::testing::Probe;
use crate::{Error, Reason, Result, State, TaskState, step, task};

#[derive(Debug)]
struct Odd(String);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            "fails" => Err(fmt::Error), // as chrono's `format` does with a bad pattern
            "panics" => panic!("no message"),
            name => f.write_str(name),
        }
    }
}

impl std::error::Error for Odd {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.0.as_str() {
            "goes round" => Some(self),
            "has a source that panics" => panic!("no source"),
            _ => None,
        }
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        assert!(self.0 != "cannot be dropped", "not dropped");
    }
}

#[task(retries = 1, backoff = "0s")]
async fn odd(how: String) -> Result<()> {
    if how == "throws what cannot be dropped" {
        std::panic::panic_any(Odd("cannot be dropped".to_owned()));
    }
    Err(Odd(how).into())
}

/// An error that cannot say what it is is a failure all the same, with a message that says so, and is retried as
/// any other.
pub async fn odd_errors_are_failures(lab: Lab) {
    let worker = lab.worker().register(odd).concurrency(1).start().await.unwrap();
    for (how, message) in [
        ("plain", "plain"),
        ("fails", "an error without a message: its `Display` returned an error"),
        ("panics", "an error without a message: its `Display` panicked: no message"),
        ("goes round", "goes round"),
        ("has a source that panics", "has a source that panics"),
        ("cannot be dropped", "cannot be dropped"),
        ("throws what cannot be dropped", "a panic without a message"),
    ] {
        let job = lab.homing.submit(odd(how.to_owned())).await.unwrap();
        let error = lab.turning(job.outcome()).await.unwrap_err();
        let failure = error.failure().unwrap();
        let reason = if how.starts_with("throws") { Reason::Panic } else { Reason::Error };
        assert_eq!((failure.reason, failure.attempt), (reason, 2), "{failure}");
        assert_eq!((failure.message.as_str(), failure.sources.len()), (message, 0));
    }
    lab.close([worker]).await;
}

/// A value whose code panics on every occasion that is named.
#[derive(Debug, Default)]
struct Fragile(String);

impl Serialize for Fragile {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        assert!(self.0 != "written", "panicked while it was written");
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        assert!(text != "read", "panicked while it was read");
        Ok(Self(text))
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(self.0 != "dropped" || std::thread::panicking(), "panicked while it was dropped");
    }
}

#[task(retries = 0)]
async fn fragile(when: Fragile, kept: bool) -> Result<u64> {
    if kept {
        let _held = when;
        crate::signal::<()>("go").await?;
    }
    Ok(1)
}

#[task(retries = 0)]
async fn fragile_values(when: String, place: String) -> Result<u64> {
    match place.as_str() {
        "step" => drop(step("s", async || Ok(Fragile(when))).await?),
        "child" => drop(crate::spawn(returning(when)).await?.await?),
        _ => drop(crate::spawn(fragile(Fragile(when), false)).await?.await?),
    }
    Ok(1)
}

#[task(retries = 0)]
async fn returning(when: String) -> Result<Fragile> {
    Ok(Fragile(when))
}

/// A panic of a value's own code is a failure of the task that met it, and of no other.
pub async fn fragile_values_are_failures(lab: Lab) {
    let worker = lab.worker().register(fragile).register(fragile_values).register(returning);
    let worker = worker.start().await.unwrap();
    for place in ["step", "child", "argument"] {
        for when in ["written", "read", "dropped"] {
            let call = fragile_values(when.to_owned(), place.to_owned());
            let job = lab.homing.submit(call).await.unwrap();
            let error = job.outcome().await.unwrap_err();
            let text = format!("panicked while it was {when}");
            assert!(error.failure().unwrap().message.contains(&text), "{place} {when}: {error}");
        }
    }
    // A body that is dropped while it waits.
    let arguments = serde_json::json!({"when": "dropped", "kept": true});
    let job = lab.homing.submit_named("fragile", &arguments).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    job.cancel().await.unwrap();
    lab.reaches(job.id(), TaskState::Cancelled).await;
    lab.close([worker]).await;
}

#[task(retries = 3, backoff = "10ms..10ms")]
async fn zero_bytes(how: String, State(probe): State<Probe>) -> Result<u64> {
    probe.hit(&how);
    match how.as_str() {
        "log and park" => {
            crate::log!("read a\0b");
            crate::sleep(Duration::from_millis(10)).await?;
            Ok(1)
        }
        "log and step" => {
            crate::log!("read a\0b");
            Ok(step("s", async || Ok(2)).await?)
        }
        "value" => Ok(step("s", async || Ok("a\0b".len() as u64)).await?),
        _ if probe.count(&how) == 1 => Err(Error::msg("bad a\0b")),
        "panic" => panic!("bad a\0b"),
        _ => Err(Error::from(std::io::Error::other("bad a\0b")).fatal()),
    }
}

/// A zero byte in a log line, a message or a reason is shown on every store, and changes nothing else.
pub async fn zero_bytes_are_written_out(lab: Lab) {
    let worker = lab.worker().register(zero_bytes).start().await.unwrap();
    for (how, value) in [("log and park", 1), ("log and step", 2), ("value", 3)] {
        let job = lab.homing.submit(zero_bytes(how.to_owned())).await.unwrap();
        assert_eq!(lab.turning(job.outcome()).await.unwrap(), value, "{how}");
        let lines = job.log().page().await.unwrap();
        assert!(lines.iter().all(|line| line.message == "read a␀b"), "{lines:?}");
        assert_eq!(lines.len(), usize::from(how != "value"));
    }
    for (how, attempt) in [("panic", 4), ("error", 2)] {
        let job = lab.homing.submit(zero_bytes(how.to_owned())).await.unwrap();
        let error = lab.turning(job.outcome()).await.unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!((failure.attempt, failure.message.as_str()), (attempt, "bad a␀b"));
    }
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn nest(levels: u32) -> Result<()> {
    match levels {
        0 => Err(Error::msg("the disk is on fire")),
        _ => Ok(crate::spawn(nest(levels - 1)).await?.await?),
    }
}

/// The failure of a root tells the cause at the bottom, however many parents it went through.
pub async fn deep_failures_tell_their_cause(lab: Lab) {
    let worker = lab.worker().register(nest).start().await.unwrap();
    let job = lab.homing.submit(nest(120)).await.unwrap();
    let error = lab.turning(job.outcome()).await.unwrap_err();
    let message = &error.failure().unwrap().message;
    assert!(message.starts_with("the disk is on fire (task nest"), "{message}");
    assert!(message.ends_with("failed in attempt 1)"), "{message}");
    assert_eq!(message.matches("bytes left out) …").count(), 1, "{message}");
    lab.close([worker]).await;
}
