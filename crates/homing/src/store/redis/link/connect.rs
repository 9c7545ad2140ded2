//! The connection that carries all verbs, and how a script is run on it.
//!
//! One connection serves everybody: the server answers in the order of what it is sent, and nothing sent here blocks
//! it. A connection that broke is made anew by whoever needs it next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ScriptInvocation};
use rmpv::ValueRef;
use tokio::sync::{Notify, watch};

use super::engine::Engine;
use super::fault::{Fault, Result};
use super::guide::{self, Address, Guide};
use super::keys::Lane;
use super::options::{Durability, Options};
use super::script::Verb;
use super::way::Way;
use crate::clock::{Clock, monotonic};
use crate::core::id::{JobId, TaskId};
use crate::limits;
use crate::point::{self, Moment};
use crate::store::error::OpenError;
use crate::store::redis::pack::{self, List, Pack};
use crate::store::redis::told;
use crate::store::{Error, Hints};

/// How long the server may take to answer. The client's own default of half a second would take a slow disk for a
/// failure while the script runs.
const RESPONSE: Duration = Duration::from_secs(30);
/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a verb waits for replicas.
const REPLICAS: Duration = Duration::from_secs(1);
/// How long a node of a cluster is waited for before others are asked whether another serves instead, and again.
const PATIENCE: Duration = Duration::from_secs(1);

/// What scripts leave to processes.
#[derive(Debug, Default)]
pub(in crate::store::redis) struct Follows {
    /// What follows failures and was not started yet: its number and what is needed to start it.
    pub(in crate::store::redis) orders: Vec<(Vec<u8>, Vec<u8>)>,
    /// Retries with which nobody has gone on for a second.
    pub(in crate::store::redis) retries: Vec<JobId>,
}

/// Tasks that one script of a retry looks at, about.
const LOOKS: u32 = 2000;

/// A connection, and where it leads: the address that was the primary's when it was begun. Where nobody says which server
/// is the primary, that is no text.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    at: String,
    pub(super) connection: MultiplexedConnection,
}

/// The way to one server.
#[derive(Debug)]
pub(in crate::store::redis) struct Link {
    pub(in crate::store::redis) options: Options,
    pub(in crate::store::redis) lane: Lane,
    pub(in crate::store::redis) hints: Hints,
    pub(in crate::store::redis) clock: Clock,
    /// Names this store object in the hints it sends, so that it does not listen to itself.
    pub(in crate::store::redis) sender: [u8; 16],
    pub(super) way: Way,
    /// Where the primary was when others said so last, if it is for them to say.
    pub(super) primary: watch::Sender<String>,
    connection: Mutex<Option<Connected>>,
    /// The node that a slot of a cluster moves to, while it does, by its address.
    pub(super) importing: Mutex<Option<(Address, MultiplexedConnection)>>,
    /// Connections that wait for replicas, where the URL asks for them: who waits holds up its connection.
    waiting: Mutex<Vec<Connected>>,
    /// Says that the connection is new, so that the server's settings may be too.
    pub(in crate::store::redis) reconnected: Notify,
    /// The highest commit counter that the server has told.
    counter: Mutex<u64>,
}

impl Link {
    pub(in crate::store::redis) fn new(
        options: Options,
        clock: Clock,
    ) -> std::result::Result<Self, OpenError> {
        let lane = Lane::of(&options.prefix, 0, 1);
        let way = Way::of(&options, lane.slot())?;
        let sender = *uuid::Uuid::now_v7().as_bytes();
        Ok(Self {
            options,
            lane,
            hints: Hints::default(),
            clock,
            sender,
            way,
            primary: watch::Sender::default(),
            connection: Mutex::default(),
            importing: Mutex::default(),
            waiting: Mutex::default(),
            reconnected: Notify::new(),
            counter: Mutex::default(),
        })
    }

    /// What makes connections to the server, or to the one that those who know name now.
    pub(in crate::store::redis) async fn client(&self) -> Result<Client> {
        let (_, client) = self.named().await?;
        Ok(client)
    }

    /// Where the primary is now, if that is for others to say, and what makes connections to it.
    async fn named(&self) -> Result<(String, Client)> {
        let address = self.way.primary().await?;
        let at = address.as_ref().map(guide::shown).unwrap_or_default();
        if address.is_some() {
            self.moved(&at);
        }
        Ok((at, self.way.client_of(address)?))
    }

    /// Those who say where the primary is, if the URL names them.
    pub(in crate::store::redis) fn guide(&self) -> Option<&Guide> {
        self.way.guide()
    }

