//! Named points at which a test ends the process, to see what a crash there leaves behind.
//!
//! Without the feature `testing` they compile to nothing. With it, `HOMING_CRASH_AT=NAME:N` aborts the
//! process at the n-th passage of a point: no destructor runs, nothing more is said, as with `kill -9`.

/// Where in the life of a verb a point stands.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres", feature = "redis")),
    expect(dead_code, reason = "a store that survives has these")
)]
pub(crate) enum Moment {
    /// The verb has been asked for; its transaction has not begun.
    Before,
    /// Everything is applied and not committed.
    Applied,
    /// Everything is committed; nobody knows.
    Committed,
}

/// Passes a point of a store's verb.
#[cfg(feature = "testing")]
pub(crate) fn verb(name: &str, moment: Moment) {
    let moment = match moment {
        Moment::Before => "before",
        Moment::Applied => "applied",
        Moment::Committed => "committed",
    };
    armed::pass(name, moment);
}

/// Passes a point of the worker.
#[cfg(feature = "testing")]
pub(crate) fn worker(name: &str) {
    armed::pass("worker", name);
}

#[cfg(not(feature = "testing"))]
#[inline]
pub(crate) fn verb(_name: &str, _moment: Moment) {}

#[cfg(not(feature = "testing"))]
#[inline]
pub(crate) fn worker(_name: &str) {}

#[cfg(feature = "testing")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        point: String,
        left: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var("HOMING_CRASH_AT").ok()?;
        let (point, passage) = text.rsplit_once(':')?;
        Some(Armed { point: point.to_owned(), left: AtomicU64::new(passage.parse().ok()?) })
    });

    pub(super) fn pass(subject: &str, moment: &str) {
        let Some(armed) = &*ARMED else { return };
        let here = armed.point.strip_prefix(subject).and_then(|rest| rest.strip_prefix('.'));
        if here == Some(moment) && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}
