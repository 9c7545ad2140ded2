//! The URL of a broker that is RabbitMQ. Anything that the bridge does not know is refused with the list.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use homing::OpenError;
use homing::store::certificates::verified;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use percent_encoding::percent_decode_str;
use tokio_rustls::rustls::ClientConfig;

use crate::error::StartError;

const KNOWN: &str = "`queue_type=classic`, `queue_type=quorum`, `max_priority=NUMBER`, and of `amqps:` \
    `sslrootcert=FILE`, `sslcert=FILE` and `sslkey=FILE`";
/// Seconds between two signs of life on a connection; after twice as many without one it is given up.
const HEARTBEAT: u16 = 15;
/// The port of RabbitMQ, and that of TLS.
const PORTS: (u16, u16) = (5672, 5671);

/// A RabbitMQ server as Celery's URL names it, or several of one cluster.
#[derive(Clone)]
pub(crate) struct Url {
    /// Tried in this order.
    pub(crate) addresses: Vec<AMQPUri>,
    /// For messages: hosts and virtual host, no credentials.
    pub(crate) location: String,
    pub(crate) kind: Kind,
    /// How to speak TLS, if one of the addresses asks for it.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What a URL says of TLS.
#[derive(Debug, Default)]
struct Tls<'u> {
    root: Option<Cow<'u, str>>,
    cert: Option<Cow<'u, str>>,
    key: Option<Cow<'u, str>>,
}

impl<'u> Tls<'u> {
    /// Whether the option is one of TLS's, and was set.
    fn set(&mut self, option: &'u str) -> Result<bool, String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let field = match name {
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.cert,
            "sslkey" => &mut self.key,
            _ => return Ok(false),
        };
        let value = percent_decode_str(value).decode_utf8();
        *field = Some(value.map_err(|_| format!("its option `{name}` is no UTF-8"))?);
        Ok(true)
    }

    /// Reads the files.
    fn config(&self, is_encrypted: bool) -> Result<Option<Arc<ClientConfig>>, String> {
        let Self { root, cert, key } = self;
        if !is_encrypted {
            let given = [("sslrootcert", root), ("sslcert", cert), ("sslkey", key)];
            if let Some((name, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
                return Err(format!("its option `{name}` means something for `amqps:` only"));
            }
            return Ok(None);
        }
        let path = |file: &'_ Option<Cow<'u, str>>| file.as_deref().map(std::path::PathBuf::from);
        let (cert, key) = (path(cert), path(key));
        let config = verified(root.as_deref(), (cert.as_deref(), key.as_deref()));
        config.map(|config| Some(Arc::new(config))).map_err(|error| match error {
            OpenError::UnusableOption { option, reason } => {
                format!("its option `{option}` cannot be used: {reason}")
            }
            other => other.to_string(),
        })
    }
}

/// What the application says of its queues, as far as they must be declared so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    /// `x-queue-type`: `classic` or `quorum`.
    pub(crate) queue_type: Option<String>,
    /// `x-max-priority`.
    pub(crate) max_priority: Option<u8>,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Url").field(&self.location).finish()
    }
}

/// Whether a URL is one of RabbitMQ's, whatever else is wrong with it.
pub(crate) fn is_rabbit(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    ["amqp", "amqps", "pyamqp"].contains(&scheme)
}

impl Url {
    /// Reads the URL of the broker: one, or several with `;` between them.
    pub(crate) fn read(what: &'static str, text: &str) -> Result<Self, StartError> {
        let refused = |reason: String| StartError::Url { what, reason };
        let (mut addresses, mut places) = (Vec::new(), Vec::new());
        let (mut kind, mut tls) = (Kind::default(), Tls::default());
        for one in text.split(';').filter(|one| !one.is_empty()) {
            let (address, options) = one.split_once('?').unwrap_or((one, ""));
            let address = read(address).map_err(refused)?;
            let AMQPAuthority { host, port, .. } = &address.authority;
            places.push(format!("{host}:{port}/{}", address.vhost.trim_start_matches('/')));
            addresses.push(address);
            for option in options.split('&').filter(|option| !option.is_empty()) {
                if !tls.set(option).map_err(refused)? {
                    kind.set(option).map_err(refused)?;
                }
            }
        }
        if addresses.is_empty() {
            return Err(refused(form()));
        }
        let is_encrypted = addresses.iter().any(|address| address.scheme == AMQPScheme::AMQPS);
        let tls = tls.config(is_encrypted).map_err(refused)?;
        Ok(Self { addresses, location: places.join(", "), kind, tls })
    }
}

fn form() -> String {
    "it is no URL of the form `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps:` for TLS"
        .to_owned()
}

