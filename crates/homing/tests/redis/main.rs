//! What a store on Redis has beyond the suite: what it asks of a server, and the faults of real servers. After each:
//! nothing acknowledged is lost beyond what the server's settings say, nothing is recorded twice, and everything goes on
//! by itself.

#![cfg(all(feature = "redis", feature = "testing", unix))]
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how they fail")]

mod asked;
mod faults;
mod large;
#[path = "../postgres/load.rs"]
mod load;
#[path = "../shared/redis.rs"]
mod server;
mod wire;

use std::time::Duration;

use homing::Homing;

/// Asks until it is so: a bound on hangs, never a measure.
async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// No invariant of the store is broken.
async fn sound(homing: &Homing) {
    let breaches = homing.check().await.unwrap();
    assert!(breaches.is_empty(), "{breaches:#?}");
}
