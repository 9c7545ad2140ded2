//! Values on their way to and from JSON.
//!
//! What is stored is canonical: object keys sorted, no white space. A body is given what was stored,
//! on the first run too, so that live and replayed values are equal to the bit. JSON cannot hold
//! infinities and NaN, and `serde_json` would quietly write `null` for them: they are refused here.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Invalid;
use crate::limits;

mod finite;

/// A value as canonical JSON within [`limits::PAYLOAD`].
pub(crate) fn value<T: Serialize + ?Sized>(field: &str, value: &T) -> Result<String, Invalid> {
    let text = canonical(&tree(field, value)?);
    within(field, &text)?;
    Ok(text)
}

/// A value as a JSON tree.
pub(crate) fn tree<T: Serialize + ?Sized>(field: &str, value: &T) -> Result<Value, Invalid> {
    let not_json = |reason: String| Invalid::NotJson { field: field.to_owned(), reason };
    finite::check(value).map_err(|error| not_json(error.to_string()))?;
    serde_json::to_value(value).map_err(|error| not_json(error.to_string()))
}

/// Refuses what is longer than [`limits::PAYLOAD`].
pub(crate) fn within(field: &str, text: &str) -> Result<(), Invalid> {
    let (length, limit) = (text.len(), limits::PAYLOAD);
    if length > limit {
        let hint = ": keep large data elsewhere and pass a reference";
        return Err(Invalid::TooLong { field: field.to_owned(), length, limit, hint });
    }
    Ok(())
}

/// A tree as canonical JSON. Keys are sorted here because another crate in the same build may ask
/// `serde_json` to keep them in the order of insertion.
pub(crate) fn canonical(tree: &Value) -> String {
    let mut text = String::new();
    write(tree, &mut text);
    text
}

fn write(tree: &Value, text: &mut String) {
    match tree {
        Value::Array(items) => {
            text.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (n, (key, value)) in fields.into_iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}

/// A value from JSON.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// One of our own types as JSON. They have string keys and finite numbers only, so this cannot fail.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_sorts_and_refuses() {
        let map = std::collections::HashMap::from([("b", 1.5), ("a", 0.1)]);
        assert_eq!(value("x", &map).unwrap(), r#"{"a":0.1,"b":1.5}"#);
        let error = value("the argument `x`", &vec![Some(f64::NAN)]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the argument `x` cannot be written as JSON: it holds the float NaN, which JSON has no word for"
        );
        assert!(value("x", &"y".repeat(limits::PAYLOAD)).is_err());
        assert_eq!(value("x", &()).unwrap(), "null");
    }
}
