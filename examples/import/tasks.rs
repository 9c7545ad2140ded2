//! The tasks: `nightly` runs `import`, which spawns a `write_page` for every page it finds, and then
//! `check`.
//!
//! Nothing here knows of processes, crashes or retries: a task may run twice when its worker dies between
//! its writing and its end, and it is `target` that writes each page once.

use std::time::Duration;

use homing::{JoinSet, State, log, step, task};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::feed::{FIRST, Feed, Page};
use crate::target::Target;

/// How long to wait for the pages once all are found. It counts while nobody works, so it must leave
/// room for the night after a crash.
const ALL_WRITTEN: Duration = Duration::from_hours(24);

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) rows: u64,
    /// SHA-256 over the rows in the order of their keys.
    pub(crate) checksum: String,
}

impl Report {
    /// The report on lines of comma-separated values.
    pub(crate) fn of<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Self {
        let (mut rows, mut hash) = (0, Sha256::new());
        for line in lines {
            rows += 1;
            hash.update(line.as_ref());
            hash.update("\n");
        }
        let hash = hash.finalize();
        let checksum = hash.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        Self { rows, checksum }
    }
}

/// The whole night: only when every page is written may the next thing happen.
#[task]
pub(crate) async fn nightly(
    page_size: u16,
    State(target): State<Target>,
) -> homing::Result<Report> {
    target.prepare().await?;
    let rows = homing::spawn(import(page_size)).await?.await?;
    log!("{rows} rows written, now they are checked");
    Ok(homing::spawn(check()).await?.await?)
}

/// Fetches the feed page by page. Nobody knows how many pages there are until the last has come.
///
/// The retries are for one page: every page fetched renews them.
#[task(retries = 100, backoff = "10ms..50ms", max_attempts = 100_000)]
pub(crate) async fn import(page_size: u16, State(feed): State<Feed>) -> homing::Result<u64> {
    let mut pages = JoinSet::new();
    let mut next = Some(FIRST.to_owned());
    while let Some(cursor) = next.take() {
        let page = step("fetch", || feed.page(&cursor, page_size)).await?;
        next.clone_from(&page.next);
        // The cursor names the child; its number would do as well, but this can be read.
        pages.spawn(write_page(page).at(cursor)).await?;
    }
    log!("{} pages found, waiting for those that are not written yet", pages.len());
    let rows = pages.join_all().timeout(ALL_WRITTEN).await?;
    Ok(rows.iter().sum())
}

/// Writes one page. However often it runs, the page takes effect once.
#[task(retries = 20, backoff = "20ms..1s")]
pub(crate) async fn write_page(page: Page, State(target): State<Target>) -> homing::Result<u64> {
    target.write(page).await
}

/// Compares the table with its source.
#[task(retries = 100, backoff = "10ms..50ms")]
pub(crate) async fn check(
    State(feed): State<Feed>,
    State(target): State<Target>,
) -> homing::Result<Report> {
    let source = step("source", || feed.summary()).await?;
    let table = target.summary().await?;
    if table != source {
        let error = format!("the table is not its source: {table:?} instead of {source:?}");
        return Err(homing::Error::msg(error).fatal());
    }
    log!("the table equals its source");
    Ok(table)
}
