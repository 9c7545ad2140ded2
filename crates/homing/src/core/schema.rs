//! What JSON a type takes, found by asking the type itself.
//!
//! A [`Deserialize`](serde::Deserialize) says in its first words what it wants: a boolean, a text, a map.
//! That is written down as a JSON schema and the asking ends there. Only the outermost shape is asked for,
//! and what a list or an option holds: the fields of a struct may have aliases and defaults, which its
//! type does not tell. A type that looks before it decides (untagged enums, `serde_json::Value`) takes
//! anything, so what is refused here would never have decoded.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Visitor};
use serde_json::{Value, json};

/// Lists, options and newtypes within one another that are looked into.
const DEPTH: usize = 4;

/// The schema of a type: `{}` takes anything.
pub(crate) fn of<T: DeserializeOwned>() -> Value {
    let mut found = Value::Null;
    // The answer is always an error: nothing is there to be decoded.
    drop(T::deserialize(Probe { found: &mut found, depth: DEPTH }));
    if found.is_null() { json!({}) } else { found }
}

/// Why a value cannot be one of a schema that [`of`] made; `None` if it may.
pub(crate) fn misfit(schema: &Value, value: &Value) -> Option<String> {
    if let Some(expected) = types(schema) {
        let fits = |name: &&str| match *name {
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            _ => true,
        };
        if !expected.iter().any(fits) {
            return Some(format!("expected {}, got {}", expected.join(" or "), shown(value)));
        }
    }
    let beyond = |bound: &Value, over: fn(i128, i128) -> bool| {
        whole(bound).zip(whole(value)).is_some_and(|(bound, value)| over(value, bound))
    };
    if beyond(&schema["minimum"], |value, bound| value < bound) {
        return Some(format!("expected at least {}, got {value}", schema["minimum"]));
    }
    if beyond(&schema["maximum"], |value, bound| value > bound) {
        return Some(format!("expected at most {}, got {value}", schema["maximum"]));
    }
    let (items, values) = (schema.get("items")?, value.as_array()?);
    values
        .iter()
        .enumerate()
        .find_map(|(n, item)| misfit(items, item).map(|reason| format!("at index {n}: {reason}")))
}

/// What a schema takes, in words.
pub(crate) fn words(schema: &Value) -> String {
    let Some(expected) = types(schema) else { return "any JSON".to_owned() };
    match schema.get("items").filter(|_| expected == ["array"]) {
        Some(items) => format!("array of {}", words(items)),
        None => expected.join(" or "),
    }
}

/// Whether a schema takes `null`.
pub(crate) fn takes_null(schema: &Value) -> bool {
    types(schema).is_none_or(|types| types.contains(&"null"))
}

fn types(schema: &Value) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::String(one) => Some(vec![one.as_str()]),
        Value::Array(many) => Some(many.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// A value in an error: short ones as they are.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 60 {
        return text;
    }
    let name = match value {
        Value::String(_) => "a long string",
        Value::Array(_) => "an array",
        _ => "an object",
    };
    name.to_owned()
}

/// A deserializer that has nothing and writes down what it is asked for.
struct Probe<'f> {
    found: &'f mut Value,
    depth: usize,
}

/// The end of the asking.
#[derive(Debug)]
struct Asked;

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no value")
    }
}

impl std::error::Error for Asked {}

impl de::Error for Asked {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Probe<'_> {
    fn found<T>(self, schema: Value) -> Result<T, Asked> {
        *self.found = schema;
        Err(Asked)
    }

    /// What is asked for within: anything, where it is too deep.
    fn within(&mut self, ask: impl FnOnce(Probe<'_>)) -> Value {
        let mut inner = Value::Null;
        if let Some(depth) = self.depth.checked_sub(1) {
            ask(Probe { found: &mut inner, depth });
        }
        if inner.is_null() { json!({}) } else { inner }
    }
}

/// The one element of a list of one, which is asked and never given.
struct Element<'p>(Option<Probe<'p>>);

impl<'de> de::SeqAccess<'de> for Element<'_> {
    type Error = Asked;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Asked> {
        match self.0.take() {
            Some(probe) => seed.deserialize(probe).map(Some),
            None => Err(Asked),
        }
    }
}

macro_rules! plain {
    ($($method:ident: $schema:tt),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
            self.found(json!($schema))
        })*
    };
}

macro_rules! integers {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
            self.found(json!({ "type": "integer", "minimum": <$type>::MIN, "maximum": <$type>::MAX }))
        })*
    };
}

