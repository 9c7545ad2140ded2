//! The thread on which a store's connections are driven and its verbs run.
//!
//! A connection belongs to the runtime that made it. A store may be used from several runtimes, among them the
//! heartbeat's, which has no sockets, and it may outlive the runtime that opened it. Futures that run here never
//! leave the thread, so they need not be `Send`.

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::store::Error;

type Task = Box<dyn FnOnce() + Send>;

/// The way to the thread. It ends when this is dropped, with all that is under way.
#[derive(Debug)]
pub(in crate::store::postgres) struct Engine {
    tasks: mpsc::UnboundedSender<Task>,
}

impl Engine {
    pub(in crate::store::postgres) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tasks, mut asked) = mpsc::unbounded_channel::<Task>();
        let thread = std::thread::Builder::new().name("homing-postgres".to_owned());
        thread.spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                while let Some(task) = asked.recv().await {
                    task();
                }
            });
        })?;
        Ok(Self { tasks })
    }

    /// Runs a future on the thread, to its end even if nobody waits for it any more.
    pub(in crate::store::postgres) async fn run<
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    >(
        &self,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let task: Task = Box::new(move || {
            tokio::task::spawn_local(async move {
                // An error means that the caller has gone away; what it asked for is done.
                let _ = reply.send(make().await);
            });
        });
        self.tasks.send(task).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }
}
