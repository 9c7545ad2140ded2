//! The broker and the result backend, whichever they are.

use std::time::Duration;

use crate::error::{Fault, StartError};
use crate::rabbit::{self, Rabbit};
use crate::redis::{self as server, Keys, Link, PUBLISH, RESULT};
use crate::wire::{Envelope, Letter, Message, Meta, PIDBOX, Refused};

/// How long it is remembered that a message was sent, in seconds: seven days.
pub(super) const SENT: u64 = 604_800;

const BROKER: &str = "the broker";
const RESULTS: &str = "the result backend";

/// Where messages come from and go to.
#[derive(Debug, Clone)]
pub(crate) enum Broker {
    Redis(Link),
    Rabbit(Rabbit),
}

/// Where results are kept.
#[derive(Debug, Clone)]
pub(crate) enum Results {
    Redis(Link),
    /// With nobody: each is sent to the one that waits for it.
    Rpc(Rabbit),
}

impl Broker {
    /// The broker that a URL names, once it answers.
    pub(crate) async fn reach(url: &str, name: Option<&str>) -> Result<Self, StartError> {
        if rabbit::is_rabbit(url) {
            let rabbit = Rabbit::new(rabbit::Url::read(BROKER, url)?);
            Box::pin(rabbit.check(BROKER)).await?;
            return Ok(Self::Rabbit(rabbit));
        }
        Ok(Self::Redis(reach(BROKER, url, name).await?))
    }

    pub(crate) fn location(&self) -> &str {
        match self {
            Self::Redis(link) => link.location(),
            Self::Rabbit(rabbit) => rabbit.location(),
        }
    }

    /// kombu's name for it.
    pub(crate) fn transport(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Rabbit(_) => "amqp",
        }
    }

    /// Whether it takes a message: what it does not take now it does not take later.
    pub(crate) fn carries(&self, message: &Message) -> Result<(), Refused> {
        match self {
            Self::Redis(_) => Ok(()),
            Self::Rabbit(_) => rabbit::carries(message),
        }
    }

    /// Sends a letter. One to workers arrives with whoever listens; what becomes of any other nobody is told.
    pub(crate) async fn letter(&self, letter: &Letter) -> Result<(), Fault> {
        match self {
            Self::Redis(link) => {
                let channel = link.keys.channel(&letter.exchange);
                let channel = match letter.routing_key.as_str() {
                    "" => channel,
                    key => format!("{channel}/{key}"),
                };
                let mut publish = redis::cmd("PUBLISH");
                publish.arg(channel).arg(letter.envelope());
                Ok(link.command(&publish).await?)
            }
            Self::Rabbit(rabbit) if letter.exchange == PIDBOX => {
                Box::pin(rabbit.broadcast(letter)).await
            }
            Self::Rabbit(rabbit) => Box::pin(rabbit.tell(letter)).await,
        }
    }

    /// Sends the answer to a command to whoever is bound to the exchange with its key.
    pub(crate) async fn answer(&self, letter: &Letter) -> Result<(), Fault> {
        let link = match self {
            Self::Redis(link) => link,
            Self::Rabbit(rabbit) => return Box::pin(rabbit.tell(letter)).await,
        };
        let keys = &link.keys;
        let mut asked = redis::cmd("SMEMBERS");
        asked.arg(keys.binding(&letter.exchange));
        let members: Vec<String> = link.command(&asked).await?;
        let mut pipe = redis::pipe();
        for queue in members.iter().filter_map(|member| keys.bound(member, &letter.routing_key)) {
            pipe.lpush(keys.queue(&queue, 0), letter.envelope()).ignore();
        }
        if pipe.is_empty() { Ok(()) } else { Ok(link.commands(&pipe).await?) }
    }

    /// Sends a task's message, unless one was sent under its id, as far as that is remembered. Whether it was sent now.
    pub(super) async fn send(&self, queue: &str, message: &Message) -> Result<bool, Fault> {
        match self {
            Self::Redis(link) => {
                let keys = &link.keys;
                let mut script = PUBLISH.prepare_invoke();
                script.key(keys.sent(&message.headers.id)).key(keys.queue(queue, message.priority));
                script.arg(Envelope::of(message, queue).text()).arg(SENT);
                Ok(link.script(&script).await?)
            }
            Self::Rabbit(rabbit) => Box::pin(rabbit.send(queue, message)).await.map(|()| true),
        }
    }
}

