//! The examples as programs: what they print, and that they go on after `kill -9`.
//!
//! Cargo builds a package's examples when it builds all its tests, and puts them beside this program.
//! `cargo test --test examples` alone runs what was built before: run `cargo build --examples` first.
#![cfg(all(unix, feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "examples/git_tree.rs"]
mod git_tree;
#[path = "examples/import.rs"]
mod import;
#[path = "examples/program.rs"]
mod program;
#[cfg(feature = "postgres")]
#[path = "shared/server.rs"]
mod server;
