//! `store`: the store itself, and how every other command opens it.

use homing::{Homing, Migration, StoreView};

use crate::args::StoreCommand;
use crate::output::Output;
use crate::{Exit, Result, json, words};

/// Opens a store that is there and up to date: a slip in the URL makes no empty store.
pub(crate) async fn open(url: &str) -> Result<Homing> {
    Ok(Homing::open_existing(url).await?)
}

/// Looks at the store, or brings it up to date.
pub(crate) async fn run(
    url: &str,
    json: bool,
    out: &Output,
    command: StoreCommand,
) -> Result<Exit> {
    match command {
        StoreCommand::Info => info(&Homing::inspect(url).await?, json, out),
        StoreCommand::Migrate => {
            let Migration { from, to, .. } = Homing::migrate(url).await?;
            let url = Homing::inspect(url).await?.url; // without a password
            if json {
                out.json(&json::Object::Migrated { url: &url, from, to })?;
            } else {
                out.line(migrated(&url, from, to))?;
            }
            Ok(Exit::Done)
        }
    }
}

fn info(view: &StoreView, json: bool, out: &Output) -> Result<Exit> {
    let current = view.version == Some(view.known);
    if json {
        out.json(&json::store(view))?;
    } else {
        out.line(&view.url)?;
        out.line(format_args!("  schema  {}", schema(view)))?;
        if let Some(bytes) = view.bytes {
            out.line(format_args!("  size    {}", words::bytes(bytes)))?;
        }
        if let Some(durability) = &view.durability {
            out.line(format_args!("  tasks   {durability}"))?;
        }
    }
    Ok(if current { Exit::Done } else { Exit::Store })
}

fn schema(view: &StoreView) -> String {
    let known = view.known;
    match view.version {
        None => {
            "none: there is no store yet; `store migrate` creates it, as does a worker".to_owned()
        }
        Some(found) if found < known => {
            format!("version {found}, this program works with {known}: run `store migrate`")
        }
        Some(found) if found > known => {
            format!("version {found}, this program works with {known}: use a newer homing")
        }
        Some(found) => format!("version {found}, up to date"),
    }
}

fn migrated(url: &str, from: i64, to: i64) -> String {
    match from {
        from if from == to => format!("{url} is up to date, schema version {to}"),
        0 => format!("created {url}, schema version {to}"),
        from => format!("migrated {url} from schema version {from} to {to}"),
    }
}
