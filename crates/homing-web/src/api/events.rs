//! Live: a job's record as it changes, and the lines of its log as they come, as server-sent events.
//!
//! A stream takes its looks from the hub, so that a hundred viewers of a job read the store as one does. It sends
//! nothing while nothing changes but a comment every 15 seconds, goes on behind `Last-Event-ID`, and ends with the
//! event `end` once the job has ended.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use homing::JobId;
use homing_view::json;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::{Params, text};
use crate::guard::keys::hex;
use crate::hub::FRESH;
use crate::pages::log::{Wanted, level};
use crate::problem::{Refusal, Result};
use crate::site::Cx;

/// Between two signs of life.
const ALIVE: Duration = Duration::from_secs(15);
/// For how long a stream waits for a store that is away, at most, before it looks again.
const AWAY: Duration = Duration::from_secs(5);

/// Tells the looks of this process from those of another.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let mut chance = [0; 8];
    // Without chance a resumed stream may miss that the process is another: it is told the next change.
    let _ = getrandom::fill(&mut chance);
    hex(&chance)
});

/// One of the streams that may be open at once.
fn permit(cx: &Cx) -> Result<OwnedSemaphorePermit> {
    Arc::clone(&cx.site.streams).try_acquire_owned().map_err(|_| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many streams are open")
            .hint("close some pages, or ask again in a moment")
    })
}

/// The headers of a stream: nobody on the way keeps it back.
fn shown(response: impl IntoResponse) -> Response {
    ([("x-accel-buffering", "no"), ("cache-control", "no-store")], response).into_response()
}

fn event(name: &str, id: &str, value: &Value) -> Event {
    // JSON on one line; what is no UTF-8 cannot be in it.
    let data = String::from_utf8_lossy(&text(value)).into_owned();
    Event::default().event(name).id(id).data(data)
}

struct Watching {
    cx: Cx,
    id: JobId,
    seen: Option<String>,
    troubled: bool,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// A job's record, whenever it changes.
pub(super) async fn of_job(
    cx: Cx,
    Path(id): Path<String>,
    headers: HeaderMap,
    Params(()): Params<()>,
) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    cx.site.hub.job(id).await?; // an unknown one is an error, and no stream
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let permit = permit(&cx)?;
    let watching = Watching { cx, id, seen, troubled: false, ended: false, _permit: permit };
    let events = unfold(watching, |watching| async move {
        let (event, watching) = watching.next().await?;
        Some((Ok::<_, Infallible>(event), watching))
    });
    Ok(shown(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))))
}

impl Watching {
    async fn next(mut self) -> Option<(Event, Self)> {
        if self.ended {
            return None;
        }
        loop {
            let look = match self.cx.site.hub.job(self.id).await {
                Ok(look) => look,
                Err(error) => {
                    if let Some(event) = trouble(&error, &mut self.troubled, &mut self.ended) {
                        return Some((event, self));
                    }
                    tokio::time::sleep(AWAY).await;
                    continue;
                }
            };
            let id = format!("{}-{}", *PROCESS, look.number);
            let again = std::mem::take(&mut self.troubled);
            if self.seen.as_ref() != Some(&id) || again {
                let object = self.cx.seen(&json::job(&look.value)).unwrap_or_default();
                self.seen = Some(id.clone());
                return Some((event("job", &id, &object), self));
            }
            if look.value.status.is_ended() {
                self.ended = true;
                let event = event("end", &id, &json!({ "status": look.value.status }));
                return Some((event, self));
            }
            tokio::time::sleep(FRESH).await;
        }
    }
}

