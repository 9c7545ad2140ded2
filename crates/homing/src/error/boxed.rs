//! Errors of other libraries, boxed so that what is in them can still be found.
//!
//! `anyhow::Error` and `eyre::Report` convert into a box that hides the type of the outermost error: a child's
//! failure that a body passes on through one of them would not be seen as one, and would be tried again. So
//! both are taken apart here, before that.

use std::any::Any;

use super::Inner;

/// The box that `error` converts into, of the type of the outermost error where that is known.
pub(super) fn unwrap<E: Into<Inner> + 'static>(mut error: E) -> Inner {
    let any: &mut dyn Any = &mut error;
    if let Some(report) = any.downcast_mut::<anyhow::Error>() {
        let report = std::mem::replace(report, anyhow::Error::msg(""));
        return report.reallocate_into_boxed_dyn_error_without_backtrace();
    }
    #[cfg(feature = "eyre")]
    if let Some(inner) = any.downcast_mut::<eyre::Report>().and_then(of_report) {
        return inner;
    }
    error.into()
}

/// The outermost error of a report, if homing knows what it means.
#[cfg(feature = "eyre")]
fn of_report(report: &mut eyre::Report) -> Option<Inner> {
    use super::{JoinError, Misuse, StepError};

    let outermost = report.chain().next()?;
    if outermost.is::<StepError>() {
        let report = std::mem::replace(report, eyre::Report::msg(""));
        // Nothing was put around it, so this takes the step's error out whole.
        return Some(report.downcast::<StepError>().map_or_else(Into::into, Inner::from));
    }
    let join = outermost.downcast_ref::<JoinError>().cloned().map(Inner::from);
    join.or_else(|| outermost.downcast_ref::<Misuse>().cloned().map(Inner::from))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::id::JobId;
    use crate::core::state::Directive;
    use crate::error::{Error, JoinError, Retry, StepError};

    fn aborted() -> JoinError {
        JoinError::Aborted { id: JobId::named("j").root() }
    }

    fn later() -> StepError {
        "busy".retry_after(Duration::from_secs(7)).into()
    }

    const LATER: Directive = Directive::After(Duration::from_secs(7));

    /// In whatever a body passes an error on, homing finds it again, with what was said of retries.
    fn check(errors: [Error; 4]) {
        let [join, wrapped_join, step, wrapped_step] = errors;
        assert_eq!(join.to_string(), aborted().to_string());
        assert!(join.find::<JoinError>().is_some(), "{join:?}");
        assert_eq!(wrapped_join.to_string(), "around it");
        assert!(wrapped_join.find::<JoinError>().is_some(), "{wrapped_join:?}");
        assert_eq!((step.to_string().as_str(), step.directive()), ("busy", LATER));
        assert_eq!(wrapped_step.directive(), LATER, "{wrapped_step:?}");
        assert_eq!(format!("{wrapped_step:?}"), "around it\n  caused by: busy");
    }

    #[test]
    fn anyhow_hides_nothing() {
        use anyhow::Context;
        let join = || anyhow::Error::from(aborted());
        let step = || anyhow::Error::from(later());
        let around = |error| Err::<(), _>(error).context("around it").unwrap_err().into();
        check([join().into(), around(join()), step().into(), around(step())]);
        let fatal = anyhow::Error::from(Error::msg("never").fatal());
        assert_eq!(Error::from(fatal).directive(), Directive::Fatal);
    }

    #[cfg(feature = "eyre")]
    #[test]
    fn eyre_hides_nothing() {
        let join = || eyre::Report::from(aborted());
        let step = || eyre::Report::from(later());
        let around = |error: eyre::Report| error.wrap_err("around it").into();
        check([join().into(), around(join()), step().into(), around(step())]);
        let fatal = eyre::Report::from(Error::msg("never").fatal());
        assert_eq!(Error::from(fatal).directive(), Directive::Fatal);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("around it")]
    struct Around(#[source] Inner);

    #[test]
    fn a_box_hides_nothing() {
        let around = |inner: Inner| Error::from(Around(inner));
        let join = || Inner::from(aborted());
        let step = || Inner::from(later());
        check([join().into(), around(join()), step().into(), around(step())]);
    }

    #[test]
    fn text_is_an_error() {
        for error in ["text".fatal(), "text".to_owned().fatal(), Error::from("text").fatal()] {
            assert_eq!((error.to_string().as_str(), error.directive()), ("text", Directive::Fatal));
            assert!(error.inner().source().is_none());
        }
    }
}
