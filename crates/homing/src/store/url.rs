//! Store URLs: which store, where, and with which options. Anything unknown is refused.

use std::sync::Arc;

use super::read::StoreView;
use super::{Store, memory};
use crate::clock::Clock;
use crate::store::error::OpenError;

/// What [`Homing::migrate`](crate::Homing::migrate) did to a store's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// The version it had: 0 is no schema at all.
    pub from: i64,
    /// The version it has now, the newest that this program knows. 0 for a store without a schema.
    pub to: i64,
}

/// A store URL, taken apart.
#[derive(Debug)]
pub(crate) struct Url<'a> {
    /// The whole text.
    pub(crate) text: &'a str,
    /// Before the first colon.
    pub(crate) scheme: &'a str,
    /// Between the scheme and the options.
    pub(crate) path: &'a str,
    /// `name=value` pairs after the question mark.
    pub(crate) options: Vec<(&'a str, &'a str)>,
}

impl<'a> Url<'a> {
    /// Takes a URL apart.
    pub(crate) fn parse(text: &'a str) -> Result<Self, OpenError> {
        let unknown = || OpenError::UnknownStore { url: shown(text) };
        let (scheme, rest) = text.split_once(':').ok_or_else(unknown)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let options: Option<_> = pairs.map(|pair| pair.split_once('=')).collect();
        let Some(options) = options else {
            let reason = "an option has no `=`: write `?name=value`, and `&` in a value as %26";
            return Err(OpenError::InvalidUrl { url: shown(text), reason });
        };
        Ok(Self { text, scheme, path, options })
    }

    /// The URL as it may be shown: without credentials.
    pub(crate) fn shown(&self) -> String {
        shown(self.text)
    }

    /// The error for an option nobody knows.
    pub(crate) fn unknown_option(&self, option: &str, known: &'static str) -> OpenError {
        // A password with a `?` or `&` in it ends where the next option seems to begin.
        let is_a_word = option.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let is_safe = is_a_word && option.len() <= 40 && !option.contains("pass");
        let option = if is_safe && self.is_clear_before(option) { option } else { "…" };
        OpenError::UnknownOption { option: option.to_owned(), known }
    }

    /// The error for an option's value.
    pub(crate) fn invalid_option(
        &self,
        option: &str,
        value: &str,
        expected: &'static str,
    ) -> OpenError {
        let is_safe = !is_secret(option) && self.is_clear_before(option);
        let value = if is_safe { value } else { "…" }.to_owned();
        OpenError::InvalidOption { option: option.to_owned(), value, expected }
    }

    /// Whether no part of a password can stand in an option or its value.
    fn is_clear_before(&self, option: &str) -> bool {
        let mut before = self.options.iter().take_while(|(own, _)| *own != option);
        let query = self.text.split_once('?').map_or("", |(_, query)| query);
        !query.contains('@') && before.all(|(own, _)| !is_secret(own))
    }
}

/// Options whose names and values are shown; of others only that they are there.
const SHOWN: &[&str] = &[
    "synchronous",
    "busy_timeout",
    "create",
    "cache_mib",
    "file_mode",
    "schema",
    "pool",
    "pool_timeout",
    "listen",
    "poll",
    "bundle",
    "migrate",
    "passfile",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "application_name",
    "connect_timeout",
    "target_session_attrs",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "prefix",
    "durability",
    "unchecked",
    "sentinel_user",
];

/// A text that may hold credentials, without them.
///
/// It need not be a URL: a mistyped one is shown too, and a password may stand anywhere in it. So what is shown
/// is what is known to be none: the scheme, hosts, ports and database of an address that is beyond doubt, and
/// options that are known by name.
fn shown(text: &str) -> String {
    const HIDDEN: &str = "…";
    let doubtful = |text: &str| text.contains(['@', '=', '&', '?', ' ', '\t', '\n']);
    let Some((scheme, rest)) = text.split_once(':') else {
        return if doubtful(text) { HIDDEN } else { text }.to_owned();
    };
    if !scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
        return HIDDEN.to_owned();
    }
    let (path, query) =
        rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let address = match path.strip_prefix("//") {
        Some(_) if scheme == "sqlite" && !path.contains('@') => Some(path.to_owned()),
        Some(address) => address_shown(address, scheme.ends_with("-sentinel"))
            .map(|address| format!("//{address}")),
        None if scheme == "sqlite" => (!path.contains("://")).then(|| path.to_owned()),
        None => (!doubtful(path) && !path.contains(':')).then(|| path.to_owned()),
    };
    let Some(address) = address else { return format!("{scheme}:{HIDDEN}") };
    match query {
        None => format!("{scheme}:{address}"),
        // The end of a password that has a `?` in it.
        Some(query) if query.contains('@') => format!("{scheme}:{address}?{HIDDEN}"),
        Some(query) => {
            let options: Vec<_> = query.split('&').map(option_shown).collect();
            format!("{scheme}:{address}?{}", options.join("&"))
        }
    }
}

