//! The site as its visitors find it, and as those who attack it do: each line of the guide's table of what is
//! guarded against has a case here that fails without the guard.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod api;
mod attacks;
mod charts;
mod live;
mod steering;
mod timeline;
mod world;
