//! One transaction: what it locks and reads, what it decides in memory, and what it writes.

pub(super) mod bundle;
pub(super) mod columns;
mod ledger;
pub(super) mod load_plan;
pub(super) mod loaded;
pub(super) mod task;
pub(super) mod tx;
pub(super) mod units;
pub(super) mod write;
