//! A site: a store, what it was told, and everything that requests share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use homing::{FindError, Homing, IdPrefix, JobId, TaskId, TaskView, Time};
use tokio::sync::Semaphore;

use crate::guard::keys::Keys;
use crate::hub::Hub;
use crate::options::{Options, Role};
use crate::problem::{Refusal, Result};
use crate::sight::Sight;
use crate::{api, assets, guard, metrics, pages};

/// Requests that read the store at once.
const READS: usize = 8;
/// Streams open at once.
const STREAMS: usize = 200;
/// Largest body of a request, in bytes.
pub(crate) const BODY: usize = 1024 * 1024;
/// How long a reading request may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What requests share.
pub(crate) struct Site {
    pub(crate) homing: Homing,
    pub(crate) options: Options,
    pub(crate) keys: Keys,
    pub(crate) hub: Hub,
    pub(crate) reads: Semaphore,
    pub(crate) streams: Arc<Semaphore>,
    redact: Arc<[String]>,
    /// Actions that were carried out, by their tokens: said again, they do nothing.
    done: Mutex<HashMap<String, (Time, String)>>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Site {
    pub(crate) fn new(homing: Homing, options: Options) -> Self {
        Self {
            keys: Keys::new(&options),
            hub: Hub::new(homing.clone()),
            reads: Semaphore::new(READS),
            streams: Arc::new(Semaphore::new(STREAMS)),
            redact: options.redact.clone().into(),
            done: Mutex::default(),
            homing,
            options,
        }
    }

    /// The time of the store's clock.
    pub(crate) fn now(&self) -> Time {
        self.homing.now().into()
    }

    /// The store's clock in whole seconds.
    pub(crate) fn seconds(&self) -> u64 {
        self.now().since(Time(0)).as_secs()
    }

    /// What became of an action, if it was carried out.
    pub(crate) fn done(&self, token: &str) -> Option<String> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.get(token).map(|(_, text)| text.clone())
    }

    /// Keeps what became of an action for as long as its token is good.
    pub(crate) fn keep(&self, token: &str, text: &str) {
        let now = self.now();
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.retain(|_, (at, _)| now.since(*at) < guard::keys::GOOD);
        done.insert(token.to_owned(), (now, text.to_owned()));
    }

    /// Streams that are open.
    pub(crate) fn open_streams(&self) -> usize {
        STREAMS.saturating_sub(self.streams.available_permits())
    }

    /// What the site is called.
    pub(crate) fn name(&self) -> &str {
        self.options.name.as_deref().unwrap_or("homing")
    }
}

/// Who asks, as the guard has found out.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) user: String,
    pub(crate) role: Role,
    pub(crate) payloads: bool,
    /// What forms carry, to show that a page of this site has made them.
    pub(crate) csrf: String,
    /// The path before all of the site's.
    pub(crate) base: String,
    /// Where the request came from, for the audit.
    pub(crate) from: String,
    /// Whether a session of the login's has let them in.
    pub(crate) session: bool,
}

/// What handlers are given: the site, and who asks.
#[derive(Clone)]
pub(crate) struct Cx {
    pub(crate) site: Arc<Site>,
    pub(crate) visitor: Visitor,
    pub(crate) sight: Sight,
    /// The store, for the visitor.
    homing: Homing,
}

impl Cx {
    pub(crate) fn new(site: &Arc<Site>, visitor: Visitor) -> Self {
        let payloads = visitor.payloads && !site.options.hide_payloads;
        let sight = Sight { payloads, redact: Arc::clone(&site.redact) };
        let homing = site.homing.acting(&format!("{} (web)", visitor.user));
        Self { site: Arc::clone(site), visitor, sight, homing }
    }

    pub(crate) fn homing(&self) -> &Homing {
        &self.homing
    }

    /// A path of the site's as links give it.
    pub(crate) fn link(&self, path: impl std::fmt::Display) -> String {
        match path.to_string().as_str() {
            "/" => home(&self.visitor.base),
            path => format!("{}{path}", self.visitor.base),
        }
    }

    /// The job or task that an id, whole or its beginning, means.
    pub(crate) async fn find(&self, id: &str) -> Result<TaskId> {
        let id: IdPrefix = id.parse()?;
        Ok(self.homing().find(&id).await?)
    }

    /// The task that an id, whole or its beginning, means.
    pub(crate) async fn task(&self, id: &str) -> Result<TaskView> {
        Ok(self.homing().task(self.find(id).await?).await?)
    }

    /// As [`find`](Self::find), of a job.
    pub(crate) async fn find_job(&self, id: &str) -> Result<JobId> {
        let found = self.find(id).await?;
        if found.is_root() {
            return Ok(found.job);
        }
        Err(Refusal::usage(format!("`{id}` is a task below a job's root"))
            .hint("give the id of the job: what stands before the dot"))
    }

    /// What an action was done to, as the store keeps it: the id, where the text is one or its beginning; else the text,
    /// which is a queue, or an id of what is gone.
    pub(crate) async fn target(&self, text: Option<String>) -> Result<Option<String>> {
        let Some(id) = text.as_deref().and_then(|text| text.parse::<IdPrefix>().ok()) else {
            return Ok(text);
        };
        match self.homing().find(&id).await {
            Ok(found) => Ok(Some(found.to_string())),
            Err(FindError::Unknown { .. }) => Ok(text),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether they may do what a role may.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.visitor.role >= role && !self.site.options.read_only
    }

    /// Refuses those who may not.
    pub(crate) fn must(&self, role: Role) -> Result<()> {
        if self.may(role) {
            return Ok(());
        }
        let (user, own, needed) = (&self.visitor.user, self.visitor.role.name(), role.name());
        Err(Refusal::forbidden(format!("{user} is a {own}, and this is for an {needed}"))
            .hint("ask whoever runs this page for the role"))
    }
}

/// The path of the overview: `nest` knows none that ends in a slash.
pub(crate) fn home(base: &str) -> String {
    if base.is_empty() { "/".to_owned() } else { base.to_owned() }
}

impl FromRequestParts<Arc<Site>> for Cx {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self> {
        // The guard stands before every route; without it nobody is anybody.
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(|| Refusal::forbidden("nobody has asked"))?;
        Ok(Self::new(site, visitor))
    }
}

/// The pages, the API and the metrics of a store, to be served or nested under a path of an application.
///
/// Every request passes the guard: the host's name, who asks, and for what changes anything that it comes from a
/// page of this site. See `docs/guides/dashboard.md`.
pub fn router(homing: Homing, options: Options) -> Router {
    let site = Arc::new(Site::new(homing, options));
    let mut routes = Router::new()
        .merge(pages::routes())
        .merge(api::routes(site.options.read_only))
        .route("/metrics", get(metrics::show))
        .route("/login", get(guard::login::page).post(guard::login::enter))
        .route("/assets/{hash}/{name}", get(assets::serve));
    if !site.options.read_only {
        routes = routes.merge(pages::act::routes());
    }
    routes
        .route("/logout", axum::routing::post(guard::login::leave))
        .fallback(async || Refusal::nowhere())
        .method_not_allowed_fallback(async || {
            Refusal::new(
                axum::http::StatusCode::METHOD_NOT_ALLOWED,
                "usage",
                "this address is not for this method",
            )
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(Arc::clone(&site), guard::guard))
        .with_state(site)
}