/// Says once that the store is away; what nobody knows any more ends the stream.
fn trouble(error: &homing::StoreError, told: &mut bool, ended: &mut bool) -> Option<Event> {
    let unknown = matches!(error, homing::StoreError::Unknown { .. });
    if unknown {
        *ended = true;
    } else if std::mem::replace(told, true) {
        return None;
    }
    let name = if unknown { "end" } else { "trouble" };
    let value = json!({ "status": null, "detail": error.to_string() });
    let data = String::from_utf8_lossy(&text(&value)).into_owned();
    Some(Event::default().event(name).data(data))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Followed {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    level: String,
    #[serde(default)]
    task: String,
    #[serde(default)]
    search: String,
}

struct Following {
    cx: Cx,
    id: JobId,
    after: u64,
    wanted: Wanted,
    troubled: bool,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// The lines of a job's log behind a number, as they come.
pub(super) async fn of_log(
    cx: Cx,
    Path(id): Path<String>,
    headers: HeaderMap,
    Params(asked): Params<Followed>,
) -> Result<Response> {
    let id = cx.find_job(&id).await?;
    cx.site.hub.job(id).await?;
    let task = if asked.task.is_empty() { None } else { Some(cx.find(&asked.task).await?) };
    let search = if cx.sight.payloads { asked.search.to_lowercase() } else { String::new() };
    let wanted = Wanted { level: level(&asked.level)?, task, search };
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (after, permit) = (resumed.unwrap_or(asked.after), permit(&cx)?);
    let following =
        Following { cx, id, after, wanted, troubled: false, ended: false, _permit: permit };
    let events = unfold(following, |following| async move {
        let (event, following) = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Ok(shown(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))))
}

impl Following {
    async fn next(mut self) -> Option<(Event, Self)> {
        if self.ended {
            return None;
        }
        loop {
            // The state before the lines: what was said before the end is read then.
            let looked = async {
                let (hub, id) = (&self.cx.site.hub, self.id);
                let over = hub.job(id).await?.value.status.is_ended();
                if over {
                    // Not by a look: one may be older than the end.
                    let mut log = self.cx.homing().job::<()>(id).log().after(self.after);
                    return Ok((over, Arc::new(log.page().await?)));
                }
                Ok((over, hub.log(id, self.after).await?.value))
            };
            let (over, lines) = match looked.await {
                Ok(looked) => looked,
                Err(error) => {
                    if let Some(event) = trouble(&error, &mut self.troubled, &mut self.ended) {
                        return Some((event, self));
                    }
                    tokio::time::sleep(AWAY).await;
                    continue;
                }
            };
            self.troubled = false;
            if let Some(last) = lines.last() {
                self.after = last.number;
                let wanted = lines.iter().filter(|line| self.wanted.admits(line));
                let items: Vec<Value> =
                    wanted.filter_map(|line| self.cx.seen(&json::line(line)).ok()).collect();
                if !items.is_empty() {
                    let event = event("lines", &self.after.to_string(), &json!({ "items": items }));
                    return Some((event, self));
                }
                continue;
            }
            if over {
                self.ended = true;
                return Some((event("end", &self.after.to_string(), &json!({})), self));
            }
            tokio::time::sleep(FRESH).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use homing::{Homing, TaskState, log, task};

    use super::*;
    use crate::options::{Options, Role};
    use crate::site::{Site, Visitor};

    #[task(kind = "last_words")]
    async fn last_words() -> homing::Result<()> {
        log!("the first");
        homing::signal::<bool>("end").await?;
        log!("the last");
        Ok(())
    }

    /// The job ends while the last look at its log is still fresh: what was said before the end is sent.
    #[tokio::test]
    async fn the_last_line_is_sent_however_old_the_last_look_is() {
        let homing = Homing::open("memory:").await.unwrap();
        let worker = homing.worker().register(last_words).start().await.unwrap();
        let job = homing.submit(last_words()).await.unwrap();
        while homing.task(job.id()).await.unwrap().state != TaskState::Waiting {
            tokio::task::yield_now().await;
        }
        let site = Arc::new(Site::new(homing, Options::new()));
        let visitor = Visitor {
            user: String::new(),
            role: Role::Viewer,
            payloads: true,
            csrf: String::new(),
            base: String::new(),
            from: String::new(),
            session: false,
        };
        let cx = Cx::new(&site, visitor);
        let look = site.hub.log(job.id(), 1).await.unwrap();
        assert!(look.value.is_empty());
        job.signal("end", &true).await.unwrap();
        job.ended().await.unwrap();
        let (permit, wanted) = (permit(&cx).unwrap(), Wanted::default());
        let (id, after, troubled, ended) = (job.id(), 1, false, false);
        let following = Following { cx, id, after, wanted, troubled, ended, _permit: permit };
        let (event, following) = following.next().await.unwrap();
        assert!(format!("{event:?}").contains("the last"), "{event:?}");
        let (event, following) = following.next().await.unwrap();
        assert!(format!("{event:?}").contains("end"), "{event:?}");
        assert!(following.next().await.is_none());
        worker.shutdown(Duration::ZERO).await;
    }
}
