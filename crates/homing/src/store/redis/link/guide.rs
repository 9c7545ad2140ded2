//! Who says which server is the primary: nobody but the URL, the sentinels, or the nodes of a cluster.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo};

use super::cluster::Cluster;
use super::fault::Result;
use super::sentinel::Sentinels;

/// How long one of those who know may take to answer. There are others.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// Where a server is.
pub(in crate::store::redis) type Address = (String, u16);

/// Those who say where the primary is.
#[derive(Debug)]
pub(in crate::store::redis) enum Guide {
    /// They watch one primary.
    Sentinels(Sentinels),
    /// Each node knows which of them serves which slots.
    Cluster(Box<Cluster>),
}

impl Guide {
    /// Where the primary is now.
    pub(super) async fn primary(&self) -> Result<Address> {
        match self {
            Self::Sentinels(sentinels) => sentinels.primary().await,
            Self::Cluster(cluster) => cluster.primary().await,
        }
    }

    /// The server that was named is no primary, or is not there: another is asked first the next time.
    pub(super) fn doubt(&self) {
        match self {
            Self::Sentinels(sentinels) => sentinels.doubt(),
            Self::Cluster(cluster) => cluster.doubt(),
        }
    }

    pub(in crate::store::redis) fn sentinels(&self) -> Option<&Sentinels> {
        match self {
            Self::Sentinels(sentinels) => Some(sentinels),
            Self::Cluster(_) => None,
        }
    }

    pub(super) fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Sentinels(_) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }
}

/// Connects to one of those who know.
pub(super) async fn connect(client: &Client) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER))
        .set_response_timeout(Some(ANSWER));
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// The same way to another server.
pub(in crate::store::redis) fn to(
    connection: &ConnectionInfo,
    (host, port): Address,
) -> ConnectionInfo {
    let addr = match connection.addr() {
        ConnectionAddr::TcpTls { .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
        ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_) | _ => ConnectionAddr::Tcp(host, port),
    };
    connection.clone().set_addr(addr)
}

/// An address as a text.
pub(super) fn shown((host, port): &Address) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
