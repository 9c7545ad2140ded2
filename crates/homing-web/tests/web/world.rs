//! A store in memory, a worker on it, jobs in every state, and a site that is asked without a network.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use homing::{FailurePolicy, Homing, JobId, JoinSet, TaskId, TaskState, log, task};
use homing_web::{Grant, Options};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const ADMIN: &str = "admin-token-0123456789abcdef";
pub(crate) const OPERATOR: &str = "operator-token-0123456789abcdef";
pub(crate) const VIEWER: &str = "viewer-token-0123456789abcdef";
/// What no page and no answer may tell.
pub(crate) const SECRET: &str = "hunter2-the-secret";
/// What no page may have in it as it is.
pub(crate) const HOSTILE: &str =
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{1b}[31m\u{202e}{{7*7}}";

#[task(kind = "leaf", retries = 0)]
async fn leaf(n: u64) -> homing::Result<u64> {
    log!("leaf {n} was here");
    if n == 3 { Err(homing::Error::msg(format!("leaf {n} broke"))) } else { Ok(n) }
}

#[task(kind = "tree", retries = 0)]
async fn tree(leaves: u64) -> homing::Result<u64> {
    let mut set = JoinSet::named("leaves").policy(FailurePolicy::Tolerate { failures: 10 });
    for n in 0..leaves {
        set.spawn(leaf(n)).await?;
    }
    homing::spawn(leaf(100)).await?.await?;
    Ok(set.join_all().await?.len() as u64)
}

/// Knows a secret, and tells it everywhere.
#[task(kind = "careless", retries = 0)]
async fn careless(password: String, page: u64) -> homing::Result<Value> {
    log!("connecting with password={password}");
    if page == 0 {
        return Err(homing::Error::msg(format!("login refused, token: \"{password}\"")));
    }
    Ok(serde_json::json!({ "page": page, "session": { "api_key": password } }))
}

#[task(kind = "gate", retries = 0)]
async fn gate(name: String) -> homing::Result<String> {
    log!("gate {name} waits");
    Ok(homing::signal::<String>("open").await?)
}

#[task(kind = "broken", retries = 0)]
async fn broken(why: String) -> homing::Result<()> {
    log!("{why}");
    Err(homing::Error::msg(why))
}

/// Remembers a secret and a page, and does otherwise after its first failure.
#[task(kind = "stray", retries = 1, backoff = "1ms")]
async fn stray(password: String) -> homing::Result<()> {
    let attempt = u64::from(homing::info()?.attempt);
    let session = serde_json::json!({ "page": 7, "api_key": password });
    homing::step("connect", async || Ok(session.clone())).await?;
    homing::step("look", async || Ok(HOSTILE.to_owned())).await?;
    homing::spawn(careless(password, attempt)).await?;
    homing::step("committed", async || Ok(())).await?;
    Err(homing::Error::msg("astray"))
}

/// A store, and a worker on it.
pub(crate) struct World {
    pub(crate) homing: Homing,
    worker: homing::Worker,
}

impl World {
    pub(crate) async fn new() -> Self {
        let homing = Homing::open("memory:").await.unwrap();
        let worker = homing.worker().register(leaf).register(tree).register(careless);
        let worker = worker.register(gate).register(broken).register(stray).name("night shift");
        let worker = worker.start().await.unwrap();
        Self { homing, worker }
    }

    /// The worker leaves: what it did is told.
    pub(crate) async fn rest(&self) {
        self.worker.shutdown(std::time::Duration::ZERO).await;
    }

    /// A site with three users.
    pub(crate) fn site(&self) -> Site {
        self.site_of(users())
    }

    pub(crate) fn site_of(&self, options: Options) -> Site {
        Site { app: homing_web::router(self.homing.clone(), options) }
    }

    pub(crate) async fn ended(&self, kind: &str, arguments: Value) -> JobId {
        let job = self.homing.submit_named(kind, &arguments).await.unwrap();
        job.ended().await.unwrap();
        job.id()
    }

    /// A job with ended and failed leaves.
    pub(crate) async fn tree(&self) -> JobId {
        self.ended("tree", serde_json::json!({ "leaves": 30 })).await
    }

    /// A job that waits for a signal.
    pub(crate) async fn gate(&self) -> JobId {
        let arguments = serde_json::json!({ "name": "north" });
        let job = self.homing.submit_named("gate", &arguments).title("the gate").await.unwrap();
        self.reaches(job.id(), TaskState::Waiting).await;
        job.id()
    }

    /// A job that has drifted from its record, behind two steps. It is looked at again and again: the store wakes nobody
    /// when a task stands still.
    pub(crate) async fn stray(&self) -> JobId {
        let arguments = serde_json::json!({ "password": SECRET });
        let job = self.homing.submit_named("stray", &arguments).await.unwrap();
        while self.homing.task(job.id()).await.unwrap().drift().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        job.id()
    }

    pub(crate) async fn failed(&self) -> JobId {
        self.ended("broken", serde_json::json!({ "why": "the table is locked" })).await
    }

    /// A job whose every text is an attack.
    pub(crate) async fn hostile(&self) -> JobId {
        let arguments = serde_json::json!({ "why": HOSTILE });
        let order = self.homing.submit_named("broken", &arguments);
        // The store takes no name that steers or turns; all else goes.
        let name = HOSTILE.replace(['\u{1b}', '\u{202e}'], "");
        let order = order.title(&name).key(&name).tags([&name]).queue("default");
        let job = order.await.unwrap();
        job.ended().await.unwrap();
        job.id()
    }

    pub(crate) async fn reaches(&self, id: impl Into<TaskId>, state: TaskState) {
        let id = id.into();
        while self.homing.task(id).await.unwrap().state != state {
            tokio::task::yield_now().await;
        }
    }

    /// The addresses of every page and answer that changes nothing.
    pub(crate) async fn addresses(&self, job: JobId) -> Vec<String> {
        let mut all: Vec<String> = ["/", "/jobs", "/queues", "/workers", "/kinds", "/about"]
            .map(str::to_owned)
            .into_iter()
            .chain(["/kinds/careless".to_owned(), "/metrics".to_owned()])
            .chain(["", "/log", "/failures"].map(|view| format!("/jobs/{job}{view}")))
            .chain([format!("/tasks/{job}")])
            .collect();
        let api = ["", "/log", "/failures"].map(|view| format!("/jobs/{job}{view}"));
        let tasks = ["", "/why", "/sets", "/children"].map(|view| format!("/tasks/{job}{view}"));
        let lists = ["/jobs", "/queues", "/workers", "/kinds"].map(str::to_owned);
        let api = api.into_iter().chain(tasks).chain(lists).map(|path| format!("/api/v1{path}"));
        all.extend(api);
        for set in self.homing.sets(job, None, 10).await.unwrap() {
            all.push(format!("/api/v1/tasks/{job}/window?set={}", set.key));
        }
        let worker = self.homing.workers().await.unwrap().remove(0).id;
        all.push(format!("/workers/{worker}"));
        all
    }
}

pub(crate) fn users() -> Options {
    let options = Options::new().token("ada", Grant::admin(), ADMIN).unwrap();
    let options = options.token("olga", Grant::operator(), OPERATOR).unwrap();
    options.token("vera", Grant::viewer(), VIEWER).unwrap()
}

/// A site that is asked.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) app: Router,
}

