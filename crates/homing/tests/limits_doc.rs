//! `docs/limits.md` says what `homing::limits` says.
//!
//! Every constant of the source has a row, every row a constant, and the values are equal whatever unit
//! the row is written in.

use std::collections::BTreeMap;
use std::time::Duration;

use homing::limits;

const DOC: &str = include_str!("../../../docs/limits.md");
const SOURCE: &str = include_str!("../src/limits.rs");

/// A limit, its unit taken off: bytes and other counts as they are, durations in milliseconds.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Count(u64),
    Millis(u64),
}

trait Limit {
    fn value(self) -> Value;
}

impl Limit for usize {
    fn value(self) -> Value {
        Value::Count(self as u64)
    }
}

impl Limit for u32 {
    fn value(self) -> Value {
        Value::Count(self.into())
    }
}

impl Limit for u64 {
    fn value(self) -> Value {
        Value::Count(self)
    }
}

impl Limit for Duration {
    fn value(self) -> Value {
        Value::Millis(self.as_millis() as u64)
    }
}

macro_rules! values {
    ($($name:ident)+) => {
        BTreeMap::from([$((stringify!($name), Limit::value(limits::$name))),+])
    };
}

/// The constants, compiled.
fn compiled() -> BTreeMap<&'static str, Value> {
    values!(
        PAYLOAD DEPTH DEPTH_MEASURED NAME TITLE TAGS MESSAGE SOURCES UNFLUSHED_SPAWNS UNFLUSHED_BYTES
        UNFLUSHED_LINES UNFLUSHED_LINE_BYTES BRANCHES CHILDREN JOIN_ALL
        EXCHANGE_EVENTS EXCHANGE_BYTES CLAIM PAGE PAGE_BYTES LOG_LINES CASCADE PRUNE_JOBS PRUNE_ROWS
        RETRIED RETRIES
        MAX_ATTEMPTS FAILURES ACTIONS_KEPT ACTIONS_FORGOTTEN SAMPLES_KEPT SAMPLES_FORGOTTEN SAMPLE_PARTS SAMPLES_HELD BACKOFF_MIN BACKOFF_MAX MAX_CRASHES SUSPECT LEASE LEASE_MIN
        LEASE_MAX CONCURRENCY CONCURRENCY_MAX RESIDENT
        RESIDENT_AGE HOLD FOREIGN RESUMED_AGE GRACE LEAVE RETENTION_PASS POLL STALL_MAX POSTGRES_POOL POSTGRES_POOL_TIMEOUT
        POSTGRES_CONNECT_TIMEOUT POSTGRES_IDLE POSTGRES_BUNDLE POSTGRES_BUNDLE_MOST POSTGRES_NOTIFY
        POSTGRES_SESSION_GRACE POSTGRES_SESSION_TRUST SHORT AHEAD
    )
}

/// The names in the source, in its order.
fn declared() -> Vec<&'static str> {
    let names = SOURCE.lines().filter_map(|line| line.strip_prefix("pub const "));
    names.filter_map(|rest| rest.split_once(':')).map(|(name, _)| name).collect()
}

/// The rows of the table whose first cell names a constant, in its order.
fn documented() -> Vec<(&'static str, Value)> {
    let mut rows = Vec::new();
    for line in DOC.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(first), Some(value)) = (cells.next(), cells.next()) else { continue };
        let name = first.strip_prefix('`').and_then(|first| first.strip_suffix('`'));
        let is_constant = |name: &&str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        if let Some(name) = name.filter(is_constant) {
            rows.push((name, parse(value)));
        }
    }
    rows
}

/// `1 MiB`, `4,096 spawns`, `50 ms`.
fn parse(text: &str) -> Value {
    let (number, unit) = text.split_once(' ').unwrap_or_else(|| panic!("`{text}` has no unit"));
    let number: u64 = number.replace(',', "").parse().unwrap_or_else(|_| panic!("`{text}`"));
    match unit {
        "ms" => Value::Millis(number),
        "s" => Value::Millis(number * 1000),
        "min" => Value::Millis(number * 60_000),
        "h" => Value::Millis(number * 3_600_000),
        "KiB" => Value::Count(number * 1024),
        "MiB" => Value::Count(number * 1024 * 1024),
        _ => Value::Count(number),
    }
}

#[test]
fn every_constant_has_a_row_in_the_order_of_the_source() {
    let rows: Vec<&str> = documented().into_iter().map(|(name, _)| name).collect();
    assert!(declared().len() > 30, "the source is not read rightly");
    assert_eq!(rows, declared());
}

#[test]
fn every_value_is_that_of_the_constant() {
    let mut compiled = compiled();
    for (name, value) in documented() {
        assert_eq!(compiled.remove(name), Some(value), "`{name}` in docs/limits.md");
    }
    assert!(compiled.is_empty(), "docs/limits.md lacks {compiled:?}");
}
