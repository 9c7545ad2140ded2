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
    pub(super) fn hand_out_again(
        &mut self,
        worker: WorkerId,
        acknowledged: u64,
        reply: &mut Reply,
    ) {
        for task in self.held_by(worker) {
            let row = &self.tasks[&task];
            if let Some(token) = row.token.filter(|token| token.exchange() > acknowledged) {
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
        self.tasks.settle();
        let may_take = |row: &Task| self.may_take(row, claim) && !self.is_held(row, worker, now);
        let ready = self.tasks.ready(now).filter(|(_, row)| may_take(row));
        let mut choice = claim.choice(&reply.claimed);
        let mut chosen = Vec::new();
        for (id, row) in ready {
            if choice.is_made() {
                break;
            }
            if let Some(ahead) = choice.takes(row.crashes, row.at_once) {
                chosen.push((id, Token::of(worker, number, ahead)));
            }
        }
        for (task, token) in chosen {
            let waits = self.tasks.get_mut(&task).map(|row| std::mem::take(&mut row.waits));
            let answers = self.answer(task, &waits.unwrap_or_default(), now);
            if !answers.is_empty() {
                // An answer is progress: it renews the budgets of retries and crashes.
                self.change(task, Task::renew);
            }
            let claimed = self.claimed(task, &self.tasks[&task], token, answers);
            self.change(task, |row| {
                row.state = State::Running;
                row.token = Some(token);
                row.holder = None;
                row.parked = row.parked_by(worker);
                // What may expire has begun once it says something.
                if !(token.is_ahead() && row.expires.is_some()) {
                    row.started = row.started.or(Some(now));
                }
            });
            reply.claimed.push(claimed);
        }
        if claim.ahead > 0 {
            self.tasks.settle();
            let may_take =
                |row: &Task| self.may_take(row, claim) && !self.is_held(row, worker, now);
            let suits = |row: &Task| row.crashes < limits::SUSPECT || choice.takes_suspects();
            reply.left = self.tasks.direct(now).any(|row| may_take(row) && suits(row));
        }
    }

    fn may_take(&self, row: &Task, claim: &Claim) -> bool {
        row.state == State::Pending
            && claim.serves(&row.queue, &row.kind)
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
            due: row.due,
            not_after: row.not_after(),
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
    pub(super) fn next_due(
        &mut self,
        worker: WorkerId,
        claim: &Claim,
        claimed: &[Claimed],
        now: Time,
    ) -> Option<Time> {
        self.tasks.settle();
        let timer = self.tasks.next_timer(now);
        if claim.is_full(claimed) {
            return timer;
        }
        let is_its = |row: &Task| self.may_take(row, claim) && !self.is_held(row, worker, now);
        let first = |priority| self.tasks.later(priority, now).find(|row| is_its(row));
        let due = self.tasks.priorities().filter_map(first).map(|row| row.due);
        let kept = self.tasks.kept(now);
        let kept = kept.filter(|row| self.may_take(row, claim) && self.is_held(row, worker, now));
        let kept = kept.map(|row| row.due.max(row.held_until));
        timer.into_iter().chain(due).chain(kept).min()
    }
}
