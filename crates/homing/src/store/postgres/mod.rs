//! The PostgreSQL store: any number of processes on any number of machines.
//!
//! Verbs run on a thread of the store's own, which drives its connections: a heartbeat then depends on
//! no busy body and on nobody's runtime. Every verb is a function of one or a few transactions, in a file
//! named as in the memory store. Values are always parameters; no statement is made of data.

use crate::store::{NewAction, Sample};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use self::hints::listen::{Announcement, Wake};
use self::link::connect::{Connector, Pool};
use self::link::engine::Engine;
use self::link::options::Options;
use self::link::pipeline::{Missed, Session, Value};
use self::link::schema::Schema;
use self::link::{fault, migrate};
use self::transaction::bundle::BundledTasks;
use self::transaction::tx::Effects;
pub(crate) use self::transactions::Commit;
pub use self::transactions::Transactions;
pub use self::within::Within;
use self::worker::LastExchange;
use super::read::verbs::{each_read_verb, each_record_verb};
use super::read::{Read, Records, StoreView};
use super::url::Url;
use super::{
    Amended, Error, Exchange, Heartbeat, Hints, Migration, NewJob, Pruned, Removed, Reply, Retry,
    Sent, Store, Submitted, Verb,
};
use crate::clock::Clock;
use crate::clock::ServerClock;
use crate::core::id::{JobId, TaskId, WorkerId};
use crate::core::time::Time;
use crate::point::{self, Moment};
use crate::store::error::OpenError;
use crate::store::events::Swept;

mod actions;
mod audit;
mod cancel;
mod claim;
mod ended;
mod exchange;
mod find;
mod hints;
mod link;
mod log;
mod looked;
mod people;
mod prune;
mod ready;
mod replay;
mod retry;
mod samples;
mod submit;
mod sweep;
#[cfg(test)]
mod tests;
mod transaction;
mod transactions;
pub(crate) mod within;
mod worker;

/// Statements say so in their own words, where they tell children that members have added from a body's own.
const _: () = assert!(crate::limits::CHILDREN == 2_147_483_648);

/// How often a transaction that loses to another is run again.
const TRIES: u32 = 20;

/// The one expression that reads the time: the server's, unless a test says otherwise in `$1`.
macro_rules! now {
    () => {
        "coalesce($1::bigint, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)"
    };
}

use now;

/// Brings the schema of the database that a URL names up to date.
pub(crate) async fn migrate(url: &Url<'_>) -> Result<Migration, OpenError> {
    let options = Options::of(url)?;
    let pool = Pool::new(&options, Connector::new(&options, ServerClock::unread())?)?;
    let mut client = pool.get().await?;
    let (schema, location) = (&options.schema, &options.location);
    Ok(migrate::run(&mut client, schema, migrate::STEPS, true, location).await?)
}

/// What there is at a URL, without changing it.
pub(crate) async fn inspect(url: &Url<'_>) -> Result<StoreView, OpenError> {
    let options = Options::of(url)?;
    let pool = Pool::new(&options, Connector::new(&options, ServerClock::unread())?)?;
    let client = pool.get().await?;
    let told = |fault: fault::Fault| fault.told(&options.location);
    let version = migrate::version(&client, &options.schema).await.map_err(told)?;
    let bytes = migrate::bytes(&client, &options.schema).await.map_err(told)?;
    let known = migrate::STEPS.len() as i64;
    let (version, bytes) = (Some(version).filter(|version| *version > 0), Some(bytes));
    Ok(StoreView { url: url.shown(), version, known, bytes, durability: None })
}

/// A store in a schema of a database.
#[derive(Debug)]
pub struct Postgres {
    shared: Arc<Shared>,
    engine: Engine,
}

/// What the verbs of a store object have in common.
#[derive(Debug)]
struct Shared {
    pool: Pool,
    schema: Schema,
    clock: Clock,
    wake: Wake,
    transactions: Transactions,
    /// Statements as they are sent, by where their texts stand in the program.
    texts: RwLock<HashMap<(usize, usize), Arc<str>>>,
    /// Workers that tests have declared dead.
    killed: Mutex<HashSet<WorkerId>>,
    /// From how many tasks on that are born together they are bundled; 0: never.
    bundle_from: usize,
    /// Tasks that workers of this process have claimed in bundles.
    held: BundledTasks,
    spoken: LastExchange,
    /// Round trips of sessions: what tests count.
    #[cfg(test)]
    trips: std::sync::atomic::AtomicU64,
}

impl Postgres {
    /// Opens the schema that a URL names, or creates it. Without `migrate` it must be there and up to
    /// date.
    pub(crate) async fn open(
        url: &Url<'_>,
        clock: Clock,
        migrate: bool,
    ) -> Result<Self, OpenError> {
        let options = Options::of(url)?;
        let engine =
            Engine::start().map_err(|error| Error::Failed { reason: error.to_string() })?;
        let shared = engine.run(move || Shared::open(options, clock, migrate)).await??;
        Ok(Self { shared: Arc::new(shared), engine })
    }

