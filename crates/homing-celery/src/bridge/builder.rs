//! What can be said of a bridge before it starts.

use std::sync::Arc;
use std::time::Duration;

use homing::Homing;

use super::{Bridge, Broker, Results, Shared, Way, consume, control, listen, look};
use crate::call::{abandoned, celery_task};
use crate::entry::{aftermath, ended, entry};
use crate::error::StartError;

/// Slots of the bridge's own worker. Its tasks compute nothing: what holds a slot is a commit or the server's answer that
/// is on its way, and many of those are one round trip. With 64 slots the bridge took and ended 1,600 to 2,000 messages a
/// second, with 512 in the same hour 2,700 to 3,300.
const SLOTS: usize = 512;

/// Gives [`Homing`] its bridge to Celery.
pub trait Celery {
    /// A bridge to the Celery application whose `broker_url` this is: `redis://HOST:PORT/DATABASE`, or RabbitMQ's
    /// `amqp://USER:PASSWORD@HOST:PORT/VHOST`, several of one cluster with `;` between them. `rediss:` and `amqps:` for
    /// TLS, with the options `sslrootcert`, `sslcert` and `sslkey`; `sentinel:` with `?master_name=…` for Sentinel.
    ///
    /// What Celery's `broker_transport_options` say is said with the URL of Redis: `?global_keyprefix=…`,
    /// `priority_steps=…`, `sep=…`. With RabbitMQ a queue that is there is taken as it is; one that is not is declared as
    /// Celery declares it, with `?queue_type=quorum` or `?max_priority=10` if the application has it so.
    fn celery(&self, broker: &str) -> BridgeBuilder;
}

impl Celery for Homing {
    fn celery(&self, broker: &str) -> BridgeBuilder {
        BridgeBuilder {
            homing: self.clone(),
            broker: broker.to_owned(),
            results: None,
            concurrency: SLOTS,
            settings: Settings {
                name: None,
                hostname: hostname(),
                queues: Vec::new(),
                runs_on: "default".to_owned(),
                default_queue: "celery".to_owned(),
                routes: Vec::new(),
                result_expires: Duration::from_hours(24),
                track_started: false,
                events: true,
                wait_for_kind: Duration::from_mins(1),
                look: Duration::from_secs(30),
            },
        }
    }
}

/// `homing@HOST-PROCESS`.
fn hostname() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|host| is_name(host));
    format!("homing@{}-{}", host.as_deref().unwrap_or("localhost"), std::process::id())
}

fn is_name(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=60).contains(&text.len()) && text.bytes().all(fit)
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) hostname: String,
    pub(crate) queues: Vec<String>,
    pub(crate) runs_on: String,
    pub(crate) default_queue: String,
    pub(crate) routes: Vec<(String, String)>,
    pub(crate) result_expires: Duration,
    pub(crate) track_started: bool,
    pub(crate) events: bool,
    pub(crate) wait_for_kind: Duration,
    pub(crate) look: Duration,
}

/// The queue of homing's in which a bridge's own tasks wait.
pub(crate) fn own_queue(name: Option<&str>) -> String {
    name.map_or_else(|| "homing.celery".to_owned(), |name| format!("homing.celery.{name}"))
}

/// A bridge to be; see [`Celery::celery`].
#[must_use = "a bridge does nothing until it is started"]
#[derive(Clone)]
pub struct BridgeBuilder {
    homing: Homing,
    broker: String,
    results: Option<String>,
    concurrency: usize,
    settings: Settings,
}

