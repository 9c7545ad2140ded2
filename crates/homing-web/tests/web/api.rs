//! The API against its description, and what it says of mistakes.

use std::sync::LazyLock;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::world::{ADMIN, SECRET, VIEWER, World};

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../openapi.json")).unwrap());

/// Fails unless a value is what an operation answers with a status.
fn check(path: &str, method: &str, status: &str, value: &Value) {
    let media = &DOCUMENT["paths"][path][method]["responses"][status]["content"];
    let schema = &media["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path} {status} is not described");
    let mut schema = schema.clone();
    schema["components"] = DOCUMENT["components"].clone();
    if let Err(error) = jsonschema::validator_for(&schema).unwrap().validate(value) {
        panic!("{method} {path}: {error} at {}\n{value:#}", error.instance_path());
    }
}

/// Every address that is described answers, and every answer is as described.
#[tokio::test]
async fn answers_are_as_described() {
    let world = World::new().await;
    let site = world.site();
    let (tree, failed) = (world.tree().await, world.failed().await);
    world.homing.pause("slow").await.unwrap();
    let set = world.homing.sets(tree, None, 1).await.unwrap().remove(0).key.to_string();
    let print = world.homing.failures(homing::FailureFilter::default()).await.unwrap();
    let print = print[0].fingerprint.to_string();
    let mut asked = 0;
    for (path, methods) in DOCUMENT["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path.ends_with("/events") {
            continue;
        }
        for job in [tree, failed] {
            let filled = path.replace("{id}", &job.to_string());
            let mut address = format!("/api/v1{}", filled.replace("{fingerprint}", &print));
            if path.ends_with("/window") {
                address = format!("{address}?set={set}&from=2&limit=5");
            }
            let said = site.seen(VIEWER, &address).await;
            assert_eq!(said.status, StatusCode::OK, "{address}: {}", said.body);
            check(path, "get", "200", &said.json());
            // What is not described is refused.
            let wrong =
                format!("{address}{}nonsense=1", if address.contains('?') { '&' } else { '?' });
            let said = site.seen(VIEWER, &wrong).await;
            assert_eq!(said.status, StatusCode::BAD_REQUEST, "{wrong}: {}", said.body);
            asked += 1;
        }
    }
    assert_eq!(asked, 34);
    let said = site.seen(VIEWER, "/api/v1/openapi.json").await;
    assert_eq!(said.json(), *DOCUMENT);
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let world = World::new().await;
    let (site, tree) = (world.site(), world.tree().await);
    for n in 0..7 {
        world.ended("leaf", json!({ "n": n })).await;
    }
    for (path, total) in [
        ("/api/v1/jobs".to_owned(), 8),
        ("/api/v1/jobs?q=kind:leaf".to_owned(), 7),
        ("/api/v1/jobs?q=kind:leaf%20status:failed".to_owned(), 1),
        (format!("/api/v1/tasks/{tree}/children"), 31),
        (format!("/api/v1/jobs/{tree}/log"), 32),
        (format!("/api/v1/jobs/{tree}/log?level=error"), 1),
        (format!("/api/v1/jobs/{tree}/log?search=LEAF%207"), 1),
    ] {
        let (mut seen, mut next) = (Vec::new(), None::<String>);
        loop {
            let with = if path.contains('?') { '&' } else { '?' };
            let after = next.map(|next| format!("&after={next}")).unwrap_or_default();
            let page = site.seen(VIEWER, &format!("{path}{with}limit=4{after}")).await.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 4);
            seen.extend(items.iter().map(ToString::to_string));
            next = page["next"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), total, "{path}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), total, "{path}");
    }
}

