//! The site that the browser's tests visit: a store in memory, a worker, and jobs in every state, one of them
//! hostile and one of them wide. Prints one line of JSON, `{"url": …, "jobs": {…}}`, and serves until its input ends.
//!
//! The first argument is how many children the wide job has. `base` as the second nests the site under a path.

#![expect(clippy::expect_used, reason = "a panic is how a test fails")]

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use homing::{Clock, FailurePolicy, Homing, JobId, JoinSet, ManualClock, TaskState, log, task};
use homing_web::{Grant, Options};
use serde_json::{Value, json};

const ADMIN: &str = "browser-admin-0123456789abcdef";
const VIEWER: &str = "browser-viewer-0123456789abcdef";
const HOSTILE: &str = "<script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>\
    <svg onload=window.hacked=1>\u{1b}[31m\u{202e}{{7*7}}";

#[task(kind = "write_page", retries = 0)]
async fn write_page(page: u64) -> homing::Result<u64> {
    if page % 10 == 3 {
        return Err(homing::Error::msg(format!("page {page} cannot be parsed")));
    }
    Ok(page)
}

#[task(kind = "import", retries = 0)]
async fn import(pages: u64) -> homing::Result<u64> {
    log!("{pages} pages found");
    let tolerant = FailurePolicy::Tolerate { failures: u64::MAX };
    let mut set = JoinSet::named("pages").policy(tolerant);
    for page in 0..pages {
        set.spawn(write_page(page)).await?;
    }
    let mut written = 0;
    while let Some(page) = set.join_next().await {
        written += u64::from(page.is_ok());
    }
    log!(Warn, "{written} of {pages} pages are written");
    Ok(written)
}

#[task(kind = "nightly", retries = 0)]
async fn nightly(feed: String, pages: u64) -> homing::Result<u64> {
    log!("importing {feed}");
    let written = homing::spawn(import(pages)).await?.await?;
    let approved = homing::spawn(approval(written)).await?.await?;
    Ok(if approved { written } else { 0 })
}

#[task(kind = "approval")]
async fn approval(rows: u64) -> homing::Result<bool> {
    log!("{rows} rows wait for an approval");
    Ok(homing::signal::<bool>("approve").await?)
}

/// Its children come when they are asked for.
#[task(kind = "growing")]
async fn growing() -> homing::Result<u64> {
    let mut set = JoinSet::named("pages");
    let mut spawned = 0;
    loop {
        let more = homing::signal::<u64>("more").await?;
        if more == 0 {
            break;
        }
        for page in 0..more {
            log!("page {} is found", spawned + page);
            set.spawn(write_page((spawned + page) * 10)).await?;
        }
        spawned += more;
    }
    set.join_settled().await?;
    Ok(spawned)
}

#[task(kind = "login", retries = 0)]
async fn login(user: String, password: String) -> homing::Result<()> {
    log!("login of {user} with password={password}");
    Err(homing::Error::msg("the server refuses the login"))
}

#[task(kind = "hostile", retries = 0)]
async fn hostile(text: String, padding: String) -> homing::Result<Value> {
    for _ in 0..5 {
        log!("{text}");
    }
    homing::spawn(broken(text.clone())).await?.await.ok();
    Ok(json!({ "text": padding, text: 7, "large": 9_007_199_254_740_993_u64, "float": 1e308 }))
}

#[task(kind = "broken", retries = 0)]
async fn broken(text: String) -> homing::Result<()> {
    Err(homing::Error::msg(text))
}

/// Does otherwise when it is tried again, and stands still.
#[task(kind = "export", retries = 1, backoff = "1ms")]
async fn export(feed: String) -> homing::Result<()> {
    let attempt = u64::from(homing::info()?.attempt);
    homing::step("fetch", async || Ok(json!({ "feed": feed, "bytes": 48_213 }))).await?;
    homing::step("parse", async || Ok(vec!["airport".to_owned(); 40])).await?;
    homing::spawn(write_page(attempt)).await?;
    homing::step("publish", async || Ok(())).await?;
    Err(homing::Error::msg("the server of the reports is away"))
}

