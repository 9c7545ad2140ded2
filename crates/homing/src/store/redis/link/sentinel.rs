//! Sentinels: servers that watch a primary and its replicas, and name the primary to whoever asks.
//!
//! What they say may be seconds old: whoever connects to the server that they name asks that server what it is. They also
//! announce that a replica has taken over, so that nobody waits for the old primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use redis::{Client, ConnectionInfo};

use super::fault::{Fault, Result};
use super::guide::{ANSWER, connect, shown};
use super::tls::Tls;
use crate::store::Error;
use crate::store::error::OpenError;

/// What its replacement is announced by.
const SWITCH: &str = "+switch-master";

/// The sentinels of a primary.
#[derive(Debug, Clone)]
pub(in crate::store::redis) struct Sentinels {
    nodes: Vec<(String, Client)>,
    /// Which of them is asked first. One that is cut off names an old primary for ever.
    first: Arc<AtomicUsize>,
    name: String,
    /// For messages: who they are and whom they watch.
    location: String,
}

impl Sentinels {
    pub(in crate::store::redis) fn new(
        nodes: &[ConnectionInfo],
        name: &str,
        tls: &Tls,
    ) -> std::result::Result<Self, OpenError> {
        let named =
            nodes.iter().map(|node| Ok((node.addr().to_string(), tls.client(node.clone())?)));
        let nodes: Vec<_> = named.collect::<std::result::Result<_, OpenError>>()?;
        let hosts: Vec<_> = nodes.iter().map(|(host, _)| host.as_str()).collect();
        let location = format!("{} by the sentinels {}", name, hosts.join(", "));
        Ok(Self { nodes, first: Arc::default(), name: name.to_owned(), location })
    }

    /// The server that was named is no primary, or is not there: another sentinel is asked first the next time.
    pub(in crate::store::redis) fn doubt(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }

    /// Where the primary is, by the first sentinel that knows.
    pub(in crate::store::redis) async fn primary(&self) -> Result<(String, u16)> {
        let (mut silent, mut knows_none) = (None, false);
        let first = self.first.load(Ordering::Relaxed) % self.nodes.len().max(1);
        for (host, client) in self.nodes[first..].iter().chain(&self.nodes[..first]) {
            match self.ask(client).await {
                Ok(Some((host, port))) => return Ok((host, port)),
                Ok(None) => knows_none = true,
                Err(fault) => silent = Some(fault.told(&format!("the sentinel {host}"))),
            }
        }
        let store = self.location.clone();
        let unknown = format!(
            "the sentinels that answer watch no primary of the name `{}`: name one that `SENTINEL MASTERS` lists",
            self.name
        );
        Err(match silent {
            // A sentinel that forbids the question, or whose certificate is none, will do so the next time.
            Some(error) if !error.is_transient() => error,
            None => Error::Refused { store, reason: unknown },
            // One that does not answer now may know.
            Some(_) if knows_none => Error::Unreachable { store, reason: unknown },
            Some(last) => {
                let reason = format!("no sentinel names its primary; the last says: {last}");
                Error::Unreachable { store, reason }
            }
        }
        .into())
    }

    async fn ask(&self, client: &Client) -> Result<Option<(String, u16)>> {
        let mut connection = connect(client).await?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        Ok(ask.query_async(&mut connection).await?)
    }

    /// Hears one sentinel out: calls `moved` at each announcement that another server is the primary, and once when it
    /// begins to listen. Returns when the connection breaks. `turn` says which sentinel.
    pub(in crate::store::redis) async fn listen(
        &self,
        turn: usize,
        mut moved: impl FnMut(&str),
    ) -> Result<()> {
        let Some((_, client)) = self.nodes.get(turn % self.nodes.len().max(1)) else {
            return Ok(());
        };
        let listening = tokio::time::timeout(ANSWER, async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(SWITCH).await?;
            Ok::<_, Fault>(pubsub)
        });
        let mut pubsub = listening.await.map_err(|_| late())??;
        moved(&shown(&self.primary().await?));
        let mut messages = pubsub.on_message();
        while let Some(message) = messages.next().await {
            // Name, the old host and port, the new host and port.
            let told: String = message.get_payload().unwrap_or_default();
            let words: Vec<_> = told.split(' ').collect();
            if let [name, _, _, host, port] = words.as_slice()
                && *name == self.name
                && let Ok(port) = port.parse()
            {
                moved(&shown(&((*host).to_owned(), port)));
            }
        }
        Ok(())
    }
}

fn late() -> Fault {
    let reason = format!("it has not answered within {ANSWER:?}");
    Error::Unreachable { store: "a sentinel".to_owned(), reason }.into()
}