fn option_shown(pair: &str) -> String {
    match pair.split_once('=') {
        Some((option, _)) if SHOWN.contains(&option) => pair.to_owned(),
        Some((option @ ("password" | "sentinel_password"), _)) => format!("{option}=…"),
        _ => "…".to_owned(),
    }
}

/// Hosts, ports and database of an address, without who asks; `None` if it is not clear where they are.
fn address_shown(address: &str, by_sentinels: bool) -> Option<String> {
    let (user, rest) = match address.split_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, address),
    };
    // Behind sentinels stand the primary's name and the database.
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    let is_word = |text: &str, more: &[char]| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(&c))
    };
    // A whole address may have been escaped that should not have been, its user and password too.
    let is_escaped = ["%3a", "%40"].iter().any(|sign| hosts.to_ascii_lowercase().contains(sign));
    let is_clear = !is_escaped
        && user.is_none_or(|user| !user.contains(['/', '?', '#']))
        && hosts.split(',').all(is_host)
        && is_word(database, if by_sentinels { &['%', '/'] } else { &['%'] });
    let user = if user.is_some() { "…@" } else { "" };
    is_clear.then(|| format!("{user}{rest}"))
}

/// Whether a text is a host, with its port or without. Where a port stands, a password may stand whose
/// `@HOST` was forgotten: a number is none only where no user could stand before it.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.chars().all(|c| c.is_ascii_hexdigit() || ":.%".contains(c)),
        None => name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.%".contains(c)),
    };
    is_name && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Whether an option's value is shown nowhere.
fn is_secret(option: &str) -> bool {
    option.to_ascii_lowercase().contains("pass") && option != "passfile"
}

/// The stores there are, for messages.
pub(crate) fn known() -> &'static str {
    match (cfg!(feature = "postgres"), cfg!(feature = "redis")) {
        (true, true) => {
            "`memory:`, `sqlite:PATH`, `postgres://HOST/DATABASE` or `redis://HOST/DATABASE`"
        }
        (true, false) => {
            "`memory:`, `sqlite:PATH` or `postgres://HOST/DATABASE`; `redis://HOST/DATABASE` needs \
             homing's feature `redis`"
        }
        (false, true) => {
            "`memory:`, `sqlite:PATH` or `redis://HOST/DATABASE`; `postgres://HOST/DATABASE` needs \
             homing's feature `postgres`"
        }
        (false, false) => {
            "`memory:` or `sqlite:PATH`; `postgres://HOST/DATABASE` and `redis://HOST/DATABASE` need \
             homing's features `postgres` and `redis`"
        }
    }
}

/// Opens the store that a URL names. Without `migrate` it must be there and up to date; a store in memory
/// is never there.
pub(crate) async fn open(
    text: &str,
    clock: Clock,
    migrate: bool,
) -> Result<Arc<dyn Store>, OpenError> {
    let url = Url::parse(text)?;
    match url.scheme {
        "memory" => {
            check_memory(&url)?;
            if !migrate {
                return Err(super::Error::Missing { path: url.shown() }.into());
            }
            Ok(Arc::new(memory::Memory::new(clock)))
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Arc::new(super::sqlite::Sqlite::open(&url, clock, migrate).await?)),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            Ok(Arc::new(super::postgres::Postgres::open(&url, clock, migrate).await?))
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel" | "redis-cluster"
        | "rediss-cluster" => Ok(Arc::new(super::redis::Redis::open(&url, clock, migrate).await?)),
        _ => Err(OpenError::UnknownStore { url: url.shown() }),
    }
}

/// Brings the schema of the store that a URL names up to date, whatever its `migrate` option says.
pub(crate) async fn migrate(text: &str) -> Result<Migration, OpenError> {
    let url = Url::parse(text)?;
    match url.scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => super::sqlite::Sqlite::migrate(&url).await,
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => super::postgres::migrate(&url).await,
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel" | "redis-cluster"
        | "rediss-cluster" => super::redis::migrate(&url).await,
        _ => {
            open(text, Clock::System, true).await?;
            Ok(Migration { from: 0, to: 0 })
        }
    }
}

/// What there is at a URL, without changing it.
pub(crate) async fn inspect(text: &str) -> Result<StoreView, OpenError> {
    let url = Url::parse(text)?;
    match url.scheme {
        "memory" => {
            check_memory(&url)?;
            Ok(StoreView {
                url: url.shown(),
                version: None,
                known: 0,
                bytes: None,
                durability: None,
            })
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => super::sqlite::Sqlite::inspect(&url).await,
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => super::postgres::inspect(&url).await,
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel" | "redis-cluster"
        | "rediss-cluster" => super::redis::inspect(&url).await,
        _ => Err(OpenError::UnknownStore { url: url.shown() }),
    }
}

fn check_memory(url: &Url<'_>) -> Result<(), OpenError> {
    if let Some((option, _)) = url.options.first() {
        return Err(url.unknown_option(option, "none: `memory:` has no options"));
    }
    if !url.path.is_empty() {
        return Err(OpenError::UnknownStore { url: url.shown() });
    }
    Ok(())
}
