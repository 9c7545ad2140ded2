//! The claim: what a worker is given.

use super::{Data, Task};
use crate::core::id::{TaskId, Token, WorkerId};
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::Answer;
use crate::limits;
use crate::store::{Claim, Claimed, Reply};

impl Data {
    /// Tasks whose claim was in a reply that never arrived.
    pub(super) fn hand_out_again(&self, worker: WorkerId, acknowledged: u64, reply: &mut Reply) {
        for task in self.held_by(worker) {
            let row = &self.tasks[&task];
            if let Some(token) = row.token.filter(|token| token.claim > acknowledged) {
                reply.claimed.push(self.claimed(task, row, token, Vec::new()));
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an exchange's parts, as they come")]
    pub(super) fn claim(
        &mut self,
        worker: WorkerId,
        number: u64,
        claim: &Claim,
        reply: &mut Reply,
        now: Time,
    ) {
        let token = Token { worker, claim: number };
        let free = claim.tasks.saturating_sub(reply.claimed.len());
        let mut suspect = claim.suspect;
        let mut ready: Vec<_> = self
            .tasks
            .awake()
            .filter(|(_, row)| self.may_take(row, claim) && row.due <= now)
            .filter(|(_, row)| !self.is_held(row, worker, now))
            .map(|(id, row)| (-i32::from(row.priority), row.due, *id, row.crashes))
            .collect();
        ready.sort_unstable();
        ready.retain(|(.., crashes)| {
            *crashes < limits::SUSPECT || std::mem::replace(&mut suspect, false)
        });
        ready.truncate(free);
        for (_, _, task, _) in ready {
            let waits = self.tasks.get_mut(&task).map(|row| std::mem::take(&mut row.waits));
            let answers = self.answer(task, &waits.unwrap_or_default(), now);
            if !answers.is_empty() {
                // An answer is progress: it renews the budgets of retries and crashes.
                self.change(task, |row| (row.failures, row.crashes, row.stalls) = (0, 0, 0));
            }
            let claimed = self.claimed(task, &self.tasks[&task], token, answers);
            self.change(task, |row| {
                row.state = State::Running;
                row.token = Some(token);
                row.holder = None;
                row.parked = row.parked_by(worker);
                row.started = row.started.or(Some(now));
            });
            reply.claimed.push(claimed);
        }
    }

    fn may_take(&self, row: &Task, claim: &Claim) -> bool {
        row.state == State::Pending
            && claim.queues.contains(&row.queue)
            && claim.kinds.contains(&row.kind)
            && !self.paused.contains(&row.queue)
            && (claim.suspect || row.crashes < limits::SUSPECT)
    }

    /// Whether resumed work is still another worker's alone. Who is gone keeps nothing.
    fn is_held(&self, row: &Task, worker: WorkerId, now: Time) -> bool {
        let other = row.holder.filter(|own| *own != worker);
        row.held_until > now && other.is_some_and(|own| self.workers.contains_key(&own))
    }

    fn claimed(&self, id: TaskId, row: &Task, token: Token, answers: Vec<Answer>) -> Claimed {
        let records = self.records.range((id, 0)..=(id, u64::MAX)).next_back();
        Claimed {
            task: id,
            parent: row.parent.map(|parent| parent.local),
            set: row.set,
            depth: row.depth,
            token,
            kind: row.kind.clone(),
            arguments: row.arguments.clone(),
            queue: row.queue.clone(),
            priority: row.priority,
            policy: row.policy.clone(),
            attempt: row.attempt,
            failures: row.failures,
            crashes: row.crashes,
            stalls: row.stalls,
            records: records.map_or(0, |((_, seq), _)| *seq),
            spawned: self.spawned_by_body(id),
            answers,
            parked: row.parked_by(token.worker),
        }
    }

    /// The next instant at which a worker with this claim would find something to do.
    pub(super) fn next_due(&self, worker: WorkerId, claim: &Claim, now: Time) -> Option<Time> {
        let timers = self.tasks.awake().filter_map(|(_, row)| row.timer());
        let dues = self
            .tasks
            .awake()
            .map(|(_, row)| row)
            .filter(|row| claim.tasks > 0 && self.may_take(row, claim));
        let dues = dues.map(|row| {
            if self.is_held(row, worker, now) { row.due.max(row.held_until) } else { row.due }
        });
        timers.chain(dues).filter(|time| *time > now).min()
    }
}
