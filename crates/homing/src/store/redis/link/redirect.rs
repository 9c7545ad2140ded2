//! Scripts and commands, sent on to where a cluster's nodes say that they belong. One server sends nothing on.

use std::sync::PoisonError;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, ScriptInvocation, ServerErrorKind};

use super::cluster::{self, Cluster};
use super::connect::Link;
use super::fault::{Fault, Result};
use super::guide::{self, Address, Guide};

/// How often nodes of a cluster may send a request on to others. They may know of different changes.
const REDIRECTS: u32 = 5;

/// Where a node sends a request on to.
enum Redirect {
    /// To another node, from now on.
    Moved,
    /// To another node, this time.
    Ask(Address),
}

impl Link {
    /// The cluster, if the URL names one.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.guide().and_then(Guide::cluster)
    }

    /// Runs a script, on the node that has the lane.
    pub(super) async fn invoke(&self, call: &ScriptInvocation<'_>) -> Result<Vec<u8>> {
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
        let (Fault::Server(error), Some(cluster)) = (fault, self.cluster()) else {
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
            None => guide::connect(&self.way.client_of(Some(address.clone()))?).await?,
        };
        let mut ask = redis::pipe();
        ask.cmd("ASKING").ignore().add_command(command.clone());
        let (answer,) = ask.query_async(&mut connection).await?;
        *importing() = Some((address, connection));
        Ok(answer)
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
}

async fn query<T: FromRedisValue>(
    command: &Cmd,
    connection: &mut MultiplexedConnection,
) -> Result<T> {
    Ok(command.query_async(connection).await?)
}
