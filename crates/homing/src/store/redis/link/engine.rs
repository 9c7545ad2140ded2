//! The thread on which a store's connections are driven.
//!
//! A connection belongs to the runtime that made it. A store may be used from several runtimes, among them the
//! heartbeat's, which has no sockets, and it may outlive the runtime that opened it.

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::store::Error;

/// The way to the thread. It ends when this is dropped, with all that is under way.
#[derive(Debug)]
pub(in crate::store::redis) struct Engine {
    handle: Handle,
    _open: oneshot::Sender<()>,
}

impl Engine {
    pub(in crate::store::redis) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (open, closed) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("homing-redis".to_owned());
        thread.spawn(move || {
            // An error is what it waits for: the sender was dropped.
            let _ = runtime.block_on(closed);
        })?;
        Ok(Self { handle, _open: open })
    }

    /// Runs a future on the thread, to its end even if nobody waits for it any more.
    pub(in crate::store::redis) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        self.handle.spawn(future).await.map_err(|_| Error::Closed)
    }

    /// Has a future run beside the verbs.
    pub(in crate::store::redis) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(future));
    }
}
