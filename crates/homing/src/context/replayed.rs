//! The end of a replay: a body that has returned must have come to everything its record has.
//!
//! A body that goes another way the second time would end over children it does not know, or without an
//! answer it was given. Steps may be added and reordered, so nothing can be said before the body returns.

use std::sync::Arc;

use super::Context;
use crate::limits;
use crate::replay::Rest;
use crate::store::SetRow;

impl Context {
    /// Ends the task as drifted where the body has returned without having come to all that is recorded.
    pub(crate) async fn check_replayed(self: &Arc<Self>) {
        if self.unfound() > 0 {
            self.check_sets().await;
        }
        loop {
            let rest = self.lock().recall.rest();
            match rest {
                Rest::Nothing => return,
                Rest::Load(after) => self.load_page(after).await,
                Rest::Left(place) => {
                    let text = "the body returned without coming to what is recorded here";
                    self.drift::<()>(&place, text).await;
                }
            }
        }
    }

    /// Every set must have as many children as the store has of it.
    async fn check_sets(self: &Arc<Self>) {
        let (task, mut after) = (self.task, None);
        loop {
            let page = self
                .fetch(move |store| async move { store.sets(task, after, limits::PAGE).await })
                .await;
            let Some(last) = page.last() else { break };
            after = Some(last.set);
            for row in &page {
                self.check_set(row).await;
            }
        }
        // Each set has as many as before, and yet one is missing: another was spawned in its stead.
        let text = "the body returned without spawning a child that is recorded, but another";
        self.drift::<()>("a spawn", text).await;
    }

    async fn check_set(self: &Arc<Self>, row: &SetRow) {
        let (set, old) = (row.set, row.counts.own());
        let (place, new) =
            self.with_set(set, |state| (state.place.clone(), u64::from(state.issued)));
        if old <= new {
            return;
        }
        if !place.is_empty() {
            let text = format!("the body returned with {new} children, expected {old}");
            return self.drift(&place, &text).await;
        }
        // A set this run did not open is known by its key alone: its first child says what it was.
        let task = self.task;
        let first =
            self.fetch(move |store| async move { store.children(task, set, 0, 1).await }).await;
        let kind = first.first().map_or("?", |child| child.kind.as_str());
        let text = format!("the body returned without spawning them, expected {old}");
        self.drift::<()>(&format!("children of kind {kind}"), &text).await;
    }
}
