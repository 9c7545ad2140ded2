//! A call as it stands in arguments, outcomes and plans: with all its options, and what it still lacks.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{Call, Shape, Stored, name};
use crate::task::Kind;

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
        Ok(Self::of(stored.into_draft()))
    }
}