    /// Runs a verb on the store's thread, to its end even if nobody waits for it any more.
    fn verb<T, F>(&self, verb: impl FnOnce(Arc<Shared>) -> F + Send + 'static) -> Verb<'_, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + 'static,
    {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { self.engine.run(move || verb(shared)).await? })
    }
}

impl Shared {
    async fn open(options: Options, clock: Clock, migrate: bool) -> Result<Self, OpenError> {
        let server = ServerClock::unread();
        let connector = Connector::new(&options, server.clone())?;
        let pool = Pool::new(&options, connector.clone())?;
        let mut client = pool.get().await?;
        let (schema, location) = (&options.schema, &options.location);
        if migrate {
            migrate::run(&mut client, schema, migrate::STEPS, options.migrate, location).await?;
        } else {
            migrate::as_it_is(&client, schema, location).await?;
        }
        let clock = match clock {
            Clock::System => Clock::Server(server),
            given => given,
        };
        Ok(Self {
            transactions: Transactions::new(&options, connector.clone())?,
            wake: Wake::start(&options, connector, pool.clone()),
            pool,
            schema: options.schema,
            bundle_from: options.bundle,
            held: BundledTasks::default(),
            spoken: LastExchange::default(),
            #[cfg(test)]
            trips: std::sync::atomic::AtomicU64::default(),
            clock,
            texts: RwLock::default(),
            killed: Mutex::default(),
        })
    }

    /// A verb by its name: passes the points of tests, and says what went wrong.
    async fn verb<T>(
        &self,
        name: &'static str,
        verb: impl AsyncFnOnce(&Self) -> fault::Result<T>,
    ) -> Result<T, Error> {
        point::verb(name, Moment::Before);
        let done = verb(self).await.map_err(|fault| fault.told(self.pool.location()))?;
        point::verb(name, Moment::Committed);
        Ok(done)
    }

    /// Runs a transaction on a connection of its own, and again while it loses to others.
    async fn transaction<T>(
        &self,
        work: impl AsyncFn(&Session<'_>) -> fault::Result<T>,
    ) -> fault::Result<T> {
        let mut tries = 1;
        let mut missed = Missed::default();
        loop {
            let session = Session::new(self, self.pool.lend().await?, missed);
            let fault = match work(&session).await {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            session.roll_back().await;
            if !fault.is_conflict() || tries == TRIES {
                return Err(fault);
            }
            missed = session.into_missed();
            tracing::debug!(%fault, tries, "a transaction lost to another and is run again");
            tokio::time::sleep(Duration::from_millis(u64::from(tries))).await;
            tries += 1;
        }
    }

    /// One statement that reads.
    async fn read(
        &self,
        sql: &'static str,
        values: Vec<Value<'_>>,
    ) -> fault::Result<Vec<tokio_postgres::Row>> {
        Session::new(self, self.pool.lend().await?, Missed::default()).one(sql, values).await
    }

    /// A statement as it is sent.
    fn text(&self, sql: &'static str) -> Arc<str> {
        let key = (sql.as_ptr() as usize, sql.len());
        let known = self.texts.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let text: Arc<str> = self.schema.render(sql).into();
            let mut texts = self.texts.write().unwrap_or_else(PoisonError::into_inner);
            texts.insert(key, Arc::clone(&text));
            text
        })
    }

    fn schema_name(&self) -> String {
        self.schema.name().to_owned()
    }

    /// The time, where a test has taken it in hand.
    fn manual_now(&self) -> Option<Time> {
        self.clock.is_told().then(|| self.clock.now())
    }

    fn killed(&self) -> Vec<WorkerId> {
        self.killed.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Workers that may be dead though their leases have not run out.
    fn suspected(&self) -> Vec<WorkerId> {
        let mut suspected = self.killed();
        suspected.extend(self.wake.presence().lost());
        suspected
    }

    /// A worker has spoken, or is gone for good: it is no longer declared dead.
    fn revive(&self, worker: WorkerId) {
        self.wake.presence().forget(worker);
        self.killed.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
    }

    fn tell(&self, effects: Effects) {
        let Effects { ended, swept, ready, claimable, noticed } = effects;
        swept.into_iter().for_each(Swept::say);
        self.wake.tell(Announcement { ready, claimable, noticed, ended });
    }
}

/// Passes the point before a verb's commit. The commit is sent with the last of the writes, so that is
/// before those.
fn applied(name: &str) {
    point::verb(name, Moment::Applied);
}

/// A verb's answer about a task that must be known.
fn known<T>(task: TaskId, answer: Option<T>) -> Result<T, Error> {
    answer.ok_or(Error::Unknown { id: task })
}

impl Store for Postgres {
    fn submit(&self, jobs: Vec<NewJob>) -> Verb<'_, Vec<Submitted>> {
        self.verb(|s| async move { s.verb("submit", async |s| s.submit(&jobs).await).await })
    }

