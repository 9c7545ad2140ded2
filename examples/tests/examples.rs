//! The examples as programs: what they print, and that they go on after `kill -9`.
//!
//! Cargo builds a package's examples when it builds all its tests, and puts them beside this program.
//! `cargo test --test examples` alone runs what was built before: run `cargo build --examples` first.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "programs/git_tree.rs"]
mod git_tree;
#[path = "programs/import.rs"]
mod import;
#[path = "programs/program.rs"]
mod program;
#[cfg(feature = "postgres")]
#[path = "../../crates/homing/tests/shared/server.rs"]
mod server;
