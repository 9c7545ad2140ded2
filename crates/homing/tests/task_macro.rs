//! The `#[task]` attribute from outside: what it emits, and what it tells whoever misuses it.
//!
//! The tasks below are compiled under the workspace's own lints, which is the test that generated
//! code trips none of them. The mistakes stand in `ui/`, one file per subject, each beside the
//! compiler's words in a `.stderr`; `TRYBUILD=overwrite cargo test --test task_macro` renews them.

use std::time::Duration;

use homing::task::{Backoff, Kind, StateType};
use homing::{State, task};

/// Every shape of parameter, in a place where doc comments are asked for.
pub mod shapes {
    use super::{State, task};

    /// Something kept by the worker.
    #[derive(Debug, Clone)]
    pub struct Db(pub u64);

    /// Something stored.
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub struct Page {
        /// What is in it.
        pub rows: Vec<u64>,
    }

    /// Writes a page.
    #[task(
        kind = "pages.write",
        queue = "db",
        retries = 5,
        backoff = "1s..10m",
        timeout = "30s",
        deadline = "1h 30m",
        expires = "10m",
        priority = -3,
        max_attempts = 40
    )]
    pub async fn write_page(
        mut page: Page,
        State(db): State<Db>,
        _force: bool,
        log: homing::State<String>,
    ) -> homing::Result<u64> {
        page.rows.push(db.0 + log.0.len() as u64);
        Ok(page.rows.iter().sum())
    }

    #[task]
    pub async fn undocumented() -> Result<(), std::io::Error> {
        Ok(())
    }

    #[task(backoff = "5s")]
    pub(crate) async fn r#loop(input: u8, r#type: String) -> homing::Result<String> {
        Ok(format!("{input}{type}"))
    }

    #[cfg(not(test))]
    #[task]
    pub async fn left_out() -> homing::Result<Missing> {
        unreachable!()
    }

    #[task]
    #[expect(clippy::too_many_arguments, reason = "twelve are allowed")]
    pub async fn twelve(
        a1: u8,
        a2: u8,
        a3: u8,
        a4: u8,
        a5: u8,
        a6: u8,
        a7: u8,
        a8: u8,
        a9: u8,
        a10: u8,
        a11: u8,
        a12: u8,
    ) -> homing::Result<u8> {
        Ok(a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11 + a12)
    }

    #[task]
    pub async fn sizes(
        sizes: std::collections::HashMap<String, u64>,
    ) -> homing::Result<std::collections::HashMap<String, u64>> {
        Ok(sizes)
    }

    #[task]
    #[allow(deprecated, reason = "the order of this set decides nothing")]
    pub async fn allowed(names: std::collections::HashSet<String>) -> homing::Result<usize> {
        Ok(names.len())
    }
}

fn calls<K: Kind>(_: &homing::Call<K>) -> &'static str {
    K::NAME
}

fn names(arguments: &[homing::task::Parameter]) -> Vec<&str> {
    arguments.iter().map(|argument| argument.name.as_str()).collect()
}

#[test]
fn a_call_is_typed_by_its_task() {
    let page = shapes::Page { rows: vec![] };
    assert_eq!(calls(&shapes::write_page(page, true)), "pages.write");
    assert_eq!(calls(&shapes::undocumented()), "undocumented");
    assert_eq!(calls(&shapes::r#loop(1, String::new())), "loop");
    assert_eq!(calls(&shapes::twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)), "twelve");
    assert_eq!(calls(&shapes::allowed(std::collections::HashSet::new())), "allowed");
}

#[test]
fn a_kind_tells_its_arguments_and_states() {
    assert_eq!(names(&shapes::write_page::arguments()), ["page", "_force"]);
    let states = [StateType::of::<shapes::Db>(), StateType::of::<String>()];
    assert!(shapes::write_page::states() == states);
    assert_eq!(names(&shapes::r#loop::arguments()), ["input", "type"]);
    assert!(shapes::undocumented::arguments().is_empty());
    assert!(shapes::undocumented::states().is_empty());
}

#[test]
fn options_are_what_was_given_and_nothing_else() {
    let seconds = Duration::from_secs;
    let given = shapes::write_page::options();
    assert_eq!(given.queue.as_deref(), Some("db"));
    assert_eq!(given.priority, Some(-3));
    assert_eq!(given.retries, Some(5));
    assert!(given.backoff == Some(Backoff::exponential(seconds(1), seconds(600))));
    assert_eq!(given.timeout, Some(seconds(30)));
    assert_eq!(given.deadline, Some(seconds(5400)));
    assert_eq!(given.expires, Some(seconds(600)));
    assert_eq!(given.max_attempts, Some(40));

    let none = shapes::undocumented::options();
    assert!(none.queue.is_none() && none.priority.is_none() && none.retries.is_none());
    assert!(none.backoff.is_none() && none.timeout.is_none() && none.deadline.is_none());
    assert!(none.expires.is_none() && none.max_attempts.is_none());
}

#[tokio::test]
async fn run_is_the_body_itself() {
    let page = shapes::Page { rows: vec![1, 2] };
    let sum = shapes::write_page::run(page, State(shapes::Db(3)), true, State("four".into()));
    assert_eq!(sum.await.unwrap(), 10);
    assert_eq!(shapes::r#loop::run(7, "x".into()).await.unwrap(), "7x");
}

#[tokio::test]
async fn a_task_may_stand_in_a_function() {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Local(u8);

    #[task(retries = 1)]
    async fn inner(local: Local) -> homing::Result<Local> {
        Ok(Local(local.0 + 1))
    }

    assert_eq!(calls(&inner(Local(1))), "inner");
    assert_eq!(inner::run(Local(1)).await.unwrap().0, 2);
}

/// `macro_rules` hands literals and types on in invisible groups.
#[test]
fn a_task_may_come_from_a_macro() {
    macro_rules! declare {
        ($name:ident, $retries:literal, $state:ty, $argument:ty) => {
            #[task(retries = $retries)]
            async fn $name(value: $argument, state: $state) -> homing::Result<$argument> {
                drop(state);
                Ok(value)
            }
        };
    }
    declare!(made, 7, State<String>, u8);
    assert_eq!(made::options().retries, Some(7));
    assert_eq!(names(&made::arguments()), ["value"]);
    assert!(made::states() == [StateType::of::<String>()]);
    assert_eq!(calls(&made(1)), "made");
}

#[test]
fn mistakes_are_told_where_they_stand() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
