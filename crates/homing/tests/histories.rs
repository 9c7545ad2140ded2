//! Seeded random histories on the memory store and on every other.
//!
//! `HOMING_SIM_SEED=7` repeats one history; `HOMING_SIM_RUNS=1000` makes it a long run.
#![cfg(all(feature = "testing", feature = "sqlite"))]

use std::path::PathBuf;

use homing::testing::histories;

#[cfg(feature = "postgres")]
#[path = "shared/server.rs"]
mod server;

#[cfg(feature = "redis")]
#[path = "shared/redis.rs"]
mod redis_server;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A directory of this test's own, empty.
fn directory(name: &str) -> std::io::Result<PathBuf> {
    let name = format!("{name}-{}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// Runs every history on a store of its own, which `url` names and `forget` removes.
async fn equals_memory(url: impl Fn(u64) -> String, forget: impl Fn(&str)) {
    let first = number("HOMING_SIM_SEED");
    let runs = first.map_or(number("HOMING_SIM_RUNS").unwrap_or(20), |_| 1);
    let steps = number("HOMING_SIM_STEPS").unwrap_or(150) as usize;
    for seed in first.unwrap_or(0)..first.unwrap_or(0) + runs {
        let url = url(seed);
        let every = if first.is_some() { 1 } else { 10 };
        let done = histories::run(seed, steps, every, &url).await;
        forget(&url);
        if let Err(divergence) = done {
            panic!("{divergence}");
        }
    }
}

#[tokio::test]
async fn sqlite_equals_memory() {
    let directory = directory("histories").unwrap();
    // No power is cut here, so no commit needs to wait for the disk.
    let url = |seed| format!("sqlite:{}/{seed}.db?synchronous=normal", directory.display());
    equals_memory(url, |_| {}).await;
    let _ = std::fs::remove_dir_all(directory);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_equals_memory() {
    equals_memory(|_| format!("{}&pool=2", server::common_schema()), server::drop_schema).await;
}

/// Where all that can be is born in bundles, single tasks too.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_in_bundles_equals_memory() {
    let url = |_| format!("{}&pool=2&bundle=1", server::common_schema());
    equals_memory(url, server::drop_schema).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_equals_memory() {
    equals_memory(|_| redis_server::common_prefix(), redis_server::forget).await;
}