impl<'de> de::Deserializer<'de> for Probe<'_> {
    type Error = Asked;

    plain!(
        deserialize_any: {},
        deserialize_ignored_any: {},
        deserialize_identifier: {},
        deserialize_bool: {"type": "boolean"},
        deserialize_i128: {"type": "integer"},
        deserialize_u64: {"type": "integer", "minimum": 0},
        deserialize_u128: {"type": "integer", "minimum": 0},
        deserialize_f32: {"type": "number"},
        deserialize_f64: {"type": "number"},
        deserialize_char: {"type": "string"},
        deserialize_str: {"type": "string"},
        deserialize_string: {"type": "string"},
        deserialize_bytes: {"type": ["string", "array"]},
        deserialize_byte_buf: {"type": ["string", "array"]},
        deserialize_unit: {"type": "null"},
        deserialize_map: {"type": "object"},
    );

    integers!(
        deserialize_i8: i8,
        deserialize_i16: i16,
        deserialize_i32: i32,
        deserialize_i64: i64,
        deserialize_u8: u8,
        deserialize_u16: u16,
        deserialize_u32: u32,
    );

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Asked> {
        let mut schema = self.within(|inner| drop(visitor.visit_some(inner)));
        if let Some(types) = types(&schema)
            && !types.contains(&"null")
        {
            let types: Vec<&str> = types.into_iter().chain(["null"]).collect();
            schema["type"] = json!(types);
        }
        self.found(schema)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: V,
    ) -> Result<V::Value, Asked> {
        self.found(json!({ "type": "null" }))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Asked> {
        let schema = self.within(|inner| drop(visitor.visit_newtype_struct(inner)));
        self.found(schema)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Asked> {
        let items = self.within(|inner| drop(visitor.visit_seq(Element(Some(inner)))));
        self.found(json!({ "type": "array", "items": items }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, _: V) -> Result<V::Value, Asked> {
        self.found(json!({ "type": "array", "minItems": len, "maxItems": len }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Asked> {
        self.deserialize_tuple(len, visitor)
    }

    /// A struct may stand as the list of its fields, too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        self.found(json!({ "type": ["object", "array"] }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        self.found(json!({ "type": ["string", "object"] }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{JobId, TaskId};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Page {
        #[serde(default, alias = "no")]
        number: u32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Wrapped(u8);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Nested(Option<Box<Nested>>);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Choice {
        Yes,
        No { because: String },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }

    fn check<T: DeserializeOwned>(values: &[Value], name: &str, refused: usize) {
        let schema = of::<T>();
        let mut count = 0;
        for value in values {
            if let Some(reason) = misfit(&schema, value) {
                count += 1;
                let decoded = serde_json::from_value::<T>(value.clone());
                assert!(decoded.is_err(), "{name}, {value}: {reason}, by {schema}");
            }
        }
        assert_eq!(count, refused, "{name}, by {schema}");
    }

    /// Values of each type fit its schema, and whatever does not fit does not decode either.
    #[test]
    fn what_is_refused_would_not_decode() {
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(7),
            json!(-1),
            json!(300),
            json!(0.5),
            json!(u64::MAX),
            json!(""),
            json!("x"),
            json!("Yes"),
            json!([]),
            json!([1]),
            json!([[]]),
            json!([1, "x"]),
            json!(["x", 2]),
            json!([-1, 2]),
            json!([null]),
            json!({}),
            json!({"number": 1}),
            json!({"no": 1}),
            json!({"No": {"because": "x"}}),
            json!({"secs": 1, "nanos": 2}),
            json!({"a": 1}),
        ];
        macro_rules! check {
            ($($type:ty: $refused:expr),* $(,)?) => { $(check::<$type>(&values, stringify!($type), $refused);)* };
        }
        check!(
            bool: 23, u8: 22, i8: 21, u64: 20, i64: 20, f64: 18, f32: 18, String: 21, char: 21, (): 23,
            Option<bool>: 22, Option<u8>: 21, Option<String>: 20, Option<Option<bool>>: 22,
            Vec<u64>: 22, Vec<String>: 23, HashSet<u8>: 22, (u64, String): 17, [u8; 1]: 17,
            BTreeMap<String, u64>: 18, Page: 11, Wrapped: 22, Nested: 0, Choice: 15, Either: 0,
            Value: 0, Duration: 11, JobId: 21, TaskId: 21, Vec<Option<Page>>: 21,
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |schema: Value, value: Value| misfit(&schema, &value).unwrap();
        assert_eq!(said(of::<bool>(), json!("yes")), r#"expected boolean, got "yes""#);
        assert_eq!(said(of::<Option<u8>>(), json!(300)), "expected at most 255, got 300");
        assert_eq!(said(of::<u8>(), json!(-1)), "expected at least 0, got -1");
        assert_eq!(
            said(of::<Vec<u8>>(), json!([1, "x"])),
            r#"at index 1: expected integer, got "x""#
        );
        assert_eq!(words(&of::<Option<u8>>()), "integer or null");
        assert_eq!(words(&of::<Vec<String>>()), "array of string");
        assert_eq!(words(&of::<Value>()), "any JSON");
    }
}
