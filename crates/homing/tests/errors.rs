//! Errors of other libraries in bodies: they work with `?` and as the error of the body, and homing finds in them
//! what it must know. A child's failure is final and a fatal error stays one, whatever is put around them.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::error::Error as StdError;

use anyhow::Context;
use homing::{Homing, Reason, RetryResult, step, task};

type Boxed = Box<dyn StdError + Send + Sync>;

fn anyhow_helper(text: &str) -> anyhow::Result<u64> {
    text.parse().with_context(|| format!("`{text}` is no number"))
}

fn boxed_helper(text: &str) -> Result<u64, Boxed> {
    Ok(text.parse()?)
}

#[task]
async fn homings(text: String) -> homing::Result<u64> {
    let sum = anyhow_helper(&text)? + boxed_helper(&text)?;
    if sum == 0 {
        Err("zero")?;
    }
    if sum == 2 {
        Err(format!("{sum}"))?;
    }
    Ok(sum)
}

#[task]
async fn fails() -> anyhow::Result<u64> {
    let broken = || Err(std::io::Error::other("the disk is on fire"));
    step("write", || async { broken().fatal() }).await.context("fails")
}

/// A body that passes a child's failure on, and is right in a step before that.
macro_rules! passes_on {
    ($name:ident, $result:ty) => {
        #[task(retries = 3, backoff = "1ms..1ms")]
        async fn $name(direct: bool) -> $result {
            let five = step("five", || async { Ok("5".parse::<u64>()?) }).await?;
            if direct {
                Ok(homing::spawn(fails()).await?.await? + five)
            } else {
                Ok(helper_of_homing().await? + five)
            }
        }
    };
}

/// What is said of retries stands in the step's error.
async fn helper_of_homing() -> Result<u64, homing::StepError> {
    step("never", || async { std::fs::read("/no/such/file").map(|_| 0).fatal() }).await
}

passes_on!(by_homing, homing::Result<u64>);
passes_on!(by_anyhow, anyhow::Result<u64>);
passes_on!(by_box, Result<u64, Boxed>);
#[cfg(feature = "eyre")]
passes_on!(by_eyre, eyre::Result<u64>);

#[task(retries = 0)]
async fn by_text() -> Result<u64, String> {
    Err("only text".to_owned())
}

#[task(retries = 0)]
async fn by_literal() -> Result<u64, &'static str> {
    Err("only a literal")
}

/// The failure of a call, and how often it was tried.
async fn failure<K: homing::task::Kind>(homing: &Homing, call: homing::Call<K>) -> (String, u32)
where
    K::Output: std::fmt::Debug,
{
    match homing.submit(call).await.unwrap().outcome().await.unwrap_err() {
        homing::OutcomeError::Failed(failure) => {
            assert_eq!(failure.reason, Reason::Error);
            (failure.message, failure.attempt)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_child_that_failed_and_what_is_fatal_are_final_in_every_body() {
    let homing = Homing::open("memory:").await.unwrap();
    let worker = homing.worker().register(fails).register(by_homing).register(by_anyhow);
    let worker = worker.register(by_box).register(by_text).register(by_literal);
    #[cfg(feature = "eyre")]
    let worker = worker.register(by_eyre);
    let _worker = worker.start().await.unwrap();
    let mut failures = Vec::new();
    for direct in [true, false] {
        failures.push(failure(&homing, by_homing(direct)).await);
        failures.push(failure(&homing, by_anyhow(direct)).await);
        failures.push(failure(&homing, by_box(direct)).await);
        #[cfg(feature = "eyre")]
        failures.push(failure(&homing, by_eyre(direct)).await);
        for (message, attempt) in failures.drain(..) {
            let told = if direct { "fails (task fails " } else { "No such file or directory" };
            assert!(message.contains(told), "{message}");
            assert_eq!(attempt, 1, "{message}");
        }
    }
    assert_eq!(failure(&homing, by_text()).await, ("only text".to_owned(), 1));
    assert_eq!(failure(&homing, by_literal()).await, ("only a literal".to_owned(), 1));
}

#[tokio::test]
async fn helpers_work_with_the_question_mark() {
    let homing = Homing::open("memory:").await.unwrap();
    homing.worker().register(homings).start().await.unwrap();
    let job = homing.submit(homings("4".to_owned())).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 8);
    for (text, told) in [("x", "`x` is no number"), ("0", "zero"), ("1", "2")] {
        assert_eq!(homings::run(text.to_owned()).await.unwrap_err().to_string(), told);
    }
}
