//! The `homing` command: watch and steer jobs from any terminal.
//!
//! The binary `homing` works on any store. A program of one's own gets the same commands, and a
//! `worker` besides, with one line:
//!
//! ```no_run
//! use homing::task;
//! use homing_cli::App;
//!
//! #[task]
//! async fn greet(name: String) -> homing::Result<String> {
//!     Ok(format!("hello {name}"))
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     homing_cli::run(App::new("my-app").worker(|worker| async { Ok(worker.register(greet)) })).await
//! }
//! ```
//!
//! `my-app worker` then works, `my-app submit greet '{"name": "Ada"}'` submits, `my-app jobs` lists.
//! Only the public interface of `homing` is used here.

mod app;
mod args;
mod commands;
mod context;
mod error;
mod exit;
mod output;
mod run;
mod style;
mod table;
mod top;
mod watch;
mod words;

pub use app::App;
pub use exit::Exit;
pub use run::{run, run_with};

pub(crate) use context::Context;
pub(crate) use error::{Error, Result};
pub(crate) use homing_view::json;
