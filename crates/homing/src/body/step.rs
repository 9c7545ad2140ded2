//! Steps: named pieces of a body whose results are remembered.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::context::{Context, current};
use crate::error::{Error, Misuse, Result, StepError};
use crate::store::Entry;

/// Runs `work` once and remembers its result under `name`: a replay is given the result and does not
/// run it again.
///
/// A name may be used again, in a loop for instance: the record tells the occurrences apart. What fails
/// is not remembered; a retry runs it again. Nothing durable may stand inside `work`.
///
/// In `work`, `?` takes any error, and no type need be named. Work that has an error of its own is written
/// `|| async { Ok(pay(order).await?) }`.
///
/// ```
/// # async fn body(path: String) -> homing::Result<usize> {
/// let text = homing::step("read", || async { Ok(std::fs::read_to_string(path)?) }).await?;
/// # Ok(text.len())
/// # }
/// ```
///
/// # Errors
/// [`StepError`], which is any error to `?`: the error of `work`, or [`Misuse`] outside a task. A result that JSON cannot hold, or longer than
/// [`limits::PAYLOAD`](crate::limits::PAYLOAD), is a final error.
///
/// # Durability
/// Returns after the result is committed. A crash before that runs `work` again, so what it does
/// outside should be idempotent: [`homing::id`](crate::id()) is a stable key for it.
///
/// # Cancel safety
/// Dropping it drops `work`; nothing is remembered.
pub async fn step<T, F, Fut>(name: &str, work: F) -> Result<T, StepError>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let context = current("step")?;
    Ok(run(&context, name, async { work().await }).await?)
}

/// As [`step`], for work that blocks its thread: it runs on tokio's blocking pool.
///
/// Such work cannot be dropped. When its task times out, is cancelled or loses its lease meanwhile, the
/// work keeps its slot until it returns and the result is discarded.
///
/// # Errors
/// As [`step`]; a panic of `work` is a failure with its message.
pub async fn step_blocking<T, F>(name: &str, work: F) -> Result<T, StepError>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let context = current("step_blocking")?;
    let slot = context.slot();
    let span = tracing::Span::current();
    let work = async move {
        let blocking = tokio::task::spawn_blocking(move || {
            let result = span.in_scope(work);
            drop(slot);
            result
        });
        match blocking.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(error.into()),
            },
        }
    };
    Ok(run(&context, name, work).await?)
}

async fn run<T: Serialize + DeserializeOwned>(
    context: &Arc<Context>,
    name: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    crate::task::call::name("the step's name", name).map_err(Misuse::from)?;
    let place = context.place(&format!("step:{name}"));
    let op = context.begin(&place, true).await;
    let recorded = context.replayed(&place, "a step").await;
    context.settle_lines(recorded.is_some());
    let text = if let Some(text) = recorded {
        text
    } else {
        context.commit_spawns().await;
        let text = encoded("the step's result", context.work(work).await?)?;
        context.record(&place, Entry::Value(text.clone()));
        context.commit().await;
        text
    };
    drop(op);
    decoded(context, &place, "the step's result", &text).await
}

/// A result as it is recorded; one that cannot be is final.
pub(crate) fn encoded(what: &str, value: impl Serialize) -> Result<String> {
    crate::core::encode::owned(what, value).map_err(|error| Error::from(error).fatal())
}

/// What was recorded, on the first run too, so that live and replayed values are equal to the bit.
pub(crate) async fn decoded<T: DeserializeOwned>(
    context: &Context,
    place: &str,
    what: &str,
    text: &str,
) -> Result<T> {
    match crate::core::encode::parse(text) {
        Ok(value) => Ok(value),
        Err(reason) => context.undecodable(place, what, &reason).await,
    }
}
