//! The options of a `redis:` URL, and the servers that it names. Anything else is refused with the list.
//!
//! A password is moved into the client's configuration at once and is in nothing that is printed.

use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::guide::{self, Address};
use super::tls::Tls;
use crate::store::error::OpenError;
use crate::store::url::Url;

const KNOWN: &str = "`prefix=homing`, `durability=fsync|second|replicas=K|none`, `unchecked=true|false`, \
    `migrate=on|off`, of `rediss:` `sslrootcert`, `sslcert`, `sslkey`, and of `redis-sentinel:` `sentinel_user`, \
    `sentinel_password`";

/// What an acknowledged commit is to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::redis) enum Durability {
    /// Whatever stops the server or its machine.
    Fsync,
    /// Whatever stops the server's process; of a machine that stops, the last second may be lost.
    Second,
    /// Whatever stops the server or its machine; and so many replicas have it too.
    Replicas(u8),
    /// Nothing is asked.
    None,
}

/// What a `redis:` URL asks for.
#[derive(Debug, Clone)]
pub(in crate::store::redis) struct Options {
    /// How the client connects. Its `Debug` hides the password. With sentinels the address is of none: they tell it.
    pub(in crate::store::redis) connection: ConnectionInfo,
    pub(in crate::store::redis) sentinels: Option<SentinelOptions>,
    /// Nodes of a cluster, of which the others are learnt.
    pub(in crate::store::redis) nodes: Option<Vec<Address>>,
    pub(in crate::store::redis) tls: Tls,
    /// What the names of all keys begin with.
    pub(in crate::store::redis) prefix: String,
    pub(in crate::store::redis) durability: Durability,
    /// Whether a server is taken that does not say how it is set.
    pub(in crate::store::redis) unchecked: bool,
    /// Whether a store is made where there is none.
    pub(in crate::store::redis) migrate: bool,
    /// For messages: host, database and prefix, no credentials.
    pub(in crate::store::redis) location: String,
}

/// Sentinels that tell where the primary is.
#[derive(Debug, Clone)]
pub(in crate::store::redis) struct SentinelOptions {
    /// How each is connected to. Its `Debug` hides the password.
    pub(in crate::store::redis) nodes: Vec<ConnectionInfo>,
    /// What they call the primary.
    pub(in crate::store::redis) name: String,
}

impl SentinelOptions {
    /// Takes `//USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DATABASE` apart; the rest is an address as of a single server.
    fn of(path: &str, scheme: &str) -> Option<(Self, String)> {
        let (user, rest) = path.strip_prefix("//")?.rsplit_once('@').unzip();
        let rest = rest.or_else(|| path.strip_prefix("//"))?;
        let (hosts, rest) = rest.split_once('/')?;
        let (name, database) = rest.split_once('/').unwrap_or((rest, ""));
        let name = percent_decode_str(name).decode_utf8().ok().filter(|name| !name.is_empty())?;
        let node = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
            let port = if has_port { "" } else { ":26379" };
            format!("{scheme}://{host}{port}").into_connection_info().ok()
        };
        let nodes = hosts.split(',').map(node).collect::<Option<Vec<_>>>()?;
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let server = format!("{scheme}://{user}primary/{database}");
        Some((Self { nodes, name: name.into_owned() }, server))
    }

    fn set(&mut self, change: impl Fn(RedisConnectionInfo) -> RedisConnectionInfo) {
        for node in &mut self.nodes {
            let settings = change(node.redis_settings().clone());
            *node = node.clone().set_redis_settings(settings);
        }
    }
}

/// Takes `//USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE` apart: the nodes, and an address as of a single server, which
/// is the first.
fn nodes_of(path: &str, scheme: &str) -> Option<(Vec<Address>, String)> {
    let rest = path.strip_prefix("//")?;
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(user, rest)| (user, rest));
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    let node = |host: &str| {
        let node = format!("{scheme}://{host}").into_connection_info().ok()?;
        match node.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host.clone(), *port))
            }
            ConnectionAddr::Unix(_) | _ => None,
        }
    };
    let nodes = hosts.split(',').map(node).collect::<Option<Vec<_>>>()?;
    let at = if rest.len() < path.len() - 2 { "@" } else { "" };
    let first = hosts.split(',').next()?;
    Some((nodes, format!("{scheme}://{user}{at}{first}/{database}")))
}

/// Who is connected to, as the URL says.
struct Where {
    connection: ConnectionInfo,
    sentinels: Option<SentinelOptions>,
    nodes: Option<Vec<Address>>,
    shown: String,
}

