//! One server: the connection that all share, the channels on which messages go out, and consumers that are watched.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::sync::Mutex;

use super::{Url, queues, stream, values};
use crate::error::{Fault, StartError};
use crate::wire::{Letter, Message};

/// How long the server may take to answer.
const RESPONSE: Duration = Duration::from_secs(10);
/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// After so long without a message the server is asked whether it still knows the consumer.
const WATCH: Duration = Duration::from_secs(10);
/// Task messages that are sent side by side. On each lane one at a time, so that what the server returns is known to be
/// the one that was sent.
const LANES: usize = 16;

/// The way to one server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rabbit {
    inner: Arc<Inner>,
}

struct Inner {
    url: Url,
    connection: Mutex<Option<Arc<Connection>>>,
    lanes: [Mutex<Option<Channel>>; LANES],
    turn: AtomicUsize,
    /// What goes to whoever is there: confirmed, and dropped by the server if nobody is.
    others: Mutex<Option<Channel>>,
    /// What may be lost.
    letters: Mutex<Option<Channel>>,
    /// What is known to be declared: queues, and exchanges with a `/` before their names.
    known: Lock<HashSet<String>>,
}

impl fmt::Debug for Rabbit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rabbit").field(&self.inner.url).finish()
    }
}

/// A name or key as AMQP takes it.
pub(super) fn short(text: &str) -> Result<ShortString, Fault> {
    ShortString::try_new(text).map_err(|_| {
        let begin: String = text.chars().take(40).collect();
        Fault::Told(format!("RabbitMQ takes names of at most 255 bytes, and `{begin}…` is longer"))
    })
}

