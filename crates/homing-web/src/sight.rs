//! What somebody sees of data: the one door through which every text of a store goes to a page or an answer.
//!
//! Values at keys that look secret are masked, whoever looks; whole payloads for those who may not see them.
//! On pages, characters that could steer a terminal or turn the direction of text are shown escaped.

use std::borrow::Cow;

use homing_view::words::steers;
use maud::{Markup, PreEscaped};
use serde_json::Value;

/// Stands for what is not shown.
pub(crate) const MASK: &str = "‹masked›";
/// Bytes of a payload that a page shows; the API has all of it.
const SHOWN: usize = 64 * 1024;

/// What somebody sees.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    /// Whether payloads are shown at all.
    pub(crate) payloads: bool,
    /// Keys and ends of paths that are masked besides those that look secret.
    pub(crate) redact: std::sync::Arc<[String]>,
}

impl Sight {
    /// A payload as a page shows it: JSON with its digits as they are stored, indented, masked and bounded. The
    /// second is whether it was cut.
    pub(crate) fn payload(&self, raw: &str) -> (String, bool) {
        if !self.payloads {
            return (MASK.to_owned(), false);
        }
        let mut text = match serde_json::from_str::<serde::de::IgnoredAny>(raw) {
            Ok(_) => Pretty { sight: self, out: String::new(), path: Vec::new() }.all(raw),
            Err(_) => self.message(raw).into_owned(),
        };
        let cut = text.len() > SHOWN;
        if cut {
            text.truncate(text.floor_char_boundary(SHOWN));
        }
        (text, cut)
    }

    /// A message of a log or a failure: whole, or masked where it seems to tell a secret. Those who see no
    /// payloads see none, because it may quote them.
    pub(crate) fn message<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.payloads { self.told(text) } else { Cow::Borrowed(MASK) }
    }

    /// A text that somebody gave for people to read, a title say: masked where it seems to tell a secret.
    pub(crate) fn told<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.masked(text) {
            Some(masked) => Cow::Owned(masked),
            None => Cow::Borrowed(text),
        }
    }

    /// An object of the API. Its own fields are known: payloads are masked by their keys, messages by their
    /// words.
    pub(crate) fn object(&self, mut object: Value) -> Value {
        self.walk(&mut object);
        object
    }

    fn walk(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item)),
            Value::Object(fields) => {
                // Beside a text, a reason is a stable word; of a task it is the text itself.
                let is_told = fields.contains_key("message") || fields.contains_key("text");
                for (name, field) in fields {
                    match name.as_str() {
                        "reason" if is_told => {}
                        "arguments" if field.is_array() => {} // those of a kind: no payload
                        "arguments" if !self.payloads => {
                            // An object by its schema.
                            *field = serde_json::json!({ MASK: MASK });
                        }
                        "value" if !self.payloads => {
                            if !field.is_null() {
                                *field = MASK.into();
                            }
                        }
                        "arguments" | "value" => self.mask(field, &mut Vec::new()),
                        "message" | "text" | "reason" | "expected" | "got" | "difference"
                        | "result" => {
                            self.say(field, true);
                        }
                        "sources" => {
                            if let Value::Array(sources) = field {
                                for source in sources {
                                    self.say(source, true);
                                }
                            }
                        }
                        "title" | "key" => self.say(field, false),
                        _ => self.walk(field),
                    }
                }
            }
            _ => {}
        }
    }

    fn say(&self, field: &mut Value, message: bool) {
        if let Value::String(text) = field {
            let said = if message { self.message(text) } else { self.told(text) };
            *text = said.into_owned();
        }
    }

    fn mask(&self, value: &mut Value, path: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask(item, path)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    path.push(key.to_lowercase());
                    if self.is_secret(path) {
                        *field = MASK.into();
                    } else {
                        self.mask(field, path);
                    }
                    path.pop();
                }
            }
            Value::String(text) => {
                if let Some(masked) = self.masked(text) {
                    *text = masked;
                }
            }
            _ => {}
        }
    }

    /// Whether what stands at a path of lower-case keys is masked.
    fn is_secret(&self, path: &[String]) -> bool {
        let Some(key) = path.last() else { return false };
        looks_secret(key)
            || self.redact.iter().any(|told| {
                let told: Vec<&str> = told.split('.').collect();
                path.len() >= told.len() && path[path.len() - told.len()..] == told[..]
            })
    }

    /// A text with what follows a secret's name masked, and the passwords of URLs; `None` if there is nothing.
    fn masked(&self, text: &str) -> Option<String> {
        let (mut out, mut copied, mut at) = (String::new(), 0, 0);
        while at < text.len() {
            let word = text[at..].find(is_key)? + at;
            let end = text[word..].find(|part| !is_key(part)).map_or(text.len(), |len| word + len);
            at = end;
            let secret = if text[end..].starts_with("://") {
                url_password(text, end + 3)
            } else if self.is_secret(&[text[word..end].to_lowercase()]) {
                assigned(text, end)
            } else {
                None
            };
            if let Some((from, to)) = secret {
                out += &text[copied..from];
                out += MASK;
                (copied, at) = (to, to);
            }
            if text[at..].find(is_key).is_none() {
                break;
            }
        }
        (copied > 0).then(|| out + &text[copied..])
    }
}