impl Where {
    fn of(url: &Url<'_>) -> Result<Self, OpenError> {
        let invalid = |reason| OpenError::InvalidUrl { url: url.shown(), reason };
        let mut reason = "expected `redis://HOST:PORT/DATABASE`, or `rediss:` for TLS, a user and password before the host, \
            and nothing else but options";
        if !url.path.starts_with("//") {
            return Err(invalid(reason));
        }
        let (mut sentinels, mut nodes) = (None, None);
        let address = if let Some(scheme) = url.scheme.strip_suffix("-sentinel") {
            reason = "expected `redis-sentinel://HOST:PORT,HOST:PORT/NAME/DATABASE`, or `rediss-sentinel:` for \
                TLS: the sentinels, the name that they give the primary, and its database; user and password of the \
                primary before the hosts, those of the sentinels in `sentinel_user` and `sentinel_password`";
            let (own, address) =
                SentinelOptions::of(url.path, scheme).ok_or_else(|| invalid(reason))?;
            sentinels = Some(own);
            address
        } else if let Some(scheme) = url.scheme.strip_suffix("-cluster") {
            reason = "expected `redis-cluster://HOST:PORT,HOST:PORT`, or `rediss-cluster:` for TLS: some of the cluster's \
                nodes, of which one that answers is enough; user and password of all nodes before the hosts";
            let (own, address) = nodes_of(url.path, scheme).ok_or_else(|| invalid(reason))?;
            nodes = Some(own);
            address
        } else {
            format!("{}:{}", url.scheme, url.path)
        };
        let connection = address.into_connection_info().map_err(|_| invalid(reason))?;
        let database = connection.redis_settings().db();
        if nodes.is_some() && database != 0 {
            let reason = "a cluster has no database but 0: leave the number out";
            return Err(invalid(reason));
        }
        let shown = match (&sentinels, &nodes) {
            (Some(sentinels), _) => format!("{} (by sentinels)/{database}", sentinels.name),
            (None, Some(nodes)) => {
                let hosts: Vec<_> = nodes.iter().map(guide::shown).collect();
                format!("{} (cluster)", hosts.join(","))
            }
            (None, None) => format!("{}/{database}", connection.addr()),
        };
        Ok(Self { connection, sentinels, nodes, shown })
    }
}

impl Options {
    pub(in crate::store::redis) fn of(url: &Url<'_>) -> Result<Self, OpenError> {
        let Where { connection, sentinels, nodes, shown } = Where::of(url)?;
        if matches!(connection.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            let reason = "a certificate is always verified: name the authority that signed it in `sslrootcert`";
            return Err(OpenError::InvalidUrl { url: url.shown(), reason });
        }
        let mut options = Self {
            location: shown,
            connection,
            sentinels,
            nodes,
            tls: Tls::default(),
            prefix: "homing".to_owned(),
            durability: Durability::Fsync,
            unchecked: false,
            migrate: true,
        };
        for &(option, raw) in &url.options {
            let value = percent_decode_str(raw).decode_utf8();
            let value = value.map_err(|_| url.invalid_option(option, raw, "expected UTF-8"))?;
            options.set(url, option, &value)?;
        }
        let is_encrypted = matches!(options.connection.addr(), ConnectionAddr::TcpTls { .. });
        if let Some(option) = options.tls.given().filter(|_| !is_encrypted) {
            let reason = "it means something for `rediss:` only".to_owned();
            return Err(OpenError::UnusableOption { option, reason });
        }
        if options.prefix != "homing" {
            options.location = format!("{}?prefix={}", options.location, options.prefix);
        }
        Ok(options)
    }

    fn set(&mut self, url: &Url<'_>, option: &str, value: &str) -> Result<(), OpenError> {
        let invalid = |expected| url.invalid_option(option, value, expected);
        let switch = |on: &str, off: &str, expected| match value {
            value if value == on => Ok(true),
            value if value == off => Ok(false),
            _ => Err(invalid(expected)),
        };
        match option {
            "prefix" => {
                let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
                if value.is_empty() || value.len() > 56 || !value.bytes().all(is_fit) {
                    return Err(invalid("expected at most 56 letters, digits or any of `-_.:`"));
                }
                value.clone_into(&mut self.prefix);
            }
            "durability" => {
                self.durability = durability(value).ok_or_else(|| {
                    invalid(
                        "expected `fsync`, `second`, `replicas=K` with K from 1 to 9, or `none`",
                    )
                })?;
            }
            "unchecked" => {
                self.unchecked = switch("true", "false", "expected `true` or `false`")?;
            }
            "sslrootcert" => self.tls.root = Some(value.to_owned()),
            "sslcert" => self.tls.cert = Some(value.into()),
            "sslkey" => self.tls.key = Some(value.into()),
            "sentinel_user" | "sentinel_password" => {
                let Some(sentinels) = &mut self.sentinels else {
                    let reason = "it means something for `redis-sentinel:` only".to_owned();
                    let option = if option == "sentinel_user" {
                        "sentinel_user"
                    } else {
                        "sentinel_password"
                    };
                    return Err(OpenError::UnusableOption { option, reason });
                };
                sentinels.set(|node| match option {
                    "sentinel_user" => node.set_username(value),
                    _ => node.set_password(value),
                });
            }
            "migrate" => self.migrate = switch("on", "off", "expected `on` or `off`")?,
            _ => return Err(url.unknown_option(option, KNOWN)),
        }
        Ok(())
    }
}

fn durability(value: &str) -> Option<Durability> {
    Some(match value {
        "fsync" => Durability::Fsync,
        "second" => Durability::Second,
        "none" => Durability::None,
        other => match *other.strip_prefix("replicas=")?.as_bytes() {
            [digit @ b'1'..=b'9'] => Durability::Replicas(digit - b'0'),
            _ => return None,
        },
    })
}
