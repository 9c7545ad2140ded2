//! Charts of what workers did: drawn, told in words, and in a table.

use std::time::Duration;

use axum::http::StatusCode;
use homing::{Clock, Homing, ManualClock, SampleFilter, task};

use crate::world::{Site, VIEWER, users};

#[task(retries = 0)]
async fn counted(page: u64) -> homing::Result<u64> {
    if page == 0 { Err(homing::Error::msg("page 0 cannot be parsed")) } else { Ok(page) }
}

async fn read(site: &Site, path: &str) -> String {
    let said = site.seen(VIEWER, path).await;
    assert_eq!(said.status, StatusCode::OK, "{path}: {}", said.body);
    said.body
}

#[tokio::test]
async fn what_workers_did_is_drawn_and_told() {
    let clock = ManualClock::default();
    let homing = Homing::open_with("memory:", Clock::Manual(clock.clone())).await.unwrap();
    let site = Site { app: homing_web::router(homing.clone(), users()) };
    for path in ["/", "/queues/default"] {
        let body = read(&site, path).await;
        assert!(
            body.contains("No worker has told of a minute") && !body.contains("<figure"),
            "{body}"
        );
    }
    let worker = homing.worker().name("the counter").concurrency(4).register(counted);
    let worker = worker.start().await.unwrap();
    for page in 0..=6 {
        homing.submit(counted(page)).await.unwrap().ended().await.unwrap();
    }
    // It tells of the minute with a heartbeat, once it is over; in steps, so that it keeps its lease.
    while homing.samples(SampleFilter::default()).await.unwrap().is_empty() {
        clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Another site: what one has seen it shows for a moment.
    let site = Site { app: homing_web::router(homing.clone(), users()) };
    for path in ["/".to_owned(), "/queues/default".to_owned(), format!("/workers/{}", worker.id())]
    {
        let body = read(&site, &path).await;
        assert!(body.contains("data-redraw=\"30\""), "{path}");
        assert!(body.contains("succeeded: last 6"), "{path}: {body}");
        assert!(body.contains("failed for good: last 1; tried again: last 0"), "{path}");
        assert!(body.contains("half of them: last ≤ "), "{path}");
        let cell = |name: &str, value: u64| format!("data-name=\"{name}\">{value}</td>");
        assert!(
            body.contains(&cell("Begun", 7)) && body.contains(&cell("Succeeded", 6)),
            "{path}: {body}"
        );
        // A queue has no slots of its own.
        assert_eq!(body.contains("there are: last 4"), path != "/queues/default", "{path}");
    }
    let other = read(&site, "/queues/other").await;
    assert!(
        other.contains("succeeded: last 0") && other.contains("half of them: last none"),
        "{other}"
    );
    // Of six hours, a point stands for five minutes: figures a minute are a fifth.
    let long = read(&site, "/?span=6h").await;
    assert!(long.contains("succeeded: last 1.2"), "{long}");
    let wrong = site.seen(VIEWER, "/?span=1y").await;
    assert!(
        wrong.status == StatusCode::BAD_REQUEST && wrong.body.contains("`span` is `1y`"),
        "{}",
        wrong.body
    );
}
