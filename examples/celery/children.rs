//! The third step: the children are homing's too, and calls are typed.

use std::time::Duration;

use homing::{JoinSet, log, step, task};

use crate::{Imported, Written, fetch, seconds};

/// Starts a child for each page and waits for all: no slot, no poll.
#[task(kind = "shop.import_feed")]
pub(crate) async fn import_feed(feed: String, pages: u64) -> homing::Result<Imported> {
    let mut written = JoinSet::new();
    let mut next = Some(1);
    while let Some(page) = next {
        written.spawn(write_page(feed.clone(), page)).await?;
        log!("page {page} of {feed} is on its way");
        next = step("fetch", || fetch(page, pages)).await?;
    }
    let written = written.join_all().await?;
    let imported = step("count", || async { Ok(Imported::of(&written)) }).await?;
    log!("{feed} is imported, {} rows", imported.rows);
    Ok(imported)
}

/// Writes a page: here it takes its time.
#[task(kind = "shop.write_page")]
pub(crate) async fn write_page(feed: String, page: u64) -> homing::Result<Written> {
    tokio::time::sleep(Duration::from_millis(250)).await;
    log!("page {page} of {feed} is written");
    Ok(Written { rows: 100, ended: seconds() })
}
