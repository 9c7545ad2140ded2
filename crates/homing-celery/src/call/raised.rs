//! What a Celery task has raised, as a parent in homing gets it.

use std::error::Error as StdError;
use std::fmt;

use homing::Failure;

/// An exception of a Celery task. It is in the [`Failure`] of the call: [`Raised::of`] reads it there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Raised {
    /// The class's name.
    pub exc_type: String,
    /// The class's module; empty if Celery did not say it.
    pub exc_module: String,
    /// The exception's arguments in one text.
    pub message: String,
    /// The task's name.
    pub task: String,
    /// What Celery calls it.
    pub id: String,
    origin: Origin,
}

/// Where it was raised: the words that are stored with the failure, and read again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    words: String,
    traceback: Option<Traceback>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Traceback(String);

const BEGIN: &str = "raised by Celery's task ";

impl Raised {
    pub(super) fn new(
        raised: &crate::wire::Raised,
        traceback: Option<String>,
        (task, id): (&str, &str),
    ) -> Self {
        let exc_module = raised.exc_module.clone().unwrap_or_default();
        let class = match exc_module.as_str() {
            "" => raised.exc_type.clone(),
            module => format!("{module}.{}", raised.exc_type),
        };
        let words = format!("{BEGIN}`{task}` `{id}` as `{class}`");
        Self {
            exc_type: raised.exc_type.clone(),
            exc_module,
            message: raised.message(),
            task: task.to_owned(),
            id: id.to_owned(),
            origin: Origin { words, traceback: traceback.map(Traceback) },
        }
    }

    /// What Python showed of it.
    pub fn traceback(&self) -> Option<&str> {
        self.origin.traceback.as_ref().map(|traceback| traceback.0.as_str())
    }

    /// The exception of a failed call; `None` if the call failed otherwise.
    ///
    /// ```no_run
    /// use homing_celery::{Raised, args, call};
    ///
    /// # async fn body() -> homing::Result<()> {
    /// let page = homing::spawn(call::<u64>("shop.write_page", args![7])).await?;
    /// if let Err(error) = page.await {
    ///     match error.failure().and_then(Raised::of) {
    ///         Some(raised) if raised.exc_type == "PageGone" => {}
    ///         _ => return Err(error.into()),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn of(failure: &Failure) -> Option<Self> {
        let at = failure.sources.iter().position(|source| source.starts_with(BEGIN))?;
        let words = failure.sources[at].clone();
        let mut quoted = words.split('`').skip(1).step_by(2);
        let (task, id) = (quoted.next()?.to_owned(), quoted.next()?.to_owned());
        let class = quoted.next()?;
        let (exc_module, exc_type) = class.rsplit_once('.').unwrap_or(("", class));
        let (exc_module, exc_type) = (exc_module.to_owned(), exc_type.to_owned());
        let begin = format!("{exc_type}: ");
        let message = failure.message.strip_prefix(&begin).unwrap_or(&failure.message).to_owned();
        let traceback = failure.sources.get(at + 1).cloned().map(Traceback);
        let origin = Origin { words: words.clone(), traceback };
        Some(Self { exc_type, exc_module, message, task, id, origin })
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.exc_type, self.message)
    }
}

impl StdError for Raised {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl StdError for Origin {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.traceback.as_ref().map(|traceback| traceback as &(dyn StdError + 'static))
    }
}

impl fmt::Display for Traceback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Traceback {}
