//! From RabbitMQ: a consumer for each queue, which acknowledges messages once they are jobs.

use std::sync::Arc;
use std::time::Duration;

use lapin::types::ShortString;

use super::{MOST, Refusal, Shared, into_store};
use crate::error::Fault;
use crate::point;
use crate::rabbit::{Rabbit, headers, read_message};
use crate::wire::Message;

/// Messages that the server hands over before the first of them is acknowledged: what is taken at once, and as much on
/// its way.
const PREFETCH: u16 = 2 * MOST as u16;
/// How long the store is left alone after it has failed.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn start(shared: &Arc<Shared>, rabbit: &Rabbit) {
    for queue in shared.settings.queues.clone() {
        let (shared, rabbit) = (Arc::clone(shared), rabbit.clone());
        tokio::spawn(async move {
            let takes = |shared: Arc<Shared>| {
                let (rabbit, queue) = (rabbit.clone(), queue.clone());
                async move { take(&shared, &rabbit, &queue).await }
            };
            shared.again("taking messages", takes).await;
        });
    }
}

async fn take(shared: &Arc<Shared>, rabbit: &Rabbit, queue: &str) -> Result<(), Fault> {
    let mut consumer = rabbit.consume(queue, PREFETCH).await?;
    loop {
        let taken = consumer.batch(MOST).await?;
        point::pass("taken");
        // Held, and not handed back: a quorum queue counts how often it has delivered a message, and drops it in the end.
        while let Err(error) = into_store(shared, taken.iter().map(read)).await {
            tracing::warn!(%error, queue, messages = taken.len(), "messages of Celery's are held until they can be stored");
            tokio::time::sleep(PAUSE).await;
        }
        point::pass("submitted");
        if let Some(last) = taken.last() {
            consumer.acknowledge(last).await?;
        }
        point::pass("acknowledged");
    }
}

fn read(delivery: &lapin::message::Delivery) -> Result<Message, Refusal> {
    read_message(delivery).map_err(|refused| {
        let properties = &delivery.properties;
        let correlation = properties.correlation_id().as_ref().map(ShortString::as_str);
        let reply_to = properties.reply_to().as_ref().map(ShortString::as_str);
        Refusal::of(refused, &headers(properties), (correlation, reply_to))
    })
}
