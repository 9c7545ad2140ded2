//! Keys pressed against a live store, and pictures of every screen.
//!
//! The store is a database in a directory of its own, its clock is turned by hand and its jobs have ids
//! that follow from their names: the same pictures every time.

mod keys;
mod pictures;
mod world;
