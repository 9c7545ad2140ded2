//! homing.
extern crate self as homing;
pub mod clock;
mod encode;
mod error;
pub mod id;
pub mod limits;
pub mod log;
mod replay;
mod state;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod wait;
