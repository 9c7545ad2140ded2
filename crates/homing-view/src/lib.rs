//! How homing's jobs are shown, whoever shows them: the `homing` command, its `top`, and the pages and the API
//! of `homing-web` have one vocabulary.
//!
//! [`json`] has the objects that programs read, as `docs/cli.schema.json` describes them; [`words`] has numbers,
//! durations and instants for people; [`why`] says in words why a task is where it is; [`query`] is the language
//! in which lists of jobs are asked for; [`drift`] says which fields of a call are others than they were. Nothing here
//! reads a store or writes to anything.

pub mod drift;
pub mod json;
pub mod query;
pub mod why;
pub mod words;