/// Forty minutes of work, which the charts show: the clock is turned by hand until then, in steps that cost no worker its
/// lease.
async fn history(homing: &Homing, clock: &ManualClock) {
    let step = Duration::from_secs(4);
    for at in 0..600_u64 {
        // A wave, with a hole in it.
        let pages =
            if (330..420).contains(&at) { 0 } else { 2 + (at / 40) % 5 + u64::from(at % 7 == 0) };
        for page in 0..pages {
            let page = json!({ "page": at + page });
            homing
                .submit_named("write_page", &page)
                .await
                .expect("it is submitted")
                .ended()
                .await
                .expect("it ends");
        }
        clock.advance(step);
        while homing
            .workers()
            .await
            .expect("they are read")
            .iter()
            .any(|worker| homing::Time::from(homing.now()).since(worker.heartbeat) > step * 2)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    homing.prune(Duration::ZERO).await.expect("they are removed");
}

/// From now on the clock goes by itself.
fn wind(clock: ManualClock) {
    let (start, began) = (clock.now(), tokio::time::Instant::now());
    tokio::spawn(async move {
        loop {
            clock.set(start.after(began.elapsed()));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

async fn ended(homing: &Homing, kind: &str, arguments: Value, title: &str) -> JobId {
    let submit = homing.submit_named(kind, &arguments);
    let job = submit.title(title).await.expect("it is submitted");
    job.ended().await.expect("it ends");
    job.id()
}

async fn jobs(homing: &Homing, wide: u64) -> Value {
    let name = HOSTILE.replace(['\u{1b}', '\u{202e}'], "");
    let padding = "<b>x</b>".repeat(100_000);
    let hostile = json!({ "text": HOSTILE, "padding": padding });
    let hostile = homing.submit_named("hostile", &hostile).title(&name).tags([&name]);
    let hostile = hostile.await.expect("it is submitted");
    hostile.ended().await.expect("it ends");
    let secret = json!({ "user": "ada", "password": "hunter2" });
    let failed = ended(homing, "login", secret, "login of ada").await;
    let wide = ended(homing, "import", json!({ "pages": wide }), "wide import").await;
    let parent = json!({ "feed": "airports.csv", "pages": 120 });
    let parent = homing.submit_named("nightly", &parent).title("nightly import of airports");
    let parent = parent.tags(["eu"]).await.expect("it is submitted").id();
    let growing = homing.submit_named("growing", &json!({})).title("a tree that grows");
    let growing = growing.await.expect("it is submitted").id();
    let waits = async |id: JobId| {
        loop {
            let why = homing.why(id).await.expect("it is known");
            let counts = homing.job::<()>(id).view().await.expect("it is known").counts;
            if why.task.state == TaskState::Waiting && counts.running + counts.pending == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let stray = homing
        .submit_named("export", &json!({ "feed": "airports.csv" }))
        .title("export of airports");
    let stray = stray.await.expect("it is submitted").id();
    while homing.task(stray).await.expect("it is known").drift().is_none() {
        tokio::task::yield_now().await;
    }
    waits(parent).await;
    waits(growing).await;
    homing.submit_named("nobody_knows", &json!({})).force().queue("slow").await.expect("submitted");
    let ada = homing.acting("ada (web)");
    ada.pause("paused").await.expect("it is paused");
    ada.job::<()>(growing).retry().await.expect_err("it is open");
    let failures = homing.failures(homing::FailureFilter::default()).await.expect("they are read");
    let print = failures.first().expect("some task has failed").fingerprint;
    json!({
        "print": print,
        "hostile": hostile.id(), "failed": failed, "wide": wide, "nightly": parent, "growing": growing,
        "stray": stray,
    })
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the tests read it")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let wide = arguments.next().and_then(|wide| wide.parse().ok()).unwrap_or(1000);
    let base = if arguments.next().as_deref() == Some("base") { "/x/homing" } else { "" };
    let clock = ManualClock::default();
    let homing = Homing::open_with("memory:", Clock::Manual(clock.clone())).await;
    let homing = homing.expect("a store in memory opens");
    let worker = homing.worker().name("night shift").concurrency(8);
    let worker = worker.register(write_page).register(import).register(nightly);
    let worker = worker.register(approval).register(growing).register(login);
    let worker = worker.register(hostile).register(broken).register(export);
    let worker = worker.start().await.expect("the worker starts");
    history(&homing, &clock).await;
    wind(clock);
    let jobs = jobs(&homing, wide).await;
    let options = Options::new().token("ada", Grant::admin(), ADMIN).expect("a token");
    let options = options.token("vera", Grant::viewer(), VIEWER).expect("a token");
    let options = options.name("homing").store("memory:");
    let site = homing_web::router(homing, options);
    let site = if base.is_empty() { site } else { axum::Router::new().nest(base, site) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let url = format!("http://{address}{base}");
    println!(
        "{}",
        json!({ "url": url, "admin": ADMIN, "viewer": VIEWER, "jobs": jobs, "worker": worker.id() })
    );
    let site = site.into_make_service_with_connect_info::<SocketAddr>();
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        served = async { axum::serve(listener, site).await } => served.expect("it serves"),
        _ = closed => {}
    }
    worker.shutdown(Duration::ZERO).await;
}
