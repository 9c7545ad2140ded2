//! `top`: a full-screen live view.

use crate::args::TopArgs;
use crate::{Context, Error, Exit, Result};

/// Shows the live view until `q`.
pub(crate) async fn run(cx: &Context, args: TopArgs) -> Result<Exit> {
    let _ = (cx.homing.queues().await?, args);
    Err(Error::usage("top is not built yet", "use `jobs`"))
}
