//! The bridge against real Celery: clients and workers of several versions, and private Redis servers.
//!
//! `HOMING_TEST_CELERY` names a directory with a virtual environment for each version: `scripts/test celery` makes
//! them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

#[path = "../../../homing/tests/shared/authority.rs"]
mod authority;
mod rabbit;
mod tasks;
mod world;

mod amqp;
mod cancelled;
mod checks;
mod crash;
mod encrypted;
mod flower;
mod frames;
mod hostile;
mod inwards;
mod matrix;
mod outwards;
mod rpc;
mod seeded;
mod sentinel;
