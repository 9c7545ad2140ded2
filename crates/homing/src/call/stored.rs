//! A call as it stands in arguments, outcomes and plans: with all its options, and what it still lacks.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Map, Value};

use super::{Call, Draft, Shape, Start, name};
use crate::clock::Time;
use crate::error::Invalid;
use crate::task::{Kind, Options};

/// A call as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) kind: String,
    arguments: Map<String, Value>,
    /// The argument that the value before it becomes; empty: it lacks one, and does nothing with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lacks: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    options: Options,
    #[serde(default, skip_serializing_if = "is_default")]
    start: Start,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Stored {
    /// A call that is about to be stored; refuses what a spawn of it would refuse.
    pub(crate) fn of(draft: Draft) -> Result<Self, Invalid> {
        draft.clone().fix(Time(0), "default", 0)?;
        let Draft { kind, arguments, options, start, place, tags, lacks } = draft;
        let not_json = |reason: serde_json::Error| Invalid::NotJson {
            field: format!("the arguments of `{kind}`"),
            reason: reason.to_string(),
        };
        let arguments = serde_json::from_str(&arguments?).map_err(not_json)?;
        Ok(Self { kind, arguments, lacks, options, start, place, tags })
    }

    /// The call, given the value before it if it wants one.
    pub(crate) fn draft(self, value: &Value) -> Draft {
        let kind = self.kind.clone();
        let mut draft = self.unbounded(value);
        draft.arguments = draft.arguments.and_then(|text| {
            let field = format!("the argument list of `{kind}`");
            crate::encode::within(&field, &text).map(|()| text)
        });
        draft
    }

    /// As [`draft`](Self::draft), however long the arguments become.
    pub(crate) fn unbounded(mut self, value: &Value) -> Draft {
        if let Some(name) = self.lacks.take().filter(|name| !name.is_empty()) {
            self.arguments.insert(name, value.clone());
        }
        self.as_it_is()
    }

    fn as_it_is(self) -> Draft {
        let Self { kind, arguments, lacks, options, start, place, tags } = self;
        let arguments = crate::encode::canonical(&Value::Object(arguments));
        Draft { kind, arguments: Ok(arguments), options, start, place, tags, lacks }
    }
}

impl<K: Kind, L> Serialize for Call<K, L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored::of(self.draft.clone()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de, K: Kind, L: Shape> Deserialize<'de> for Call<K, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        name("the kind", &stored.kind).map_err(de::Error::custom)?;
        if !K::is(&stored.kind) {
            return Err(de::Error::custom(super::any::another(&stored.kind, K::NAME)));
        }
        if stored.lacks.is_some() != L::LACKS {
            let [is, wanted] = ["that lacks an argument", "that is whole"];
            let (is, wanted) = if L::LACKS { (wanted, is) } else { (is, wanted) };
            let kind = &stored.kind;
            let text = format!("a call of `{kind}` {is} stands where one {wanted} is expected");
            return Err(de::Error::custom(text));
        }
        Ok(Self::of(stored.as_it_is()))
    }
}
