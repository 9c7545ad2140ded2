//! Which fields of a call are others than they were when it was recorded.

use homing::Drift;
use serde_json::{Map, Value};

/// A field of two calls that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name; `()` where it is the kind that differs.
    pub name: String,
    /// What it was, as JSON; `None` if it was not there.
    pub expected: Option<Value>,
    /// What it is, as JSON; `None` if it is gone.
    pub got: Option<Value>,
}

/// The fields that differ, in the order of their names. `None` where the two sides are no calls with all of their
/// arguments: then only their texts can be told.
pub fn fields(drift: &Drift) -> Option<Vec<Field>> {
    let (old, new) = (call(drift.expected.as_deref()?)?, call(drift.got.as_deref()?)?);
    let mut fields = Vec::new();
    if old.0 != new.0 {
        let kind = |kind: &str| Some(Value::from(kind));
        fields.push(Field { name: "()".to_owned(), expected: kind(old.0), got: kind(new.0) });
    }
    let mut names: Vec<&String> = old.1.keys().chain(new.1.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (expected, got) = (old.1.get(name).cloned(), new.1.get(name).cloned());
        if expected != got {
            fields.push(Field { name: name.clone(), expected, got });
        }
    }
    Some(fields)
}

/// A kind and its arguments by name, of `kind({…})`.
fn call(text: &str) -> Option<(&str, Map<String, Value>)> {
    let inner = text.strip_suffix(')')?;
    let read = |(at, _): (usize, &str)| {
        let arguments = serde_json::from_str(&inner[at + 1..]).ok()?;
        Some((&inner[..at], arguments))
    };
    inner.match_indices('(').find_map(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_are_taken_apart() {
        let (kind, arguments) = call(r#"odd (kind)({"text":"a(b)"})"#).unwrap();
        assert_eq!((kind, &arguments["text"]), ("odd (kind)", &json!("a(b)")));
        for other in ["a step", "write([1])", "write({\"text\":\"cut…)", ""] {
            assert!(call(other).is_none(), "{other}");
        }
    }
}
