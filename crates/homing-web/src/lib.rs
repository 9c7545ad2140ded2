//! The page of homing: see the tree of a job grow, see why it waits, act safely. Beside it an HTTP API with the
//! vocabulary of the `homing` command, and metrics.
//!
//! `homing serve` runs it. A program of one's own nests it in its own [`axum`] application:
//!
//! ```no_run
//! use homing::Homing;
//! use homing_web::{Grant, Options};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let homing = Homing::open("sqlite:jobs.db").await?;
//! let options = Options::new().token("ops", Grant::operator(), std::env::var("HOMING_TOKEN")?)?;
//! let page = homing_web::router(homing, options.host("admin.example.com"));
//! let app = axum::Router::new().nest("/homing", page);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Without anything said nobody is let in: a token, [`Access`], a trusted header or, spelled out, everybody.
//! Only the public interface of `homing` is used. What is guarded against stands in
//! `docs/guides/dashboard.md` of the repository, each line of it with a test that attacks it.

mod act;
mod api;
mod assets;
mod guard;
mod hub;
mod metrics;
mod options;
mod pages;
mod problem;
mod serve;
mod sight;
mod site;

pub use options::{Access, Grant, InvalidOption, Network, Options, Role};
pub use serve::{fresh_token, serve};
pub use site::router;