fn read(address: &str) -> Result<AMQPUri, String> {
    let (scheme, rest) = address.split_once("://").ok_or_else(form)?;
    let (scheme, usual) = match scheme {
        "amqp" | "pyamqp" => (AMQPScheme::AMQP, PORTS.0),
        "amqps" => (AMQPScheme::AMQPS, PORTS.1),
        _ => return Err(form()),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = match authority.rsplit_once('@') {
        Some((user, server)) => (Some(user), server),
        None => (None, authority),
    };
    let decoded =
        |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| form());
    let (username, password) = match user {
        None => ("guest".to_owned(), "guest".to_owned()),
        Some(user) => {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (decoded(name)?, decoded(password)?)
        }
    };
    let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let port = match port {
        None | Some("") => usual,
        Some(port) => port.parse().map_err(|_| form())?,
    };
    let host = if host.is_empty() { "localhost".to_owned() } else { decoded(host)? };
    // Celery's `amqp://host//` and `amqp://host` are both the virtual host `/`.
    let vhost = match decoded(path)? {
        path if path.is_empty() => "/".to_owned(),
        path => path,
    };
    Ok(AMQPUri {
        scheme,
        authority: AMQPAuthority { userinfo: AMQPUserInfo { username, password }, host, port },
        vhost,
        query: AMQPQueryString { heartbeat: Some(HEARTBEAT), ..AMQPQueryString::default() },
    })
}

impl Kind {
    fn set(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "queue_type" if ["classic", "quorum"].contains(&value) => {
                self.queue_type = Some(value.to_owned());
            }
            "queue_type" => {
                return Err(format!(
                    "its option `queue_type` is `{value}`, and must be `classic` or `quorum`"
                ));
            }
            "max_priority" => match value.parse() {
                Ok(most @ 1..=255) => self.max_priority = Some(most),
                _ => {
                    return Err(format!(
                        "its option `max_priority` is `{value}`, and must be a number from 1 to 255"
                    ));
                }
            },
            _ => return Err(format!("it has an option `{name}`, and the bridge knows {KNOWN}")),
        }
        if self.max_priority.is_some() && self.queue_type.as_deref() == Some("quorum") {
            return Err(
                "a quorum queue has no `max_priority`: leave out one of the two options".to_owned()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::read("the broker", text).unwrap()
    }

    fn refusal(text: &str) -> String {
        Url::read("the broker", text).unwrap_err().to_string()
    }

    #[test]
    fn what_celery_says_of_its_rabbit_is_taken() {
        let one = url("amqp://u%40x:se%2Fcret@host:7000/shop%2Fa?queue_type=quorum");
        let address = &one.addresses[0];
        let AMQPUserInfo { username, password } = &address.authority.userinfo;
        assert_eq!((username.as_str(), password.as_str()), ("u@x", "se/cret"));
        assert_eq!((address.vhost.as_str(), address.authority.port), ("shop/a", 7000));
        assert_eq!((one.location.as_str(), one.kind.max_priority), ("host:7000/shop/a", None));
        assert_eq!(one.kind.queue_type.as_deref(), Some("quorum"));
        assert!(!format!("{one:?}").contains("se"));
        for text in ["amqp://", "pyamqp://localhost//", "amqp://guest:guest@localhost:5672/%2F"] {
            let one = url(text);
            let address = &one.addresses[0];
            assert_eq!((address.vhost.as_str(), address.authority.port), ("/", 5672), "{text}");
            assert_eq!(address.authority.host, "localhost");
            assert_eq!(address.authority.userinfo.password, "guest");
        }
        let six = url("amqp://[::1]:7/v;amqp://b?max_priority=10");
        assert_eq!(six.location, "::1:7/v, b:5672/");
        assert_eq!(six.kind.max_priority, Some(10));
    }

    #[test]
    fn what_the_bridge_does_not_speak_is_refused_with_what_to_do() {
        assert!(refusal("amqp://host//?sslcert=x").contains("`amqps:` only"));
        assert!(refusal("amqps://host//?sslrootcert=/nowhere.pem").contains("`sslrootcert`"));
        assert!(refusal("amqps://host//?sslrootcert=/nowhere.pem").contains("/nowhere.pem"));
        assert!(refusal("amqp://host:port/").contains("amqp://USER"));
        assert!(refusal(";").contains("amqp://USER"));
        assert!(refusal("amqp://host//?queue_type=stream").contains("`queue_type`"));
        assert!(refusal("amqp://host//?max_priority=0").contains("`max_priority`"));
        assert!(refusal("amqp://host//?max_priority=9&queue_type=quorum").contains("quorum queue"));
        assert!(refusal("amqp://u:secret@host//?ssl=1").contains("`ssl`"));
        assert!(!refusal("amqp://u:secret@host//?ssl=1").contains("secret"));
    }
}
