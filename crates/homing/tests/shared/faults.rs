//! What tests of a server's faults ask, whichever server it is.

use std::time::Duration;

use homing::Homing;

/// Asks until it is so: a bound on hangs, never a measure.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// No invariant of the store is broken.
pub(crate) async fn sound(homing: &Homing) {
    let breaches = homing.check().await.unwrap();
    assert!(breaches.is_empty(), "{breaches:#?}");
}
