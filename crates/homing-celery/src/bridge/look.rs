//! The looks behind the pushes: what is under way is registered by the time of its next look, and whichever bridge
//! comes by when that is due looks. So a word that was lost, and a process that died, cost one look. Without a Redis
//! each process looks at what is its own, and at what homing ran for Celery when it started.
//!
//! `out` holds what Celery runs for homing: a look finds its result, or that its homing task has ended, and then asks
//! Celery to revoke it. `in` holds what homing runs for Celery: a look finds jobs that were ended from outside, without
//! their bodies, and has their callers told.

use std::sync::Arc;
use std::time::Duration;

use homing::log::Line;
use homing::{Cursor, JobFilter, Reason, Status, StoreError, Submission, TaskId, TaskView};
use serde_json::json;

use super::listen::{Delivery, tell};
use super::{IN, OUT, Shared, consume, own_queue};
use crate::call::Order;
use crate::entry::{After, ENTRY, aftermath, message_of};
use crate::error::Fault;
use crate::wire::{Command, Event, Meta};

/// Looks in one round.
const MOST: usize = 500;
/// Failed attempts of one task that are told in one look.
const RETRIES: usize = 20;

pub(super) fn start(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        shared
            .again("looking at what is under way", |shared| async move {
                let out = look_out(&shared).await?;
                let found = look_in(&shared).await?;
                if out < MOST && found < MOST {
                    let pause = (shared.settings.look / 4).max(Duration::from_millis(50));
                    tokio::time::sleep(pause).await;
                }
                Ok(())
            })
            .await;
    });
}

async fn due(shared: &Shared, register: &str) -> Result<Vec<String>, Fault> {
    let pause = shared.settings.look.as_secs_f64();
    shared.notes.due(register, (MOST, pause, shared.seconds())).await
}

async fn strike_off(shared: &Shared, register: &str, member: &str) -> Result<(), Fault> {
    shared.notes.strike(register, &[member]).await
}

