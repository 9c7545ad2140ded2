//! What people read on a terminal: the words that every face of homing shares, and the door to the terminal.

pub(crate) use homing_view::words::*;

use crate::style;

/// Who runs this program, as far as the environment tells: `ada@build-7`.
pub(crate) fn oneself() -> String {
    let told = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = told("USER").or_else(|| told("LOGNAME")).unwrap_or_else(|| "somebody".to_owned());
    match told("HOSTNAME") {
        Some(host) => format!("{user}@{host}"),
        None => user,
    }
}

/// The door to the terminal: a line as it is written there. All that is printed for people goes through it.
///
/// Marks of [`style`] become what shows the style. Every other character that could steer the terminal, or
/// show the rest of the line other than it is, is shown escaped, a line feed too: it came with the data, and
/// data may come from anybody.
pub(crate) fn printed(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.chars() {
        match style::of_mark(part) {
            Some(sequence) => line += &sequence,
            None if steers(part) => line.extend(part.escape_default()),
            None => line.push(part),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_styles_steer_the_terminal() {
        let data = "\u{1b}[31mred\u{9b}2J\u{202e}\u{2028}\0\n";
        let line = printed(&style::paint(style::BAD, data));
        let escaped = "\\u{1b}[31mred\\u{9b}2J\\u{202e}\\u{2028}\\u{0}\\n";
        assert_eq!(line, format!("{}{escaped}{:#}", style::BAD, style::BAD));
        assert_eq!(printed("bücher 日本"), "bücher 日本");
    }
}
