//! Named points at which a test ends the process, to see what a crash there leaves behind.
//!
//! Without the feature `testing` they compile to nothing. With it, `HOMING_CELERY_CRASH_AT=NAME:N` aborts the process
//! at the n-th passage of a point, as `kill -9` does.

#[cfg(not(feature = "testing"))]
#[inline]
pub(crate) fn pass(_name: &str) {}

#[cfg(feature = "testing")]
pub(crate) fn pass(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let text = std::env::var("HOMING_CELERY_CRASH_AT").ok()?;
        let (point, passage) = text.rsplit_once(':')?;
        Some((point.to_owned(), AtomicU64::new(passage.parse().ok()?)))
    });
    let Some((point, left)) = &*ARMED else { return };
    if point == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}
