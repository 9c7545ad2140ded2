//! One transaction: what it locks and reads, what it decides in memory, and what it writes.

pub(super) mod bundle;
pub(super) mod columns;
pub(super) mod load;
pub(super) mod loaded;
pub(super) mod scene;
pub(super) mod task;
pub(super) mod units;
pub(super) mod write;