    /// The primary is at an address. If it was at another, nobody waits for that any more.
    pub(in crate::store::redis) fn moved(&self, address: &str) {
        let is_new = self.primary.send_if_modified(|known| {
            let is_new = known != address;
            address.clone_into(known);
            is_new
        });
        if is_new {
            *self.kept() = None;
            self.waiting().clear();
        }
    }

    /// Tells when another server is the primary.
    pub(in crate::store::redis) fn primary(&self) -> watch::Receiver<String> {
        self.primary.subscribe()
    }

    /// Waits until another server is the primary. Sentinels announce that; of a cluster the other nodes are asked, from
    /// time to time, since nobody does this unless an answer is late.
    async fn replaced(&self, guide: &Guide) {
        let Some(cluster) = guide.cluster() else {
            // An error would be the end of this link.
            let _ = self.primary.subscribe().changed().await;
            return;
        };
        let silent = self.primary.borrow().clone();
        loop {
            // A node that has the slot no more says so itself, if it says anything.
            tokio::time::sleep(PATIENCE).await;
            if *self.primary.borrow() != silent {
                return;
            }
            if let Some(other) = cluster.instead_of(&silent).await {
                self.moved(&guide::shown(&other));
                cluster.moved(other);
                return;
            }
        }
    }

    /// Waits for an answer for as long as the same server is the primary.
    pub(in crate::store::redis) async fn while_primary<T>(
        &self,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(guide) = self.guide() else { return answer.await };
        tokio::select! {
            answer = answer => answer,
            () = self.replaced(guide) => {
                let store = self.options.location.clone();
                let reason = "another server has taken over: nobody knows whether it was done, so it is sent again";
                Err(Error::Unreachable { store, reason: reason.to_owned() }.into())
            }
        }
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Option<Connected>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Connected>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection leads to the primary, as far as is known. Another may have become it while it was begun: the old
    /// one takes writes for a while longer, which are lost.
    fn leads_to_the_primary(&self, connected: &Connected) -> bool {
        *self.primary.borrow() == connected.at
    }

    /// The connection, made anew if there is none.
    pub(super) async fn connection(&self) -> Result<MultiplexedConnection> {
        loop {
            let kept = self.kept().clone().filter(|kept| self.leads_to_the_primary(kept));
            if let Some(Connected { connection, .. }) = kept {
                return Ok(connection);
            }
            let connected = self.connect().await?;
            *self.kept() = Some(connected);
            self.reconnected.notify_one();
        }
    }

    /// A connection for one who waits for replicas.
    async fn connection_for_replicas(&self) -> Result<Connected> {
        loop {
            let idle = self.waiting().pop();
            let connected = match idle {
                Some(connected) => connected,
                None => self.connect().await?,
            };
            if self.leads_to_the_primary(&connected) {
                return Ok(connected);
            }
        }
    }

    async fn connect(&self) -> Result<Connected> {
        let connected = self.try_to_connect().await;
        if connected.is_err() {
            self.way.doubt();
        }
        connected
    }

    async fn try_to_connect(&self) -> Result<Connected> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE));
        let (at, client) = self.named().await?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        self.while_primary(self.way.confirm(&mut connection)).await?;
        Ok(Connected { at, connection })
    }

    /// Runs a script, and waits for its replicas if the URL asks for that.
    pub(super) async fn invoke_here(&self, call: &ScriptInvocation<'_>) -> Result<Vec<u8>> {
        let Durability::Replicas(wanted) = self.options.durability else {
            let mut connection = self.connection().await?;
            let answer = async { Ok(call.invoke_async(&mut connection).await?) };
            return self.note(self.while_primary(answer).await);
        };
        let mut connected = self.connection_for_replicas().await?;
        let connection = &mut connected.connection;
        // One that broke is not put back.
        let answered = async {
            let answer = call.invoke_async(connection).await?;
            let mut wait = redis::cmd("WAIT");
            wait.arg(wanted).arg(REPLICAS.as_millis() as u64);
            Ok::<(_, u8), Fault>((answer, wait.query_async(connection).await?))
        };
        let (answer, found) = self.while_primary(answered).await?;
        self.waiting().push(connected);
        if found < wanted {
            let reason = format!(
                "{found} of {wanted} replicas have acknowledged within {REPLICAS:?}: nobody knows \
                 whether it was done, so it is sent again"
            );
            return Err(Error::Busy { reason }.into());
        }
        Ok(answer)
    }

    /// Forgets the connection, if the fault is its.
    pub(super) fn note<T>(&self, done: Result<T>) -> Result<T> {
        if let Err(fault) = &done {
            if fault.is_of_the_connection() || fault.is_of_the_cluster() {
                *self.kept() = None;
            }
            if fault.is_of_the_cluster() {
                self.way.doubt();
            }
        }
        done
    }

    /// Fields of a job.
    pub(in crate::store::redis) async fn fields(
        &self,
        key: &[u8],
        names: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.command(redis::cmd("HMGET").arg(key).arg(names)).await
    }

    /// Runs a script. Returns its answer, and what follows failures and was not started yet.
    pub(in crate::store::redis) async fn run<T>(
        &self,
        verb: &Verb,
        request: &[u8],
        read: impl FnOnce(&ValueRef<'_>) -> Result<T>,
    ) -> Result<(T, Follows)> {
        let mut asked = Pack::list(4);
        if self.clock.is_told() {
            asked.time(self.clock.now());
        } else {
            asked.flag(false);
        }
        asked.part(&spans()).bytes(self.sender).part(request);
        point::verb(&verb.name, Moment::Before);
        let mut call = verb.script.prepare_invoke();
        for key in self.lane.declared(self.is_cluster()) {
            call.key(key);
        }
        let (begun, floor) = (monotonic(), *self.counter());
        // What is asked is decided and written by one script, so nothing stands between this and the commit.
        point::verb(&verb.name, Moment::Applied);
        let answer = self.invoke(call.arg(asked.done())).await?;
        point::verb(&verb.name, Moment::Committed);
        let answer = pack::parse(&answer)?;
        let mut parts = List::of(&answer)?;
        if let Clock::Server(clock) = &self.clock {
            clock.read(begun, monotonic(), parts.time()?);
        } else {
            parts.time()?;
        }
        self.look_at_counter(floor, parts.count()?);
        told::say(&self.hints, &mut parts, false)?;
        told::say_swept(&mut parts.list()?)?;
        let mut follows = Follows::default();
        let mut list = parts.list()?;
        while list.left() > 0 {
            let mut one = list.list()?;
            follows.orders.push((one.bytes()?.to_vec(), one.bytes()?.to_vec()));
        }
        let mut list = parts.list()?;
        while list.left() > 0 {
            follows.retries.push(list.job()?);
        }
        Ok((read(parts.value()?)?, follows))
    }

    /// Whether the server is a node of a cluster.
    pub(in crate::store::redis) fn is_cluster(&self) -> bool {
        self.cluster().is_some()
    }

    fn counter(&self) -> MutexGuard<'_, u64> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The commit counter only grows: a script that was sent when the server had told `floor` has a higher number. If not,
    /// commits that were acknowledged are gone, which is said once.
    fn look_at_counter(&self, floor: u64, found: u64) {
        let mut highest = self.counter();
        if found == 0 {
            // It has written nothing.
        } else if found <= floor && *highest >= floor {
            tracing::error!(
                store = self.options.location,
                lane = 0,
                seen = *highest,
                found,
                "the server has lost commits that it had acknowledged: a failover, a restore or a \
                 crash between two syncs of its log"
            );
            *highest = found;
        } else if floor <= *highest {
            *highest = found.max(*highest);
        }
    }
}

