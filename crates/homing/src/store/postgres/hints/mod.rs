//! What this process remembers of the store and hears of others: never the truth, only a reason to look.

pub(super) mod listen;
pub(super) mod presence;
pub(super) mod scan_starts;
