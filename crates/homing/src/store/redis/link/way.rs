//! The way to a Redis server: to the one that a URL names, or to the one that sentinels or the nodes of a cluster name.
//!
//! A store's link goes it, and so do crates of this workspace that speak to servers which are no
//! stores. It is no part of the public interface.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo};

use super::cluster::Cluster;
use super::fault::{Fault, Result};
use super::guide::{self, Address, Guide};
use super::options::Options;
use super::sentinel::Sentinels;
use super::tls::Tls;
use crate::store::url::Url;
use crate::store::{Error, OpenError};

/// A server that a URL names, or whichever is named by those who know.
#[derive(Debug)]
pub struct Way {
    /// How the server is connected to; where others say which it is, the address is theirs.
    connection: ConnectionInfo,
    tls: Tls,
    location: String,
    client: Client,
    /// Those who say where the primary is, if the URL names them.
    guide: Option<Guide>,
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
        // Which slot of a cluster's is meant nobody asks here.
        Self::of(&options, 0)
    }

    /// The way that the options of a URL say. Of a cluster it is that to the node that has a slot.
    pub(in crate::store::redis) fn of(options: &Options, slot: u16) -> Result<Self, OpenError> {
        let Options { connection, tls, location, .. } = options;
        let guide = match (&options.sentinels, &options.nodes) {
            (Some(own), _) => Some(Guide::Sentinels(Sentinels::new(&own.nodes, &own.name, tls)?)),
            (None, Some(nodes)) => {
                let cluster = Cluster::new(connection, nodes, (tls, slot), location);
                Some(Guide::Cluster(Box::new(cluster)))
            }
            (None, None) => None,
        };
        Ok(Self {
            client: tls.client(connection.clone())?,
            connection: connection.clone(),
            tls: tls.clone(),
            location: location.clone(),
            guide,
        })
    }

    /// The number of its database.
    pub fn database(&self) -> i64 {
        self.connection.redis_settings().db()
    }

    /// For messages: host and database, no credentials.
    pub fn location(&self) -> &str {
        &self.location
    }

    pub(in crate::store::redis) fn guide(&self) -> Option<&Guide> {
        self.guide.as_ref()
    }

    /// Where the primary is now, if that is for others to say.
    pub(super) async fn primary(&self) -> Result<Option<Address>> {
        match &self.guide {
            Some(guide) => guide.primary().await.map(Some),
            None => Ok(None),
        }
    }

    /// What makes connections to the server at an address, or to the one that the URL names.
    pub(super) fn client_of(&self, address: Option<Address>) -> Result<Client> {
        let Some(address) = address else { return Ok(self.client.clone()) };
        self.tls.client(guide::to(&self.connection, address)).map_err(|error| {
            let store = self.location.clone();
            Error::Refused { store, reason: error.to_string() }.into()
        })
    }

    /// Whether the server at the other end is what it was named for. What others say may be seconds old.
    pub(super) async fn confirm(&self, connection: &mut MultiplexedConnection) -> Result<()> {
        let who = match &self.guide {
            None => return Ok(()),
            Some(Guide::Sentinels(_)) => "sentinels",
            Some(Guide::Cluster(_)) => "cluster's nodes",
        };
        let mut ask = redis::cmd("INFO");
        let told: String = ask.arg("replication").query_async(connection).await?;
        if told.lines().any(|line| line.trim_end() == "role:master") {
            return Ok(());
        }
        let reason = format!("the {who} name a server that takes no writes (yet, or any more)");
        Err(Error::Busy { reason }.into())
    }

    /// The server that was named will not do: another of those who know is asked first the next time.
    pub(super) fn doubt(&self) {
        if let Some(guide) = &self.guide {
            guide.doubt();
        }
    }

    /// What makes connections to the server, or to the one that is named now.
    ///
    /// # Errors
    /// Nobody names one.
    pub async fn client(&self) -> Result<Client, Error> {
        let client = async { self.client_of(self.primary().await?) };
        client.await.map_err(|fault| fault.told(&self.location))
    }

    /// A connection to the server, or to the one that is named, once it says itself that it is the primary.
    ///
    /// # Errors
    /// It cannot be reached, or takes no writes.
    pub async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let connected = async {
            let client = self.client_of(self.primary().await?)?;
            let mut connection =
                client.get_multiplexed_async_connection_with_config(config).await?;
            self.confirm(&mut connection).await?;
            Ok(connection)
        };
        connected.await.map_err(|fault: Fault| {
            self.doubt();
            fault.told(&self.location)
        })
    }
}
