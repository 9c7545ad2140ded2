//! A waker that tells whether somebody keeps it.
//!
//! The body is polled with a fresh one each time. A future that waits for plain I/O keeps a clone; homing's
//! own futures keep none. So a clone that is alive after `Pending` means plain I/O.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

struct WakerCount {
    inner: Waker,
}

impl Wake for WakerCount {
    fn wake(self: Arc<Self>) {
        self.inner.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.inner.wake_by_ref();
    }
}

/// Polls with a fresh waker; the `bool` says whether a clone of it is alive afterwards.
pub(super) fn poll_counted<T>(
    waker: &Waker,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> (Poll<T>, bool) {
    let counted = Arc::new(WakerCount { inner: waker.clone() });
    let fresh = Waker::from(Arc::clone(&counted));
    let polled = poll(&mut Context::from_waker(&fresh));
    drop(fresh);
    (polled, Arc::strong_count(&counted) > 1)
}
