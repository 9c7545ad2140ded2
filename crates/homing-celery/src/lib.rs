//! The bridge between [`homing`] and Celery, over Redis or RabbitMQ: move over task by task.
//!
//! **Homing as a Celery worker.** A bridge serves queues of a Celery application. What Celery's clients send there
//! becomes a job of homing's, run by workers that have registered the task's name; result, callbacks, the chain's next,
//! the chord's part and error callbacks go back to Celery.
//!
//! **A homing parent awaits Celery tasks.** [`call`] makes an ordinary call of a task that Celery's workers have: it is
//! spawned and joined as any other, and the parent parks meanwhile: no slot, no poll per child.
//!
//! ```no_run
//! use homing::{Homing, JoinSet, task};
//! use homing_celery::{Celery, args};
//!
//! /// Celery's clients call it as `shop.import_feed`, its children run in Celery.
//! #[task(kind = "shop.import_feed")]
//! async fn import_feed(feed: String, pages: u64) -> homing::Result<u64> {
//!     let mut rows = JoinSet::<u64>::new();
//!     for page in 0..pages {
//!         rows.spawn(homing_celery::call("shop.write_page", args![feed, page])).await?;
//!     }
//!     Ok(rows.join_all().await?.iter().sum())
//! }
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let homing = Homing::open("sqlite:jobs.db").await?;
//! homing.worker().register(import_feed).start().await?;
//! let bridge = homing.celery("redis://127.0.0.1/0").queue("homing").start().await?;
//! # drop(bridge);
//! # Ok(())
//! # }
//! ```
//!
//! In Celery only the route changes: `task_routes = {"shop.import_feed": {"queue": "homing"}}`. The whole is told in
//! `docs/guides/celery.md` of the repository, with what is not carried over.

mod bridge;
mod call;
mod check;
mod entry;
mod error;
mod point;
mod rabbit;
mod redis;
pub mod wire;

pub use bridge::{Bridge, BridgeBuilder, Celery};
pub use call::{Raised, SignatureBuilder, call, signature};
pub use check::{Finding, Level, check, ping, said};
pub use error::StartError;

/// For [`args!`].
#[doc(hidden)]
pub mod __private {
    pub use serde_json::{Value, to_value};
}

/// Positional arguments of a Celery task: `args![feed, 7]`. Each is any value that serializes.
///
/// What cannot be JSON is told when the call is spawned.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        $crate::Arguments::of([$($crate::__private::to_value(&$value)),*])
    };
}

pub use call::Arguments;

#[cfg(test)]
mod tests {
    #[test]
    fn arguments_are_any_values() {
        let none = args![];
        let some = args!["feed", 7, Some(1.5), [1, 2]];
        assert_eq!(none.values().unwrap().len(), 0);
        let values = some.values().unwrap();
        assert_eq!(serde_json::Value::from(values), serde_json::json!(["feed", 7, 1.5, [1, 2]]));
    }
}
