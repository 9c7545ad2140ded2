//! Ended jobs go once their time is over, as the worker was asked.

use std::sync::Arc;

use super::{Shared, while_running};
use crate::limits;
use crate::store::retention;

/// Applies the retention now and every [`limits::RETENTION_PASS`], until the worker leaves. Workers that do so side by
/// side remove what the others have left.
pub(super) fn start(shared: &Arc<Shared>) {
    let Some(retention) = shared.settings.retention.clone() else { return };
    let weak = Arc::downgrade(shared);
    let mut phase = shared.phase.subscribe();
    let clock = shared.store.clock().clone();
    tokio::spawn(async move {
        loop {
            let Some(shared) = weak.upgrade() else { return };
            let store = Arc::clone(&shared.store);
            drop(shared);
            let next = clock.now().after(limits::RETENTION_PASS);
            let pass = async {
                match retention::apply(&store, &retention).await {
                    Ok(0) => {}
                    Ok(jobs) => tracing::debug!(jobs, "jobs were removed: their time was over"),
                    Err(error) => tracing::warn!(%error, "the retention failed, it is tried again"),
                }
                drop(store);
                clock.until(next).await;
            };
            if while_running(&mut phase, pass).await.is_none() {
                return;
            }
        }
    });
}
