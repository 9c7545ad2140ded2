//! Calls of tasks that Celery's workers run: ordinary calls of homing's, of the kind `homing.celery.task`.

use std::time::Duration;

use homing::AnyCall;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::bridge::own_queue;

mod heard;
mod order;
mod raised;
mod run;

pub(crate) use heard::{HEARD, Heard, Word};
pub(crate) use order::Order;
pub use raised::Raised;
pub(crate) use run::{abandoned, celery_task};

/// The kind of a call that Celery runs.
pub(crate) const KIND: &str = "homing.celery.task";

/// A call of a Celery task by its name, with positional arguments: see [`args!`](crate::args!).
///
/// It is spawned and joined as any other, in sets, chains and chords; `T` is what its result decodes as. The parent
/// parks meanwhile: no slot, no poll per child. A process that has started a [bridge](crate::Celery) sends it and waits
/// for its result; without one it stays pending.
///
/// ```no_run
/// use homing_celery::{args, call};
///
/// # async fn body() -> homing::Result<()> {
/// let rows: u64 = homing::spawn(call("shop.write_page", args!["feed", 7])).await?.await?;
/// # drop(rows);
/// # Ok(())
/// # }
/// ```
///
/// # Failure
/// What the Celery task raises is a final failure of the call: Celery has retried by its own rules. [`Raised::of`] reads
/// it. So is a result of which nothing was heard for 24 hours, or longer than 1 MiB. When the job is
/// [retried](homing::JobHandle::retry), the task is sent again, under an id of its own.
///
/// # Durability
/// One message is sent for each spawned call, however often processes die meanwhile. The call has its result as soon as
/// one is stored, and not later than a look after that ([`BridgeBuilder::look_every`](crate::BridgeBuilder::look_every)).
pub fn call<T>(task: &str, args: Arguments) -> AnyCall<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    signature(task).args(args).call()
}

/// A call of a Celery task to be: what [`call`] does, with options.
pub fn signature(task: &str) -> SignatureBuilder {
    SignatureBuilder {
        bridge: None,
        order: Order { task: task.to_owned(), ..Order::default() },
        args: Arguments::default(),
        kwargs: Ok(Map::new()),
    }
}

/// Positional arguments: see [`args!`](crate::args!).
#[derive(Debug, Clone)]
pub struct Arguments(Result<Vec<Value>, String>);

impl Default for Arguments {
    fn default() -> Self {
        Self(Ok(Vec::new()))
    }
}

impl Arguments {
    /// For [`args!`](crate::args!): values, or why one of them cannot be JSON.
    #[doc(hidden)]
    pub fn of<const N: usize>(values: [serde_json::Result<Value>; N]) -> Self {
        let values = values.into_iter().enumerate();
        let told = |(n, value): (usize, serde_json::Result<Value>)| {
            value.map_err(|error| format!("argument {} cannot be JSON: {error}", n + 1))
        };
        Self(values.map(told).collect())
    }

    pub(crate) fn values(self) -> Result<Vec<Value>, String> {
        self.0
    }
}

/// A call of a Celery task to be; see [`signature`].
#[must_use = "nothing is called until the call is spawned or submitted"]
#[derive(Debug, Clone)]
pub struct SignatureBuilder {
    bridge: Option<String>,
    order: Order,
    args: Arguments,
    kwargs: Result<Map<String, Value>, String>,
}

impl SignatureBuilder {
    /// Positional arguments.
    pub fn args(mut self, args: Arguments) -> Self {
        self.args = args;
        self
    }

    /// An argument by its name; any value that serializes.
    pub fn kwarg(mut self, name: &str, value: impl Serialize) -> Self {
        self.kwargs = self.kwargs.and_then(|mut kwargs| {
            let value = serde_json::to_value(value)
                .map_err(|error| format!("the argument `{name}` cannot be JSON: {error}"))?;
            kwargs.insert(name.to_owned(), value);
            Ok(kwargs)
        });
        self
    }

    /// The queue of Celery's. Default: as the bridge [routes](crate::BridgeBuilder::route) it.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.order.queue = Some(queue.into());
        self
    }

    /// Celery's priority, 0 to 9; on Redis 0 goes first. Default: 0.
    pub fn priority(mut self, priority: u8) -> Self {
        self.order.priority = priority.min(9);
        self
    }

    /// Celery gives it up if it has not started this long after it was sent: it is then a failure,
    /// `TaskRevokedError`. Default: never.
    pub fn expires(mut self, after: Duration) -> Self {
        self.order.expires = Some(after);
        self
    }

    /// Celery's hard time limit. Default: the worker's.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.order.time_limit = Some(limit);
        self
    }

    /// How long Celery may say nothing of the task before it counts as lost: a final failure. Nobody can tell a task
    /// that waits in a queue from one that was lost, unless `task_track_started` is set in Celery. Default: the
    /// bridge's [`result_expires`](crate::BridgeBuilder::result_expires), and 24 hours where that is zero.
    pub fn lost_after(mut self, silence: Duration) -> Self {
        self.order.lost_after = Some(silence);
        self
    }

    /// How often a task that counts as lost is sent again, each time under an id of its own. It may then run more than
    /// once. Default: never.
    pub fn resend_lost(mut self, times: u32) -> Self {
        self.order.resend_lost = times;
        self
    }

    /// When the call is aborted or its job cancelled, Celery ends the process that runs it, and does not only keep it
    /// from starting. Default: not.
    pub fn terminate(mut self, on: bool) -> Self {
        self.order.terminate = on;
        self
    }

    /// The [name](crate::BridgeBuilder::name) of the bridge that is to send it. Default: the one without a name.
    pub fn bridge(mut self, name: impl Into<String>) -> Self {
        self.bridge = Some(name.into());
        self
    }

    /// The call, to be spawned or submitted. What is wrong with its arguments is told then.
    pub fn call<T>(self) -> AnyCall<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let Self { bridge, mut order, args, kwargs } = self;
        let refused = match (args.values(), kwargs) {
            (Ok(args), Ok(kwargs)) => {
                (order.args, order.kwargs) = (args, kwargs);
                None
            }
            (Err(why), _) | (_, Err(why)) => Some(why),
        };
        let call = match refused {
            None => {
                // Recorded with the end of a call that is aborted or cancelled, in whatever way.
                let next = abandoned::with().queue(own_queue(bridge.as_deref()));
                AnyCall::named(KIND, &json!({ "order": order, "on_failure": next }))
            }
            Some(why) => AnyCall::named(KIND, &Unserializable(why)),
        };
        call.queue(own_queue(bridge.as_deref()))
    }
}

/// Arguments that cannot be stored; the call says so when it is spawned.
struct Unserializable(String);

impl Serialize for Unserializable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(&self.0))
    }
}
