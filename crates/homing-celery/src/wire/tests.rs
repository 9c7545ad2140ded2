//! What real clients and workers of Celery have put on Redis, read and written again; and what is refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// Each line: what it is, its name, the text as it lay in Redis or came on a channel. Made by
/// `tests/python/capture.py`.
const CAPTURED: [(&str, &str); 3] = [
    ("5.4.0", include_str!("../../tests/fixtures/celery-5.4.0.jsonl")),
    ("5.6.2", include_str!("../../tests/fixtures/celery-5.6.2.jsonl")),
    ("5.7.0", include_str!("../../tests/fixtures/celery-5.7.0.jsonl")),
];

#[derive(serde::Deserialize)]
struct Captured {
    what: String,
    name: String,
    text: String,
}

fn captured(what: &str) -> Vec<(&'static str, Captured)> {
    let all = CAPTURED.into_iter().flat_map(|(version, lines)| {
        lines.lines().map(move |line| (version, serde_json::from_str::<Captured>(line).unwrap()))
    });
    all.filter(|(_, captured)| captured.what == what).collect()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A message in its envelope, as a client would send it.
fn envelope(headers: Value, body: &Value) -> Envelope {
    Envelope::around(body, headers, ("", "homing"), "tag")
}

fn refusal(headers: Value, body: &Value) -> Refused {
    envelope(headers, body).message().unwrap_err()
}

#[test]
fn envelopes_are_written_as_they_were_read() {
    let mut names = BTreeSet::new();
    for (version, Captured { name, text, .. }) in captured("message") {
        let envelope = Envelope::read(text.as_bytes()).unwrap();
        assert_eq!(value(&envelope.text()), value(&text), "{name} of {version}");
        names.insert(name);
    }
    assert!(names.len() >= 9, "{names:?}");
}

#[test]
fn messages_are_written_as_they_were_read() {
    let mut taken = 0;
    for (version, Captured { name, text, .. }) in captured("message") {
        let envelope = Envelope::read(text.as_bytes()).unwrap();
        let Ok(message) = envelope.message() else {
            assert!(["pickle", "compressed"].contains(&name.as_str()), "{name} of {version}");
            continue;
        };
        taken += 1;
        let kept = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&kept).unwrap(), message, "as a job keeps it");
        assert_eq!(message.header_values(), envelope.headers, "{name} of {version}");
        let mut body: Value = serde_json::from_slice(&envelope.bytes().unwrap()).unwrap();
        for list in ["callbacks", "errbacks", "chain"] {
            // Celery writes an empty list or nothing, which is the same.
            if body[2][list] == json!([]) {
                body[2][list] = Value::Null;
            }
        }
        assert_eq!(message.body(), body, "{name} of {version}");
    }
    assert!(taken >= 27, "{taken}");
}

#[test]
fn a_redelivered_message_is_the_same_value() {
    let (_, Captured { text, .. }) = captured("message").remove(0);
    let first = Envelope::read(text.as_bytes()).unwrap();
    let mut again = first.clone();
    again.properties.delivery_tag = json!("another");
    again.properties.delivery_info.others.insert("redelivered".to_owned(), json!(true));
    assert_ne!(first, again);
    assert_eq!(first.message(), again.message());
}

#[test]
fn results_are_written_as_they_were_read() {
    let mut states = BTreeSet::new();
    for (version, Captured { text, .. }) in captured("result") {
        let meta = Meta::read(text.as_bytes()).unwrap();
        assert_eq!(json!(meta), value(&text), "{version}");
        if meta.status == Status::Failure {
            let raised = Raised::of(&meta.result);
            assert_eq!(
                (raised.exc_type.as_str(), raised.message().as_str()),
                ("PageGone", "gone, 7")
            );
            assert_eq!(raised.repr(), "PageGone('gone', 7)");
        }
        states.insert(meta.status.name().to_owned());
    }
    assert_eq!(states, ["FAILURE", "REVOKED", "STARTED", "SUCCESS"].map(str::to_owned).into());
}

#[test]
fn a_result_that_cannot_be_read_names_the_setting() {
    let compressed = Meta::read(b"\0celery-compressed\0application/x-gzip\0...").unwrap_err();
    assert!(compressed.contains("`result_compression`"), "{compressed}");
    let pickled = Meta::read(b"\x80\x04K\x07.").unwrap_err();
    assert!(pickled.contains("`result_serializer = \"json\"`"), "{pickled}");
}