impl std::fmt::Debug for BridgeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URLs may hold passwords.
        f.debug_struct("BridgeBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl BridgeBuilder {
    /// A queue of Celery's to serve; may be said several times. Default: none, and then homing's parents can wait for
    /// Celery's tasks, and no message is taken.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.settings.queues.push(queue.into());
        self
    }

    /// The application's `result_backend`: `redis://HOST:PORT/DATABASE`, or `rpc://` where RabbitMQ is the broker.
    /// Default: the broker's URL, if that is Redis; with RabbitMQ it must be said.
    ///
    /// Prefer Redis. With `rpc://` a result is a message that only the process gets which sent the task, and that the
    /// server may forget when it restarts; and what this bridge notes beside the store (ids that were revoked before
    /// they came) ends with its process.
    pub fn results(mut self, url: impl Into<String>) -> Self {
        self.results = Some(url.into());
        self
    }

    /// A name for this bridge among several: of letters, digits and `_-.`, at most 60. Needed where two stores of
    /// homing's are bridged to one Redis, or one store to two. Calls name it with
    /// [`SignatureBuilder::bridge`](crate::SignatureBuilder::bridge). Default: none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// The queue of homing's in which the tasks wait that Celery's clients call. Default: `default`.
    pub fn runs_on(mut self, queue: impl Into<String>) -> Self {
        self.settings.runs_on = queue.into();
        self
    }

    /// The application's `task_default_queue`: where callbacks and links go that homing has no kind for and that name
    /// no queue. Default: `celery`.
    pub fn default_queue(mut self, queue: impl Into<String>) -> Self {
        self.settings.default_queue = queue.into();
        self
    }

    /// As in the application's `task_routes`: tasks of this name, or whose names begin with what stands before a `*`
    /// at its end, go to this queue of Celery's. The first that fits counts.
    pub fn route(mut self, tasks: impl Into<String>, queue: impl Into<String>) -> Self {
        self.settings.routes.push((tasks.into(), queue.into()));
        self
    }

    /// The application's `result_expires`: how long results are kept. Zero keeps them for ever. Default: 24 hours.
    pub fn result_expires(mut self, after: Duration) -> Self {
        self.settings.result_expires = after;
        self
    }

    /// The application's `task_track_started`: stores STARTED when a task begins. Default: not.
    pub fn track_started(mut self, on: bool) -> Self {
        self.settings.track_started = on;
        self
    }

    /// Whether to publish the events that Flower and `celery events` show. Default: yes.
    pub fn events(mut self, on: bool) -> Self {
        self.settings.events = on;
        self
    }

    /// How long a task whose name no worker has registered waits for one that does, before its caller is told
    /// `NotRegistered`. Default: 1 minute.
    pub fn wait_for_kind(mut self, wait: Duration) -> Self {
        self.settings.wait_for_kind = wait;
        self
    }

    /// How often the bridge looks at what is under way, should the word of an end be lost. From 1 second to 1 hour;
    /// default: 30 seconds. A message that a bridge took and died with is taken again after twice this time.
    pub fn look_every(mut self, pause: Duration) -> Self {
        self.settings.look = pause;
        self
    }

    /// Slots of the bridge's own worker: how many messages are begun or ended at once. Those under way take none.
    /// Default: 512.
    pub fn concurrency(mut self, slots: usize) -> Self {
        self.concurrency = slots;
        self
    }

    /// The name under which Celery's tools know the bridge: `NAME@HOST`, unique among workers. Default:
    /// `homing@HOST-PROCESS`.
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.settings.hostname = hostname.into();
        self
    }

    fn check(&self) -> Result<(), StartError> {
        let refused = |field, value: &str, reason| {
            Err(StartError::Value { field, value: value.to_owned(), reason })
        };
        let Settings { name, hostname, queues, look, .. } = &self.settings;
        if let Some(name) = name.as_deref().filter(|name| !is_name(name)) {
            return refused(
                "the bridge's name",
                name,
                "it must be 1 to 60 letters, digits or `_-.`",
            );
        }
        let plain =
            |text: &str| (1..=200).contains(&text.len()) && !text.chars().any(char::is_control);
        if !plain(hostname) {
            return refused(
                "the hostname",
                hostname,
                "it must be 1 to 200 bytes, no control characters",
            );
        }
        if let Some(queue) = queues.iter().find(|queue| !plain(queue)) {
            return refused("the queue", queue, "it must be 1 to 200 bytes, no control characters");
        }
        if !(Duration::from_secs(1)..=Duration::from_hours(1)).contains(look) {
            let value = format!("{look:?}");
            return refused(
                "the pause between looks",
                &value,
                "it must be from 1 second to 1 hour",
            );
        }
        Ok(())
    }

    /// Connects, starts the bridge's own worker on the store, and begins.
    ///
    /// # Errors
    /// A URL, name or number that is refused, a server that cannot be reached or is a Redis Cluster; or the store
    /// fails.
    pub async fn start(self) -> Result<Bridge, StartError> {
        self.check()?;
        let Self { homing, broker, results, concurrency, settings } = self;
        let name = settings.name.as_deref();
        let broker = Broker::reach(&broker, name).await?;
        let results = Results::reach(results.as_deref(), &broker, name).await?;
        if let Broker::Rabbit(rabbit) = &broker {
            for queue in &settings.queues {
                Box::pin(rabbit.queue(queue, true)).await.map_err(|fault| StartError::Queue {
                    queue: queue.clone(),
                    reason: fault.to_string(),
                })?;
            }
        }
        let queue = own_queue(name);
        let shared = Arc::new(Shared::new(homing, (broker, results), settings));
        if shared.notes.is_mortal() {
            look::left(&shared).await?;
        }
        let worker = shared.homing.worker().register(entry).register(ended).register(aftermath);
        let worker =
            worker.register(celery_task).register(abandoned).state(Way(Arc::clone(&shared)));
        let worker = worker.queues([queue]).concurrency(concurrency).start().await?;
        listen::start(&shared);
        look::start(&shared);
        control::start(&shared);
        consume::start(&shared);
        Ok(Bridge { shared, worker })
    }
}
