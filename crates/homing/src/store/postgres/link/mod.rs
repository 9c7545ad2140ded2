//! The way to the server: options, encryption, passwords, connections and statements, and the schema.

pub(super) mod connect;
pub(super) mod engine;
pub(super) mod fault;
pub(super) mod migrate;
pub(super) mod options;
pub(super) mod passwords;
pub(super) mod pipeline;
pub(super) mod schema;
pub(super) mod table;
pub(super) mod tls;
