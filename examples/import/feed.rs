//! The client of the feed: pages by cursor, and a summary to check against.
//!
//! Whatever goes wrong is an error, and it is the task's retries that deal with it.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::tasks::Report;

/// The cursor of the first page. Each page names the next.
pub(crate) const FIRST: &str = "first";

/// How many columns the feed has; `data/README.md` tells them.
pub(crate) const COLUMNS: usize = 9;

/// A row: the values of its columns, the first being its key.
pub(crate) type Row = [String; COLUMNS];

/// A page of the feed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) cursor: String,
    /// The cursor of the next page; none on the last.
    pub(crate) next: Option<String>,
    pub(crate) rows: Vec<Row>,
}

/// The feed at an address. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Feed {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The page at a cursor.
    pub(crate) async fn page(&self, cursor: &str, size: u16) -> homing::Result<Page> {
        self.get(&format!("/pages/{cursor}?size={size}")).await
    }

    /// How many rows there are in all, and their checksum.
    pub(crate) async fn summary(&self) -> homing::Result<Report> {
        self.get("/summary").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> homing::Result<T> {
        let uri = format!("http://{}{path}", self.address).parse()?;
        let response = self.client.get(uri).await?;
        if !response.status().is_success() {
            return Err(homing::Error::msg(format!("the feed answers {}", response.status())));
        }
        let body = response.into_body().collect().await?.to_bytes();
        let broken = |error| homing::Error::msg(format!("the feed's answer is broken: {error}"));
        serde_json::from_slice(&body).map_err(broken)
    }
}
