//! The second step: the parent is homing's, its children are Celery's.

use homing::{JoinSet, log, step, task};
use homing_celery::{args, call};

use crate::{Imported, Written, fetch};

/// Starts a child for each page and waits for all: no slot, no poll.
#[task(kind = "shop.import_feed")]
pub(crate) async fn import_feed(feed: String, pages: u64) -> homing::Result<Imported> {
    let mut written = JoinSet::<Written>::new();
    let mut next = Some(1);
    while let Some(page) = next {
        start_page(&mut written, &feed, page).await?;
        next = step("fetch", || fetch(page, pages)).await?;
    }
    let written = written.join_all().await?;
    let imported = step("count", || async { Ok(Imported::of(&written)) }).await?;
    log!("{feed} is imported, {} rows", imported.rows);
    Ok(imported)
}

/// A helper, some functions below the task.
async fn start_page(written: &mut JoinSet<Written>, feed: &str, page: u64) -> homing::Result<()> {
    written.spawn(call("shop.write_page", args![feed, page])).await?;
    log!("page {page} of {feed} is on its way");
    Ok(())
}
