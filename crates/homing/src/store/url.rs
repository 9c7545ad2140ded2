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
        let unknown = || OpenError::UnknownStore { url: text.to_owned() };
        let (scheme, rest) = text.split_once(':').ok_or_else(unknown)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let options = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        Ok(Self { text, scheme, path, options })
    }

    /// The error for an option nobody knows.
    pub(crate) fn unknown_option(option: &str, known: &'static str) -> OpenError {
        OpenError::UnknownOption { option: option.to_owned(), known }
    }

    /// The error for an option's value.
    pub(crate) fn invalid_option(option: &str, value: &str, expected: &'static str) -> OpenError {
        OpenError::InvalidOption { option: option.to_owned(), value: value.to_owned(), expected }
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
                return Err(super::Error::Missing { path: text.to_owned() }.into());
            }
            Ok(Arc::new(memory::Memory::new(clock)))
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Arc::new(super::sqlite::Sqlite::open(&url, clock, migrate).await?)),
        _ => Err(OpenError::UnknownStore { url: url.text.to_owned() }),
    }
}

/// Brings the schema of the store that a URL names up to date.
pub(crate) async fn migrate(text: &str) -> Result<Migration, OpenError> {
    let url = Url::parse(text)?;
    match url.scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => super::sqlite::Sqlite::migrate(&url).await,
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
            Ok(StoreView { url: text.to_owned(), version: None, known: 0, bytes: None })
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => super::sqlite::Sqlite::inspect(&url).await,
        _ => Err(OpenError::UnknownStore { url: url.text.to_owned() }),
    }
}

fn check_memory(url: &Url<'_>) -> Result<(), OpenError> {
    if let Some((option, _)) = url.options.first() {
        return Err(Url::unknown_option(option, "none: `memory:` has no options"));
    }
    if !url.path.is_empty() {
        return Err(OpenError::UnknownStore { url: url.text.to_owned() });
    }
    Ok(())
}