/// A record is read page by page, with times; a drift is data; secrets in either are masked.
#[tokio::test]
async fn records_are_read() {
    let world = World::new().await;
    let (site, stray) = (world.site(), world.stray().await);
    let address = format!("/api/v1/tasks/{stray}/record");
    let page = site.seen(VIEWER, &format!("{address}?limit=2")).await.json();
    check("/tasks/{id}/record", "get", "200", &page);
    let places = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|entry| entry["place"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(places(&page), ["step:connect#1", "step:look#1"]);
    assert_eq!(page["items"][0]["value"], json!({ "page": 7, "api_key": "‹masked›" }));
    assert!(page["items"][0]["time"].is_string());
    let next = page["next"].as_str().unwrap();
    let page = site.seen(VIEWER, &format!("{address}?after={next}&limit=2")).await.json();
    assert_eq!((places(&page), &page["next"]), (vec!["step:committed#1".to_owned()], &Value::Null));
    let task = site.seen(VIEWER, &format!("/api/v1/tasks/{stray}")).await;
    check("/tasks/{id}", "get", "200", &task.json());
    let drift = &task.json()["drift"];
    assert_eq!(drift["place"], "spawn:careless[0]");
    assert_eq!(drift["got"], r#"careless({"page":2,"password":"‹masked›"})"#);
    let unknown = "/api/v1/tasks/0123abcd-0000-7000-8000-000000000000/record";
    assert_eq!(site.seen(VIEWER, unknown).await.status, StatusCode::NOT_FOUND);
    for path in [format!("/tasks/{stray}/record"), format!("/tasks/{stray}")] {
        let page = site.seen(VIEWER, &path).await.body;
        let differs = r#"<td data-name="Field"><code>page</code></td><td data-name="Expected"><code>1</code></td><td data-name="Got"><code>2</code></td>"#;
        assert!(page.contains(differs), "{page}");
        assert!(!page.contains(SECRET) && !page.contains("<script>alert"), "{page}");
    }
    let page = site.seen(VIEWER, &format!("/tasks/{stray}/record?after=2")).await.body;
    assert!(page.contains("step:committed#1") && !page.contains("step:look#1"), "{page}");
    let blind = homing_web::Grant::viewer().without_payloads();
    let options = homing_web::Options::new().token("bo", blind, "blind-token-0123456789abcdef");
    let site = world.site_of(options.unwrap());
    let page =
        site.seen("blind-token-0123456789abcdef", &format!("/tasks/{stray}/record")).await.body;
    // Not even which arguments there are.
    assert!(page.contains("‹masked›") && !page.contains("<code>page</code>"), "{page}");
    assert!(!page.contains("careless("), "{page}");
}

/// Failures are grouped over all jobs; a group leads to its tasks; secrets in either are masked.
#[tokio::test]
async fn failures_are_found_by_error() {
    let world = World::new().await;
    let site = world.site();
    for why in ["page 3 is odd", "page 417 is odd", "the table is locked"] {
        world.ended("broken", json!({ "why": why })).await;
    }
    world.ended("careless", json!({ "password": SECRET, "page": 0 })).await;
    let list = site.seen(VIEWER, "/api/v1/failures").await.json();
    check("/failures", "get", "200", &list);
    let counts = list["items"].as_array().unwrap().iter().map(|group| &group["count"]);
    assert_eq!(counts.collect::<Vec<_>>(), [1, 1, 2]);
    assert!(!list.to_string().contains(SECRET), "{list}");
    let few = site.seen(VIEWER, "/api/v1/failures?kind=broken&newer=1h&limit=1").await.json();
    assert_eq!(few["items"], json!([list["items"][1]]));
    let odd = list["items"][2]["fingerprint"].as_str().unwrap();
    let page = site.seen(VIEWER, &format!("/api/v1/failures/{odd}?limit=1")).await.json();
    check("/failures/{fingerprint}", "get", "200", &page);
    assert_eq!(page["items"][0]["failure"]["message"], "page 417 is odd");
    let next = page["next"].as_str().unwrap();
    let page =
        site.seen(VIEWER, &format!("/api/v1/failures/{odd}?limit=1&after={next}")).await.json();
    assert_eq!(page["items"][0]["failure"]["message"], "page 3 is odd");
    assert_eq!(page["next"], Value::Null);
    world.hostile().await;
    let page = site.seen(VIEWER, "/failures").await.body;
    assert!(page.contains(&format!("/failures/{odd}")) && page.contains("the table is locked"));
    assert!(!page.contains(SECRET) && !page.contains("<script>alert"), "{page}");
    let page = site.seen(VIEWER, &format!("/failures/{odd}")).await.body;
    assert!(page.contains("page 417 is odd") && page.contains("page 3 is odd"), "{page}");
}

#[tokio::test]
async fn mistakes_have_a_problem_and_a_hint() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let unknown = "0123abcd-0000-7000-8000-000000000000";
    for (path, status, word) in [
        ("/nowhere".to_owned(), 404, "unknown"),
        (format!("/jobs/{unknown}"), 404, "unknown"),
        (format!("/jobs/{unknown}/events"), 404, "unknown"),
        (format!("/jobs/{unknown}/log"), 404, "unknown"),
        (format!("/jobs/{unknown}/failures"), 404, "unknown"),
        (format!("/tasks/{unknown}/children"), 404, "unknown"),
        (format!("/tasks/{unknown}/sets"), 404, "unknown"),
        ("/jobs/ffff".to_owned(), 404, "unknown"),
        ("/jobs/xyz".to_owned(), 400, "usage"),
        ("/jobs?q=status:soon".to_owned(), 400, "usage"),
        ("/jobs?limit=0".to_owned(), 400, "usage"),
        ("/jobs?limit=many".to_owned(), 400, "usage"),
        ("/jobs?after=x".to_owned(), 400, "usage"),
        (format!("/jobs/{job}/log?level=loud"), 400, "usage"),
        ("/failures/xyz".to_owned(), 400, "usage"),
        ("/failures?newer=soon".to_owned(), 400, "usage"),
        (format!("/failures/{}?after=x", "0".repeat(32)), 400, "usage"),
        (format!("/tasks/{job}/window"), 400, "usage"),
        (format!("/tasks/{job}/window?set=x"), 400, "usage"),
    ] {
        let said = site.seen(VIEWER, &format!("/api/v1{path}")).await;
        assert_eq!(said.status.as_u16(), status, "{path}: {}", said.body);
        assert_eq!(said.header("content-type"), "application/problem+json");
        let problem = said.json();
        assert_eq!(problem["type"], format!("urn:homing:{word}"), "{path}");
        assert_eq!(problem["status"], status);
        let mut schema = DOCUMENT["components"]["schemas"]["problem"].clone();
        schema["components"] = DOCUMENT["components"].clone();
        assert!(jsonschema::is_valid(&schema, &problem));
    }
    let page = site.seen(VIEWER, "/jobs/ffff").await;
    assert!(page.status == StatusCode::NOT_FOUND && page.body.contains("<h1>404"));
    for path in ["/actions?before=x".to_owned(), format!("/tasks/{job}/record?after=x")] {
        let page = site.seen(VIEWER, &path).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(page.body.contains("<h1>400 Bad Request</h1>"), "{path}: {}", page.body);
        assert!(page.body.contains("invalid digit") && page.body.contains("Hint: "), "{path}");
    }
}

#[tokio::test]
async fn programs_steer() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let post =
        |path: &str, body: Value| site.post(&format!("/api/v1{path}")).bearer(ADMIN).json(&body);
    let order = json!({ "kind": "leaf", "arguments": { "n": 5 }, "title": "five", "tags": ["eu"] });
    let first = post("/jobs", order.clone()).header("idempotency-key", "order 7").send().await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    check("/jobs", "post", "201", &first.json());
    let again = post("/jobs", order).header("idempotency-key", "order 7").send().await;
    assert_eq!(first.json(), again.json());
    assert!(first.header("location").ends_with(first.json()["id"].as_str().unwrap()));
    let other = json!({ "kind": "leaf", "arguments": { "n": 6 } });
    let said = post("/jobs", other).header("idempotency-key", "order 7").send().await;
    assert_eq!(said.status, StatusCode::CONFLICT);
    for wrong in [
        json!({ "kind": "leaf" }),
        json!({ "kind": "leaf", "arguments": { "n": "seven" } }),
        json!({ "kind": "nothing-like-it" }),
        json!({ "kind": "leaf", "arguments": { "n": 1 }, "delay": "soon" }),
        json!({ "kind": "leaf", "arguments": { "n": 1 }, "colour": "red" }),
        json!([]),
    ] {
        let said = post("/jobs", wrong.clone()).send().await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{wrong}: {}", said.body);
    }
    let text = site.post("/api/v1/jobs").bearer(ADMIN).header("content-type", "text/plain");
    let said = text.body(b"{}".to_vec()).send().await;
    assert_eq!(said.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // A signal, and what comes of it.
    let said = post(&format!("/tasks/{job}/signal/open"), json!("now")).send().await;
    check("/tasks/{id}/signal/{name}", "post", "200", &said.json());
    assert_eq!(world.homing.job::<String>(job).outcome().await.unwrap(), "now");
    let said = post(&format!("/jobs/{job}/cancel"), json!({ "reason": "late" })).send().await;
    check("/jobs/{id}/cancel", "post", "200", &said.json());
    assert_eq!(said.json()["changed"], false);
    let said = post(&format!("/jobs/{job}/retry"), json!({})).send().await;
    assert_eq!((said.status, &said.json()["refused"]), (StatusCode::CONFLICT, &json!("succeeded")));
    check("/jobs/{id}/retry", "post", "409", &said.json());
    // A preview changes nothing.
    let failed = world.failed().await;
    let said = post(&format!("/jobs/{failed}/retry?preview=true"), json!({})).send().await;
    check("/jobs/{id}/retry", "post", "200", &said.json());
    assert_eq!((&said.json()["dry_run"], &said.json()["reopened"]), (&json!(true), &json!(1)));
    assert!(world.homing.job::<()>(failed).status().await.unwrap().is_ended());
    for (verb, changed) in
        [("pause", true), ("pause", false), ("unpause", true), ("unpause", false)]
    {
        let said = post(&format!("/queues/slow/{verb}"), json!({})).send().await;
        check(&format!("/queues/{{name}}/{verb}"), "post", "200", &said.json());
        assert_eq!(said.json()["changed"], changed);
    }
    let said = post(&format!("/jobs/{failed}/remove"), json!({})).send().await;
    check("/jobs/{id}/remove", "post", "200", &said.json());
    assert_eq!(
        site.seen(ADMIN, &format!("/api/v1/jobs/{failed}")).await.status,
        StatusCode::NOT_FOUND
    );
}

/// What workers did is listed minute by minute, by range and worker, page by page.
#[tokio::test]
async fn samples_are_read() {
    let world = World::new().await;
    let site = world.site();
    world.tree().await;
    world.rest().await;
    let list = site.seen(VIEWER, "/api/v1/samples").await.json();
    check("/samples", "get", "200", &list);
    let items = list["items"].as_array().unwrap();
    let of = |field: &str| -> u64 {
        let work = items.iter().flat_map(|item| item["work"].as_array().unwrap());
        work.filter(|work| work["kind"] == "leaf").map(|work| work[field].as_u64().unwrap()).sum()
    };
    assert_eq!((of("succeeded"), of("failed"), of("begun")), (30, 1, 31));
    assert_eq!(items[0]["name"], "night shift");
    let worker = items[0]["worker"].as_str().unwrap();
    let page = site.seen(VIEWER, &format!("/api/v1/samples?worker={worker}&limit=1")).await.json();
    assert_eq!(page["items"], json!([items[0]]));
    let next = page["next"].as_str().unwrap();
    let rest = site.seen(VIEWER, &format!("/api/v1/samples?after={next}")).await.json();
    assert_eq!(rest["items"].as_array().unwrap()[..], items[1..]);
    let none = site.seen(VIEWER, "/api/v1/samples?newer=0s").await.json();
    assert_eq!(none["items"], json!([]));
    for (query, tells) in
        [("newer=soon", "`newer` is `soon`"), ("worker=7", "no id"), ("after=x", "no cursor")]
    {
        let said = site.seen(VIEWER, &format!("/api/v1/samples?{query}")).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(said.body.contains(tells), "{}", said.body);
    }
}

/// What is done over the API, and by forms, is kept and listed, with who did it and what became of it.
#[tokio::test]
async fn actions_are_listed() {
    let world = World::new().await;
    let (site, job) = (world.site(), world.gate().await);
    let post =
        |path: &str, body: Value| site.post(&format!("/api/v1{path}")).bearer(ADMIN).json(&body);
    post("/queues/slow/pause", json!({})).send().await;
    post(&format!("/tasks/{job}/signal/open"), json!(7)).send().await;
    post(&format!("/jobs/{job}/retry?preview=true"), json!({})).send().await;
    post(&format!("/jobs/{job}/cancel"), json!({})).send().await;
    let list = site.seen(VIEWER, "/api/v1/actions").await.json();
    check("/actions", "get", "200", &list);
    let told = list["items"].as_array().unwrap().iter().map(|action| {
        let text = |field: &str| action[field].as_str().unwrap_or("?").to_owned();
        format!("{} {}: {}", text("who"), text("verb"), text("result"))
    });
    let told: Vec<String> = told.collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "ada (web) cancel: done");
    assert!(told[1].starts_with("ada (web) signal: refused: "), "{told:?}");
    assert_eq!(told[2], "ada (web) pause: done");
    let page = site.seen(VIEWER, "/api/v1/actions?limit=2").await.json();
    let next = page["next"].as_str().unwrap();
    let page = site.seen(VIEWER, &format!("/api/v1/actions?limit=2&after={next}")).await.json();
    assert_eq!((&page["items"][0]["target"], &page["next"]), (&json!("slow"), &Value::Null));
    let short = &job.to_string()[..35];
    let of = site.seen(VIEWER, &format!("/api/v1/actions?target={short}&limit=1")).await.json();
    assert_eq!(of["items"][0], list["items"][0]);
    let only = site.seen(VIEWER, &format!("/api/v1/actions?target={job}&who=nobody")).await.json();
    assert_eq!(only["items"], json!([]));
    for path in ["/actions".to_owned(), format!("/actions?target={short}")] {
        let page = site.seen(VIEWER, &path).await.body;
        assert!(page.contains(&format!("/jobs/{job}")) && page.contains("ada (web)"), "{page}");
    }
}

