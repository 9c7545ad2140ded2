//! The way to the server: the URL's options, the connection and the thread that drives it, scripts, keys, errors.

mod cluster;
pub(super) mod connect;
pub(super) mod engine;
pub(super) mod fault;
pub(super) mod guide;
pub(super) mod keys;
pub(super) mod options;
mod redirect;
pub(super) mod script;
pub(super) mod sentinel;
pub(super) mod tls;
pub mod way;

#[cfg(test)]
mod tests;