#[test]
fn commands_are_read() {
    let mut methods = BTreeSet::new();
    for (version, Captured { text, .. }) in captured("command") {
        let (command, _) = Command::read(text.as_bytes()).unwrap();
        match command.method.as_str() {
            "revoke" => assert_eq!(command.ids(), ["some-id"], "{version}"),
            "registered" => {
                assert!(command.is_for("homing@test") && !command.is_for("celery@test"));
            }
            "stats" => {
                assert!(command.is_for("homing@a") && !command.is_for("celery@a"), "{version}");
            }
            _ => assert!(command.is_for("anybody"), "{version} {}", command.method),
        }
        methods.insert(command.method);
    }
    for method in ["enable_events", "ping", "registered", "revoke", "stats"] {
        assert!(methods.contains(method), "{methods:?}");
    }
}

#[test]
fn our_revoke_is_a_command_and_our_answer_an_envelope() {
    let (command, clock) =
        Command::read(Command::revoke("id", true, 7).envelope().as_bytes()).unwrap();
    assert_eq!((command.ids(), clock), (vec!["id".to_owned()], 7));
    let asked = captured("command").into_iter().find_map(|(_, captured)| {
        let (command, _) = Command::read(captured.text.as_bytes()).unwrap();
        command.reply_to.is_some().then_some(command)
    });
    let asked = asked.unwrap();
    let answer = asked.reply("homing@test", json!({"ok": "pong"}), ("oid", 8));
    let answer = Envelope::read(answer.envelope().as_bytes()).unwrap();
    assert_eq!(answer.headers, json!({"ticket": asked.ticket, "clock": 8}));
    let body: Value = serde_json::from_slice(&answer.bytes().unwrap()).unwrap();
    assert_eq!(body, json!({"homing@test": {"ok": "pong"}}));
}

/// An event of ours has what those of a real worker have.
#[test]
fn events_have_the_fields_of_celerys_own() {
    let mut own = BTreeSet::new();
    for (_, Captured { name, text, .. }) in captured("event") {
        let envelope = Envelope::read(text.as_bytes()).unwrap();
        let body: Value = serde_json::from_slice(&envelope.bytes().unwrap()).unwrap();
        let events = body.as_array().cloned().unwrap_or_else(|| vec![body]);
        for event in events {
            for field in ["type", "hostname", "utcoffset", "pid", "clock", "timestamp"] {
                assert!(event.get(field).is_some(), "{name}: {field} of {event}");
                own.insert(field);
            }
        }
    }
    let event = Event::new("task-started", json!({"uuid": "id"}));
    let letter = Event::letter(vec![event.clone()], "homing@test", || (3, 1.5)).unwrap();
    assert_eq!(
        (letter.exchange.as_str(), letter.routing_key.as_str()),
        ("celeryev", "task.started")
    );
    let several = Event::letter(vec![event.clone(), event], "homing@test", || (3, 1.5)).unwrap();
    assert_eq!(
        (several.routing_key.as_str(), several.body.as_array().unwrap().len()),
        ("task.multi", 2)
    );
    let envelope = Envelope::read(letter.envelope().as_bytes()).unwrap();
    let body: Value = serde_json::from_slice(&envelope.bytes().unwrap()).unwrap();
    assert!(!own.is_empty() && own.iter().all(|field| body.get(field).is_some()), "{body}");
}

#[test]
fn what_is_not_taken_names_what_to_change() {
    let pickled = captured("message").into_iter().filter(|(_, one)| one.name == "pickle");
    for (_, Captured { text, .. }) in pickled {
        let refused = Envelope::read(text.as_bytes()).unwrap().message().unwrap_err();
        assert_eq!(refused.exception(), ("ContentDisallowed", "kombu.exceptions"));
        let text = refused.to_string();
        assert!(
            text.contains("`task_serializer = \"json\"`") && text.contains("runs code"),
            "{text}"
        );
    }
    let compressed = captured("message").into_iter().filter(|(_, one)| one.name == "compressed");
    for (_, Captured { text, .. }) in compressed {
        let refused = Envelope::read(text.as_bytes()).unwrap().message().unwrap_err();
        assert!(refused.to_string().contains("`task_compression`"), "{refused}");
    }
    let body = json!([[], {}, null]);
    let mut signed = envelope(json!({"task": "t", "id": "i"}), &body);
    signed.content_type = Some("application/data".to_owned());
    assert!(signed.message().unwrap_err().to_string().contains("`security_*`"));
    assert_eq!(refusal(json!({}), &body), Refused::Protocol1);
    assert!(Refused::Protocol1.to_string().contains("`task_protocol = 2`"));
}

