//! The attacks.

use axum::http::{Method, StatusCode};
use homing_web::{Access, Grant, Options, Role};

use crate::world::{ADMIN, HOSTILE, OPERATOR, SECRET, VIEWER, World, users};

/// Pages that act, for a job that waits.
fn acts(job: homing::JobId) -> Vec<String> {
    let jobs = ["retry", "cancel", "remove"].map(|verb| format!("/jobs/{job}/{verb}"));
    let tasks = ["cancel", "signal"].map(|verb| format!("/tasks/{job}/{verb}"));
    let queues = ["pause", "unpause"].map(|verb| format!("/queues/default/{verb}"));
    jobs.into_iter().chain(tasks).chain(queues).chain(["/submit".to_owned()]).collect()
}

/// Addresses of the API that act.
fn steers(job: homing::JobId) -> Vec<String> {
    let jobs = ["retry", "cancel", "remove"].map(|verb| format!("/jobs/{job}/{verb}"));
    let rest = [format!("/tasks/{job}/cancel"), format!("/tasks/{job}/signal/open")];
    let queues = ["/queues/default/pause", "/queues/default/unpause", "/jobs"].map(str::to_owned);
    let all = jobs.into_iter().chain(rest).chain(queues);
    all.map(|path| format!("/api/v1{path}")).collect()
}

/// DNS rebinding: a page of somebody else's whose name points here.
#[tokio::test]
async fn foreign_names_are_refused() {
    let world = World::new().await;
    let site = world.site();
    for host in ["evil.org", "127.0.0.1.nip.io:7070", "localhost.evil.org", ""] {
        for path in ["/", "/api/v1/jobs", "/assets/x/style.css", "/login", "/metrics"] {
            let said = site.get(path).bearer(ADMIN).header("host", host).send().await;
            assert_eq!(said.status, StatusCode::MISDIRECTED_REQUEST, "{host} {path}");
        }
    }
    // Whichever of two the site took, something on the way may have taken the other.
    let doubled = site.get("/").bearer(ADMIN).second_host("localhost").send().await;
    assert_eq!(doubled.status, StatusCode::MISDIRECTED_REQUEST);
    let named = world.site_of(users().host("admin.example.com"));
    let said = named.get("/").bearer(ADMIN).header("host", "admin.example.com").send().await;
    assert_eq!(said.status, StatusCode::OK);
}

/// Other users of the machine, other containers: a loopback address is no login.
#[tokio::test]
async fn nobody_is_let_in_without_a_token() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    for path in world.addresses(job).await.into_iter().chain(acts(job)) {
        for token in [None, Some("wrong-token-0123456789"), Some("")] {
            let ask = site.get(&path);
            let ask = if let Some(token) = token { ask.bearer(token) } else { ask };
            let said = ask.send().await;
            assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(!said.body.contains("the gate"), "{path}");
        }
    }
    let said = site.get("/api/v1/jobs").send().await;
    assert_eq!(said.header("content-type"), "application/problem+json");
    assert_eq!(said.json()["type"], "urn:homing:login");
    assert!(said.json()["hint"].as_str().unwrap().contains("Bearer"));
    for path in steers(job) {
        let said = site.post(&path).own().header("x-homing", "1").send().await;
        assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    // With no door at all nobody comes in; metrics are open only where that is said.
    let closed = world.site_of(Options::new());
    assert_eq!(closed.get("/").bearer(ADMIN).send().await.status, StatusCode::UNAUTHORIZED);
    let open = world.site_of(users().metrics_open());
    assert_eq!(open.get("/metrics").send().await.status, StatusCode::OK);
    assert_eq!(open.get("/").send().await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_is_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let world = World::new().await;
    let site = world.site();
    let said =
        site.post("/login").own().form(&[("token", OPERATOR), ("to", "/queues")]).send().await;
    assert_eq!((said.status, said.header("location")), (StatusCode::SEE_OTHER, "/queues"));
    let cookie = said.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(OPERATOR));
    let cookie = site.login("", OPERATOR).await;
    assert!(site.get("/").cookie(&cookie).send().await.body.contains("olga"));
    // It is not to be made or mended by hand, nor does it help a wrong token.
    let (name, value) = cookie.split_once('=').unwrap();
    let later = value.split_once('.').map(|(_, mac)| format!("{name}=99999999999.{mac}")).unwrap();
    for wrong in [later.as_str(), &cookie[..cookie.len() - 2], &format!("{name}=")] {
        assert_eq!(site.get("/").cookie(wrong).send().await.status, StatusCode::UNAUTHORIZED);
    }
    let said = site.get("/").cookie(&cookie).bearer("wrong").send().await;
    assert_eq!(said.status, StatusCode::UNAUTHORIZED);
    // A login leads nowhere else, and nobody signs others in.
    let said =
        site.post("/login").own().form(&[("token", OPERATOR), ("to", "//evil.org")]).send().await;
    assert_eq!(said.header("location"), "/");
    for foreign in ["cross-site", "same-site", "none"] {
        let ask = site.post("/login").header("sec-fetch-site", foreign);
        let said = ask.form(&[("token", OPERATOR)]).send().await;
        assert_eq!(said.status, StatusCode::FORBIDDEN, "{foreign}");
        assert_eq!(said.header("set-cookie"), "");
    }
    let wrong = site.post("/login").own().form(&[("token", "guess-guess-guess")]).send().await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (StatusCode::UNAUTHORIZED, ""));
    let secure = world.site_of(users().https());
    let said = secure.post("/login").own().form(&[("token", OPERATOR)]).send().await;
    assert!(said.header("set-cookie").ends_with("; Secure"));
    // Signing out takes it away.
    let csrf = site.get("/").cookie(&cookie).send().await.field("csrf");
    let said = site.post("/logout").own().cookie(&cookie).form(&[("csrf", &csrf)]).send().await;
    assert!(said.header("set-cookie").contains("Max-Age=0"));
}

