//! What a program gives to [`run`](crate::run): its name, and the worker it starts.

use std::error::Error;
use std::fmt;
use std::pin::Pin;

use homing::WorkerBuilder;

type Built = Result<WorkerBuilder, Box<dyn Error + Send + Sync>>;
pub(crate) type Builder =
    Box<dyn FnOnce(WorkerBuilder) -> Pin<Box<dyn Future<Output = Built> + Send>> + Send>;

/// A program that has the commands of `homing`.
#[must_use = "an app does nothing until it is run"]
pub struct App {
    pub(crate) name: &'static str,
    pub(crate) about: Option<&'static str>,
    pub(crate) version: &'static str,
    pub(crate) store: Option<String>,
    pub(crate) worker: Option<Builder>,
}

impl App {
    /// An app that goes by a name in its help and messages.
    pub fn new(name: &'static str) -> Self {
        Self { name, about: None, version: env!("CARGO_PKG_VERSION"), store: None, worker: None }
    }

    /// The first line of its help. Default: what `homing` says of itself.
    pub fn about(mut self, about: &'static str) -> Self {
        self.about = Some(about);
        self
    }

    /// What `--version` says. Default: the version of this crate.
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// The store's URL where neither `--store` nor `HOMING_STORE` names one. Default: none.
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = Some(url.into());
        self
    }

    /// What `worker` starts: registers tasks and gives states. Queues, slots and the name are set from
    /// the command line afterwards, where it gives them.
    pub fn worker<F, W>(mut self, build: F) -> Self
    where
        F: FnOnce(WorkerBuilder) -> W + Send + 'static,
        W: Future<Output = Built> + Send + 'static,
    {
        self.worker = Some(Box::new(move |worker| Box::pin(build(worker))));
        self
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("name", &self.name).finish_non_exhaustive()
    }
}
