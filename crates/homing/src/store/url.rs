//! Store URLs: which store, where, and with which options. Anything unknown is refused.

use std::sync::Arc;

use super::read::StoreView;
use super::{Store, memory};
use crate::clock::Clock;
use crate::error::OpenError;

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
        let options = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        Ok(Self { text, scheme, path, options })
    }

    /// The URL as it may be shown: without credentials.
    pub(crate) fn shown(&self) -> String {
        shown(self.text)
    }

    /// The error for an option nobody knows.
    pub(crate) fn unknown_option(option: &str, known: &'static str) -> OpenError {
        OpenError::UnknownOption { option: option.to_owned(), known }
    }

    /// The error for an option's value.
    pub(crate) fn invalid_option(option: &str, value: &str, expected: &'static str) -> OpenError {
        let value = if is_secret(option) { "…" } else { value }.to_owned();
        OpenError::InvalidOption { option: option.to_owned(), value, expected }
    }
}

/// A text that may hold credentials, without them. It need not be a URL: a misspelled one is shown too.
fn shown(text: &str) -> String {
    let text = match (text.split_once(':'), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        // Where a port stands, a password may stand whose `@HOST` was forgotten.
        (Some((scheme, rest)), None) if rest.starts_with("//") => match rest.split_once(':') {
            Some((host, port)) if !port.starts_with(|first: char| first.is_ascii_digit()) => {
                format!("{scheme}:{host}:…")
            }
            _ => text.to_owned(),
        },
        _ => text.to_owned(),
    };
    let Some((address, options)) = text.split_once('?') else { return text };
    let options: Vec<String> = options
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((option, _)) if is_secret(option) => format!("{option}=…"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{address}?{}", options.join("&"))
}

fn is_secret(option: &str) -> bool {
    option.to_ascii_lowercase().contains("pass") && option != "passfile"
}

/// The stores there are, for messages.
pub(crate) fn known() -> &'static str {
    if cfg!(feature = "postgres") {
        "`memory:`, `sqlite:PATH` or `postgres://HOST/DATABASE`"
    } else {
        "`memory:` or `sqlite:PATH`; `postgres://HOST/DATABASE` needs homing's feature `postgres`"
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
            Ok(StoreView { url: url.shown(), version: None, known: 0, bytes: None })
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => super::sqlite::Sqlite::inspect(&url).await,
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => super::postgres::inspect(&url).await,
        _ => Err(OpenError::UnknownStore { url: url.shown() }),
    }
}

fn check_memory(url: &Url<'_>) -> Result<(), OpenError> {
    if let Some((option, _)) = url.options.first() {
        return Err(Url::unknown_option(option, "none: `memory:` has no options"));
    }
    if !url.path.is_empty() {
        return Err(OpenError::UnknownStore { url: url.shown() });
    }
    Ok(())
}
