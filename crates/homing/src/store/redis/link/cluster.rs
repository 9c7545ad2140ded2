//! The nodes of a cluster: servers each of which has some of the slots and knows who has the others.
//!
//! A lane lies in one slot, so its keys are all on one node, which this finds. What a node says of others may be old, as it
//! hears of changes from them: whoever connects to the node that was named asks that node what it is, and a node that has
//! a slot no more says who has it. Nobody announces a change, so a node that does not answer is asked about elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{ConnectionInfo, Value};

use super::fault::{Fault, Result};
use super::guide::{Address, connect, shown, to};
use super::tls::Tls;
use crate::store::Error;

/// For how long one node is waited for before the next is asked as well.
const STAGGER: Duration = Duration::from_millis(200);

/// The nodes of a cluster, as far as they are known, for the keys of one slot.
#[derive(Debug)]
pub(in crate::store::redis) struct Cluster {
    /// How each node is connected to; the address is one of those of the URL.
    connection: ConnectionInfo,
    tls: Tls,
    slot: u16,
    seeds: Vec<Address>,
    known: Mutex<Known>,
    /// For messages: where the cluster is.
    location: String,
}

/// What nodes have told.
#[derive(Debug, Default)]
struct Known {
    /// In the order in which they are asked.
    nodes: Vec<Address>,
    /// Who has the slot now, by a node that had it.
    moved: Option<Address>,
}

