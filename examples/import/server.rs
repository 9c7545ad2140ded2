//! The feed: a small HTTP server over the data set, slow and flaky on purpose.
//!
//! `GET /pages/CURSOR?size=N` answers a page as JSON, `GET /summary` the number of rows and their
//! checksum. Whether the n-th request fails depends on the seed and on n alone, so that a run can be
//! repeated; and no page fails again and again in a program that is killed soon after each start.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};

use crate::feed::{FIRST, Page};
use crate::tasks::Report;

/// The data set; the first line names the columns, the rest is sorted by the first of them.
const DATA: &str = include_str!("data/airports.csv");

/// How the feed behaves.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Behaviour {
    /// How long the feed takes to answer, such as 30ms or 1s
    #[arg(long, value_name = "TIME", default_value = "30ms", value_parser = duration)]
    latency: Duration,
    /// The share of answers that are 503 or broken, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share)]
    fail_rate: f64,
    /// Chooses which answers fail
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    span.try_into().map_err(|_| "it must not be negative".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("it must be from 0 to 1".to_owned()) }
}

/// Starts the server on a free port of this machine; it runs as long as the program.
pub(crate) async fn start(behaviour: &Behaviour) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = Arc::new(Server { behaviour: behaviour.clone(), requests: AtomicU64::new(0) });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(Arc::clone(&server), stream));
        }
    });
    Ok(address)
}

async fn serve(server: Arc<Server>, stream: TcpStream) {
    let answer = |request: Request<Incoming>| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request.uri()).await) }
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    // A client that hangs up is none of the server's business.
    let _ = connection.await;
}

struct Server {
    behaviour: Behaviour,
    requests: AtomicU64,
}

/// What becomes of a request.
enum Fate {
    Answered,
    Unavailable,
    Truncated,
}

impl Server {
    async fn answer(&self, uri: &hyper::Uri) -> Response<Full<Bytes>> {
        let fate = self.fate();
        tokio::time::sleep(self.behaviour.latency).await;
        let answer = match uri.path().split_once("/pages/") {
            Some(("", cursor)) => page(cursor, uri.query()).and_then(|page| json(&page)),
            _ if uri.path() == "/summary" => json(&summary()),
            _ => None,
        };
        match (fate, answer) {
            (Fate::Unavailable, _) => response(StatusCode::SERVICE_UNAVAILABLE, String::new()),
            (_, None) => response(StatusCode::NOT_FOUND, String::new()),
            (Fate::Answered, Some(text)) => response(StatusCode::OK, text),
            (Fate::Truncated, Some(mut text)) => {
                text.truncate(text.floor_char_boundary(text.len() / 2));
                response(StatusCode::OK, text)
            }
        }
    }

    fn fate(&self) -> Fate {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let draw = Sha256::digest(format!("{} {request}", self.behaviour.seed));
        let number = u32::from_be_bytes([draw[0], draw[1], draw[2], draw[3]]);
        if f64::from(number) / (f64::from(u32::MAX) + 1.0) >= self.behaviour.fail_rate {
            Fate::Answered
        } else if draw[4] % 2 == 0 {
            Fate::Unavailable
        } else {
            Fate::Truncated
        }
    }
}

fn lines() -> impl Iterator<Item = &'static str> {
    DATA.lines().skip(1)
}

/// The page that begins at the row with a key.
fn page(cursor: &str, query: Option<&str>) -> Option<Page> {
    let size: usize = query?.strip_prefix("size=")?.parse().ok()?;
    let key = |line: &'static str| line.split(',').next().unwrap_or_default();
    let mut lines = lines().skip_while(|line| cursor != FIRST && key(line) < cursor);
    let row = |line: &'static str| {
        let fields: Vec<_> = line.split(',').map(str::to_owned).collect();
        fields.try_into().ok()
    };
    let rows: Vec<_> = lines.by_ref().take(size).filter_map(row).collect();
    let next = lines.next().map(|line| key(line).to_owned());
    Some(Page { cursor: cursor.to_owned(), next, rows })
}

fn summary() -> Report {
    Report::of(lines())
}

fn json(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
