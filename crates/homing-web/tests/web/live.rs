//! Streams: what they send, where they go on, what they cost.

use axum::http::StatusCode;
use homing::JobId;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::world::{Site, VIEWER, World};

/// An event of a stream.
#[derive(Debug, Clone, Default)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

/// A stream that is open.
struct Stream {
    body: axum::body::Body,
    text: String,
}

impl Stream {
    async fn open(site: &Site, path: &str, last: &str) -> Self {
        let response = site.get(path).bearer(VIEWER).header("last-event-id", last).response().await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event; none once the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let mut read = Event::default();
                for line in event.lines() {
                    match line.split_once(": ") {
                        Some(("event", name)) => name.clone_into(&mut read.name),
                        Some(("id", id)) => id.clone_into(&mut read.id),
                        Some(("data", data)) => read.data = serde_json::from_str(data).unwrap(),
                        _ => {}
                    }
                }
                let rest = rest.to_owned();
                self.text = rest;
                return Some(read);
            }
            let frame = self.body.frame().await?.unwrap();
            self.text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
    }

    async fn rest(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

async fn open_gate(world: &World, job: JobId) {
    world.homing.signal(job, "open", "now").await.unwrap();
}

#[tokio::test]
async fn a_job_is_told_whenever_it_changes() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let path = format!("/api/v1/jobs/{job}/events");
    let mut stream = Stream::open(&site, &path, "").await;
    let first = stream.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.data["status"].as_str()), ("job", Some("in-progress")));
    // One that has seen this is not told again, but of the next.
    let mut resumed = Stream::open(&site, &path, &first.id).await;
    open_gate(&world, job).await;
    let last = loop {
        let event = resumed.next().await.unwrap();
        assert_ne!(event.id, first.id);
        if event.data["status"] == "completed" {
            break event;
        }
    };
    assert_eq!(last.data["counts"]["succeeded"], 1);
    let names: Vec<String> = stream.rest().await.into_iter().map(|event| event.name).collect();
    assert_eq!(names.last().map(String::as_str), Some("end"));
    assert_eq!(resumed.rest().await.last().map(|event| event.name.clone()), Some("end".to_owned()));
}

#[tokio::test]
async fn a_log_goes_on_where_it_was() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.tree().await);
    let path = format!("/api/v1/jobs/{job}/log/events");
    let numbers = |events: &[Event]| -> Vec<u64> {
        let lines = events.iter().filter(|event| event.name == "lines");
        lines
            .flat_map(|event| event.data["items"].as_array().unwrap())
            .map(|line| line["number"].as_u64().unwrap())
            .collect()
    };
    let whole = Stream::open(&site, &path, "").await.rest().await;
    assert_eq!(numbers(&whole), (1..=32).collect::<Vec<_>>());
    assert_eq!(whole.last().unwrap().name, "end");
    let resumed = Stream::open(&site, &format!("{path}?after=3"), "20").await.rest().await;
    assert_eq!(numbers(&resumed), (21..=32).collect::<Vec<_>>());
    let wanted = Stream::open(&site, &format!("{path}?level=error"), "").await.rest().await;
    assert_eq!(numbers(&wanted).len(), 1);
}

/// Twenty viewers of a job cost what one does.
#[tokio::test]
async fn many_viewers_cost_one_read() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let path = format!("/api/v1/jobs/{job}/events");
    let looks = async |site: &Site| -> u64 {
        let page = site.seen(VIEWER, "/about").await.body;
        let after = page.split("so far</dt><dd>").nth(1).unwrap();
        after.split('<').next().unwrap().replace(',', "").parse().unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Stream::open(&site, &path, "").await);
    }
    for stream in &mut streams {
        stream.next().await.unwrap();
    }
    // As many as a quarter of a second is in the time that this took, and not twenty times as many.
    let taken = looks(&site).await;
    let began = tokio::time::Instant::now();
    open_gate(&world, job).await;
    for stream in streams {
        assert_eq!(stream.rest().await.last().unwrap().name, "end");
    }
    let most = began.elapsed().as_millis() as u64 / 250 + 2;
    let cost = looks(&site).await - taken;
    assert!(cost <= most, "{cost} looks, {most} at most");
}
