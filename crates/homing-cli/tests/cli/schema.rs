//! The schema that every JSON output is held to.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex};

use serde_json::Value;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../docs/cli.schema.json")).unwrap()
});
static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&SCHEMA).unwrap());
static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Fails unless a line is an object of the schema.
pub(crate) fn check(line: &Value) {
    let kind = line["type"].as_str().unwrap_or("?");
    // Against its own part first: what a union says of a misfit helps nobody.
    let mut own = SCHEMA.clone();
    own.as_object_mut().unwrap().remove("oneOf");
    own["$ref"] = format!("#/$defs/{kind}").into();
    if let Err(error) = jsonschema::validator_for(&own).unwrap().validate(line) {
        panic!("{error} at {}\n{line:#}", error.instance_path());
    }
    assert!(VALIDATOR.is_valid(line), "{line:#}");
    SEEN.lock().unwrap().insert(kind.to_owned());
}

/// Types that have been checked in this process so far.
pub(crate) fn seen() -> BTreeSet<String> {
    SEEN.lock().unwrap().clone()
}

/// Types that the schema knows.
pub(crate) fn known() -> BTreeSet<String> {
    let types = SCHEMA["oneOf"].as_array().unwrap().iter();
    types.map(|part| part["$ref"].as_str().unwrap().replace("#/$defs/", "")).collect()
}

#[test]
fn what_is_not_in_the_schema_is_refused() {
    let valid = serde_json::json!({"type": "pruned", "jobs": 3});
    check(&valid);
    for wrong in [
        serde_json::json!({"type": "pruned"}),
        serde_json::json!({"type": "pruned", "jobs": -1}),
        serde_json::json!({"type": "pruned", "jobs": 1, "more": true}),
        serde_json::json!({"type": "nonsense"}),
    ] {
        assert!(!VALIDATOR.is_valid(&wrong), "{wrong}");
    }
}
