//! `watch`: live bars of a job, until it ends.

use homing::Status;

use crate::args::WatchArgs;
use crate::{Context, Error, Exit, Result};

/// Watches a job.
pub(crate) async fn run(cx: &Context, args: WatchArgs) -> Result<Exit> {
    let Some(id) = args.id else {
        return Err(Error::usage("watch is not built yet", "use `log -f`"));
    };
    let status = cx.homing.job::<()>(id).ended().await?;
    Ok(if matches!(status, Status::Failed | Status::Cancelled) { Exit::No } else { Exit::Done })
}