#[tokio::test]
async fn metrics_have_what_can_be_read() {
    let world = World::new().await;
    world.homing.pause("sl\"ow").await.unwrap();
    let said = world.site().seen(VIEWER, "/metrics").await;
    assert!(said.header("content-type").starts_with("text/plain; version=0.0.4"));
    let guide = include_str!("../../../../docs/guides/dashboard.md");
    let mut names = 0;
    for line in said.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap();
            assert!(guide.contains(&format!("`{name}`")), "the guide does not tell of {name}");
            names += 1;
        } else if !line.starts_with('#') {
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert_eq!(names, 12);
    let dashboard: Value =
        serde_json::from_str(include_str!("../../../../docs/grafana/homing.json")).unwrap();
    let mut asked = std::collections::BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let expression = panel["targets"][0]["expr"].as_str().unwrap();
        let words = expression.split(|part: char| !part.is_ascii_alphanumeric() && part != '_');
        asked.extend(words.filter(|word| word.starts_with("homing_")));
    }
    assert_eq!(asked.len(), 12, "each metric is drawn: {asked:?}");
    for name in asked {
        assert!(said.body.contains(&format!("# TYPE {name} ")), "the dashboard asks for {name}");
    }
    assert!(said.body.contains("homing_queue_paused{queue=\"sl\\\"ow\"} 1"), "{}", said.body);
    assert!(said.body.contains("name=\"night shift\"} 1"));
}
