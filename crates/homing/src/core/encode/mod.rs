//! Values on their way to and from JSON.
//!
//! What is stored is canonical: object keys sorted, no white space. A body is given what was stored,
//! on the first run too, so that live and replayed values are equal to the bit. JSON cannot hold
//! infinities and NaN, and `serde_json` would quietly write `null` for them: they are refused here. So is what
//! `serde_json` would write and not read again: it reads 127 levels and no more.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::core::invalid::Invalid;
use crate::limits;

mod check;

/// A value as canonical JSON within [`limits::PAYLOAD`] and [`limits::DEPTH`].
pub(crate) fn value<T: Serialize + ?Sized>(field: &str, value: &T) -> Result<String, Invalid> {
    let tree = tree(field, value)?;
    let text = canonical(field, &tree, limits::DEPTH)?;
    within(field, &text)?;
    Ok(text)
}

/// The same of a value that nobody needs any more.
///
/// One that is far too deep is not dropped: what drops it goes down as deep as it is, and would use up
/// the stack of a worker's thread, which ends the process.
pub(crate) fn owned<T: Serialize>(field: &str, value: T) -> Result<String, Invalid> {
    let text = self::value(field, &value);
    spare_stack(value, text.as_ref().err());
    text
}

/// As [`tree`], of a value that nobody needs any more. See [`owned`].
pub(crate) fn owned_tree<T: Serialize>(field: &str, value: T) -> Result<Value, Invalid> {
    let tree = tree(field, &value);
    spare_stack(value, tree.as_ref().err());
    tree
}

fn spare_stack<T>(value: T, refused: Option<&Invalid>) {
    if matches!(refused, Some(Invalid::TooDeep { depth: None, .. })) {
        std::mem::forget(value);
    }
}

/// A value as a JSON tree within [`limits::DEPTH`].
pub(crate) fn tree<T: Serialize + ?Sized>(field: &str, value: &T) -> Result<Value, Invalid> {
    tree_within(field, value, limits::DEPTH)
}

/// A call's arguments as a JSON tree; each of them within [`limits::DEPTH`].
pub(crate) fn list_tree<T: Serialize + ?Sized>(list: &T) -> Result<Value, Invalid> {
    tree_within("the arguments", list, limits::DEPTH + 1)
}

fn tree_within<T: Serialize + ?Sized>(
    field: &str,
    value: &T,
    levels: usize,
) -> Result<Value, Invalid> {
    let not_json = |reason: String| Invalid::NotJson { field: field.to_owned(), reason };
    match check::depth(value) {
        Ok(depth) if depth > levels => return Err(too_deep(field, Some(depth))),
        Ok(_) => {}
        Err(check::Found::TooDeep) => return Err(too_deep(field, None)),
        Err(check::Found::NotJson(reason)) => return Err(not_json(reason)),
    }
    serde_json::to_value(value).map_err(|error| not_json(error.to_string()))
}

/// A call's arguments, an object with a field for each, as canonical JSON within [`limits::PAYLOAD`]; each
/// of them within [`limits::DEPTH`].
pub(crate) fn arguments(list: &Value) -> Result<String, Invalid> {
    arguments_of("the argument list", list)
}

/// The same, under a name that says whose they are.
pub(crate) fn arguments_of(field: &str, list: &Value) -> Result<String, Invalid> {
    let text = canonical(field, list, limits::DEPTH + 1)?;
    within(field, &text)?;
    Ok(text)
}

/// The same, however long they are.
pub(crate) fn long_arguments(list: &Value) -> Result<String, Invalid> {
    canonical("the argument list", list, limits::DEPTH + 1)
}

fn too_deep(field: &str, depth: Option<usize>) -> Invalid {
    Invalid::TooDeep { field: field.to_owned(), depth, limit: limits::DEPTH }
}

/// Refuses what is longer than [`limits::PAYLOAD`].
fn within(field: &str, text: &str) -> Result<(), Invalid> {
    let (length, limit) = (text.len(), limits::PAYLOAD);
    if length > limit {
        let hint = ": keep large data elsewhere and pass a reference";
        return Err(Invalid::TooLong { field: field.to_owned(), length, limit, hint });
    }
    Ok(())
}

