//! Writes `openapi.json` of the list of operations and `docs/cli.schema.json`, and holds the file to it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{ALL, Op};

/// What an operation says of itself: a summary, the parameters of its query, its body, what it answers.
struct Told {
    summary: &'static str,
    query: &'static [(&'static str, &'static str, &'static str)],
    body: Option<Value>,
    answer: Answer,
}

enum Answer {
    Of(&'static str),
    List(&'static str),
    Events(&'static str),
}

const AFTER: (&str, &str, &str) =
    ("after", "string", "Where to go on: the `next` of the page before.");
const LIMIT: (&str, &str, &str) =
    ("limit", "integer", "How many at most: 1 to 1000, 100 unless it is said.");
const PREVIEW: (&str, &str, &str) = ("preview", "boolean", "Only say what would be done.");
const LEVEL: (&str, &str, &str) =
    ("level", "string", "Only lines at least so important: debug, info, warn or error.");
const TASK: (&str, &str, &str) = ("task", "string", "Only lines of this task.");
const SEARCH: (&str, &str, &str) =
    ("search", "string", "Only lines that contain this, whatever its case.");
const BEHIND: (&str, &str, &str) = ("after", "integer", "Only lines behind this number.");

#[expect(clippy::too_many_lines, reason = "a table")]
fn told(op: Op) -> Told {
    use Answer::{Events, List, Of};
    let read = |summary, query, answer| Told { summary, query, body: None, answer };
    let done = |summary| read(summary, &[], Of("done"));
    match op {
        Op::Jobs => read(
            "Jobs, newest first.",
            &[
                (
                    "q",
                    "string",
                    "The query: words `status:…`, `kind:…`, `tag:…`, `queue:…`, `newer:…`, `older:…`; the rest is part of the title.",
                ),
                AFTER,
                LIMIT,
            ],
            List("job"),
        ),
        Op::Job => read("A job.", &[], Of("job")),
        Op::JobEvents => read(
            "A job whenever it changes: events `job`, `trouble` while the store is away, and `end`.",
            &[],
            Events("job"),
        ),
        Op::Log => {
            read("A page of a job's log.", &[BEHIND, LIMIT, LEVEL, TASK, SEARCH], List("line"))
        }
        Op::LogEvents => read(
            "Lines of a job's log as they come: events `lines` with `items`, `trouble`, and `end`. Goes on behind `Last-Event-ID`.",
            &[BEHIND, LEVEL, TASK, SEARCH],
            Events("line"),
        ),
        Op::Failures => read(
            "Failed attempts that the last 20,000 lines of a job's log tell of, those alike together.",
            &[],
            List("failures"),
        ),
        Op::FailureGroups => read(
            "Failed tasks over all jobs, those alike together, those that failed last first: 1000 groups at most.",
            &[
                ("kind", "string", "Only tasks of this kind."),
                ("newer", "string", "Only tasks that failed within this time, such as 2h."),
                LIMIT,
            ],
            List("failure-group"),
        ),
        Op::FailedAlike => read(
            "Failed tasks that are alike, the last to fail first.",
            &[AFTER, LIMIT],
            List("task"),
        ),
        Op::Task => read("A task.", &[], Of("task")),
        Op::Why => read(
            "Why a task is where it is, then the same of what it hangs on, 8 levels down at most.",
            &[],
            List("why"),
        ),
        Op::Record => read(
            "What a task remembers: steps, waits, signals, and when each was recorded.",
            &[("after", "integer", "Only entries behind this number."), LIMIT],
            List("entry"),
        ),
        Op::Sets => read("The sets of a task's children.", &[], List("set")),
        Op::Window => read(
            "Children of a set by their place in it, without arguments and values. As they were 250 ms ago at most.",
            &[
                ("set", "string", "The set: its `key`."),
                ("from", "integer", "The first, counted from 0."),
                LIMIT,
            ],
            List("row"),
        ),
        Op::Children => read("A task's children, set by set.", &[AFTER, LIMIT], List("task")),
        Op::Queues => read("Queues that hold pending tasks or are paused.", &[], List("queue")),
        Op::Workers => read("Workers that have not left.", &[], List("worker")),
        Op::Samples => read(
            "What workers did, minute by minute and worker by worker, the oldest first. Kept for 7 days.",
            &[
                (
                    "newer",
                    "string",
                    "Only minutes that began within this time, such as 2h. One hour unless it is said.",
                ),
                ("worker", "string", "Only those of this worker: its id."),
                AFTER,
                LIMIT,
            ],
            List("sample"),
        ),
        Op::Kinds => read("Kinds that workers have registered.", &[], List("kind")),
        Op::Actions => read(
            "What people have done to jobs and queues, newest first.",
            &[
                ("who", "string", "Only what somebody has done."),
                (
                    "target",
                    "string",
                    "Only what was done to this: the id of a job or task, or a queue.",
                ),
                ("after", "integer", "Where to go on: the `next` of the page before."),
                LIMIT,
            ],
            List("action"),
        ),
        Op::Submit => Told {
            body: Some(order()),
            ..read(
                "Submits a job by the name of its kind. With an id, in the body or as `Idempotency-Key`, the same again is the same job.",
                &[],
                Of("submitted"),
            )
        },
        Op::Retry => read("Retries a failed or cancelled job.", &[PREVIEW], Of("retried")),
        Op::Remove => done("Removes a job that has ended, with everything below it. For admins."),
        Op::CancelJob | Op::CancelTask => Told {
            body: Some(
                json!({ "type": "object", "additionalProperties": false, "properties": { "reason": { "type": "string", "description": "Why; it is kept with the task." } } }),
            ),
            ..done(if op == Op::CancelJob {
                "Cancels a job."
            } else {
                "Cancels a task, with everything below it."
            })
        },
        Op::Signal => Told {
            body: Some(json!({ "description": "The value: any JSON." })),
            ..done("Sends a value to a task that waits, or will wait, for it.")
        },
        Op::Pause => done("Stops claims from a queue; what runs runs on."),
        Op::Unpause => done("Resumes claims from a queue."),
    }
}

fn order() -> Value {
    json!({
        "type": "object",
        "required": ["kind"],
        "additionalProperties": false,
        "properties": {
            "kind": { "type": "string" },
            "arguments": { "type": "object", "description": "A field for each argument. Default: none." },
            "id": { "type": "string", "description": "A UUID, or any text, which stands for the id of that name. Default: a fresh one." },
            "title": { "type": "string" },
            "key": { "type": "string", "description": "Unique among open jobs: if one holds it, that one is answered." },
            "queue": { "type": "string" },
            "priority": { "type": "integer", "minimum": -32768, "maximum": 32767 },
            "tags": { "type": "array", "items": { "type": "string" } },
            "delay": { "type": "string", "description": "Starts no earlier: a duration such as 15m." },
            "force": { "type": "boolean", "description": "Though no worker has ever registered the kind; nothing is checked then." },
        },
    })
}

/// The objects that only the API has.
fn own() -> Map<String, Value> {
    let time = json!({ "anyOf": [{ "$ref": "#/components/schemas/time" }, { "type": "null" }] });
    let count = json!({ "type": "integer", "minimum": 0 });
    let object = |kind: &str, properties: Value| {
        let mut properties = properties.as_object().unwrap().clone();
        properties.insert("type".to_owned(), json!({ "const": kind }));
        let required: Vec<&String> = properties.keys().collect();
        json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
    };
    let text = json!({ "type": "string" });
    let id = json!({ "$ref": "#/components/schemas/taskId" });
    let pairs = [
        (
            "set",
            object(
                "set",
                json!({
                    "key": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
                    "own": count,
                    "children": object_of_counts(&count),
                }),
            ),
        ),
        (
            "row",
            object(
                "row",
                json!({
                    "number": count, "id": id, "kind": text, "state": { "$ref": "#/components/schemas/state" },
                    "attempt": count, "created": time, "started": time, "ended": time, "spawned": count,
                    "below": count, "trouble": { "type": ["string", "null"], "description": "What went wrong, cut." },
                }),
            ),
        ),
        (
            "failures",
            object(
                "failures",
                json!({
                    "count": count, "ended": { "type": "boolean", "description": "Whether tasks have ended by it." },
                    "first": time, "last": time, "task": id, "message": text,
                }),
            ),
        ),
        (
            "problem",
            json!({
                "type": "object",
                "required": ["type", "title", "status", "detail", "hint"],
                "properties": {
                    "type": { "type": "string", "description": "`urn:homing:` and a stable word: usage, unknown, no, store, host, login, forbidden, busy." },
                    "title": text, "status": { "type": "integer" }, "detail": text,
                    "hint": { "type": ["string", "null"], "description": "What to do." },
                },
            }),
        ),
    ];
    pairs.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn object_of_counts(count: &Value) -> Value {
    let names = ["spawned", "succeeded", "failed", "cancelled", "open"];
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), count.clone())).collect();
    json!({ "type": "object", "required": names, "additionalProperties": false, "properties": properties })
}

fn described(op: Op) -> Value {
    let told = told(op);
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let (status, content) = match told.answer {
        Answer::Of(name) => ("200", json!({ "application/json": { "schema": reference(name) } })),
        Answer::List(name) => (
            "200",
            json!({ "application/json": { "schema": {
            "type": "object", "required": ["items", "next"], "additionalProperties": false,
            "properties": { "items": { "type": "array", "items": reference(name) }, "next": { "type": ["string", "null"] } },
        } } }),
        ),
        Answer::Events(name) => {
            ("200", json!({ "text/event-stream": { "schema": reference(name) } }))
        }
    };
    let status = if op == Op::Submit { "201" } else { status };
    let in_path = op.path().split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let in_query = told.query.iter().map(|(name, kind, description)| {
        json!({ "name": name, "in": "query", "required": *name == "set", "description": description, "schema": { "type": kind } })
    });
    let mut described = json!({
        "operationId": format!("{op:?}"),
        "summary": told.summary,
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            status: { "description": "Done.", "content": content },
            "default": { "description": "Refused.", "content": { "application/problem+json": { "schema": reference("problem") } } },
        },
    });
    if op == Op::Retry {
        described["responses"]["409"] = json!({
            "description": "There is nothing to retry: `refused` says why.",
            "content": { "application/json": { "schema": reference("retried") } },
        });
    }
    if let Some(body) = told.body {
        described["requestBody"] = json!({ "content": { "application/json": { "schema": body } } });
    }
    described
}

fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.schema.json");
    let schema = std::fs::read_to_string(path).unwrap();
    let schema = schema.replace("#/$defs/", "#/components/schemas/");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut schemas = schema["$defs"].as_object().unwrap().clone();
    // Those of a stored value: a site that masks shows a text in its place.
    schemas.extend(own());
    let mut paths = Map::new();
    for op in ALL {
        let method = if op.changes() { "post" } else { "get" };
        paths.entry(op.path()).or_insert_with(|| json!({}))[method] = described(op);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "homing",
            "version": "1",
            "description": "Durable background jobs: list, watch, submit, signal, retry, cancel. The objects are those of the `homing` command's `--json`. Fields are only added within this version; unknown parameters are refused. Requests that change anything have a token (`Authorization: Bearer`), or the header `X-Homing: 1` beside a session.",
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// `HOMING_WRITE_OPENAPI=1 cargo test -p homing-web openapi` writes the file.
#[test]
fn the_description_is_that_of_the_routes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let mut text = serde_json::to_string_pretty(&document()).unwrap();
    text.push('\n');
    if std::env::var_os("HOMING_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == text,
        "openapi.json is not what the routes are: write it with HOMING_WRITE_OPENAPI=1, and look at what differs"
    );
}

/// Every operation is in the list, once.
#[test]
fn operations_are_listed_once() {
    let mut names: Vec<String> =
        ALL.iter().map(|op| format!("{} {}", op.changes(), op.path())).collect();
    names.sort_unstable();
    let listed = names.len();
    names.dedup();
    assert_eq!(names.len(), listed);
}