#[test]
fn hostile_fields_are_refused_by_their_names() {
    let body = json!([[], {}, null]);
    let long = "x".repeat(300);
    for (headers, named) in [
        (json!({"task": "t", "id": ""}), "`id`"),
        (json!({"task": "t", "id": long}), "`id`"),
        (json!({"task": "t\n", "id": "i"}), "`task`"),
        (json!({"task": long, "id": "i"}), "`task`"),
        (json!({"task": ["t"], "id": "i"}), "a header"),
        (json!({"task": "t", "id": "i", "eta": "tomorrow"}), "`eta`"),
        (json!({"task": "t", "id": "i", "expires": "1.5"}), "`expires`"),
        (json!({"task": "t", "id": "i", "timelimit": [-1, null]}), "`timelimit`"),
        (json!({"task": "t", "id": "i", "timelimit": [1e300, null]}), "`timelimit`"),
        (json!({"task": "t", "id": "i", "retries": -1}), "a header"),
    ] {
        let text = refusal(headers, &body).to_string();
        assert!(text.contains(named), "{named}: {text}");
    }
    let headers = || json!({"task": "t", "id": "i"});
    for (body, named) in [
        (json!({"task": "t"}), "the body"),
        (json!([[], {}]), "the body"),
        (json!([{}, {}, {}]), "args"),
        (json!([[], [], {}]), "kwargs"),
        (json!([[], {}, 7]), "third part"),
        (json!([[], {}, {"chain": [7]}]), "chain"),
        (json!([[], {}, {"chord": "x"}]), "chord"),
    ] {
        let text = refusal(headers(), &body).to_string();
        assert!(text.contains(named), "{named}: {text}");
    }
    let mut deep = "[".repeat(100_000);
    deep.push_str(&"]".repeat(100_000));
    let mut nested = envelope(headers(), &Value::Null);
    nested.body = deep;
    nested.properties.body_encoding = None;
    assert!(nested.message().unwrap_err().to_string().contains("nested"), "no overflow");
    nested.body = "[NaN]".to_owned();
    assert!(nested.message().unwrap_err().to_string().contains("numbers that JSON has"));
    nested.properties.body_encoding = Some("base64".to_owned());
    nested.body = "%%%".to_owned();
    assert!(nested.message().unwrap_err().to_string().contains("base64"));
    nested.body = "A".repeat(3_000_000);
    assert!(nested.message().unwrap_err().to_string().contains("at most 1048576"));
    for text in ["", "7", "{}", "{\"body\":7}", "\u{fffd}"] {
        assert!(
            matches!(Envelope::read(text.as_bytes()), Err(Refused::NoEnvelope { .. })),
            "{text}"
        );
    }
}

#[test]
fn only_what_is_needed_is_needed() {
    let message = envelope(json!({"task": "t", "id": "i"}), &json!([[1], {}, null]));
    let message = message.message().unwrap();
    assert_eq!((message.args.len(), message.embed), (1, Embed::default()));
}

#[test]
fn instants_have_an_offset_or_are_utc() {
    let time = |text| read_iso(text).unwrap();
    assert_eq!(time("2026-01-31T12:00:00.5+01:00"), time("2026-01-31T11:00:00.500000"));
    assert_eq!(iso(time("2026-01-31T12:00:00.5+01:00")), "2026-01-31T11:00:00.500000+00:00");
    assert_eq!(time(&iso(time("2026-01-31T12:00:00Z"))), time("2026-01-31T12:00:00"));
    assert!(read_iso("soon").unwrap_err().contains("ISO 8601"));
}

#[test]
fn a_signature_knows_its_canvas() {
    let chord = captured("message").into_iter().find(|(_, one)| one.name == "chain into group");
    let message = Envelope::read(chord.unwrap().1.text.as_bytes()).unwrap().message().unwrap();
    assert_eq!(message.embed.chain[0].canvas(), Some("chord"));
    let plain: Signature = serde_json::from_value(json!({"task": "t"})).unwrap();
    assert_eq!(plain.canvas(), None);
    assert_eq!(plain.arguments(Some(&json!(1))), [json!(1)]);
    assert_eq!(Signature { immutable: true, ..plain }.arguments(Some(&json!(1))), [] as [Value; 0]);
}