    fn exchange(&self, exchange: Exchange) -> Verb<'_, Reply> {
        self.verb(|s| async move {
            // Boxed: all that a transaction holds would stand in each future around it.
            s.verb("exchange", async |s| Box::pin(s.exchange(&exchange)).await).await
        })
    }

    fn heartbeat(&self, told: Heartbeat) -> Verb<'_, bool> {
        self.verb(|s| async move { s.verb("heartbeat", async |s| s.heartbeat(&told).await).await })
    }

    fn leave(&self, worker: WorkerId) -> Verb<'_, ()> {
        self.verb(move |s| async move { s.verb("leave", async |s| s.leave(worker).await).await })
    }

    fn cancel(&self, task: TaskId, text: Option<String>) -> Verb<'_, bool> {
        self.verb(move |s| async move {
            known(task, s.verb("cancel", async |s| s.cancel(task, text.as_deref()).await).await?)
        })
    }

    fn signal(&self, task: TaskId, name: String, value: String) -> Verb<'_, Sent> {
        self.verb(move |s| async move {
            let sent = s.verb("signal", async |s| s.signal(task, &name, &value).await);
            known(task, sent.await?)
        })
    }

    fn retry(&self, job: JobId, preview: bool) -> Verb<'_, Retry> {
        self.verb(move |s| async move {
            known(job.root(), s.verb("retry", async |s| s.retry(job, preview).await).await?)
        })
    }

    fn amend(&self, task: TaskId, arguments: String) -> Verb<'_, Amended> {
        self.verb(move |s| async move {
            known(task, s.verb("amend", async |s| s.amend(task, &arguments).await).await?)
        })
    }

    fn begin_action(&self, action: NewAction) -> Verb<'_, u64> {
        self.verb(move |s| async move {
            s.verb("begin_action", async |s| s.begin_action(&action).await).await
        })
    }

    fn end_action(&self, number: u64, result: String) -> Verb<'_, ()> {
        self.verb(move |s| async move {
            s.verb("end_action", async |s| s.end_action(number, &result).await).await
        })
    }

    fn keep_samples(&self, samples: Vec<Sample>) -> Verb<'_, ()> {
        self.verb(|s| async move {
            s.verb("keep_samples", async |s| s.keep_samples(&samples).await).await
        })
    }

    fn pause(&self, queue: String, paused: bool) -> Verb<'_, ()> {
        self.verb(
            move |s| async move { s.verb("pause", async |s| s.pause(&queue, paused).await).await },
        )
    }

    fn sweep(&self, max_crashes: u32) -> Verb<'_, bool> {
        self.verb(
            move |s| async move { s.verb("sweep", async |s| s.sweep(max_crashes).await).await },
        )
    }

    fn prune(&self, before: Time) -> Verb<'_, Pruned> {
        self.verb(move |s| async move { s.verb("prune", async |s| s.prune(before).await).await })
    }

    fn remove(&self, job: JobId) -> Verb<'_, Removed> {
        self.verb(move |s| async move {
            known(job.root(), s.verb("remove", async |s| s.remove(job).await).await?)
        })
    }

    #[cfg(feature = "testing")]
    fn kill(&self, worker: WorkerId) {
        self.shared.killed.lock().unwrap_or_else(PoisonError::into_inner).insert(worker);
        self.hints().say_ready();
    }

    #[cfg(feature = "testing")]
    fn parking(&self, task: TaskId) -> Verb<'_, Option<crate::core::id::Token>> {
        const PARKING: &str =
            "SELECT parked_worker, parked_claim FROM homing.open WHERE job = $1 AND local = $2";
        self.verb(move |s| async move {
            let read = async |s: &Shared| {
                let rows =
                    s.read(PARKING, self::link::pipeline::values![task.job, task.local]).await?;
                rows.first().map_or(Ok(None), |row| transaction::columns::token(row, (0, 1)))
            };
            s.verb("parking", read).await
        })
    }

    fn hints(&self) -> &Hints {
        self.shared.wake.hints()
    }

    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn nudge(&self) {
        self.shared.tell(Effects::ready());
    }

    fn transactions(&self) -> Option<&Transactions> {
        Some(&self.shared.transactions)
    }
}

/// Reading verbs, each answered by a function of what the store's connections share.
macro_rules! over_connections {
    ($shared:ident $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty
        = $view:ident($($given:expr),*);)+) => {
        $(fn $name(&self, $($argument: $type),*) -> Verb<'_, $answer> {
            self.verb(move |$shared| async move {
                let read = async |$shared: &Shared| $shared.$view($($given),*).await;
                $shared.verb(stringify!($name), read).await
            })
        })+
    };
}

impl Records for Postgres {
    each_record_verb!(over_connections, shared);
}

impl Read for Postgres {
    each_read_verb!(over_connections, shared);
}