/// Whether a key, in lower case, looks like that of a secret.
fn looks_secret(key: &str) -> bool {
    let plain: String = key.chars().filter(|part| !matches!(part, '_' | '-' | '.')).collect();
    let secrets = ["pass", "secret", "token", "authoriz", "apikey", "cookie", "credential"];
    secrets.iter().any(|secret| plain.contains(secret))
}

fn is_key(part: char) -> bool {
    part.is_alphanumeric() || matches!(part, '_' | '-' | '.')
}

/// What is given to a name that ends at a place: `=value`, `: "value"`, `: Bearer value`.
fn assigned(text: &str, end: usize) -> Option<(usize, usize)> {
    let rest = text[end..].trim_start_matches(['"', '\'', '`', '\\', ' ']);
    let rest = rest.strip_prefix(['=', ':'])?.trim_start_matches([' ', '>', '\\']);
    let (rest, quote) = match rest.chars().next()? {
        quote @ ('"' | '\'' | '`') => (&rest[1..], Some(quote)),
        _ => (rest, None),
    };
    let from = text.len() - rest.len();
    let stop = |part: char| match quote {
        Some(quote) => part == quote || part == '\n',
        None => part.is_whitespace() || matches!(part, ',' | ';' | '}' | ')' | ']' | '&'),
    };
    let mut to = rest.find(stop).map_or(text.len(), |len| from + len);
    let scheme = text[from..to].to_ascii_lowercase();
    if matches!(scheme.as_str(), "bearer" | "basic" | "digest") && to < text.len() {
        let next = text[to..].trim_start();
        let start = text.len() - next.len();
        to = next.find(char::is_whitespace).map_or(text.len(), |len| start + len);
    }
    (to > from).then_some((from, to))
}

/// The password of a URL whose authority begins at a place.
fn url_password(text: &str, from: usize) -> Option<(usize, usize)> {
    let rest = &text[from..];
    let end = rest.find(|part: char| part.is_whitespace() || matches!(part, '/' | '"' | '`'));
    let authority = &rest[..end.unwrap_or(rest.len())];
    let (user, _) = authority.rsplit_once('@')?;
    let colon = user.find(':')?;
    (colon + 1 < user.len()).then_some((from + colon + 1, from + user.len()))
}

/// Writes JSON anew, indented, without reading a number: its digits stay as they are.
struct Pretty<'s> {
    sight: &'s Sight,
    out: String,
    path: Vec<String>,
}

impl Pretty<'_> {
    fn all(mut self, raw: &str) -> String {
        self.value(raw.trim_start(), 0);
        self.out
    }

    /// Writes the value that a text begins with; what follows it.
    fn value<'t>(&mut self, text: &'t str, depth: usize) -> &'t str {
        match text.chars().next() {
            Some(open @ ('{' | '[')) => self.nested(&text[1..], open, depth),
            Some('"') => {
                let (string, rest) = string_of(text);
                match self.sight.masked(string) {
                    Some(masked) => self.out += &masked,
                    None => self.out += string,
                }
                rest
            }
            _ => {
                let end = text.find([',', '}', ']']).unwrap_or(text.len());
                self.out += text[..end].trim_end();
                &text[end..]
            }
        }
    }

    fn nested<'t>(&mut self, text: &'t str, open: char, depth: usize) -> &'t str {
        let close = if open == '{' { '}' } else { ']' };
        self.out.push(open);
        let mut rest = text.trim_start();
        if let Some(after) = rest.strip_prefix(close) {
            self.out.push(close);
            return after.trim_start();
        }
        loop {
            self.line(depth + 1);
            if open == '{' {
                let (key, after) = string_of(rest);
                self.out += key;
                self.out += ": ";
                let after = after.trim_start().trim_start_matches(':').trim_start();
                let name: String = serde_json::from_str(key).unwrap_or_default();
                self.path.push(name.to_lowercase());
                rest = if self.sight.is_secret(&self.path) {
                    let before = self.out.len();
                    let after = self.value(after, depth + 1);
                    self.out.truncate(before);
                    self.out += "\"‹masked›\"";
                    after
                } else {
                    self.value(after, depth + 1)
                };
                self.path.pop();
            } else {
                rest = self.value(rest, depth + 1);
            }
            rest = rest.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => {
                    self.out.push(',');
                    rest = after.trim_start();
                }
                None => break,
            }
        }
        self.line(depth);
        self.out.push(close);
        rest.strip_prefix(close).unwrap_or(rest)
    }

    fn line(&mut self, depth: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", depth.min(40)));
    }
}

/// The string that JSON begins with, its quotes included, and what follows.
fn string_of(text: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return text.split_at(at + 1),
            _ => {}
        }
    }
    (text, "")
}

