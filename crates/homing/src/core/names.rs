//! The one door for names and other short texts: kinds, queues, tags, places, steps, sets, signals, workers,
//! titles and keys.
//!
//! They stand in places, in indexes of every store and on terminals. So they are never empty, of bounded
//! length, and without characters that no store can hold or that change how a terminal shows the rest.

use std::borrow::Cow;

use crate::core::invalid::Invalid;
use crate::limits;

/// Checks a name, of at most [`limits::NAME`] bytes.
pub(crate) fn name(field: &'static str, name: &str) -> Result<(), Invalid> {
    check(field, name, limits::NAME)
}

/// Checks what people and their programs say of a whole job, at most [`limits::TITLE`] bytes each.
pub(crate) fn job(title: Option<&str>, key: Option<&str>) -> Result<(), Invalid> {
    let texts = [("the title", title), ("the key", key)];
    let mut texts = texts.into_iter().filter_map(|(field, text)| Some((field, text?)));
    texts.try_for_each(|(field, text)| check(field, text, limits::TITLE))
}

fn check(field: &'static str, text: &str, limit: usize) -> Result<(), Invalid> {
    let length = text.len();
    if text.is_empty() {
        return Err(Invalid::Empty { field });
    }
    if length > limit {
        return Err(Invalid::TooLong { field: field.to_owned(), length, limit, hint: "" });
    }
    let refused = if text.chars().any(char::is_control) {
        "control characters are not allowed"
    } else if text.chars().any(turns_text) {
        "characters that turn or break a line of text are not allowed"
    } else {
        return Ok(());
    };
    let value = text.chars().flat_map(|c| {
        let escape = c.is_control() || turns_text(c);
        let (escaped, plain) = if escape { (Some(c), None) } else { (None, Some(c)) };
        escaped.into_iter().flat_map(char::escape_default).chain(plain)
    });
    Err(Invalid::Value { field, value: value.collect(), reason: refused })
}

/// Whether a character changes the direction of the text after it, or breaks the line, without being a
/// control character.
fn turns_text(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// A name as it stands in a place beside the characters that places are made with. Two names, or a name and
/// a place that homing has made, then never look alike: the second turn of the set `a` is `a~1`, and a set
/// named `a~1` is `a\~1`.
pub(crate) fn in_place(name: &str) -> Cow<'_, str> {
    const SYNTAX: [char; 6] = ['\\', '#', '@', '[', '~', '/'];
    if !name.contains(SYNTAX) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if SYNTAX.contains(&character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for fine in ["a", "übersicht 7/9", "x#1", "\u{200d}", "日本"] {
            assert_eq!(name("the queue", fine), Ok(()));
        }
        let text = |text: &str| name("the queue", text).unwrap_err().to_string();
        assert_eq!(text(""), "the queue is empty");
        assert_eq!(text(&"é".repeat(101)), "the queue has 202 bytes, at most 200 are allowed");
        assert_eq!(text("a\0b"), "the queue is `a\\u{0}b`: control characters are not allowed");
        let turned = "characters that turn or break a line of text are not allowed";
        for refused in
            "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}".chars()
        {
            let shown = refused.escape_default();
            assert_eq!(text(&format!("é{refused}")), format!("the queue is `é{shown}`: {turned}"));
        }
    }

    #[test]
    fn names_in_places_are_told_apart() {
        assert_eq!(in_place("pages of anna"), "pages of anna");
        assert_eq!(in_place("a~1"), "a\\~1");
        assert_eq!(in_place("a\\~1"), "a\\\\\\~1");
        assert_eq!(in_place("a/b#1@c[2]"), "a\\/b\\#1\\@c\\[2]");
    }
}
