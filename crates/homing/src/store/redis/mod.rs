//! The Redis and Valkey store: a server that people already have.
//!
//! A job is one hash. A lane holds jobs and the indexes of their open tasks, under one hash tag; each verb is one script
//! over one lane, which reads and decides everything before it writes anything. So what the other stores do in one
//! transaction, one script does. This side packs what is asked, unpacks what is answered, and reads.

use crate::store::{NewAction, Sample};
use std::sync::Arc;

use rmpv::ValueRef;

use self::link::connect::{Link, Server, key_of};
use self::link::engine::Engine;
use self::link::fault::Result;
use self::link::keys::field;
use self::link::options::Options;
use self::link::script;
use self::pack::{List, Pack};
use super::read::verbs::{each_read_verb, each_record_verb};
use super::read::{Read, Records, StoreView};
use super::url::Url;
use super::{
    Amended, Error, Exchange, Heartbeat, Hints, Migration, NewJob, Pruned, Removed, Reply, Retry,
    Sent, Store, Submitted, Verb,
};
use crate::clock::{Clock, ServerClock};
use crate::core::id::{JobId, TaskId, WorkerId};
use crate::core::time::Time;
use crate::store::error::OpenError;

mod actions;
mod audit;
mod cancel;
mod exchange;
mod link;
mod listen;
mod open;
mod outcome;
mod pack;
mod people;
mod prune;
mod replay;
mod retry;
mod samples;
mod submit;
mod task;
mod told;
mod waits;
mod worker;

pub use link::way;

/// A store on a server.
#[derive(Debug)]
pub struct Redis {
    server: Server,
}

impl Redis {
    /// Opens the store that a URL names. Without `migrate` it must be there.
    pub(crate) async fn open(
        url: &Url<'_>,
        clock: Clock,
        migrate: bool,
    ) -> std::result::Result<Self, OpenError> {
        let options = Options::of(url)?;
        let clock = match clock {
            Clock::System => Clock::Server(ServerClock::unread()),
            other => other,
        };
        let link = Link::new(options, clock)?;
        let engine =
            Engine::start().map_err(|error| Error::Failed { reason: error.to_string() })?;
        let store = Self { server: Server { link: Arc::new(link), engine } };
        let opened = store.verb(move |link| async move { open::open(&link, migrate).await });
        opened.await?;
        let link = Arc::downgrade(&store.server.link);
        store.server.engine.spawn(listen::listen(link.clone()));
        store.server.engine.spawn(listen::listen_to_sentinels(link.clone()));
        store.server.engine.spawn(open::watch(link));
        Ok(store)
    }

    fn verb<T: Send + 'static, F>(&self, verb: impl FnOnce(Arc<Link>) -> F) -> Verb<'_, T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.server.verb(verb)
    }
}

/// Brings the schema of the store that a URL names up to date.
pub(crate) async fn migrate(url: &Url<'_>) -> std::result::Result<Migration, OpenError> {
    let from = inspect(url).await?.version.unwrap_or(0);
    Redis::open(url, Clock::System, true).await?;
    Ok(Migration { from, to: open::NEWEST })
}

/// What there is at a URL, without changing it.
pub(crate) async fn inspect(url: &Url<'_>) -> std::result::Result<StoreView, OpenError> {
    let options = Options::of(url)?;
    let link = Link::new(options, Clock::System)?;
    let engine = Engine::start().map_err(|error| Error::Failed { reason: error.to_string() })?;
    let server = Server { link: Arc::new(link), engine };
    let look = |link: Arc<Link>| async move {
        Ok((open::version(&link).await?, open::standing(&link).await?))
    };
    let (version, standing) = server.verb(look).await?;
    let (url, known, durability) = (url.shown(), open::NEWEST, Some(standing));
    Ok(StoreView { url, version, known, bytes: None, durability })
}

/// An answer about a task; `false` says that there is none.
fn answer<'v, 'b>(value: &'v ValueRef<'b>, task: TaskId) -> Result<List<'v, 'b>> {
    match value {
        ValueRef::Boolean(false) => Err(Error::Unknown { id: task }.into()),
        value => List::of(value),
    }
}

/// What a parked task waits for, as it is kept.
async fn waits_of(link: &Link, task: TaskId) -> Result<Option<Vec<u8>>> {
    let names = [field(b'o', task.local), field(b'w', task.local)];
    let found = link.fields(&key_of(link, task), &names).await?;
    let [Some(row), waits] = found.as_slice() else {
        return Err(Error::Unknown { id: task }.into());
    };
    let is_waiting = task::Row::from(row)?.state == crate::core::state::State::Waiting;
    Ok(waits.clone().filter(|_| is_waiting))
}