/// Limits and spans that the scripts go by.
fn spans() -> Vec<u8> {
    let mut spans = Pack::list(8);
    spans
        .number(limits::RESUMED_AGE.as_micros())
        .number(limits::HOLD.as_micros())
        .number(limits::SUSPECT)
        .number(limits::LOG_LINES)
        .number(limits::CASCADE as u64)
        .number(limits::CHILDREN)
        .number(limits::STALL_MAX.as_micros())
        .number(LOOKS);
    spans.done()
}

/// The way to the server, and the thread that goes it.
#[derive(Debug)]
pub(in crate::store::redis) struct Server {
    pub(in crate::store::redis) link: Arc<Link>,
    pub(in crate::store::redis) engine: Engine,
}

impl Server {
    /// Runs what needs the server, on the thread of the connection.
    pub(in crate::store::redis) fn verb<T: Send + 'static, F>(
        &self,
        verb: impl FnOnce(Arc<Link>) -> F,
    ) -> crate::store::Verb<'_, T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let link = Arc::clone(&self.link);
        let future = verb(Arc::clone(&link));
        let done = self
            .engine
            .run(async move { future.await.map_err(|fault| fault.told(&link.options.location)) });
        Box::pin(async move { done.await? })
    }
}

/// Where a task's job lies.
pub(in crate::store::redis) fn key_of(link: &Link, task: TaskId) -> Vec<u8> {
    link.lane.job(task.job)
}