/// Text on a page: escaped for HTML, and what could steer a reader shown as its code. Line feeds and tabs are
/// kept where they are asked for.
fn written(text: &str, lines: bool) -> Markup {
    let mut out = String::with_capacity(text.len() + 16);
    for part in text.chars() {
        match part {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' | '\t' if lines => out.push(part),
            '\n' | '\t' => out.push(' '),
            part if steers(part) => {
                out += "<span class=\"esc\">";
                out.extend(part.escape_default());
                out += "</span>";
            }
            part => out.push(part),
        }
    }
    PreEscaped(out)
}

/// Text on one line of a page.
pub(crate) fn t(text: &str) -> Markup {
    written(text, false)
}

/// Text that keeps its lines.
pub(crate) fn pre(text: &str) -> Markup {
    written(text, true)
}

/// Text of an attribute or a title, where no element can stand.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for part in text.chars() {
        match part {
            '\n' | '\t' => out.push(' '),
            part if steers(part) => out.extend(part.escape_default()),
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(payloads: bool) -> Sight {
        Sight { payloads, redact: ["email".to_owned(), "user.address".to_owned()].into() }
    }

    #[test]
    fn payloads_keep_their_digits_and_lose_their_secrets() {
        let raw = r#"{"n":9007199254740993,"f":1e308,"Password":{"a":[1,"}"]},"list":[{"api_key":"x\"y"},[]],"s":"a,b}"}"#;
        let expected = "{\n  \"n\": 9007199254740993,\n  \"f\": 1e308,\n  \"Password\": \"‹masked›\",\n  \
             \"list\": [\n    {\n      \"api_key\": \"‹masked›\"\n    },\n    []\n  ],\n  \"s\": \"a,b}\"\n}";
        assert_eq!(sight(true).payload(raw).0, expected);
        assert_eq!(sight(false).payload(raw).0, MASK);
        for scalar in ["null", "17", "\"text\"", "[]", "{}", "18446744073709551616"] {
            assert_eq!(sight(true).payload(scalar).0, scalar);
        }
        let large = format!("\"{}\"", "ü".repeat(SHOWN));
        let (shown, cut) = sight(true).payload(&large);
        assert!(cut && shown.len() <= SHOWN);
        assert_eq!(sight(true).payload("no json, token=abc").0, "no json, token=‹masked›");
    }

    #[test]
    fn paths_are_masked_by_their_ends() {
        let masked = sight(true).payload(r#"{"user":{"address":"x"},"address":"y","EMAIL":"z"}"#).0;
        assert!(!masked.contains("\"x\"") && masked.contains("\"y\"") && !masked.contains("\"z\""));
    }

    #[test]
    fn messages_lose_what_looks_secret() {
        for (text, shown) in [
            ("nothing to hide: 7", "nothing to hide: 7"),
            ("login failed, password=hunter2, again", "login failed, password=‹masked›, again"),
            ("Authorization: Bearer abc.def rest", "Authorization: ‹masked› rest"),
            (r#"{"token": "abc def", "n": 1}"#, r#"{"token": "‹masked›", "n": 1}"#),
            ("postgres://ada:hunter2@db/x refused", "postgres://ada:‹masked›@db/x refused"),
            ("secret: ", "secret: "),
            ("the api-key='k'", "the api-key='‹masked›'"),
            ("password", "password"),
            ("a token=1 and token=2", "a token=‹masked› and token=‹masked›"),
        ] {
            assert_eq!(sight(true).message(text), shown, "{text}");
        }
        assert_eq!(sight(false).message("anything"), MASK);
    }

    #[test]
    fn objects_are_masked_by_their_fields() {
        let object = serde_json::json!({
            "type": "task", "title": "token=abc",
            "arguments": {"password": "x", "page": 7}, "value": "v",
            "failure": {"reason": "error", "message": "token=abc", "sources": ["secret=1"]},
            "reasons": [{"reason": "no-worker", "text": "password=1"}],
            // One word may be all that an error tells.
            "reason": "swordfish", "result": "swordfish", "drift": {"got": "swordfish"},
        });
        let seen = sight(true).object(object.clone());
        let text = seen.to_string();
        assert!(
            text.contains("\"page\":7") && text.contains("no-worker") && text.contains("error")
        );
        for secret in ["\"x\"", "abc", "secret=1", "password=1"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        let hidden = sight(false).object(object).to_string();
        assert!(!hidden.contains("page") && !hidden.contains("\"v\""), "{hidden}");
        assert!(!hidden.contains("swordfish"), "{hidden}");
        assert!(hidden.contains("no-worker"));
    }

    #[test]
    fn what_steers_is_shown() {
        let text = "\u{1b}[31m\u{202e}<b>&\"'\n\u{0}";
        let esc = |code: &str| format!("<span class=\"esc\">{code}</span>");
        let [bell, turn, zero] = ["\\u{1b}", "\\u{202e}", "\\u{0}"].map(esc);
        let rest = "&lt;b&gt;&amp;&quot;&#39;";
        assert_eq!(t(text).into_string(), format!("{bell}[31m{turn}{rest} {zero}"));
        assert_eq!(pre(text).into_string(), format!("{bell}[31m{turn}{rest}\n{zero}"));
        assert_eq!(plain("a\u{202e}b\n"), "a\\u{202e}b ");
    }
}