/// Forms of other sites, sent with somebody's cookie.
#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let (cookie, other) = (site.login("", ADMIN).await, site.login("", OPERATOR).await);
    let csrf = site.get("/").cookie(&cookie).send().await.field("csrf");
    let foreign = site.get("/").cookie(&other).send().await.field("csrf");
    assert_ne!(csrf, foreign);
    for path in acts(job).into_iter().chain(["/logout".to_owned()]) {
        let form = || site.post(&path).cookie(&cookie);
        for (ask, what) in [
            (form().header("sec-fetch-site", "cross-site"), "another site"),
            (form().header("sec-fetch-site", "same-site"), "another port or name"),
            (form().header("origin", "https://evil.org"), "another origin"),
            (form().header("origin", "null"), "no origin"),
            (form().header("origin", "http://127.0.0.1:7071"), "another port"),
            (form(), "nothing said"),
        ] {
            let said = ask.form(&[("csrf", &csrf)]).send().await;
            assert_eq!(said.status, StatusCode::FORBIDDEN, "{path}: {what}");
        }
        for wrong in ["", "0000", foreign.as_str()] {
            let said = form().own().form(&[("csrf", wrong)]).send().await;
            assert_eq!(said.status, StatusCode::FORBIDDEN, "{path}: {wrong}");
        }
        // With an origin of its own, where a browser does not say `Sec-Fetch-Site`, it gets further.
        let said =
            form().header("origin", "http://127.0.0.1:7070").form(&[("csrf", &csrf)]).send().await;
        assert_ne!(said.status, StatusCode::FORBIDDEN, "{path}");
    }
    for path in steers(job) {
        let ask = || site.post(&path).cookie(&cookie);
        for ask in [
            ask().own(),
            ask().header("x-homing", "1").header("sec-fetch-site", "cross-site"),
            ask().header("x-homing", "1").header("origin", "https://evil.org"),
        ] {
            assert_eq!(ask.send().await.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
    assert!(!world.homing.job::<()>(job).status().await.unwrap().is_ended());
    assert!(world.homing.queues().await.unwrap().iter().all(|queue| !queue.paused));
}

#[tokio::test]
async fn every_response_has_the_headers() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let css = site.seen(ADMIN, "/").await.body;
    let css = css.split("href=\"").find(|part| part.contains("style.css")).unwrap();
    let css = css.split('"').next().unwrap().to_owned();
    let mut responses = vec![site.get("/").header("host", "evil.org").send().await];
    responses.push(site.get("/").send().await);
    responses.push(site.post("/submit").send().await);
    for path in ["/nowhere", "/api/v1/nowhere", css.as_str(), "/jobs/ffffffff"] {
        responses.push(site.seen(ADMIN, path).await);
    }
    for path in world.addresses(job).await {
        responses.push(site.seen(ADMIN, &path).await);
    }
    for said in &responses {
        let policy = said.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "style-src 'self';",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(said.header(name), value);
        }
        assert!(said.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
    let css = site.get(&css).send().await;
    assert!(css.header("cache-control").contains("immutable"));
    assert_eq!(site.seen(ADMIN, "/").await.header("cache-control"), "no-store");
    let framed = world.site_of(users().frame_ancestor("https://intranet.example.com"));
    let policy = framed.seen(ADMIN, "/").await;
    assert!(
        policy
            .header("content-security-policy")
            .contains("frame-ancestors https://intranet.example.com;")
    );
}

/// A script of another site's asks first whether it may: it may not.
#[tokio::test]
async fn there_is_no_cors() {
    let world = World::new().await;
    let site = world.site();
    for path in ["/api/v1/jobs", "/", "/login"] {
        let ask =
            site.ask(Method::OPTIONS, path).bearer(ADMIN).header("origin", "https://evil.org");
        let said = ask.header("access-control-request-method", "POST").send().await;
        assert!(!said.status.is_success(), "{path}");
        assert!(said.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
}

#[tokio::test]
async fn a_read_only_site_has_no_routes_that_act() {
    let world = World::new().await;
    let job = world.gate().await;
    let site = world.site_of(users().read_only());
    for path in acts(job) {
        for ask in [site.get(&path), site.post(&path).own()] {
            assert_eq!(ask.bearer(ADMIN).send().await.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
    for path in steers(job) {
        let said = site.post(&path).bearer(ADMIN).json(&serde_json::json!({})).send().await;
        let absent = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        assert!(absent.contains(&said.status), "{path}");
    }
    let page = site.seen(ADMIN, &format!("/jobs/{job}")).await.body;
    assert!(page.contains("read-only") && !page.contains("Cancel…"));
}

#[tokio::test]
async fn roles_do_what_they_may() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    for path in acts(job).into_iter().filter(|path| path != "/submit") {
        let said = site.seen(VIEWER, &path).await;
        assert_eq!(said.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(site.seen(VIEWER, "/submit").await.status, StatusCode::FORBIDDEN);
    for path in steers(job) {
        let body = serde_json::json!({ "kind": "leaf", "arguments": { "n": 1 } });
        let body = if path.ends_with("/jobs") { body } else { serde_json::json!({}) };
        let said = site.post(&path).bearer(VIEWER).json(&body).send().await;
        assert_eq!(said.status, StatusCode::FORBIDDEN, "{path}");
    }
    let said = site.post(&format!("/api/v1/jobs/{job}/remove")).bearer(OPERATOR).send().await;
    assert_eq!(said.status, StatusCode::FORBIDDEN);
    assert!(!site.seen(VIEWER, &format!("/jobs/{job}")).await.body.contains("Cancel…"));
    assert!(site.seen(OPERATOR, &format!("/jobs/{job}")).await.body.contains("Cancel…"));
    assert!(!world.homing.job::<()>(job).status().await.unwrap().is_ended());
}

/// Secrets in arguments, values, logs and failures.
#[tokio::test]
async fn secrets_reach_nobody() {
    let world = World::new().await;
    let site = world.site();
    for page in [0, 7] {
        let arguments = serde_json::json!({ "password": SECRET, "page": page });
        let order = world.homing.submit_named("careless", &arguments);
        let job = order.title(format!("login with password={SECRET}")).await.unwrap();
        job.ended().await.unwrap();
        let mut addresses = world.addresses(job.id()).await;
        addresses.push(format!("/api/v1/jobs/{}/events", job.id()));
        addresses.push(format!("/api/v1/jobs/{}/log/events", job.id()));
        for path in addresses {
            let said = site.seen(ADMIN, &path).await;
            assert_eq!(said.status, StatusCode::OK, "{path}");
            assert!(!said.body.contains(SECRET), "{path}: {}", said.body);
        }
        let task = site.seen(ADMIN, &format!("/tasks/{}", job.id())).await.body;
        assert!(task.contains("‹masked›") && task.contains("page"));
    }
}

/// Those who may not see payloads, and a site that shows them to nobody.
#[tokio::test]
async fn payloads_are_hidden_whole() {
    let world = World::new().await;
    let hidden = "customer-4711-is-ill";
    let job = world.ended("broken", serde_json::json!({ "why": hidden })).await;
    let seer = users()
        .token("carl", Grant::viewer().without_payloads(), "carls-token-0123456789")
        .unwrap();
    for (site, token) in [
        (world.site_of(seer), "carls-token-0123456789"),
        (world.site_of(users().hide_payloads()), ADMIN),
    ] {
        let mut addresses = world.addresses(job).await;
        addresses.push(format!("/api/v1/jobs/{job}/events"));
        addresses.push(format!("/api/v1/jobs/{job}/log/events"));
        // What is found by searching tells of what is hidden.
        addresses.push(format!("/jobs/{job}/log?search=no-such-text"));
        for path in addresses {
            let said = site.seen(token, &path).await;
            assert_eq!(said.status, StatusCode::OK, "{path}");
            assert!(!said.body.contains(hidden), "{path}: {}", said.body);
        }
        let searched = |text: &str| format!("/api/v1/jobs/{job}/log?search={text}");
        let (with, without) =
            (site.seen(token, &searched(hidden)).await, site.seen(token, &searched("zzz")).await);
        assert_eq!(with.body, without.body);
    }
    let named = world.site_of(users().redact("why"));
    assert!(
        !named.seen(ADMIN, &format!("/tasks/{job}")).await.body.contains(&format!("\"{hidden}"))
    );
}

/// Markup, escapes, directions of text: in every field that a store has.
#[tokio::test]
async fn hostile_texts_are_shown_as_text() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.hostile().await);
    assert!(HOSTILE.contains('\u{202e}'));
    for path in world.addresses(job).await {
        let said = site.seen(ADMIN, &path).await;
        assert_eq!(said.status, StatusCode::OK, "{path}");
        for raw in ["\u{1b}", "\u{202e}"] {
            assert!(!said.body.contains(raw), "{path} has {raw:?} as it is");
        }
        if !path.starts_with("/api") {
            for raw in ["<script>alert", "<img src=x"] {
                assert!(!said.body.contains(raw), "{path}: {}", said.body);
            }
        }
    }
    let page = site.seen(ADMIN, &format!("/jobs/{job}")).await.body;
    assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("\\u{202e}"));
    // What an address brings along is text too.
    for path in
        ["/jobs?q=%3Cscript%3Ealert(1)%3C/script%3Estatus:x", "/nowhere%3Cscript%3Ealert(1)"]
    {
        assert!(!site.seen(ADMIN, path).await.body.contains("<script>alert"), "{path}");
    }
    let said = site.seen(ADMIN, &format!("/jobs/{job}?done=%3Cscript%3Ealert(1)")).await;
    assert!(
        !said.body.contains("alert(1)%3C") && !said.body.contains("role=\"status\">&lt;script")
    );
}

#[tokio::test]
async fn bodies_and_streams_are_bounded() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let large = vec![b' '; 1024 * 1024 + 1];
    let ask = site.post("/api/v1/jobs").bearer(ADMIN).header("content-type", "application/json");
    assert_eq!(ask.body(large.clone()).send().await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let cookie = site.login("", ADMIN).await;
    let form = "application/x-www-form-urlencoded";
    let ask = site.post("/submit").own().cookie(&cookie).header("content-type", form).body(large);
    assert_eq!(ask.send().await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut open = Vec::new();
    let path = format!("/api/v1/jobs/{job}/events");
    for _ in 0..200 {
        let response = site.get(&path).bearer(VIEWER).response().await;
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    let said = site.seen(VIEWER, &path).await;
    assert_eq!(
        (said.status, said.json()["type"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("urn:homing:busy"))
    );
    // One that is closed makes room.
    open.pop();
    assert_eq!(site.get(&path).bearer(VIEWER).response().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_header_is_trusted_from_the_proxy_only() {
    let world = World::new().await;
    let roles = [("ada".to_owned(), Grant::operator()), ("carl".to_owned(), Grant::viewer())];
    let from = ["10.0.0.0/8".parse().unwrap()];
    let site = world.site_of(Options::new().trust_header("X-Forwarded-User", from, roles).unwrap());
    let ask =
        |peer: &str, user: &str| site.get("/about").peer(peer).header("x-forwarded-user", user);
    let said = ask("10.1.2.3", "ada").send().await;
    assert!(said.body.contains("ada") && said.body.contains("operator"));
    for (peer, user) in [("192.0.2.1", "ada"), ("10.1.2.3", "mallory"), ("10.1.2.3", "")] {
        assert_eq!(ask(peer, user).send().await.status, StatusCode::UNAUTHORIZED, "{peer} {user}");
    }
    let doubled = ask("10.1.2.3", "carl").header("x-forwarded-user", "ada").send().await;
    assert_eq!(doubled.status, StatusCode::UNAUTHORIZED);
    let unknown = site.get("/about").header("x-forwarded-user", "ada").send().await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED, "nobody knows where it comes from");
}

struct ByPath;

impl Access for ByPath {
    fn of(&self, parts: &axum::http::request::Parts) -> Option<Grant> {
        let role = parts.headers.get("x-role")?.to_str().ok()?;
        role.parse::<Role>().ok().map(Grant::of)
    }
}

#[tokio::test]
async fn a_program_says_who_is_let_in() {
    let world = World::new().await;
    let site = world.site_of(Options::new().access(ByPath));
    assert_eq!(site.get("/").send().await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        site.get("/").header("x-role", "none").send().await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(site.get("/").header("x-role", "viewer").send().await.status, StatusCode::OK);
    assert_eq!(
        site.get("/submit").header("x-role", "viewer").send().await.status,
        StatusCode::FORBIDDEN
    );
    // Forms are bound to the user here too.
    let page = site.get("/submit?kind=leaf").header("x-role", "operator").send().await;
    let form = [("csrf", "x"), ("kind", "leaf"), ("arguments", "{\"n\":1}")];
    let said = site.post("/submit").header("x-role", "operator").own().form(&form).send().await;
    assert_eq!(said.status, StatusCode::FORBIDDEN);
    let form = [("csrf", &*page.field("csrf")), ("kind", "leaf"), ("arguments", "{\"n\":1}")];
    let said = site.post("/submit").header("x-role", "operator").own().form(&form).send().await;
    assert_eq!(said.status, StatusCode::SEE_OTHER, "{}", said.body);
    let everybody = world.site_of(Options::new().insecure_no_auth(Grant::viewer()));
    assert_eq!(everybody.get("/").send().await.status, StatusCode::OK);
    assert_eq!(everybody.get("/submit").send().await.status, StatusCode::FORBIDDEN);
}

/// Nested under a path every link, form and cookie has it.
#[tokio::test]
async fn a_nested_site_stays_below_its_path() {
    let world = World::new().await;
    let job = world.gate().await;
    let app = axum::Router::new().nest("/x/homing", world.site().app);
    let site = crate::world::Site { app };
    let said = site.post("/x/homing/login").own().form(&[("token", ADMIN)]).send().await;
    assert_eq!(said.header("location"), "/x/homing");
    assert!(said.header("set-cookie").contains("Path=/x/homing;"));
    let cookie = site.login("/x/homing", ADMIN).await;
    for path in ["", "/jobs", "/queues", &format!("/jobs/{job}"), &format!("/jobs/{job}/cancel")] {
        let said = site.get(&format!("/x/homing{path}")).cookie(&cookie).send().await;
        assert_eq!(said.status, StatusCode::OK, "{path}");
        for attribute in ["href=\"", "src=\"", "action=\""] {
            for link in said.body.split(attribute).skip(1) {
                let own = ["/x/homing/", "/x/homing\"", "#"];
                assert!(own.iter().any(|own| link.starts_with(own)), "{path}: {link:.60}");
            }
        }
    }
    let told = world.site_of(users().base("proxied/"));
    assert!(told.seen(ADMIN, "/").await.body.contains("href=\"/proxied/jobs\""));
}