async fn reach(what: &'static str, url: &str, name: Option<&str>) -> Result<Link, StartError> {
    let url = server::Url::read(what, url)?;
    let link = Link::new(&url, name);
    link.check(what).await?;
    Ok(link)
}

impl Results {
    /// The result backend that a URL names, once it answers; without one it is the broker's Redis.
    pub(crate) async fn reach(
        url: Option<&str>,
        broker: &Broker,
        name: Option<&str>,
    ) -> Result<Self, StartError> {
        let refused = |reason: &str| StartError::Url { what: RESULTS, reason: reason.to_owned() };
        match (url, broker) {
            (None, Broker::Redis(link)) => Ok(Self::Redis(link.clone())),
            (None, Broker::Rabbit(_)) => Err(refused(
                "there is none: with RabbitMQ as the broker, say with `.results(…)` what the Celery application's `result_backend` is, `redis://…` or `rpc://`",
            )),
            (Some(url), Broker::Rabbit(rabbit)) if url.starts_with("rpc:") => {
                if url == "rpc://" || url == "rpc" {
                    return Ok(Self::Rpc(rabbit.clone()));
                }
                Err(refused("`rpc://` stands alone: results go over the broker"))
            }
            (Some(url), Broker::Redis(_)) if url.starts_with("rpc:") => Err(refused(
                "homing speaks `rpc://` where RabbitMQ is the broker; with Redis as the broker set `result_backend` to a `redis://…` URL",
            )),
            (Some(url), _) if rabbit::is_rabbit(url) => Err(refused(
                "Celery itself keeps results in RabbitMQ as `rpc://` only: set `result_backend` to that, or to a `redis://…` URL",
            )),
            (Some(url), _) => Ok(Self::Redis(reach(RESULTS, url, name).await?)),
        }
    }

    /// The result backend by itself, to be read, and names in it.
    pub(crate) async fn alone(url: &str, name: Option<&str>) -> Result<(Self, Keys), StartError> {
        if url.starts_with("rpc") {
            let reason =
                "what goes over `rpc://` can be read by nobody but the one that waits for it"
                    .to_owned();
            return Err(StartError::Url { what: RESULTS, reason });
        }
        let link = reach(RESULTS, url, name).await?;
        let keys = link.keys.clone();
        Ok((Self::Redis(link), keys))
    }

    /// The Redis that keeps them.
    pub(crate) fn redis(&self) -> Option<&Link> {
        match self {
            Self::Redis(link) => Some(link),
            Self::Rpc(_) => None,
        }
    }

    /// Stores a result and tells of it; a success that is there stays.
    pub(crate) async fn put(
        &self,
        meta: &Meta,
        (reply_to, expires): (Option<&str>, Duration),
    ) -> Result<(), Fault> {
        let text = serde_json::json!(meta).to_string();
        match (self, reply_to) {
            (Self::Redis(link), _) => {
                let mut script = RESULT.prepare_invoke();
                script.key(link.keys.result(&meta.task_id)).arg(text).arg(expires.as_secs());
                Ok(link.script(&script).await?)
            }
            (Self::Rpc(rabbit), Some(queue)) => {
                Box::pin(rabbit.answer(queue, &meta.task_id, &text)).await
            }
            // Nobody waits for it.
            (Self::Rpc(_), None) => Ok(()),
        }
    }

    /// A task's result, if there is one and it can be read again.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<Vec<u8>>, Fault> {
        let all = self.all(std::slice::from_ref(&id.to_owned())).await?;
        Ok(all.into_iter().next().flatten())
    }

    /// Results of several tasks, in their order.
    pub(crate) async fn all(&self, ids: &[String]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let Some(link) = self.redis().filter(|_| !ids.is_empty()) else {
            return Ok(vec![None; ids.len()]);
        };
        let mut read = redis::cmd("MGET");
        for id in ids {
            read.arg(link.keys.result(id));
        }
        Ok(link.command(&read).await?)
    }
}
