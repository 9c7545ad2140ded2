//! One server: the connection that all share, and new ones for those who wait on the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homing::StoreError;
use homing::store::redis::way::Way;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult,
    ScriptInvocation, ServerErrorKind,
};

use super::{Keys, Url};
use crate::error::StartError;

/// How long the server may take to answer.
const RESPONSE: Duration = Duration::from_secs(10);
/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The way to one server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) keys: Keys,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    way: Arc<Way>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Link {
    pub(crate) fn new(url: &Url, name: Option<&str>) -> Self {
        let inner = Inner { way: Arc::clone(&url.way), connection: Mutex::default() };
        Self { keys: Keys::new(url, name), inner: Arc::new(inner) }
    }

    /// For messages: host and database.
    pub(crate) fn location(&self) -> &str {
        self.inner.way.location()
    }

    fn kept(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of one's own, whose answers may take so long.
    pub(crate) async fn connect(&self, response: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(response));
        self.inner.way.connect(&config).await.map_err(of_way)
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = self.kept().clone() {
            return Ok(connection);
        }
        let connection = Box::pin(self.connect(RESPONSE)).await?;
        *self.kept() = Some(connection.clone());
        Ok(connection)
    }

    /// The next command makes a new connection.
    pub(crate) fn forget(&self) {
        *self.kept() = None;
    }

    fn noted<T>(&self, done: RedisResult<T>) -> RedisResult<T> {
        if done.as_ref().is_err_and(breaks) {
            self.forget();
        }
        done
    }

    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        self.noted(Box::pin(command.query_async(&mut connection)).await)
    }

    pub(crate) async fn commands<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        self.noted(Box::pin(commands.query_async(&mut connection)).await)
    }

    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        self.noted(Box::pin(script.invoke_async(&mut connection)).await)
    }

    /// A connection that hears channels.
    pub(crate) async fn listener(&self) -> RedisResult<PubSub> {
        let connecting = async {
            let client = self.inner.way.client().await.map_err(of_way)?;
            client.get_async_pubsub().await
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    /// Whether it is a server that kombu works with.
    pub(crate) async fn check(&self, what: &'static str) -> Result<(), StartError> {
        let fault = |error: RedisError| StartError::Unreachable {
            what,
            location: self.location().to_owned(),
            reason: error.to_string(),
        };
        let info: String = self.command(redis::cmd("INFO").arg("server")).await.map_err(fault)?;
        if info.lines().any(|line| line.trim() == "redis_mode:cluster") {
            let reason = "it is a Redis Cluster, and kombu, which carries Celery's messages, works with none: use a single Redis server".to_owned();
            return Err(StartError::Url { what, reason });
        }
        Ok(())
    }
}

/// Whether a connection is of no use after this.
fn breaks(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        // A primary no more: the sentinels know another.
        || error.kind() == ServerErrorKind::ReadOnly.into()
}

/// That there is no way to the server now; each use tries again.
fn of_way(error: StoreError) -> RedisError {
    std::io::Error::other(error).into()
}
