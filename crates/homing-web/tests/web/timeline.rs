//! The timeline of a job: bounded, in words beside the bars, and each view has an address.

use axum::http::StatusCode;
use homing::TaskState;
use serde_json::json;

use crate::world::{Site, VIEWER, World};

async fn read(site: &Site, cookie: &str, path: &str) -> String {
    let said = site.get(path).cookie(cookie).send().await;
    assert_eq!(said.status, StatusCode::OK, "{path}: {}", said.body);
    said.body
}

/// The rows of the table, as their markup.
fn rows(body: &str) -> Vec<&str> {
    let table = body.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    table.split("<tr").skip(1).collect()
}

#[tokio::test]
async fn a_timeline_shows_what_ran_when() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.tree().await);
    let cookie = site.login("", VIEWER).await;
    let body = read(&site, &cookie, &format!("/jobs/{job}/timeline")).await;
    let shown = rows(&body);
    // The root, the set of thirty as one row, the child that stands alone.
    assert_eq!(shown.len(), 3, "{body}");
    let root = shown.iter().find(|row| row.contains("level-0")).unwrap();
    assert!(
        root.contains("class=\"running succeeded\"") && root.contains("class=\"parked\""),
        "{root}"
    );
    let set = shown.iter().find(|row| row.contains("leaf × 30")).unwrap();
    assert!(set.contains("29 succeeded, 1 failed") && set.contains("median "), "{set}");
    assert!(!set.contains("sampled"), "thirty are all read");
    // The set's link leads to its children, one by one, and to the next of them.
    let link =
        set.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let body = read(&site, &cookie, &link).await;
    assert_eq!(rows(&body).len(), 30);
    assert!(rows(&body)[3].contains("failed"));
    let body = read(&site, &cookie, &link.replace("from=0", "from=28")).await;
    assert_eq!(rows(&body).len(), 2);
    // What is over is not read again and again.
    assert!(!body.contains("data-redraw"));
}

#[tokio::test]
async fn a_timeline_of_a_wide_job_is_bounded() {
    let world = World::new().await;
    let site = world.site();
    let job = world.ended("tree", json!({ "leaves": 900 })).await;
    let cookie = site.login("", VIEWER).await;
    let body = read(&site, &cookie, &format!("/jobs/{job}/timeline")).await;
    let wide = rows(&body).into_iter().find(|row| row.contains("leaf × 900")).unwrap();
    assert!(wide.contains("sampled") && wide.contains("about "), "{wide}");
    assert!(body.len() < 60_000, "{} bytes", body.len());
}

#[tokio::test]
async fn a_timeline_is_live_while_it_grows_and_is_zoomed_by_its_address() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let cookie = site.login("", VIEWER).await;
    let path = format!("/jobs/{job}/timeline");
    let body = read(&site, &cookie, &path).await;
    assert!(body.contains("data-redraw=\"job\"") && body.contains("class=\"now\""), "{body}");
    assert_eq!(world.homing.task(job).await.unwrap().state, TaskState::Waiting);
    assert!(rows(&body)[0].contains("class=\"parked\""), "it waits for its signal");
    // A time that is over has no now, and is not live.
    let zoomed = format!("{path}?since=2020-01-01T00:00:00Z&until=2020-01-01T00:01:00Z");
    let body = read(&site, &cookie, &zoomed).await;
    assert!(!body.contains("data-redraw") && !body.contains("class=\"now\""));
    assert!(!rows(&body)[0].contains("<rect"), "nothing of it was then");
    assert!(body.contains(">00:00:15</text>"), "{body}");
    let other = world.tree().await;
    for (query, tells) in [
        ("since=soon", "`since` is `soon`"),
        ("since=2021-01-01T00:00:00Z&until=2020-01-01T00:00:00Z", "`since` is not before `until`"),
        (&*format!("task={other}"), "a task of another job"),
        ("wrong=1", "wrong"),
    ] {
        let said = site.get(&format!("{path}?{query}")).cookie(&cookie).send().await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(said.body.contains(tells), "{query}: {}", said.body);
    }
}
