//! What the end of a stretch means: a value, a retry, a final failure, a standstill.

use super::Shared;
use crate::body::context::{Context, Halt};
use crate::core::id::{TaskId, Token};
use crate::core::log::{self, failed_text};
use crate::core::log::{Level, attempt_key};
use crate::core::state::{Budget, Directive, stall_pause};
use crate::error::{Error, Failure, JoinError, Misuse, Reason, bounded, discard, shown};
use crate::limits;
use crate::store::{Claimed, End, Event, LogLine};
use crate::task::Undecodable;

impl Shared {
    /// The event for what a body returned.
    pub(super) fn conclude(
        &self,
        claimed: &Claimed,
        context: &Context,
        result: Result<String, Error>,
    ) -> Event {
        let error = match result {
            Ok(value) => return Event::End(End::Succeeded(value)),
            Err(error) => error,
        };
        let event = self.failed(claimed, context, &error);
        discard(error);
        event
    }

    fn failed(&self, claimed: &Claimed, context: &Context, error: &Error) -> Event {
        let join = error.find::<JoinError>();
        if let Some(reason) = undecodable(error) {
            return self.stall(claimed, &reason);
        }
        if let Some(JoinError::Failed { failure, moment }) = join
            && crate::body::combine::passes_failures_on(&claimed.kind)
        {
            let cause = context.cause(moment.as_deref());
            return Event::End(End::Failed { failure: (**failure).clone(), cause });
        }
        let misuse = error.find::<Misuse>().or(match join {
            Some(JoinError::Misuse(misuse)) => Some(misuse),
            Some(
                JoinError::Failed { .. }
                | JoinError::Aborted { .. }
                | JoinError::TimedOut(_)
                | JoinError::TooMany { .. }
                | JoinError::Undecodable { .. }
                | JoinError::Signal { .. }
                | JoinError::UnknownJob { .. }
                | JoinError::TooFew { .. },
            )
            | None => None,
        });
        let reason = if misuse.is_some() { Reason::Misuse } else { Reason::Error };
        let failure = self.failure(claimed, reason, &shown(error)).with_sources(error.inner());
        if misuse.is_some() {
            return Event::End(End::Failed { failure, cause: context.cause(None) });
        }
        if let Some(join) = join {
            // The answer is recorded: a retry would only be given it again.
            let cause = context.cause(join.moment());
            return Event::End(End::Failed { failure, cause });
        }
        self.retry_or_fail(claimed, context, failure, error.directive())
    }

    /// The event for a body that was stopped.
    pub(super) fn halted(&self, claimed: &Claimed, context: &Context, halt: &Halt) -> Event {
        match halt {
            Halt::Misuse(misuse) => {
                let failure = self.failure(claimed, Reason::Misuse, &misuse.to_string());
                Event::End(End::Failed { failure, cause: context.cause(None) })
            }
            Halt::Drift(reason) => self.stall(claimed, reason),
            Halt::Store(error) => self.stall(claimed, &error.to_string()),
            Halt::Lost | Halt::Rehearsed => Event::HandBack,
        }
    }

    /// The event for a panic or a timeout.
    pub(super) fn broke(
        &self,
        claimed: &Claimed,
        context: &Context,
        reason: Reason,
        message: &str,
    ) -> Event {
        let failure = self.failure(claimed, reason, message);
        self.retry_or_fail(claimed, context, failure, Directive::Policy)
    }

    /// The event for a replay that does not fit.
    pub(super) fn stall(&self, claimed: &Claimed, reason: &str) -> Event {
        self.stall_event(claimed.stalls, reason)
    }

    pub(super) fn stall_event(&self, stalls: u32, reason: &str) -> Event {
        let reason = bounded(reason);
        let due = self.store.clock().now().after(stall_pause(stalls));
        Event::Stall { reason, due }
    }

    /// What a unit ends with: the event, and before it the line of the job's log that keeps why an attempt
    /// failed or a task stands still. One transaction takes both.
    pub(super) fn with_line(
        &self,
        attempt: u32,
        token: Token,
        event: Event,
    ) -> impl Iterator<Item = Event> + use<> {
        let claim = log::Event::Claim(token);
        let told = match &event {
            Event::Retry { failure, .. } => Some((Level::Warn, claim, failed_text(failure))),
            Event::End(End::Failed { failure, .. }) => {
                Some((Level::Error, claim, failed_text(failure)))
            }
            Event::Stall { reason, .. } => {
                let of = log::Event::Standstill(reason);
                Some((Level::Warn, of, format!("it stands still: {reason}")))
            }
            Event::End(End::Succeeded(_))
            | Event::HandBack
            | Event::Begin
            | Event::Record { .. }
            | Event::Spawn(_)
            | Event::Add(_)
            | Event::Detach(_)
            | Event::Signal(_)
            | Event::Abort(_)
            | Event::Log(_)
            | Event::Progress { .. }
            | Event::Park { .. } => None,
        };
        let line = told.map(|(level, of, message)| {
            let (key, time) = (attempt_key(attempt, of), self.store.clock().now());
            Event::Log(LogLine { key, time, level, message: bounded(&message) })
        });
        line.into_iter().chain([event])
    }

    #[expect(clippy::unused_self, reason = "reads beside its neighbours")]
    fn failure(&self, claimed: &Claimed, reason: Reason, message: &str) -> Failure {
        Failure::new(&claimed.kind, claimed.task, claimed.attempt, reason, message)
    }

    fn retry_or_fail(
        &self,
        claimed: &Claimed,
        context: &Context,
        failure: Failure,
        directive: Directive,
    ) -> Event {
        let options = self.definitions.get(claimed.kind.as_str()).map(|found| &found.options);
        let policy = &claimed.policy;
        let budget = Budget {
            retries: policy
                .retries
                .or(options.and_then(|options| options.retries))
                .unwrap_or(limits::RETRIES),
            max_attempts: policy
                .max_attempts
                .or(options.and_then(|options| options.max_attempts))
                .unwrap_or(limits::MAX_ATTEMPTS),
            backoff: policy
                .backoff
                .or(options.and_then(|options| options.backoff))
                .unwrap_or_default(),
            attempt: claimed.attempt,
            failures: context.failures() + 1,
        };
        match budget.after_failure(directive, claimed.task) {
            Some(pause) => Event::Retry { failure, due: self.store.clock().now().after(pause) },
            None => Event::End(End::Failed { failure, cause: context.cause(None) }),
        }
    }
}

/// The event for a body whose words the store cannot hold.
pub(super) fn unfit(kind: &str, task: TaskId, attempt: u32, text: &str) -> Event {
    let message = format!("the store cannot hold what the task said: {text}");
    let failure = Failure::new(kind, task, attempt, Reason::Error, &message);
    Event::End(End::Failed { failure, cause: None })
}

/// What does not decode, if that is why a body failed: then the task stands still.
pub(super) fn undecodable(error: &Error) -> Option<String> {
    if let Some(undecodable) = error.find::<Undecodable>() {
        return Some(undecodable.to_string());
    }
    let undecodable = error.find::<JoinError>()?;
    matches!(undecodable, JoinError::Undecodable { .. }).then(|| undecodable.to_string())
}
