//! The commands, a file for each noun.

pub(crate) mod documents;
pub(crate) mod store;
pub(crate) mod worker;
