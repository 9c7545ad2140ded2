//! What became of what the bodies said: each hears it from the reply to the exchange that carried it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::inbox::DriverMessage;
use super::outbox::Posting;
use super::outcome::unfit;
use crate::core::id::TaskId;
use crate::core::replay::drift_reason;
use crate::core::wait::Answer;
use crate::store::events;
use crate::store::{Event, Refusal, Unit};

impl Shared {
    /// Tells every body what became of its units: which were refused, and which waits were over at once.
    pub(super) fn deliver(
        &self,
        postings: Vec<Posting>,
        refused: Vec<(TaskId, Refusal)>,
        ready: Vec<(TaskId, Vec<Answer>)>,
    ) {
        // An exchange carries one unit of a task at most, so the task names its unit.
        let mut refused: HashMap<TaskId, Refusal> = refused.into_iter().collect();
        let mut ready: HashMap<TaskId, _> = ready.into_iter().collect();
        let now = self.store.clock().now();
        for posting in postings {
            let task = posting.unit.task;
            if let Some(refusal) = refused.remove(&task) {
                self.refused(&posting, refusal);
                continue;
            }
            let units = posting.units;
            let message = match posting.unit.events.last() {
                Some(Event::Park { .. }) => {
                    // The park itself is told of by what follows.
                    if units > 1 {
                        posting.inbox.put(DriverMessage::Committed { units: units - 1 });
                    }
                    if let Some(answers) = ready.remove(&task) {
                        DriverMessage::Ready(answers)
                    } else {
                        self.count_last(&posting, now);
                        self.parked(&posting)
                    }
                }
                // Nobody is left to hear it.
                Some(event) if event.ends_the_stretch() => {
                    self.told_of(&posting, event);
                    self.count_last(&posting, now);
                    if matches!(event, Event::End(_)) {
                        self.ended.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
                Some(_) | None => DriverMessage::Committed { units },
            };
            posting.inbox.put(message);
        }
    }

    /// The end of a stretch was committed: the program's log is told.
    fn told_of(&self, posting: &Posting, event: &Event) {
        let (clock, Posting { kind, attempt, .. }) = (self.store.clock(), posting);
        posting.span.in_scope(|| events::ended(posting.unit.task, kind, *attempt, event, clock));
    }

    /// A park was committed: the body holds no token any more.
    fn parked(&self, posting: &Posting) -> DriverMessage {
        let (task, token) = (posting.unit.task, posting.unit.token);
        self.forget_body(task, token);
        let most = self.settings.resident;
        if most > 0 {
            self.residents().keep(task, token, Arc::clone(&posting.inbox), most);
        }
        DriverMessage::Parked { keep: most > 0 }
    }

    /// A unit was refused. The body hears of it, unless it is done: then the store hears why.
    fn refused(&self, posting: &Posting, refusal: Refusal) {
        let (task, token) = (posting.unit.task, posting.unit.token);
        if !posting.ends_the_stretch() && !self.outbox.refuse(task, token, &refusal) {
            posting.inbox.put(DriverMessage::Refused(refusal));
            return;
        }
        let event = match refusal {
            // Whoever has the task now says what becomes of it.
            Refusal::Lost => return events::too_late(task, &posting.kind, posting.attempt),
            Refusal::Unfit(text) => unfit(&posting.kind, task, posting.attempt, &text),
            Refusal::Drift(text) => {
                self.stall_event(posting.stalls, &drift_reason("a spawn", &text))
            }
        };
        let events = self.with_line(posting.attempt, token, event).collect();
        self.outbox.post(Posting {
            unit: Arc::new(Unit { task, token, renew: false, events }),
            inbox: Arc::clone(&posting.inbox),
            kind: posting.kind.clone(),
            span: posting.span.clone(),
            ..*posting
        });
    }
}
