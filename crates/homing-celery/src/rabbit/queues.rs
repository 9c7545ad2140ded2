//! What is declared on the server: passively first, since what is there was declared by the application, and another
//! declaration of it is an error.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::Rabbit;
use super::link::short;
use super::url::Kind;
use crate::error::Fault;
use crate::wire::{EVENTS, PIDBOX};

/// How long a queue of commands is kept without anybody who hears it, in milliseconds; Celery's own.
const EXPIRES: u32 = 10_000;
/// How long a command waits in it.
const TTL: u32 = 300_000;

/// Whether the server has answered so.
fn is(fault: &Fault, wanted: &AMQPSoftError) -> bool {
    match fault {
        Fault::Rabbit(error) => match error.kind() {
            ErrorKind::ProtocolError(error) => {
                matches!(error.kind(), AMQPErrorKind::Soft(soft) if soft == wanted)
            }
            _ => false,
        },
        _ => false,
    }
}

const PASSIVE: QueueDeclareOptions = QueueDeclareOptions {
    passive: true,
    durable: true,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};
const DURABLE: QueueDeclareOptions = QueueDeclareOptions { passive: false, ..PASSIVE };

/// Whether a queue is there, whatever its settings.
async fn is_there(rabbit: &Rabbit, queue: &str) -> Result<bool, Fault> {
    // Another channel: an error ends it.
    let channel = rabbit.channel().await?;
    let asked = channel.queue_declare(short(queue)?, PASSIVE, FieldTable::default());
    match rabbit.answered(asked).await {
        Ok(_) => Ok(true),
        Err(fault) if is(&fault, &AMQPSoftError::NOTFOUND) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// A queue of tasks: durable, bound to a durable direct exchange of its name. One that is there is taken as it is,
/// unless it is consumed (`strict`) and the URL says how it is to be.
pub(super) async fn tasks(
    rabbit: &Rabbit,
    queue: &str,
    (kind, strict): (&Kind, bool),
) -> Result<(), Fault> {
    let said = kind != &Kind::default();
    if !(strict && said) && is_there(rabbit, queue).await? {
        return Ok(());
    }
    let mut arguments = FieldTable::default();
    if let Some(queue_type) = &kind.queue_type {
        let queue_type = AMQPValue::LongString(queue_type.as_str().into());
        arguments.insert("x-queue-type".into(), queue_type);
    }
    if let Some(most) = kind.max_priority {
        arguments.insert("x-max-priority".into(), AMQPValue::LongInt(most.into()));
    }
    let channel = rabbit.channel().await?;
    let declared = channel.queue_declare(short(queue)?, DURABLE, arguments);
    match rabbit.answered(declared).await {
        Ok(_) => {}
        Err(fault) if is(&fault, &AMQPSoftError::PRECONDITIONFAILED) => {
            return Err(Fault::Told(format!(
                "the queue `{queue}` is there with other settings ({fault}): say with `queue_type` and `max_priority` in the bridge's URL what the Celery application says with `x-queue-type` and `x-max-priority`, or leave both out, and the queue is taken as it is"
            )));
        }
        Err(fault) => return Err(fault),
    }
    bind(rabbit, queue).await
}

/// Celery's clients send to the queue by its name. Those that send to the exchange of its name must find it too.
async fn bind(rabbit: &Rabbit, queue: &str) -> Result<(), Fault> {
    let channel = rabbit.channel().await?;
    let name = short(queue)?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    let declared =
        channel.exchange_declare(name.clone(), ExchangeKind::Direct, options, none.clone());
    match rabbit.answered(declared).await {
        Ok(()) => {}
        // An exchange of the application's own, which binds what it wants.
        Err(fault) if is(&fault, &AMQPSoftError::PRECONDITIONFAILED) => {
            tracing::debug!(queue, %fault, "the queue is bound to no exchange of its name");
            return Ok(());
        }
        Err(fault) => return Err(fault),
    }
    let options = QueueBindOptions::default();
    rabbit.answered(channel.queue_bind(name.clone(), name.clone(), name, options, none)).await
}

/// The queue of results for homing's parents: durable, and removed once nobody has heard it for as long as results are
/// kept.
pub(super) async fn results(rabbit: &Rabbit, queue: &str, expires: Duration) -> Result<(), Fault> {
    if is_there(rabbit, queue).await? {
        return Ok(());
    }
    let mut arguments = FieldTable::default();
    if !expires.is_zero() {
        let expires = expires.as_millis().clamp(1000, u128::from(u32::MAX)) as u32;
        arguments.insert("x-expires".into(), AMQPValue::LongLongInt(expires.into()));
    }
    let channel = rabbit.channel().await?;
    rabbit.answered(channel.queue_declare(short(queue)?, DURABLE, arguments)).await?;
    Ok(())
}

/// An exchange of Celery's, as it declares it.
pub(super) async fn exchange(rabbit: &Rabbit, exchange: &str) -> Result<(), Fault> {
    let channel = rabbit.channel().await?;
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    let kind = match exchange {
        PIDBOX => ExchangeKind::Fanout,
        EVENTS => ExchangeKind::Topic,
        _ => ExchangeKind::Direct,
    };
    let asked = channel.exchange_declare(short(exchange)?, kind.clone(), passive, none.clone());
    match rabbit.answered(asked).await {
        Ok(()) => return Ok(()),
        Err(fault) if is(&fault, &AMQPSoftError::NOTFOUND) => {}
        Err(fault) => return Err(fault),
    }
    let channel = rabbit.channel().await?;
    let durable = exchange == EVENTS;
    let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
    rabbit.answered(channel.exchange_declare(short(exchange)?, kind, options, none)).await
}

/// A queue of this connection's own, bound to an exchange. A new name each time: the one before may not be gone yet.
pub(super) async fn own(
    rabbit: &Rabbit,
    channel: &Channel,
    (exchange, key): (&str, &str),
) -> Result<String, Fault> {
    let queue = format!("homing.{}.{exchange}", uuid::Uuid::now_v7());
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongInt(EXPIRES as i32));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(TTL as i32));
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let name = short(&queue)?;
    rabbit.answered(channel.queue_declare(name.clone(), options, arguments)).await?;
    let options = QueueBindOptions::default();
    let bound =
        channel.queue_bind(name, short(exchange)?, short(key)?, options, FieldTable::default());
    rabbit.answered(bound).await?;
    Ok(queue)
}
