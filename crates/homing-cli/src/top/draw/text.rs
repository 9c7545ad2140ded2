//! Screens of text: a log, and the reasons of a task.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthChar;

use super::super::log::Log;
use super::super::model::Why;
use super::{of, title, titled};
use crate::{style, words};

/// Draws a log, its newest line at the bottom.
pub(super) fn draw_log(frame: &mut Frame<'_>, log: &mut Log, area: Rect) {
    let name = words::line(&log.title, usize::from(area.width / 2));
    let follows = if log.follows() { "followed" } else { "End follows it" };
    let block = titled(title("Log", &format!("{name}, {follows}")), true);
    let inner = block.inner(area);
    let (height, width) = (usize::from(inner.height), usize::from(inner.width));
    let (lines, end) = log.sight();
    let (mut rows, mut shown) = (Vec::new(), 0);
    for line in lines.iter().take(end).rev() {
        let mut folded = fold(line, width);
        if rows.len() + folded.len() > height && shown > 0 {
            break;
        }
        shown += 1;
        folded.truncate(height);
        folded.reverse();
        rows.extend(folded);
    }
    rows.reverse();
    if rows.is_empty() {
        let none = if log.known { "no lines yet" } else { "reading …" };
        rows.push(Line::styled(none, of(style::DIM)));
    }
    log.shown = shown;
    frame.render_widget(Paragraph::new(rows).block(block), area);
}

/// A line of a log, on as many rows as it needs.
fn fold(line: &homing::log::Line, width: usize) -> Vec<Line<'static>> {
    let time = words::instant(line.time);
    let time = time.split(' ').next_back().unwrap_or_default().to_owned();
    let indent = time.len() + 7;
    let message = words::line(&line.message, usize::MAX);
    let mut parts = wrap(&message, width.saturating_sub(indent).max(10)).into_iter();
    let head = vec![
        Span::styled(time, of(style::DIM)),
        Span::styled(format!(" {:5} ", line.level), of(style::of_level(line.level))),
        Span::raw(parts.next().unwrap_or_default()),
    ];
    let mut rows = vec![Line::from(head)];
    rows.extend(parts.map(|part| Line::from(format!("{}{part}", " ".repeat(indent)))));
    rows
}

/// Text in parts of at most so many cells of the screen, broken at a space where there is one.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut parts, mut part, mut cells) = (Vec::new(), String::new(), 0);
    for letter in text.chars() {
        let wide = letter.width().unwrap_or(0);
        if cells + wide > width {
            let rest = match part.rfind(' ').filter(|at| *at > part.len() / 2) {
                Some(at) => part.split_off(at + 1),
                None => String::new(),
            };
            cells = rest.chars().filter_map(UnicodeWidthChar::width).sum();
            parts.push(std::mem::replace(&mut part, rest));
        }
        cells += wide;
        part.push(letter);
    }
    parts.push(part);
    parts
}

/// Draws why a task is where it is.
pub(super) fn draw_why(frame: &mut Frame<'_>, why: &mut Why, area: Rect) {
    let block = titled(title("Why", ""), true);
    let (height, width) = (area.height.saturating_sub(1), usize::from(area.width).max(1));
    let mut lines: Vec<Line<'_>> =
        why.lines.iter().flat_map(|line| wrap(line, width)).map(Line::from).collect();
    match lines.first_mut() {
        Some(first) => *first = std::mem::take(first).style(Modifier::BOLD),
        None => lines.push(Line::styled("reading …", of(style::DIM))),
    }
    let most = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_sub(height);
    why.top = why.top.min(most);
    frame.render_widget(Paragraph::new(lines).scroll((why.top, 0)).block(block), area);
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn text_is_broken_at_spaces_and_by_cells() {
        assert_eq!(wrap("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
