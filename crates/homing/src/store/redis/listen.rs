//! Hints from other processes, by the server's publish and subscribe. They may be lost: workers look every second.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use redis::{AsyncConnectionConfig, Client, Msg, ProtocolVersion, PushInfo, PushKind};

use super::link::connect::Link;
use super::link::fault::Result;
use super::link::guide::Guide;
use super::told;
use crate::store::Error;

/// Pause between two attempts to listen.
const PAUSE: Duration = Duration::from_millis(500);

/// Listens as long as the store is open.
pub(super) async fn listen(link: Weak<Link>) {
    while let Some(own) = link.upgrade() {
        if let Err(fault) = until_broken(own, &link).await {
            let Some(own) = link.upgrade() else { return };
            let error = fault.told(&own.options.location);
            tracing::debug!(%error, "hints of other processes are not heard");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn until_broken(own: Arc<Link>, link: &Weak<Link>) -> Result<()> {
    let client = own.client().await?;
    let mut primary = own.primary();
    let channel = own.lane.channel();
    let mut messages = if own.is_cluster() {
        own.while_primary(subscribe_in_cluster(&own, &client, channel)).await?
    } else {
        let mut pubsub = client.get_async_pubsub().await?;
        pubsub.subscribe(channel).await?;
        pubsub.into_on_message().boxed()
    };
    // Whatever was said while nobody listened.
    own.hints.say_changed();
    drop(own);
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            // The old one may stand still and say nothing for ever.
            Ok(()) = primary.changed() => return Ok(()),
        };
        let Some(message) = message else { return Ok(()) };
        let Some(own) = link.upgrade() else { return Ok(()) };
        told::hear(&own.hints, own.sender, message.get_payload_bytes())?;
    }
}

/// Listens at the node that has the lane: other nodes are not told. The messages end with the connection, and when the node
/// has the lane no more.
async fn subscribe_in_cluster(
    own: &Link,
    client: &Client,
    channel: Vec<u8>,
) -> Result<BoxStream<'static, Msg>> {
    // Such messages come by the newer protocol alone.
    let there = client.get_connection_info().clone();
    let settings = there.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = own.options.tls.client(there.set_redis_settings(settings));
    let client = client.map_err(|error| {
        let store = own.options.location.clone();
        Error::Refused { store, reason: error.to_string() }
    })?;
    let (sender, pushed) = tokio::sync::mpsc::unbounded_channel::<PushInfo>();
    let config = AsyncConnectionConfig::new().set_push_sender(sender);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("SSUBSCRIBE").arg(channel).exec_async(&mut connection).await?;
    let messages = stream::unfold((pushed, connection), async |(mut pushed, connection)| {
        loop {
            let push = pushed.recv().await?;
            if matches!(push.kind, PushKind::Disconnection | PushKind::SUnsubscribe) {
                return None;
            }
            if let Some(message) = Msg::from_push_info(push) {
                return Some((message, (pushed, connection)));
            }
        }
    });
    Ok(messages.boxed())
}

/// Has the sentinels tell that another server has taken over, one of them after the other, as long as the store is open.
pub(super) async fn listen_to_sentinels(link: Weak<Link>) {
    let mut turn = 0;
    while let Some(own) = link.upgrade() {
        if own.guide().and_then(Guide::sentinels).is_none() {
            return;
        }
        let weak = link.clone();
        let moved = move |address: &str| {
            if let Some(link) = weak.upgrade() {
                link.moved(address);
            }
        };
        if let Err(fault) = sentinel_of(own, turn, moved).await {
            let error = fault.told("the sentinels");
            tracing::debug!(%error, "a sentinel is not heard");
        }
        turn += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn sentinel_of(own: Arc<Link>, turn: usize, moved: impl FnMut(&str)) -> Result<()> {
    let Some(sentinels) = own.guide().and_then(Guide::sentinels).cloned() else {
        return Ok(());
    };
    // A store that nobody uses any more is not kept by who listens.
    drop(own);
    sentinels.listen(turn, moved).await
}
