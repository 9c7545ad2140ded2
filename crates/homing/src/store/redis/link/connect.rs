//! The connection that carries all verbs, and how a script is run on it.
//!
//! One connection serves everybody: the server answers in the order of what it is sent, and nothing sent here blocks
//! it. A connection that broke is made anew by whoever needs it next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Script};
use rmpv::ValueRef;

use super::engine::Engine;
use super::fault::{Fault, Result};
use super::keys::Lane;
use super::options::Options;
use crate::clock::{Clock, monotonic};
use crate::core::id::TaskId;
use crate::limits;
use crate::store::Hints;
use crate::store::redis::pack::{self, List, Pack};
use crate::store::redis::told;

/// How long the server may take to answer. The client's own default of half a second would take a slow disk for a
/// failure while the script runs.
const RESPONSE: Duration = Duration::from_secs(30);
/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What follows failures and was not started yet: its number and what is needed to start it.
pub(in crate::store::redis) type Follows = Vec<(Vec<u8>, Vec<u8>)>;

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
    connection: Mutex<Option<MultiplexedConnection>>,
    /// The highest commit counter that the server has told.
    counter: Mutex<u64>,
}

impl Link {
    pub(in crate::store::redis) fn new(options: Options, clock: Clock) -> Result<Self> {
        let client = Client::open(options.connection.clone())?;
        let lane = Lane::of(&options.prefix, 0, 1);
        let sender = *uuid::Uuid::now_v7().as_bytes();
        Ok(Self {
            options,
            lane,
            hints: Hints::default(),
            clock,
            sender,
            client,
            connection: Mutex::default(),
            counter: Mutex::default(),
        })
    }

    pub(in crate::store::redis) fn client(&self) -> &Client {
        &self.client
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, made anew if there is none.
    async fn connection(&self) -> Result<MultiplexedConnection> {
        if let Some(connection) = self.kept().clone() {
            return Ok(connection);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *self.kept() = Some(connection.clone());
        Ok(connection)
    }

    /// Forgets the connection, if the fault is its.
    fn note<T>(&self, done: Result<T>) -> Result<T> {
        if done.as_ref().is_err_and(Fault::is_of_the_connection) {
            *self.kept() = None;
        }
        done
    }

    /// Runs one command.
    pub(in crate::store::redis) async fn command<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T> {
        let mut connection = self.connection().await?;
        self.note(command.query_async(&mut connection).await.map_err(Fault::from))
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
        self.note(commands.query_async(&mut connection).await.map_err(Fault::from))
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
        script: &Script,
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
        let mut connection = self.connection().await?;
        let mut call = script.prepare_invoke();
        for key in self.lane.common() {
            call.key(key);
        }
        let begun = monotonic();
        let called = call.arg(asked.done()).invoke_async::<Vec<u8>>(&mut connection).await;
        let answer = self.note(called.map_err(Fault::from))?;
        let answer = pack::parse(&answer)?;
        let mut parts = List::of(&answer)?;
        if let Clock::Server(clock) = &self.clock {
            clock.read(begun, monotonic(), parts.time()?);
        } else {
            parts.time()?;
        }
        self.look_at_counter(parts.count()?);
        told::say(&self.hints, &mut parts, false)?;
        told::say_swept(&mut parts.list()?)?;
        let mut follows = Vec::new();
        let mut list = parts.list()?;
        while list.left() > 0 {
            let mut one = list.list()?;
            follows.push((one.bytes()?.to_vec(), one.bytes()?.to_vec()));
        }
        Ok((read(parts.value()?)?, follows))
    }

    /// The commit counter only grows. If it does not, commits that were acknowledged are gone.
    fn look_at_counter(&self, found: u64) {
        if found == 0 {
            return;
        }
        let mut highest = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        // Replies of calls in flight at once come in any order, within what can be in flight.
        if found.saturating_add(limits::CLAIM as u64) < *highest {
            tracing::error!(
                store = self.options.location,
                lane = 0,
                seen = *highest,
                found,
                "the server has lost commits that it had acknowledged: a failover, a restore or a \
                 crash between two syncs of its log"
            );
            *highest = found;
        }
        *highest = found.max(*highest);
    }
}

/// Limits and spans that the scripts go by.
fn spans() -> Vec<u8> {
    let mut spans = Pack::list(6);
    spans
        .number(limits::RESUMED_AGE.as_micros())
        .number(limits::HOLD.as_micros())
        .number(limits::SUSPECT)
        .number(limits::LOG_LINES)
        .number(limits::CASCADE as u64)
        .number(limits::CHILDREN);
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
