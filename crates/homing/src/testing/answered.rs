//! A store whose exchanges a test answers itself, one after the other, with whatever it likes.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::store::{Error, Exchange, Reply, Store};

/// A store that is asked for exchanges and leaves the answers to a test. Every other verb is the inner store's.
#[derive(Debug)]
pub struct Answered {
    inner: Arc<dyn Store>,
    asked: mpsc::UnboundedSender<Exchange>,
    answers: Mutex<mpsc::UnboundedReceiver<Result<Reply, Error>>>,
}

/// The test's side of an [`Answered`] store.
#[derive(Debug)]
pub struct Answering {
    asked: mpsc::UnboundedReceiver<Exchange>,
    answers: mpsc::UnboundedSender<Result<Reply, Error>>,
}

impl Answered {
    /// Such a store over another, and what answers its exchanges.
    pub fn over(inner: Arc<dyn Store>) -> (Arc<Self>, Answering) {
        let (ask, asked) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        let store = Self { inner, asked: ask, answers: Mutex::new(answers) };
        (Arc::new(store), Answering { asked, answers: answer })
    }

    async fn speak(&self, exchange: Exchange) -> Result<Reply, Error> {
        self.asked.send(exchange).map_err(|_| Error::Closed)?;
        self.answers.lock().await.recv().await.unwrap_or(Err(Error::Closed))
    }
}

impl Answering {
    /// The next exchange, in the order in which they were sent.
    pub async fn asked(&mut self) -> Exchange {
        self.asked.recv().await.unwrap()
    }

    /// An exchange that was sent and not looked at yet.
    pub fn asked_already(&mut self) -> Option<Exchange> {
        self.asked.try_recv().ok()
    }

    /// Answers the exchange in flight or, if there is none, the next one at the moment at which it is sent.
    pub fn answer(&self, reply: Reply) {
        self.answers.send(Ok(reply)).unwrap();
    }

    /// The same, with a failure.
    pub fn fail(&self, error: Error) {
        self.answers.send(Err(error)).unwrap();
    }
}

super::over::over!(Answered, passing);
