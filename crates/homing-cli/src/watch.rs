//! `watch`: live bars of a job, until it ends.

use crate::args::WatchArgs;
use crate::{Context, Error, Exit, Result};

/// Watches a job.
pub(crate) async fn run(cx: &Context, args: WatchArgs) -> Result<Exit> {
    let _ = (cx, args);
    Err(Error::usage("watch is not built yet", "use `log -f`"))
}