/// What it says.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a form's hidden field.
    pub(crate) fn field(&self, name: &str) -> String {
        let from = format!("name=\"{name}\" value=\"");
        let at = self.body.find(&from).unwrap_or_else(|| panic!("no {name}: {}", self.body));
        let rest = &self.body[at + from.len()..];
        rest[..rest.find('"').unwrap()].to_owned()
    }
}

/// A request that is put together.
pub(crate) struct Ask {
    site: Site,
    request: axum::http::request::Builder,
    body: Vec<u8>,
    peer: Option<SocketAddr>,
}

impl Site {
    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask {
        let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:7070");
        Ask { site: self.clone(), request, body: Vec::new(), peer: None }
    }

    pub(crate) fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Ask {
        self.ask(Method::POST, path)
    }

    /// As somebody with a token sees it.
    pub(crate) async fn seen(&self, token: &str, path: &str) -> Said {
        self.get(path).bearer(token).send().await
    }

    /// Signs in: the cookie.
    pub(crate) async fn login(&self, base: &str, token: &str) -> String {
        let said = self.post(&format!("{base}/login")).own().form(&[("token", token)]).send().await;
        assert_eq!(said.status, StatusCode::SEE_OTHER, "{said:?}");
        said.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if name == "host" {
            self.request.headers_mut().unwrap().remove("host");
        }
        if !value.is_empty() {
            self.request = self.request.header(name, value);
        }
        self
    }

    pub(crate) fn second_host(mut self, host: &str) -> Self {
        self.request = self.request.header("host", host);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn cookie(self, cookie: &str) -> Self {
        self.header("cookie", cookie)
    }

    /// As a browser sends what a page of the site's asks for.
    pub(crate) fn own(self) -> Self {
        self.header("sec-fetch-site", "same-origin").header("origin", "http://127.0.0.1:7070")
    }

    pub(crate) fn peer(mut self, address: &str) -> Self {
        self.peer = Some(SocketAddr::new(address.parse().unwrap(), 4711));
        self
    }

    pub(crate) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let encode = |text: &str| {
            text.bytes().fold(String::new(), |out, byte| out + &format!("%{byte:02x}"))
        };
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.body = fields.join("&").into_bytes();
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    pub(crate) fn json(mut self, value: &Value) -> Self {
        self.body = value.to_string().into_bytes();
        self.header("content-type", "application/json")
    }

    pub(crate) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    pub(crate) async fn response(self) -> axum::response::Response {
        let mut request = self.request.body(Body::from(self.body)).unwrap();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        self.site.app.oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(self) -> Said {
        let response = self.response().await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Said { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}
