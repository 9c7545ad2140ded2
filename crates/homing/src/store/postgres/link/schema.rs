//! The schema a store lives in: every statement names it, and none depends on `search_path`.
//!
//! A statement may run in a caller's own transaction or behind a pooler that lends a connection for one
//! transaction; in neither may a session setting be relied on or left behind. Texts are written for the
//! default name and rendered once. The name is checked when the URL is read, so it can be quoted safely.

/// The default name, which stands in the texts.
pub(in crate::store::postgres) const DEFAULT: &str = "homing";
/// The longest name, in bytes: PostgreSQL's own limit, less the prefix of the channel.
pub(in crate::store::postgres) const LONGEST: usize = 63 - PREFIX.len();
const PREFIX: &str = "homing_";

/// The name of the schema a store lives in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::postgres) struct Schema(String);

impl Schema {
    /// A schema of this name, if it is one: a letter or `_`, then letters, digits or `_`, in lower case.
    pub(in crate::store::postgres) fn named(name: &str) -> Option<Self> {
        let (first, rest) = name.as_bytes().split_first()?;
        let starts = first.is_ascii_lowercase() || *first == b'_';
        let goes_on =
            rest.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
        (starts && goes_on && name.len() <= LONGEST).then(|| Self(name.to_owned()))
    }

    /// The name as it was given.
    pub(in crate::store::postgres) fn name(&self) -> &str {
        &self.0
    }

    /// The name, quoted: a word of the language is a name too.
    pub(in crate::store::postgres) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// A text written for the default name, led to this schema: every `homing.` that stands in front of a
    /// name. One behind a quote is a setting's name or data and stays.
    pub(in crate::store::postgres) fn render(&self, text: &str) -> String {
        let mut rendered = String::with_capacity(text.len() + 64);
        let mut rest = text;
        while let Some(at) = rest.find("homing.") {
            let (before, found) = rest.split_at(at);
            let (name, after) = found.split_at("homing.".len());
            rendered.push_str(before);
            if rendered.ends_with(|last: char| last == '_' || last.is_alphanumeric()) {
                rendered.push_str(name);
            } else {
                rendered.push_str(&self.quoted());
                rendered.push('.');
            }
            rest = after;
        }
        rendered + rest
    }

    /// The channel on which processes that share the schema hear of commits.
    pub(in crate::store::postgres) fn channel(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl Default for Schema {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_schemas() {
        for name in ["homing", "_a1", "public", "select", &"x".repeat(LONGEST)] {
            assert!(Schema::named(name).is_some(), "{name}");
        }
        for name in ["", "1a", "A", "a b", "a\"b", "a.b", "é", &"x".repeat(LONGEST + 1)] {
            assert!(Schema::named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn texts_are_led_to_the_schema() {
        let schema = Schema::named("other").unwrap_or_default();
        assert_eq!(
            schema.render("SELECT * FROM homing.tasks, homing.sets"),
            "SELECT * FROM \"other\".tasks, \"other\".sets"
        );
        assert_eq!(schema.render("nextval('homing.numbers')"), "nextval('\"other\".numbers')");
        assert_eq!(schema.render("my_homing.tasks"), "my_homing.tasks");
        assert_eq!(schema.channel(), "homing_other");
    }
}
