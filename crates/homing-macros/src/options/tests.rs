//! Option parsing, case by case: what is read, and what each mistake is told.
//!
//! The spans of the messages are seen in `homing/tests/ui`; here only the words and the values.

use super::*;

fn read(text: &str) -> Options {
    parse(text.parse().unwrap()).unwrap()
}

fn refusals(text: &str) -> Vec<String> {
    parse(text.parse().unwrap()).unwrap_err().into_iter().map(|e| e.to_string()).collect()
}

#[test]
fn nothing_given_nothing_set() {
    assert_eq!(read(""), Options::default());
}

#[test]
fn every_option() {
    let seconds = |n| Some(Duration::from_secs(n));
    let options = read(
        r#"kind = "a.b:c-d_9", queue = "db", retries = 0, backoff = "1s..10m", timeout = "30s", soft_timeout = "20s",
           deadline = "1h", expires = "10m", priority = -3, max_attempts = 40,"#,
    );
    let expected = Options {
        kind: Some("a.b:c-d_9".into()),
        queue: Some("db".into()),
        priority: Some(-3),
        retries: Some(0),
        backoff: seconds(1).zip(seconds(600)),
        timeout: seconds(30),
        soft_timeout: seconds(20),
        deadline: seconds(3600),
        expires: seconds(600),
        max_attempts: Some(40),
    };
    assert_eq!(options, expected);
}

#[test]
fn the_ends_of_ranges() {
    assert_eq!(read("priority = -32768").priority, Some(i16::MIN));
    assert_eq!(read("priority = 32_767").priority, Some(i16::MAX));
    assert_eq!(read("retries = 4294967295").retries, Some(u32::MAX));
    for text in [
        "priority = 32768",
        "retries = -1",
        "retries = 4294967296",
        "max_attempts = 0",
        "retries = 999999999999999999999999999999999999999999",
    ] {
        assert!(refusals(text)[0].contains("takes an integer from"), "{text}");
    }
}

#[test]
fn wrong_literals() {
    assert_eq!(refusals("retries = \"5\""), ["`retries` takes an integer, as in `retries = 5`"]);
    assert_eq!(refusals("timeout = 30"), ["`timeout` takes a string, as in `timeout = \"30s\"`"]);
    assert_eq!(refusals("retries"), ["`retries` needs a value, as in `retries = 5`"]);
    assert!(refusals("timeout = \"30\"")[0].contains("\"1h 30m\""));
    assert!(refusals("timeout = \"0s\"")[0].contains("longer than zero"));
    assert!(refusals("backoff = \"10m..1s\"")[0].contains("\"1s..10m\""));
    assert!(refusals("queue = \"\"")[0].contains("empty"));
}

#[test]
fn kinds() {
    assert!(is_kind(&"k".repeat(200)));
    assert!(!is_kind(&"k".repeat(201)));
    assert!(!is_kind(""));
    assert!(!is_kind("größe"));
    assert_eq!(refusals("kind = \"a b\""), [format!("a kind is {KIND_FORM}")]);
}

#[test]
fn unknown_keys_name_the_nearest() {
    assert!(
        refusals("sla = 5")[0].starts_with("unknown option `sla` (the options are kind, queue")
    );
    assert!(refusals("retry = 5")[0].contains("did you mean `retries`"));
    assert!(refusals("retires = 5")[0].contains("did you mean `retries`"));
    assert!(refusals("max_attempt = 5")[0].contains("did you mean `max_attempts`"));
    assert!(refusals("time_out = \"5s\"")[0].contains("did you mean `timeout`"));
}

#[test]
fn options_of_a_call_are_sent_there() {
    let told = refusals("delay = \"5s\"");
    assert_eq!(told, ["`delay` belongs to one call, write `.delay(..)` after the call"]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = refusals("retries = 1, retries = 2, timeout = 3, priority = 99999");
    assert_eq!(told.len(), 3);
    assert_eq!(told[0], "`retries` is given twice, keep one of the two");
}

#[test]
fn distances() {
    assert_eq!(distance(b"", b"kind"), 4);
    assert_eq!(distance(b"kitten", b"sitting"), 3);
    assert_eq!(distance(b"queue", b"queue"), 0);
}