impl Store for Redis {
    fn submit(&self, jobs: Vec<NewJob>) -> Verb<'_, Vec<Submitted>> {
        self.verb(|link| async move { submit::submit(&link, &jobs).await })
    }

    fn exchange(&self, exchange: Exchange) -> Verb<'_, Reply> {
        self.verb(|link| async move { exchange::exchange(&link, &exchange).await })
    }

    fn heartbeat(&self, heartbeat: Heartbeat) -> Verb<'_, bool> {
        self.verb(|link| async move { worker::heartbeat(&link, &heartbeat).await })
    }

    fn leave(&self, worker: WorkerId) -> Verb<'_, ()> {
        self.verb(move |link| async move { worker::leave(&link, worker).await })
    }

    fn cancel(&self, task: TaskId, text: Option<String>) -> Verb<'_, bool> {
        self.verb(move |link| async move { cancel::cancel(&link, task, text.as_deref()).await })
    }

    fn signal(&self, task: TaskId, name: String, value: String) -> Verb<'_, Sent> {
        self.verb(move |link| async move { cancel::signal(&link, task, &name, &value).await })
    }

    fn retry(&self, job: JobId, preview: bool) -> Verb<'_, Retry> {
        self.verb(move |link| async move { retry::retry(&link, job, preview).await })
    }

    fn amend(&self, task: TaskId, arguments: String) -> Verb<'_, Amended> {
        self.verb(move |link| async move { retry::amend(&link, task, &arguments).await })
    }

    fn begin_action(&self, action: NewAction) -> Verb<'_, u64> {
        self.verb(move |link| async move { actions::begin(&link, action).await })
    }

    fn end_action(&self, number: u64, result: String) -> Verb<'_, ()> {
        self.verb(move |link| async move { actions::end(&link, number, result).await })
    }

    fn keep_samples(&self, samples: Vec<Sample>) -> Verb<'_, ()> {
        self.verb(|link| async move { samples::keep(&link, &samples).await })
    }

    fn pause(&self, queue: String, paused: bool) -> Verb<'_, ()> {
        self.verb(move |link| async move {
            let mut request = Pack::list(2);
            request.bytes(queue).flag(paused);
            link.run(&script::PAUSE, &request.done(), |_| Ok(())).await.map(drop)
        })
    }

    fn sweep(&self, max_crashes: u32) -> Verb<'_, bool> {
        self.verb(move |link| async move {
            let mut request = Pack::list(1);
            request.number(max_crashes);
            let read = |value: &ValueRef<'_>| Ok(*value == ValueRef::Boolean(true));
            let (more, follows) = link.run(&script::SWEEP, &request.done(), read).await?;
            submit::follow(&link, follows).await;
            Ok(more)
        })
    }

    fn prune(&self, before: Time) -> Verb<'_, Pruned> {
        self.verb(move |link| async move { prune::prune(&link, before).await })
    }

    fn remove(&self, job: JobId) -> Verb<'_, Removed> {
        self.verb(move |link| async move { prune::remove(&link, job).await })
    }

    #[cfg(feature = "testing")]
    fn kill(&self, worker: WorkerId) {
        let link = Arc::clone(&self.server.link);
        let (done, killed) = std::sync::mpsc::channel();
        self.server.engine.spawn(async move {
            let request = exchange::of(worker.as_bytes()).done();
            // A test that goes on without this shows it.
            let _ = link.run(&script::KILL, &request, |_| Ok(())).await;
            let _ = done.send(());
        });
        let _ = killed.recv();
    }

    #[cfg(feature = "testing")]
    fn parking(&self, task: TaskId) -> Verb<'_, Option<crate::core::id::Token>> {
        self.verb(move |link| async move {
            let found = task::read(&link, &[task]).await?.into_iter().next();
            Ok(found.filter(|task| !task.row.state.is_ended()).and_then(|task| task.row.parked))
        })
    }

    fn hints(&self) -> &Hints {
        &self.server.link.hints
    }

    fn clock(&self) -> &Clock {
        &self.server.link.clock
    }
}

/// Reading verbs, each answered by a function of the view of its module.
macro_rules! of_view {
    ($view:ident $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty
        = $function:ident($($given:expr),*);)+) => {
        $(fn $name(&self, $($argument: $type),*) -> Verb<'_, $answer> {
            self.verb(move |link| async move { $view::View(&link).$function($($given),*).await })
        })+
    };
}

impl Records for Redis {
    each_record_verb!(of_view, replay);
}

impl Read for Redis {
    each_read_verb!(of_view, people);
}
