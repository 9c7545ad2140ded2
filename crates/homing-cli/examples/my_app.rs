//! A program of one's own that has every command of `homing`, and a worker.
//!
//! ```text
//! cargo run --example my_app -- worker &
//! cargo run --example my_app -- submit import '{"pages": 3}'
//! cargo run --example my_app -- jobs
//! ```
//!
//! The store is `sqlite:my_app.db` unless `--store` or `HOMING_STORE` says otherwise.

use std::process::ExitCode;
use std::sync::Arc;

use homing::{JoinSet, State, log, task};
use homing_cli::App;

/// What tasks share: here the name of a table, in your program perhaps a pool of connections.
#[derive(Debug, Clone)]
struct Target(Arc<str>);

/// Writes one page.
#[task]
async fn write_page(page: u64, State(target): State<Target>) -> homing::Result<u64> {
    log!("page {page} is written to {}", target.0);
    Ok(page * 100)
}

/// Writes every page, and waits for them all.
#[task]
async fn import(pages: u64) -> homing::Result<u64> {
    let mut writes = JoinSet::new();
    for page in 1..=pages {
        writes.spawn(write_page(page)).await?;
    }
    Ok(writes.join_all().await?.iter().sum())
}

#[tokio::main]
async fn main() -> ExitCode {
    let app = App::new("my_app").about("Imports pages").store("sqlite:my_app.db");
    homing_cli::run(app.worker(|worker| async {
        let target = Target("airports".into()); // here: connect to what your tasks need
        Ok(worker.register(import).register(write_page).state(target))
    }))
    .await
}
