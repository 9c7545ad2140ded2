//! Steps: named pieces of a body whose results are remembered.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use crate::body::context::{Context, Op, current};
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
/// Such work cannot be dropped once it has begun. When its task times out, is cancelled or loses its lease meanwhile,
/// the work keeps its slot until it returns and the result is discarded. Work for which no thread was free yet does not
/// begin any more.
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
        let blocking = AbortOnDropHandle::new(tokio::task::spawn_blocking(move || {
            let result = span.in_scope(work);
            drop(slot);
            result
        }));
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
    let (once, recorded) = Once::begin(context, &STEP, name).await?;
    let text = if let Some(text) = recorded {
        text
    } else {
        context.commit_spawns().await;
        let text = once.encoded(context.work(work).await?)?;
        context.record(once.place(), Entry::Value(text.clone()));
        context.commit().await;
        text
    };
    once.end(&text).await
}

/// The words of a verb that does something once.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) verb: &'static str,
    pub(crate) one: &'static str,
    pub(crate) name: &'static str,
    pub(crate) result: &'static str,
}

const STEP: Words =
    Words { verb: "step", one: "a step", name: "the step's name", result: "the step's result" };

/// Something that is done once and remembered under a name, while it is done: what `step` and `transaction` share.
/// The work itself stays with them, in their own futures: a future that is handed on is there twice.
#[derive(Debug)]
pub(crate) struct Once<'c> {
    pub(crate) context: &'c Arc<Context>,
    words: &'static Words,
    place: String,
    op: Op,
}

impl<'c> Once<'c> {
    /// Opens the operation, and finds what an earlier run has recorded.
    pub(crate) async fn begin(
        context: &'c Arc<Context>,
        words: &'static Words,
        name: &str,
    ) -> Result<(Self, Option<String>)> {
        crate::task::call::name(words.name, name).map_err(Misuse::from)?;
        let place = context.place(&format!("{}:{name}", words.verb));
        let op = context.begin(&place, true).await;
        let recorded = context.replayed(&place, words.one).await;
        context.settle_lines(recorded.is_some());
        Ok((Self { context, words, place, op }, recorded))
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// A result as it is recorded; one that cannot be is final.
    pub(crate) fn encoded(&self, value: impl Serialize) -> Result<String> {
        let text = crate::core::encode::owned(self.words.result, value);
        text.map_err(|error| Error::from(error).fatal())
    }

    /// Closes the operation. The value is what was recorded, on the first run too, so that live and replayed values
    /// are equal to the bit.
    pub(crate) async fn end<T: DeserializeOwned>(self, text: &str) -> Result<T> {
        let Self { context, words, place, op } = self;
        drop(op);
        match crate::core::encode::parse(text) {
            Ok(value) => Ok(value),
            Err(reason) => context.undecodable(&place, words.result, &reason).await,
        }
    }
}