impl Rabbit {
    pub(crate) fn new(url: Url) -> Self {
        let inner = Inner {
            url,
            connection: Mutex::default(),
            lanes: std::array::from_fn(|_| Mutex::default()),
            turn: AtomicUsize::new(0),
            others: Mutex::default(),
            letters: Mutex::default(),
            known: Lock::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// For messages: hosts and virtual host.
    pub(crate) fn location(&self) -> &str {
        &self.inner.url.location
    }

    /// Whether the server is there and takes us.
    pub(crate) async fn check(&self, what: &'static str) -> Result<(), StartError> {
        self.connection().await.map(drop).map_err(|fault| StartError::Unreachable {
            what,
            location: self.location().to_owned(),
            reason: fault.to_string(),
        })
    }

    async fn connection(&self) -> Result<Arc<Connection>, Fault> {
        let mut kept = self.inner.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|kept| kept.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        *kept = None;
        self.known().clear();
        let mut last = Fault::Silent("the URL names no server");
        for address in &self.inner.url.addresses {
            let properties = ConnectionProperties::default().with_connection_name("homing".into());
            let tls = self.inner.url.tls.as_ref();
            let connecting = Box::pin(stream::connect(address.clone(), tls, properties));
            match tokio::time::timeout(CONNECT, connecting).await {
                Ok(Ok(connection)) => {
                    let connection = Arc::new(connection);
                    *kept = Some(Arc::clone(&connection));
                    return Ok(connection);
                }
                Ok(Err(error)) => last = error.into(),
                Err(_) => last = Fault::Silent("the server did not answer within 5 s"),
            }
        }
        Err(last)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next use makes a new connection.
    async fn forget(&self) {
        *self.inner.connection.lock().await = None;
    }

    /// What the server answers, if it does so in time.
    pub(super) async fn answered<T>(
        &self,
        asked: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Fault> {
        let Ok(answer) = tokio::time::timeout(RESPONSE, asked).await else {
            self.forget().await;
            return Err(Fault::Silent("the server has not answered for 10 s"));
        };
        Ok(answer?)
    }

    /// A channel of one's own.
    pub(super) async fn channel(&self) -> Result<Channel, Fault> {
        let connection = Box::pin(self.connection()).await?;
        self.answered(connection.create_channel()).await
    }

    /// A channel that is kept, or a new one in its place.
    async fn fresh(&self, kept: Option<Channel>, confirmed: bool) -> Result<Channel, Fault> {
        if let Some(channel) = kept.filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let channel = self.channel().await?;
        if confirmed {
            self.answered(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        }
        Ok(channel)
    }

    /// A channel on which messages go out side by side.
    async fn kept(&self, slot: &Mutex<Option<Channel>>, confirmed: bool) -> Result<Channel, Fault> {
        let mut kept = slot.lock().await;
        let channel = self.fresh(kept.take(), confirmed).await?;
        *kept = Some(channel.clone());
        Ok(channel)
    }

    async fn unblocked(&self) -> Result<(), Fault> {
        if self.connection().await?.status().blocked() {
            return Err(Fault::Silent(
                "RabbitMQ takes no messages while its alarm of memory or disk is on",
            ));
        }
        Ok(())
    }

    /// Sends a task's message; the server has it and keeps it once this is done. A queue that is not there is declared
    /// as Celery's own producer does it, since a message that went nowhere would be waited for for ever.
    pub(crate) async fn send(&self, queue: &str, message: &Message) -> Result<(), Fault> {
        let mut properties = values::properties(&message.header_values(), true)
            .with_correlation_id(short(&message.headers.id)?)
            .with_priority(message.priority);
        if let Some(reply_to) = &message.reply_to {
            properties = properties.with_reply_to(short(reply_to)?);
        }
        let (key, body) = (short(queue)?, message.body().to_string());
        self.unblocked().await?;
        let turn = self.inner.turn.fetch_add(1, Ordering::Relaxed) % LANES;
        let mut lane = self.inner.lanes[turn].lock().await;
        let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
        for _ in 0..2 {
            self.queue(queue, false).await?;
            // It is put back once nothing is under way on it.
            let channel = self.fresh(lane.take(), true).await?;
            let body = body.as_bytes();
            let (key, properties) = (key.clone(), properties.clone());
            let sent = async {
                channel.basic_publish("".into(), key, mandatory, body, properties).await?.await
            };
            let confirmed = self.answered(sent).await?;
            *lane = Some(channel);
            match confirmed {
                Confirmation::Ack(None) | Confirmation::NotRequested => return Ok(()),
                // The queue was deleted since it was seen.
                Confirmation::Ack(Some(_)) => {
                    self.known().remove(queue);
                }
                Confirmation::Nack(_) => return Err(refused(queue)),
            }
        }
        Err(Fault::Told(format!("RabbitMQ has no queue `{queue}`, although it was declared")))
    }

    /// Sends a result to the queue in which somebody waits for it, if it is there.
    pub(crate) async fn answer(&self, queue: &str, id: &str, body: &str) -> Result<(), Fault> {
        let (Ok(_), Ok(id)) = (short(queue), short(id)) else {
            tracing::warn!(queue, id, "a result is sent to nobody: AMQP has no such long names");
            return Ok(());
        };
        let properties = values::properties(&serde_json::json!({}), false).with_correlation_id(id);
        self.confirmed(("", queue), body, properties).await
    }

    /// Sends a letter that must not be lost.
    pub(crate) async fn broadcast(&self, letter: &Letter) -> Result<(), Fault> {
        self.exchange(&letter.exchange).await?;
        let properties = values::properties(&letter.headers, false);
        let to = (letter.exchange.as_str(), letter.routing_key.as_str());
        self.confirmed(to, &letter.body.to_string(), properties).await
    }

    async fn confirmed(
        &self,
        (exchange, key): (&str, &str),
        body: &str,
        properties: BasicProperties,
    ) -> Result<(), Fault> {
        self.unblocked().await?;
        let channel = self.kept(&self.inner.others, true).await?;
        let options = BasicPublishOptions::default();
        let (exchange, key_) = (short(exchange)?, short(key)?);
        let sent = async {
            channel.basic_publish(exchange, key_, options, body.as_bytes(), properties).await?.await
        };
        match self.answered(sent).await? {
            Confirmation::Nack(_) => Err(refused(key)),
            Confirmation::Ack(_) | Confirmation::NotRequested => Ok(()),
        }
    }

    /// Sends a letter of which nobody waits for the end: an event, an answer.
    pub(crate) async fn tell(&self, letter: &Letter) -> Result<(), Fault> {
        self.exchange(&letter.exchange).await?;
        let channel = self.kept(&self.inner.letters, false).await?;
        let properties = values::properties(&letter.headers, false);
        let (exchange, key) = (short(&letter.exchange)?, short(&letter.routing_key)?);
        let (options, body) = (BasicPublishOptions::default(), letter.body.to_string());
        let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
        self.answered(sent).await?;
        Ok(())
    }

    /// Makes sure that a queue of tasks is there. `strict`: with the settings that the URL names.
    pub(crate) async fn queue(&self, queue: &str, strict: bool) -> Result<(), Fault> {
        if !strict && self.known().contains(queue) {
            return Ok(());
        }
        queues::tasks(self, queue, (&self.inner.url.kind, strict)).await?;
        self.known().insert(queue.to_owned());
        Ok(())
    }

    /// Makes sure that an exchange of Celery's is there.
    pub(crate) async fn exchange(&self, exchange: &str) -> Result<(), Fault> {
        let known = format!("/{exchange}");
        if self.known().contains(&known) {
            return Ok(());
        }
        queues::exchange(self, exchange).await?;
        self.known().insert(known);
        Ok(())
    }

    /// Consumes a queue of tasks, so many messages at once.
    pub(crate) async fn consume(&self, queue: &str, most: u16) -> Result<Watched, Fault> {
        self.queue(queue, true).await?;
        let channel = self.channel().await?;
        self.watched((channel, queue.to_owned()), most).await
    }

    /// Consumes the queue in which results for homing's parents come. It outlives us, and the server.
    pub(crate) async fn consume_results(
        &self,
        queue: &str,
        (expires, most): (Duration, u16),
    ) -> Result<Watched, Fault> {
        queues::results(self, queue, expires).await?;
        let channel = self.channel().await?;
        self.watched((channel, queue.to_owned()), most).await
    }

    /// Consumes what is sent to an exchange from now on, in a queue that goes with the connection.
    pub(crate) async fn hear(&self, exchange: &str, key: &str) -> Result<Watched, Fault> {
        self.exchange(exchange).await?;
        let channel = self.channel().await?;
        let queue = queues::own(self, &channel, (exchange, key)).await?;
        self.watched((channel, queue), 100).await
    }

    async fn watched(
        &self,
        (channel, queue): (Channel, String),
        most: u16,
    ) -> Result<Watched, Fault> {
        // For each consumer: quorum queues know no other.
        self.answered(channel.basic_qos(most, BasicQosOptions { global: false })).await?;
        let options = BasicConsumeOptions::default();
        let name = short(&queue)?;
        let consuming = channel.basic_consume(name, "".into(), options, FieldTable::default());
        let consumer = self.answered(consuming).await?;
        Ok(Watched { rabbit: self.clone(), channel, queue, consumer })
    }
}

fn refused(queue: &str) -> Fault {
    Fault::Told(format!("RabbitMQ did not take a message for `{queue}`"))
}

/// A consumer, and what it takes to know that it lives.
pub(crate) struct Watched {
    rabbit: Rabbit,
    channel: Channel,
    queue: String,
    consumer: Consumer,
}

impl Watched {
    /// The next message. While none comes the server is asked whether it still knows this consumer: one that consumes
    /// nothing would look like a quiet queue.
    pub(crate) async fn next(&mut self) -> Result<Delivery, Fault> {
        loop {
            match tokio::time::timeout(WATCH, self.consumer.next()).await {
                Ok(Some(delivery)) => return Ok(delivery?),
                Ok(None) => return Err(Fault::Silent("the queue was deleted")),
                Err(_) => self.look().await?,
            }
        }
    }

    async fn look(&self) -> Result<(), Fault> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = self.channel.queue_declare(short(&self.queue)?, passive, FieldTable::default());
        let queue = self.rabbit.answered(asked).await?;
        if queue.consumer_count() == 0 {
            return Err(Fault::Silent("the server does not know the consumer any more"));
        }
        Ok(())
    }

    /// The next message, and what has come already beside it.
    pub(crate) async fn batch(&mut self, most: usize) -> Result<Vec<Delivery>, Fault> {
        let mut batch = vec![self.next().await?];
        // That it has ended is found by the next wait.
        while batch.len() < most
            && let Some(Some(delivery)) = self.consumer.next().now_or_never()
        {
            batch.push(delivery?);
        }
        Ok(batch)
    }

    /// Acknowledges all that has come up to this one.
    pub(crate) async fn acknowledge(&self, last: &Delivery) -> Result<(), Fault> {
        let options = BasicAckOptions { multiple: true };
        self.rabbit.answered(self.channel.basic_ack(last.delivery_tag, options)).await
    }
}