/// A tree as canonical JSON. Keys are sorted here because another crate in the same build may ask
/// `serde_json` to keep them in the order of insertion.
fn canonical(field: &str, tree: &Value, levels: usize) -> Result<String, Invalid> {
    let mut text = String::new();
    match write(tree, levels, &mut text) {
        Ok(()) => Ok(text),
        Err(TooDeep) => Err(too_deep(field, check::depth(tree).ok())),
    }
}

/// A tree has more levels than it may.
struct TooDeep;

fn write(tree: &Value, levels: usize, text: &mut String) -> Result<(), TooDeep> {
    match tree {
        Value::Array(items) => {
            let levels = levels.checked_sub(1).ok_or(TooDeep)?;
            text.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                write(item, levels, text)?;
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let levels = levels.checked_sub(1).ok_or(TooDeep)?;
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (n, (key, value)) in fields.into_iter().enumerate() {
                if n > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write(value, levels, text)?;
            }
            text.push('}');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
    Ok(())
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

    #[derive(Serialize)]
    enum Tree {
        Leaf,
        Unit(()),
        Pair(u8, Box<Tree>),
        Named { below: Option<Box<Tree>> },
    }

    #[test]
    fn depth_is_counted_as_json_has_it() {
        fn of_json(value: &Value) -> usize {
            match value {
                Value::Array(items) => 1 + items.iter().map(of_json).max().unwrap_or(0),
                Value::Object(fields) => 1 + fields.values().map(of_json).max().unwrap_or(0),
                _ => 0,
            }
        }
        let pair = |below| Tree::Pair(1, Box::new(below));
        let named = |below| Tree::Named { below: Some(Box::new(below)) };
        let trees = [
            Tree::Leaf,
            Tree::Unit(()),
            pair(Tree::Leaf),
            named(Tree::Leaf),
            named(pair(pair(Tree::Unit(())))),
            Tree::Named { below: None },
        ];
        for tree in trees {
            let json = serde_json::to_value(&tree).unwrap();
            assert_eq!(check::depth(&tree).unwrap(), of_json(&json), "{json}");
            assert_eq!(check::depth(&json).unwrap(), of_json(&json), "{json}");
        }
        let map = std::collections::BTreeMap::from([(1, vec![(2, "x", [0.5])])]);
        assert_eq!(check::depth(&map).unwrap(), 4);
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |below, _| Value::Array(vec![below]))
    }

    #[test]
    fn the_deepest_value_is_read_again_and_no_deeper_one_is_written() {
        let deepest = value("x", &nested(limits::DEPTH)).unwrap();
        parse::<Value>(&format!("{{\"a\":{deepest}}}")).unwrap();
        let depth = limits::DEPTH + 1;
        let error = value("the value", &nested(depth)).unwrap_err().to_string();
        assert!(error.starts_with("the value is nested 101 levels deep, at most 100"), "{error}");
        let list = |levels| serde_json::json!({ "x": nested(levels) });
        arguments(&list(limits::DEPTH)).unwrap();
        assert!(matches!(arguments(&list(depth)), Err(Invalid::TooDeep { depth: Some(102), .. })));
        let abyss = (0..50_000).fold(Value::Null, |below, _| Value::Array(vec![below]));
        let error = owned("the value", abyss).unwrap_err().to_string();
        assert!(error.starts_with("the value is nested more than 256 levels deep"), "{error}");
    }

    #[test]
    fn integers_have_64_bits() {
        assert_eq!(value("x", &u128::from(u64::MAX)).unwrap(), u64::MAX.to_string());
        assert_eq!(value("x", &i128::from(i64::MIN)).unwrap(), i64::MIN.to_string());
        assert_eq!(value("x", &std::time::Duration::MAX).unwrap().len(), 47);
        for beyond in [u128::from(u64::MAX) + 1, u128::MAX] {
            let error = value("x", &beyond).unwrap_err().to_string();
            assert!(error.contains("more than 64 bits"), "{error}");
        }
        assert!(value("x", &(i128::from(i64::MIN) - 1)).is_err());
    }
}
