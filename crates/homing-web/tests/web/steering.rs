//! Acts by forms: previewed, once, by those who have seen the preview.

use axum::http::StatusCode;
use homing::{Clock, Homing, ManualClock, Status};

use crate::world::{ADMIN, OPERATOR, Said, Site, World, users};

async fn preview(site: &Site, cookie: &str, path: &str) -> Said {
    let said = site.get(path).cookie(cookie).send().await;
    assert_eq!(said.status, StatusCode::OK, "{path}: {}", said.body);
    said
}

async fn confirm(site: &Site, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Said {
    site.post(path).own().cookie(cookie).form(fields).send().await
}

#[tokio::test]
async fn a_job_is_retried_once_by_its_preview() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.failed().await);
    let cookie = site.login("", OPERATOR).await;
    let path = format!("/jobs/{job}/retry");
    let seen = preview(&site, &cookie, &path).await;
    assert!(seen.body.contains("1 task runs again"), "{}", seen.body);
    let (csrf, token) = (seen.field("csrf"), seen.field("token"));
    let fields = [("csrf", &*csrf), ("token", &*token)];
    let said = confirm(&site, &cookie, &path, &fields).await;
    assert_eq!(said.status, StatusCode::SEE_OTHER, "{}", said.body);
    let told = site.get(said.header("location")).cookie(&cookie).send().await;
    assert!(told.body.contains("Retried: 1 task runs again."));
    let job = world.homing.job::<()>(job);
    job.ended().await.unwrap();
    let attempts = world.homing.failed_attempts(job.id(), 10).await.unwrap().len();
    assert_eq!(attempts, 2);
    // Sent once more, it says the same, and nothing is done again.
    let again = confirm(&site, &cookie, &path, &fields).await;
    assert_eq!(again.header("location"), said.header("location"));
    job.ended().await.unwrap();
    assert_eq!(world.homing.failed_attempts(job.id(), 10).await.unwrap().len(), attempts);
    // It is of one act, of one target, of one user.
    for (path, cookie) in [
        (format!("/jobs/{}/retry", world.failed().await), cookie.clone()),
        (format!("/tasks/{}/cancel", world.gate().await), cookie.clone()),
    ] {
        assert_eq!(
            confirm(&site, &cookie, &path, &fields).await.status,
            StatusCode::CONFLICT,
            "{path}"
        );
    }
    let other = site.login("", ADMIN).await;
    let csrf = preview(&site, &other, &path).await.field("csrf");
    let fields = [("csrf", &*csrf), ("token", &*token)];
    assert_eq!(confirm(&site, &other, &path, &fields).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_preview_grows_old() {
    let clock = ManualClock::default();
    let homing = Homing::open_with("memory:", Clock::Manual(clock.clone())).await.unwrap();
    let site = Site { app: homing_web::router(homing.clone(), users()) };
    let cookie = site.login("", OPERATOR).await;
    let path = "/queues/slow/pause";
    let seen = preview(&site, &cookie, path).await;
    let fields =
        [("csrf", &*seen.field("csrf")), ("token", &*seen.field("token")), ("confirm", "slow")];
    clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(confirm(&site, &cookie, path, &fields).await.status, StatusCode::CONFLICT);
    let seen = preview(&site, &cookie, path).await;
    let fields =
        [("csrf", &*seen.field("csrf")), ("token", &*seen.field("token")), ("confirm", "slow")];
    clock.advance(std::time::Duration::from_secs(299));
    // What is to be typed is typed.
    let typed = confirm(&site, &cookie, path, &[fields[0], fields[1], ("confirm", "other")]).await;
    assert_eq!(typed.status, StatusCode::BAD_REQUEST);
    assert!(homing.queues().await.unwrap().is_empty());
    assert_eq!(confirm(&site, &cookie, path, &fields).await.status, StatusCode::SEE_OTHER);
    assert!(homing.queues().await.unwrap()[0].paused);
    // Twelve hours later one signs in anew.
    clock.advance(std::time::Duration::from_hours(12));
    assert_eq!(site.get("/").cookie(&cookie).send().await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn tasks_are_cancelled_signalled_and_submitted() {
    let world = World::new().await;
    let site = world.site();
    let cookie = site.login("", ADMIN).await;
    let (first, second) = (world.gate().await, world.gate().await);
    let path = format!("/jobs/{first}/cancel");
    let seen = preview(&site, &cookie, &path).await;
    assert!(seen.body.contains("1 waiting"));
    let fields =
        [("csrf", &*seen.field("csrf")), ("token", &*seen.field("token")), ("reason", "too late")];
    assert_eq!(confirm(&site, &cookie, &path, &fields).await.status, StatusCode::SEE_OTHER);
    let failure = world.homing.job::<()>(first).view().await.unwrap().failure.unwrap();
    assert_eq!(failure.message, "ada (web) cancelled it: too late");
    let path = format!("/tasks/{second}/signal");
    let seen = preview(&site, &cookie, &path).await;
    assert!(seen.body.contains("value=\"open\""), "{}", seen.body);
    let (csrf, token) = (seen.field("csrf"), seen.field("token"));
    let wrong = [("csrf", &*csrf), ("token", &*token), ("name", "open"), ("value", "no json")];
    assert_eq!(confirm(&site, &cookie, &path, &wrong).await.status, StatusCode::BAD_REQUEST);
    let misfit = [("csrf", &*csrf), ("token", &*token), ("name", "open"), ("value", "7")];
    assert_eq!(confirm(&site, &cookie, &path, &misfit).await.status, StatusCode::BAD_REQUEST);
    let right = [("csrf", &*csrf), ("token", &*token), ("name", "open"), ("value", "\"now\"")];
    assert_eq!(confirm(&site, &cookie, &path, &right).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.homing.job::<String>(second).outcome().await.unwrap(), "now");
    // A form that is sent twice is one job.
    let seen = preview(&site, &cookie, "/submit?kind=leaf").await;
    assert!(seen.body.contains("&quot;n&quot;: 0"), "{}", seen.body);
    let (csrf, id) = (seen.field("csrf"), seen.field("id"));
    let wrong = [
        ("csrf", &*csrf),
        ("id", &*id),
        ("kind", "leaf"),
        ("arguments", "{\"n\": \"x\"}"),
        ("title", "kept"),
    ];
    let said = confirm(&site, &cookie, "/submit", &wrong).await;
    assert!(said.status == StatusCode::BAD_REQUEST && said.body.contains("value=\"kept\""));
    let right = [("csrf", &*csrf), ("id", &*id), ("kind", "leaf"), ("arguments", "{\"n\": 9}")];
    for _ in 0..2 {
        let said = confirm(&site, &cookie, "/submit", &right).await;
        assert_eq!(said.header("location"), format!("/jobs/{id}"));
    }
    assert_eq!(world.homing.job::<u64>(id.parse().unwrap()).outcome().await.unwrap(), 9);
    let path = format!("/jobs/{id}/remove");
    let seen = preview(&site, &cookie, &path).await;
    let fields = [("csrf", &*seen.field("csrf")), ("token", &*seen.field("token"))];
    assert_eq!(confirm(&site, &cookie, &path, &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(
        site.get(&format!("/jobs/{id}")).cookie(&cookie).send().await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(world.homing.job::<()>(first).status().await.unwrap(), Status::Cancelled);
}