impl Cluster {
    pub(super) fn new(
        connection: &ConnectionInfo,
        seeds: &[Address],
        (tls, slot): (&Tls, u16),
        location: &str,
    ) -> Self {
        let known = Known { nodes: seeds.to_vec(), moved: None };
        Self {
            connection: connection.clone(),
            tls: tls.clone(),
            slot,
            seeds: seeds.to_vec(),
            known: Mutex::new(known),
            location: location.to_owned(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another node is asked first the next time. One that is cut off from the others names itself for ever.
    pub(super) fn doubt(&self) {
        let mut known = self.known();
        known.moved = None;
        if !known.nodes.is_empty() {
            known.nodes.rotate_left(1);
        }
    }

    /// A node has said that another has the slot: that one is asked next.
    pub(super) fn moved(&self, to: Address) {
        self.known().moved = Some(to);
    }

    /// Where the node is that has the slot, by the first node that knows.
    pub(super) async fn primary(&self) -> Result<Address> {
        let moved = self.known().moved.take();
        match moved {
            Some(moved) => Ok(moved),
            None => self.owner(None).await,
        }
    }

    /// Who has the slot instead of a node that does not answer. Only who says so itself: the others may not have heard yet.
    pub(super) async fn instead_of(&self, silent: &str) -> Option<Address> {
        let owner = self.owner(Some(silent)).await.ok().filter(|owner| shown(owner) != silent)?;
        let own = self.ask(owner.clone()).await.ok()?;
        (own.owner? == owner).then_some(owner)
    }

    async fn owner(&self, besides: Option<&str>) -> Result<Address> {
        let mut nodes = self.known().nodes.clone();
        nodes.retain(|node| besides.is_none_or(|besides| shown(node) != besides));
        let (mut asked, mut heard) = (FuturesUnordered::new(), Vec::new());
        for node in nodes {
            asked.push(self.ask(node));
            // `Err`: nothing was heard for a while, so the next is asked as well.
            if let Ok(Some(answer)) = tokio::time::timeout(STAGGER, asked.next()).await {
                match self.learn(answer) {
                    Ok(Some(owner)) => return Ok(owner),
                    other => heard.push(other),
                }
            }
        }
        while let Some(answer) = asked.next().await {
            match self.learn(answer) {
                Ok(Some(owner)) => return Ok(owner),
                other => heard.push(other),
            }
        }
        Err(self.nobody(heard))
    }

    /// Nodes that answer are known from here on, the one that did first.
    fn learn(&self, answer: Result<Map>) -> Result<Option<Address>> {
        let map = answer?;
        if map.owner.is_some() {
            let mut nodes = vec![map.by];
            for node in map.nodes.iter().chain(&self.seeds) {
                if !nodes.contains(node) {
                    nodes.push(node.clone());
                }
            }
            self.known().nodes = nodes;
        }
        Ok(map.owner)
    }

    fn nobody(&self, heard: Vec<Result<Option<Address>>>) -> Fault {
        let (store, mut last) = (self.location.clone(), None);
        for answer in heard {
            match answer {
                Ok(_) => {
                    let slot = self.slot;
                    let reason =
                        format!("no node of the cluster serves slot {slot} (yet, or any more)");
                    return Error::Busy { reason }.into();
                }
                Err(fault) => {
                    let error = fault.told(&store);
                    // What is refused will be so the next time.
                    if !error.is_transient() {
                        return error.into();
                    }
                    last = Some(error);
                }
            }
        }
        let last = last.map_or_else(String::new, |last| format!("; the last says: {last}"));
        let reason = format!("no node of the cluster answers{last}");
        Error::Unreachable { store, reason }.into()
    }

    async fn ask(&self, node: Address) -> Result<Map> {
        let refused = |reason| Error::Refused { store: shown(&node), reason };
        let client = self.tls.client(to(&self.connection, node.clone()));
        let client = client.map_err(|error| refused(error.to_string()))?;
        let asked = async {
            let mut connection = connect(&client).await?;
            let told = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await;
            let error = match told {
                Ok(told) => return Ok(told),
                Err(error) => Fault::from(error),
            };
            let info: String =
                redis::cmd("INFO").arg("cluster").query_async(&mut connection).await?;
            Err(if info.contains("cluster_enabled:0") {
                let reason = "it is no node of a cluster: say `redis:` or `rediss:` in the URL";
                refused(reason.to_owned()).into()
            } else {
                error
            })
        };
        // Whose fault it is stands in the message.
        let told: Vec<Vec<Value>> = asked
            .await
            .map_err(|fault: Fault| fault.told(&format!("the node {}", shown(&node))))?;
        Ok(Map::of(self.slot, node, &told))
    }
}

/// What one node says of the cluster.
struct Map {
    by: Address,
    /// The primary that has the slot.
    owner: Option<Address>,
    /// All nodes, primaries and replicas.
    nodes: Vec<Address>,
}

impl Map {
    /// From rows of a first slot, a last one, the primary and its replicas.
    fn of(slot: u16, by: Address, rows: &[Vec<Value>]) -> Self {
        let mut map = Self { by, owner: None, nodes: Vec::new() };
        for row in rows {
            let [Value::Int(first), Value::Int(last), nodes @ ..] = row.as_slice() else {
                continue;
            };
            let nodes: Vec<_> = nodes.iter().filter_map(|node| map.address(node)).collect();
            if (*first..=*last).contains(&slot.into()) {
                map.owner = nodes.first().cloned();
            }
            for node in nodes {
                if !map.nodes.contains(&node) {
                    map.nodes.push(node);
                }
            }
        }
        map
    }

    /// Host, port and more. A node that knows no name of its own is where it was asked.
    fn address(&self, node: &Value) -> Option<Address> {
        let Value::Array(parts) = node else { return None };
        let [host, Value::Int(port), ..] = parts.as_slice() else { return None };
        let host = match host {
            Value::BulkString(host) => str::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            _ => "",
        };
        Some((host_or(host, &self.by.0), u16::try_from(*port).ok()?))
    }
}

/// A host that a node names, or that of the node itself.
fn host_or(host: &str, own: &str) -> String {
    if host.is_empty() || host == "?" { own.to_owned() } else { host.to_owned() }
}

/// Where an error sends its request: `HOST:PORT`. A node that does not know its name leaves it out.
pub(super) fn address_in(text: &str, own: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let own = own.rsplit_once(':').map_or(own, |(host, _)| host);
    let host = host_or(host, own);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64) -> Value {
        Value::Array(vec![Value::BulkString(host.as_bytes().to_vec()), Value::Int(port)])
    }

    #[test]
    fn a_node_says_who_has_which_slots() {
        let rows = [
            vec![Value::Int(0), Value::Int(99), node("a", 1), node("b", 2)],
            vec![Value::Int(100), Value::Int(100), node("", 3)],
            vec![Value::Int(101), Value::Int(16_383), node("c", 4), node("a", 1)],
        ];
        let by = ("asked".to_owned(), 3);
        let owner = |slot| Map::of(slot, by.clone(), &rows).owner;
        assert_eq!(owner(99), Some(("a".to_owned(), 1)));
        assert_eq!(owner(100), Some(by.clone()), "it does not know its own name");
        assert_eq!(owner(101), Some(("c".to_owned(), 4)));
        assert_eq!(Map::of(0, by.clone(), &rows).nodes.len(), 4);
        assert_eq!(Map::of(7, by.clone(), &rows[1..]).owner, None, "nobody has it");
    }

    #[test]
    fn a_node_says_where_a_slot_has_moved() {
        let moved = |text| address_in(text, "own:7000");
        assert_eq!(moved("other:7001"), Some(("other".to_owned(), 7001)));
        assert_eq!(moved(":7001"), Some(("own".to_owned(), 7001)));
        assert_eq!(moved("?:7001"), Some(("own".to_owned(), 7001)));
        assert_eq!(moved("::1:7001"), Some(("::1".to_owned(), 7001)));
        assert_eq!(address_in(":7001", "[::1]:7000"), Some(("::1".to_owned(), 7001)));
        assert_eq!(moved("nonsense"), None);
    }
}
