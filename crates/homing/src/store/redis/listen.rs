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
    let mut pubsub = own.client().get_async_pubsub().await?;
    pubsub.subscribe(own.lane.channel()).await?;
    // Whatever was said while nobody listened.
    own.hints.say_changed();
    drop(own);
    let mut messages = pubsub.on_message();
    while let Some(message) = messages.next().await {
        let Some(own) = link.upgrade() else { return Ok(()) };
        told::hear(&own.hints, own.sender, message.get_payload_bytes())?;
    }
    Ok(())
}
