//! The connection that carries all verbs, and how a script is run on it.
//!
//! One connection serves everybody: the server answers in the order of what it is sent, and nothing sent here blocks
//! it. A connection that broke is made anew by whoever needs it next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, ScriptInvocation,
    ServerErrorKind,
};
use rmpv::ValueRef;
use tokio::sync::{Notify, watch};

use super::cluster::{self, Cluster};
use super::engine::Engine;
use super::fault::{Fault, Result};
use super::guide::{self, Address, Guide};
use super::keys::Lane;
use super::options::{Durability, Options};
use super::script::Verb;
use super::sentinel::Sentinels;
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
/// How often nodes of a cluster may send a request on to others. They may know of different changes.
const REDIRECTS: u32 = 5;
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

/// The way to one server.
#[derive(Debug)]
pub(in crate::store::redis) struct Link {
    pub(in crate::store::redis) options: Options,
    pub(in crate::store::redis) lane: Lane,
    pub(in crate::store::redis) hints: Hints,
    pub(in crate::store::redis) clock: Clock,
    /// Names this store object in the hints it sends, so that it does not listen to itself.
    pub(in crate::store::redis) sender: [u8; 16],
    client: Client,
    /// Those who say where the primary is, if the URL names them, and where it was when they said so last.
    pub(in crate::store::redis) guide: Option<Guide>,
    primary: watch::Sender<String>,
    connection: Mutex<Option<MultiplexedConnection>>,
    /// The node that a slot of a cluster moves to, while it does, by its address.
    importing: Mutex<Option<(Address, MultiplexedConnection)>>,
    /// Connections that wait for replicas, where the URL asks for them: who waits holds up its connection.
    waiting: Mutex<Vec<MultiplexedConnection>>,
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
        let client = options.tls.client(options.connection.clone())?;
        let lane = Lane::of(&options.prefix, 0, 1);
        let guide = guide_of(&options, &lane)?;
        let sender = *uuid::Uuid::now_v7().as_bytes();
        Ok(Self {
            options,
            lane,
            hints: Hints::default(),
            clock,
            sender,
            client,
            guide,
            primary: watch::Sender::default(),
            connection: Mutex::default(),
            importing: Mutex::default(),
            waiting: Mutex::default(),
            reconnected: Notify::new(),
            counter: Mutex::default(),
        })
    }

    /// The way to the server, or to the one that those who know name now.
    pub(in crate::store::redis) async fn client(&self) -> Result<Client> {
        let Some(guide) = &self.guide else { return Ok(self.client.clone()) };
        let address = guide.primary().await?;
        self.moved(&guide::shown(&address));
        self.client_of(address)
    }

    fn client_of(&self, address: Address) -> Result<Client> {
        self.options.tls.client(guide::to(&self.options.connection, address)).map_err(|error| {
            let store = self.options.location.clone();
            Error::Refused { store, reason: error.to_string() }.into()
        })
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
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
        let Some(guide) = &self.guide else { return answer.await };
        tokio::select! {
            answer = answer => answer,
            () = self.replaced(guide) => {
                let store = self.options.location.clone();
                let reason = "another server has taken over: nobody knows whether it was done, so it is sent again";
                Err(Error::Unreachable { store, reason: reason.to_owned() }.into())
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, made anew if there is none.
    async fn connection(&self) -> Result<MultiplexedConnection> {
        if let Some(connection) = self.kept().clone() {
            return Ok(connection);
        }
        let connection = self.connect().await?;
        *self.kept() = Some(connection.clone());
        self.reconnected.notify_one();
        Ok(connection)
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        let connected = self.try_to_connect().await;
        if let (Err(_), Some(guide)) = (&connected, &self.guide) {
            guide.doubt();
        }
        connected
    }

    async fn try_to_connect(&self) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE));
        let client = self.client().await?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        if let Some(guide) = &self.guide {
            // What they say may be seconds old.
            let ask = redis::cmd("INFO").arg("replication").to_owned();
            let told: String = self.while_primary(query(&ask, &mut connection)).await?;
            if !told.lines().any(|line| line.trim_end() == "role:master") {
                let who = if guide.sentinels().is_some() { "sentinels" } else { "cluster's nodes" };
                let reason =
                    format!("the {who} name a server that takes no writes (yet, or any more)");
                return Err(Error::Busy { reason }.into());
            }
        }
        Ok(connection)
    }

    /// Runs a script, on the node that has the lane.
    async fn invoke(&self, call: &ScriptInvocation<'_>) -> Result<Vec<u8>> {
        let mut left = REDIRECTS;
        loop {
            let answer = self.invoke_here(call).await;
            // While a slot moves key by key, no script runs: see `Lane::declared`.
            let redirect = answer.as_ref().err().and_then(|fault| self.redirect(fault, &mut left));
            if !matches!(redirect, Some(Redirect::Moved)) {
                return answer;
            }
        }
    }

    /// Where a cluster's node sends a request on to, which it has not carried out.
    fn redirect(&self, fault: &Fault, left: &mut u32) -> Option<Redirect> {
        let (Fault::Server(error), Some(cluster)) = (fault, self.guide.as_ref()?.cluster()) else {
            return None;
        };
        *left = left.checked_sub(1)?;
        let own = self.primary.borrow().clone();
        let address = cluster::address_in(error.redirect_node()?.0, &own)?;
        if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) {
            return Some(Redirect::Ask(address));
        }
        self.moved(&guide::shown(&address));
        cluster.moved(address);
        *self.kept() = None;
        Some(Redirect::Moved)
    }

    /// Asks the node that a slot moves to for what has moved already.
    async fn asking<T: FromRedisValue>(&self, address: Address, command: &Cmd) -> Result<T> {
        let importing = || self.importing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = importing().take().filter(|(known, _)| *known == address);
        let mut connection = match kept {
            Some((_, connection)) => connection,
            None => guide::connect(&self.client_of(address.clone())?).await?,
        };
        let mut ask = redis::pipe();
        ask.cmd("ASKING").ignore().add_command(command.clone());
        let (answer,) = ask.query_async(&mut connection).await?;
        *importing() = Some((address, connection));
        Ok(answer)
    }

    /// Runs a script, and waits for its replicas if the URL asks for that.
    async fn invoke_here(&self, call: &ScriptInvocation<'_>) -> Result<Vec<u8>> {
        let Durability::Replicas(wanted) = self.options.durability else {
            let mut connection = self.connection().await?;
            let answer = async { Ok(call.invoke_async(&mut connection).await?) };
            return self.note(self.while_primary(answer).await);
        };
        let idle = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        // One that broke is not put back.
        let answered = async {
            let answer = call.invoke_async(&mut connection).await?;
            let mut wait = redis::cmd("WAIT");
            wait.arg(wanted).arg(REPLICAS.as_millis() as u64);
            Ok::<(_, u8), Fault>((answer, wait.query_async(&mut connection).await?))
        };
        let (answer, found) = self.while_primary(answered).await?;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
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
    fn note<T>(&self, done: Result<T>) -> Result<T> {
        if let Err(fault) = &done {
            if fault.is_of_the_connection() || fault.is_of_the_cluster() {
                *self.kept() = None;
            }
            if let Some(guide) = self.guide.as_ref().filter(|_| fault.is_of_the_cluster()) {
                guide.doubt();
            }
        }
        done
    }

    /// Runs one command, on one key at most.
    pub(in crate::store::redis) async fn command<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T> {
        let mut left = REDIRECTS;
        loop {
            let mut connection = self.connection().await?;
            let done = self.note(self.while_primary(query(command, &mut connection)).await);
            match done.as_ref().err().and_then(|fault| self.redirect(fault, &mut left)) {
                None => return done,
                Some(Redirect::Moved) => {}
                Some(Redirect::Ask(address)) => return self.asking(address, command).await,
            }
        }
    }

    /// Runs commands in one round trip.
    pub(in crate::store::redis) async fn commands<T: FromRedisValue>(
        &self,
        commands: &redis::Pipeline,
    ) -> Result<T> {
        if commands.is_empty() {
            // The client refuses to send nothing.
            return Ok(T::from_redis_value(redis::Value::Array(Vec::new()))
                .map_err(redis::RedisError::from)?);
        }
        let mut connection = self.connection().await?;
        let answers = async { Ok(commands.query_async(&mut connection).await?) };
        let done = self.note(self.while_primary(answers).await);
        if done.as_ref().err().and_then(|fault| self.redirect(fault, &mut 1)).is_none() {
            return done;
        }
        // Some have moved and others have not: each is asked for where it is.
        let mut answers = Vec::new();
        for command in commands.cmd_iter() {
            answers.push(self.command(command).await?);
        }
        Ok(T::from_redis_value(redis::Value::Array(answers)).map_err(redis::RedisError::from)?)
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
        self.guide.as_ref().is_some_and(|guide| guide.cluster().is_some())
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

/// Where a node sends a request on to.
enum Redirect {
    /// To another node, from now on.
    Moved,
    /// To another node, this time.
    Ask(Address),
}

fn guide_of(options: &Options, lane: &Lane) -> std::result::Result<Option<Guide>, OpenError> {
    if let Some(own) = &options.sentinels {
        let sentinels = Sentinels::new(&own.nodes, &own.name, &options.tls)?;
        return Ok(Some(Guide::Sentinels(sentinels)));
    }
    Ok(options.nodes.as_ref().map(|nodes| {
        let where_from = (&options.tls, lane.slot());
        let (own, shown) = (&options.connection, &options.location);
        Guide::Cluster(Box::new(Cluster::new(own, nodes, where_from, shown)))
    }))
}

async fn query<T: FromRedisValue>(
    command: &Cmd,
    connection: &mut MultiplexedConnection,
) -> Result<T> {
    Ok(command.query_async(connection).await?)
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