async fn found(shared: &Shared, task: impl Into<TaskId>) -> Result<Option<TaskView>, Fault> {
    match shared.homing.task(task).await {
        Ok(task) => Ok(Some(task)),
        Err(StoreError::Unknown { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Looks at everything that Celery runs for homing, due or not.
pub(super) async fn all(shared: &Arc<Shared>) -> Result<(), Fault> {
    let ids = shared.notes.all(OUT).await?;
    for some in ids.chunks(MOST) {
        looked(shared, some).await?;
    }
    Ok(())
}

async fn look_out(shared: &Arc<Shared>) -> Result<usize, Fault> {
    let ids = due(shared, OUT).await?;
    looked(shared, &ids).await?;
    Ok(ids.len())
}

/// Looks at tasks that Celery runs for homing.
async fn looked(shared: &Arc<Shared>, ids: &[String]) -> Result<(), Fault> {
    if ids.is_empty() {
        return Ok(());
    }
    let results = shared.results.all(ids).await?;
    for (id, result) in ids.iter().zip(results) {
        let Some(task) = shared.keys.task(id) else {
            strike_off(shared, OUT, id).await?;
            continue;
        };
        let told = match &result {
            Some(text) => tell(shared, id, text).await?,
            None => Delivery::NotYet,
        };
        match told {
            Delivery::Woken => {}
            Delivery::Ended => strike_off(shared, OUT, id).await?,
            Delivery::Unknown => forgotten(shared, id).await?,
            Delivery::NotYet => under_way(shared, id, task).await?,
        }
    }
    Ok(())
}

/// Nothing is known of the task in this store: it was removed, or belongs to another store. Nobody waits here.
async fn forgotten(shared: &Shared, id: &str) -> Result<(), Fault> {
    tracing::warn!(
        id,
        "the register names a task that the store does not know: it was removed, or two stores share a Redis without `BridgeBuilder::name`"
    );
    strike_off(shared, OUT, id).await
}

/// A task that Celery has not ended: if nobody waits for it any more, it is revoked.
async fn under_way(shared: &Shared, id: &str, task: TaskId) -> Result<(), Fault> {
    let Some(view) = found(shared, task).await? else { return forgotten(shared, id).await };
    if !view.state.is_ended() {
        return Ok(());
    }
    let terminate = Order::of(&view.arguments).is_some_and(|order| order.terminate);
    shared.broker.letter(&Command::revoke(id, terminate, shared.tick())).await?;
    strike_off(shared, OUT, id).await
}

/// Enters what is open in the store into this process's own register, where there is none for all.
pub(super) async fn left(shared: &Shared) -> Result<(), StoreError> {
    let mut filter = JobFilter {
        kind: Some(ENTRY.to_owned()),
        queue: Some(own_queue(shared.settings.name.as_deref())),
        status: Some(Status::InProgress),
        ..JobFilter::default()
    };
    loop {
        let page = shared.homing.jobs(filter.clone()).await?;
        let Some(last) = page.last() else { return Ok(()) };
        filter.after = Some((last.created, last.id));
        let mut members = Vec::new();
        for job in &page {
            match shared.homing.task(job.id).await {
                Ok(view) => members.extend(message_of(&view).as_ref().map(consume::member)),
                Err(StoreError::Unknown { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        shared.notes.hold(IN, members, shared.seconds());
    }
}

async fn look_in(shared: &Arc<Shared>) -> Result<usize, Fault> {
    let members = due(shared, IN).await?;
    for member in &members {
        let Some((retries, id)) = member.split_once('#') else {
            strike_off(shared, IN, member).await?;
            continue;
        };
        let job = consume::job_of(id, retries.parse().unwrap_or(0));
        // One that is not there yet was noted and not submitted: it is taken again with its message.
        let Some(view) = found(shared, job).await? else { continue };
        if !view.state.is_ended() {
            retried(shared, &view, id).await?;
            continue;
        }
        shared.forget_retries(id);
        if let Some(after) = after(&view)
            && !(after.failure.reason == Reason::Error && shared.has_told(id).await?)
        {
            let queue = own_queue(shared.settings.name.as_deref());
            let job = homing::JobId::named(&format!("celery-aftermath:{member}:{}", view.attempt));
            let call = aftermath(after).queue(queue);
            match shared.homing.submit_all([Submission::of(call).id(job)]).await {
                Ok(_) => {}
                Err(refused) => return Err(refused.error.into()),
            }
        }
        strike_off(shared, IN, member).await?;
    }
    Ok(members.len())
}

/// Tells of attempts of the user's task that failed and are followed by others, each once by each process that looks.
async fn retried(shared: &Shared, entry: &TaskView, id: &str) -> Result<(), Fault> {
    if !shared.settings.events {
        return Ok(());
    }
    let (children, _) = shared.homing.children(entry.id, Cursor::default(), 1).await?;
    let Some(child) = children.first().filter(|child| child.attempt > 1 || child.failures > 0)
    else {
        return Ok(());
    };
    let lines = shared.homing.failed_attempts(child.id, RETRIES).await?;
    let told = |line: &Line| {
        let told = json!({"uuid": id, "exception": line.message, "traceback": null});
        Event::new("task-retried", told)
    };
    let events = lines.iter().filter(|line| shared.is_new_retry(id, line.number)).map(told);
    shared.tell(events.collect()).await;
    Ok(())
}

impl Shared {
    /// Whether the caller has been told of an end. A body that fails tells its caller first, all but one that cannot.
    pub(crate) async fn has_told(&self, id: &str) -> Result<bool, Fault> {
        if self.results.redis().is_none() {
            return Ok(true);
        }
        let text = self.results.get(id).await?;
        Ok(text.is_some_and(|text| Meta::read(&text).is_ok_and(|meta| meta.status.is_final())))
    }
}

/// What is left to do for a job that was ended without its body: its own end is struck off by the body itself.
fn after(view: &TaskView) -> Option<After> {
    let failure = view.failure.clone()?;
    Some(After { message: message_of(view)?, failure })
}
