//! For tests: the conformance suite that every store must pass, and a probe to look into bodies.
//!
//! A new store supplies a [`Factory`](conformance::Factory) and calls
//! [`conformance!`](crate::conformance!); it gets one test per case, with residency on and off.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "these are tests: a panic is how they fail"
)]

pub mod answered;
pub mod capture;
pub mod conformance;
pub mod faulty;
pub mod histories;
mod over;
mod probe;
mod random;
pub mod refusing;
pub mod scripted;
pub mod simulation;
pub mod transcript;

pub use probe::Probe;
