//! What people have done to jobs and queues, and who.

use std::fmt;

use super::Homing;
use crate::core::failure::bounded;
use crate::store;
use crate::store::read::actions::{ActionFilter, ActionView, NewAction};

impl Homing {
    /// The same store, for somebody: what is done with it is kept beside who did it, and [`actions`](Self::actions)
    /// lists it. Meant for programs that people steer jobs with; what bodies do is in their records.
    ///
    /// Kept are `submit` (not of many at once), `cancel`, `retry`, `amend`, `signal`, `remove`, `prune`, `pause` and `unpause`. An
    /// action is kept before it is done, and what became of it after: if the first fails, it is not done; if the
    /// process dies in between, it stands there without a result. Actions are kept for
    /// [`limits::ACTIONS_KEPT`](crate::limits::ACTIONS_KEPT).
    ///
    /// ```
    /// # use homing::{ActionFilter, Homing};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// homing.acting("ada").pause("slow").await?;
    /// let actions = homing.actions(ActionFilter::default()).await?;
    /// assert_eq!((actions[0].who.as_str(), actions[0].verb.as_str()), ("ada", "pause"));
    /// assert_eq!(actions[0].result.as_deref(), Some("done"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "it is for what is done with what this returns"]
    pub fn acting(&self, who: &str) -> Self {
        Self { actor: Some(bounded(who).into()), ..self.clone() }
    }

    /// What has been done by those that [`acting`](Self::acting) was told of, the newest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn actions(&self, filter: ActionFilter) -> Result<Vec<ActionView>, store::Error> {
        self.store.actions(filter).await
    }

    /// Does something, and keeps who did it and what became of it.
    pub(crate) async fn noted<T, E: fmt::Display + From<store::Error>>(
        &self,
        (verb, target): (&'static str, impl fmt::Display + Send),
        act: impl Future<Output = Result<T, E>> + Send,
        told: impl FnOnce(&T) -> String + Send,
    ) -> Result<T, E> {
        let Some(who) = &self.actor else { return act.await };
        let action = NewAction { who: who.to_string(), verb, target: bounded(&target.to_string()) };
        let number = self.store.begin_action(action).await?;
        let done = act.await;
        let result = match &done {
            Ok(value) => told(value),
            Err(error) => format!("refused: {error}"),
        };
        // It has been done: that this could not be kept is no reason to say otherwise.
        if let Err(error) = self.store.end_action(number, bounded(&result)).await {
            tracing::warn!(target: "homing", verb, number, %error, "what became of an action is not kept");
        }
        done
    }
}

/// What became of something that needs no more words.
pub(super) fn done<T>(_: &T) -> String {
    "done".to_owned()
}
