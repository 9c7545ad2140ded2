//! Hints from other processes, by the server's publish and subscribe. They may be lost: workers look every second.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;

use super::link::connect::Link;
use super::link::fault::Result;
use super::told;

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
    let mut pubsub = client.get_async_pubsub().await?;
    pubsub.subscribe(own.lane.channel()).await?;
    let mut primary = own.primary();
    // Whatever was said while nobody listened.
    own.hints.say_changed();
    drop(own);
    let mut messages = pubsub.on_message();
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

/// Has the sentinels tell that another server has taken over, one of them after the other, as long as the store is open.
pub(super) async fn listen_to_sentinels(link: Weak<Link>) {
    let mut turn = 0;
    while let Some(own) = link.upgrade() {
        if own.sentinels.is_none() {
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
    let Some(sentinels) = own.sentinels.clone() else { return Ok(()) };
    // A store that nobody uses any more is not kept by who listens.
    drop(own);
    sentinels.listen(turn, moved).await
}
