//! A replay: what the record has at the places a body comes to; and its end: a body that has returned must have come
//! to everything its record has.
//!
//! A body that goes another way the second time would end over children it does not know, or without an
//! answer it was given. Steps may be added and reordered, so nothing can be said before the body returns.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use crate::core::replay::{Operation, Rest, Verdict};
use crate::core::wait::Answer;
use crate::limits;
use crate::store::{Entry, SetRow};

impl Context {
    /// Asks the record what an operation at a place comes to, loading what is needed to know.
    async fn ask(&self, place: &str, operation: Operation<'_>) -> Verdict {
        loop {
            let verdict = self.lock().recall.ask(place, operation);
            let Verdict::Load(after) = verdict else { return verdict };
            // Boxed, so that a body that is not replayed does not carry it.
            Box::pin(self.load_page(after)).await;
        }
    }

    /// The value that an earlier run has recorded at a place.
    pub(crate) async fn replayed(&self, place: &str, what: &str) -> Option<String> {
        match self.ask(place, Operation::Value(what)).await {
            Verdict::Value(text) => Some(text),
            Verdict::Mismatch(text) => self.drift(place, &text).await,
            Verdict::Execute
            | Verdict::Park
            | Verdict::Said
            | Verdict::Answer(_)
            | Verdict::Load(_) => None,
        }
    }

    /// As [`replayed`](Self::replayed), decoded.
    pub(crate) async fn replayed_as<T: DeserializeOwned>(
        &self,
        place: &str,
        what: &str,
    ) -> Option<T> {
        let text = self.replayed(place, what).await?;
        match crate::core::encode::parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => self.drift(place, &reason).await,
        }
    }

    /// Records a value at a place.
    pub(crate) fn record_value<T: Serialize>(&self, place: &str, value: &T) {
        self.record(place, Entry::Value(crate::core::encode::json(value)));
    }

    /// The answer that an earlier run was given at a place, to a wait for so many children.
    pub(crate) async fn answered(&self, place: &str, members: u64) -> Option<Answer> {
        let verdict = self.ask(place, Operation::Wait(members)).await;
        self.settle_lines(verdict != Verdict::Park);
        match verdict {
            Verdict::Answer(answer) => Some(answer),
            Verdict::Mismatch(text) => self.drift(place, &text).await,
            Verdict::Execute
            | Verdict::Park
            | Verdict::Said
            | Verdict::Value(_)
            | Verdict::Load(_) => None,
        }
    }

    /// Whether an earlier run has said this at a place; if it has said something else there, the body has drifted.
    pub(crate) async fn is_said(
        &self,
        place: &str,
        hash: [u8; 16],
        otherwise: impl FnOnce() -> String,
    ) -> bool {
        match self.ask(place, Operation::Said(hash)).await {
            Verdict::Mismatch(_) => self.drift(place, &otherwise()).await,
            Verdict::Said => true,
            Verdict::Value(_)
            | Verdict::Answer(_)
            | Verdict::Execute
            | Verdict::Park
            | Verdict::Load(_) => false,
        }
    }

    pub(crate) async fn load_page(&self, after: u64) {
        let task = self.task;
        let page = self
            .fetch(move |store| async move { store.record(task, after, crate::limits::PAGE).await })
            .await;
        self.lock().recall.load(page);
    }

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
