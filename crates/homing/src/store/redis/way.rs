//! The way to a Redis server that is no store: with TLS, and by sentinels, as to one that is.
//!
//! For the crates of this workspace that speak to other servers than a store's, and no part of the public interface.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};

use super::link::guide;
use super::link::options::Options;
use super::link::sentinel::Sentinels;
use crate::store::url::Url;
use crate::store::{Error, OpenError};

/// A server that a URL names, or the primary that its sentinels name.
#[derive(Debug)]
pub struct Way {
    options: Options,
    client: Client,
    sentinels: Option<Sentinels>,
}

impl Way {
    /// Of a URL as a store's: `redis:`, `rediss:`, `redis-sentinel:` or `rediss-sentinel:`, with the options of TLS and
    /// of sentinels. Reads the files that these name.
    ///
    /// # Errors
    /// The URL or an option is refused.
    pub fn read(url: &str) -> Result<Self, OpenError> {
        let url = Url::parse(url)?;
        let options = Options::of(&url)?;
        if options.nodes.is_some() {
            let reason =
                "a Redis Cluster is no single server: name one with `redis:`, or its sentinels";
            return Err(OpenError::InvalidUrl { url: url.shown(), reason });
        }
        let client = options.tls.client(options.connection.clone())?;
        let sentinels = options.sentinels.as_ref();
        let sentinels =
            sentinels.map(|own| Sentinels::new(&own.nodes, &own.name, &options.tls)).transpose()?;
        Ok(Self { options, client, sentinels })
    }

    /// The number of its database.
    pub fn database(&self) -> i64 {
        self.options.connection.redis_settings().db()
    }

    /// For messages: host and database, no credentials.
    pub fn location(&self) -> &str {
        &self.options.location
    }

    /// What makes connections to the server, or to the one that the sentinels name now.
    ///
    /// # Errors
    /// No sentinel names one.
    pub async fn client(&self) -> Result<Client, Error> {
        let Some(sentinels) = &self.sentinels else { return Ok(self.client.clone()) };
        let primary = sentinels.primary().await.map_err(|fault| fault.told(self.location()))?;
        let there = guide::to(&self.options.connection, primary);
        self.options.tls.client(there).map_err(|error| {
            let store = self.location().to_owned();
            Error::Refused { store, reason: error.to_string() }
        })
    }

    /// A connection to the server, or to the one that the sentinels name, once it says itself that it is the primary.
    ///
    /// # Errors
    /// It cannot be reached, or takes no writes.
    pub async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let connected = self.try_to_connect(config).await;
        if let (Err(_), Some(sentinels)) = (&connected, &self.sentinels) {
            sentinels.doubt();
        }
        connected
    }

    async fn try_to_connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let told =
            |error: redis::RedisError| super::link::fault::Fault::from(error).told(self.location());
        let client = self.client().await?;
        let connecting = client.get_multiplexed_async_connection_with_config(config);
        let mut connection = connecting.await.map_err(told)?;
        if self.sentinels.is_some() {
            // What they say may be seconds old.
            let mut ask = redis::cmd("INFO");
            ask.arg("replication");
            let role: String = ask.query_async(&mut connection).await.map_err(told)?;
            if !role.lines().any(|line| line.trim_end() == "role:master") {
                let reason = "the sentinels name a server that takes no writes (yet, or any more)";
                return Err(Error::Busy { reason: reason.to_owned() });
            }
        }
        Ok(connection)
    }
}
