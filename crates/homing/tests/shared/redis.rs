//! Redis servers for tests: the common one that `scripts/test` starts.
//!
//! The common server keeps nothing on the disk, so its stores say `durability=none`.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]
#![allow(dead_code, reason = "not every test program needs all of it")]

use std::process::Command;

/// The URL of the server that all tests share, without options.
pub(crate) fn common() -> String {
    std::env::var("HOMING_TEST_REDIS").unwrap_or_else(|_| {
        panic!(
            "HOMING_TEST_REDIS is not set: run `scripts/test test-all`, which starts a private Redis \
             server, or name a server that tests may use, as in \
             HOMING_TEST_REDIS=redis://127.0.0.1:6379/0"
        )
    })
}

/// The URL of a store of one's own on the common server.
pub(crate) fn common_prefix() -> String {
    format!("{}?prefix=t-{}&durability=none", common(), uuid::Uuid::now_v7().simple())
}

/// Removes what [`common_prefix`] named.
pub(crate) fn forget(url: &str) {
    let prefix = url.split("prefix=").nth(1).unwrap_or_default();
    let prefix = prefix.split('&').next().unwrap_or_default();
    let server = url.split('?').next().unwrap_or_default();
    let script = "local at = '0' repeat local found = redis.call('SCAN', at, 'MATCH', ARGV[1], 'COUNT', 1000) \
        at = found[1] for _, key in ipairs(found[2]) do redis.call('UNLINK', key) end until at == '0'";
    // What stays behind harms nobody: the server goes with the tests.
    let _ = Command::new("redis-cli")
        .args(["-u", server, "EVAL", script, "0", &format!("{{{prefix}:*")])
        .output();
}
