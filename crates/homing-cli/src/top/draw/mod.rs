//! How it looks: a head, the topmost screen, a line of news, a line of keys; popups in front.
//!
//! Only what is in sight is built, so a picture costs the same however much there is.

mod overview;
mod popup;
mod text;
mod tree;

use std::time::Duration;

use homing::JobView;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};

use super::model::{Model, Popup, Screen};
use crate::{style, words};

/// The least width at which there is room for more columns.
const WIDE: u16 = 120;
/// How long the store may take before it is told that it does.
const PATIENCE: Duration = Duration::from_secs(3);

/// Draws a picture. The model learns how much of its lists is in sight.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let [head, body, news, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, model, head);
    let mut screens = std::mem::take(&mut model.screens);
    match screens.last_mut() {
        None => overview::draw(frame, model, body),
        Some(Screen::Tree(tree)) => tree::draw(frame, tree, model.now, body),
        Some(Screen::Log(log)) => text::draw_log(frame, log, body),
        Some(Screen::Why(why)) => text::draw_why(frame, why, body),
    }
    model.screens = screens;
    draw_news(frame, model, news);
    frame.render_widget(line_of_keys(model), keys);
    match &model.popup {
        Some(Popup::Help) => popup::draw_help(frame),
        Some(Popup::Confirm { question, .. }) => popup::draw_question(frame, question),
        Some(Popup::Filter { .. }) | None => {}
    }
    disarm(frame);
}

/// The door of the screen: whatever steers a terminal and has come this far is not shown.
fn disarm(frame: &mut Frame<'_>) {
    for cell in &mut frame.buffer_mut().content {
        if cell.symbol().contains(words::steers) {
            cell.set_symbol("\u{fffd}");
        }
    }
}

/// Takes the colours away; what stands out by other means stays.
pub(crate) fn discolour(frame: &mut Frame<'_>) {
    for cell in &mut frame.buffer_mut().content {
        (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
    }
}

fn draw_head(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let alive = model.workers.iter().filter(|worker| worker.alive);
    let (running, slots) = alive.fold((0, 0), |(running, slots), worker| {
        (running + u64::from(worker.running), slots + u64::from(worker.slots))
    });
    let time = model.now.map(words::instant).unwrap_or_default();
    let right = format!(
        "{} tasks/s   {}/{} slots   {} ",
        rate(model.rates.total()),
        words::number(running),
        words::number(slots),
        time.split(' ').next_back().unwrap_or_default()
    );
    let room = usize::from(area.width).saturating_sub(right.chars().count() + 10);
    let left = Line::from(vec![
        Span::styled(" homing  ", of(style::BOLD)),
        Span::raw(words::line(&model.store, room)),
    ]);
    frame.render_widget(left, area);
    frame.render_widget(Line::from(right).right_aligned(), area);
}

fn draw_news(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let width = usize::from(area.width).saturating_sub(1);
    let line = if let Some(Popup::Filter { text, wrong }) = &model.popup {
        let wrong = wrong.as_deref().unwrap_or("words of the title, status: kind: tag: queue:");
        Line::from(vec![
            Span::styled(" filter: ", of(style::BOLD)),
            Span::raw(text.clone()),
            Span::styled(" ", Modifier::REVERSED),
            Span::styled(format!("  {wrong}"), of(style::DIM)),
        ])
    } else if let Some(trouble) = &model.trouble {
        let again = format!(" {trouble}; it is tried again by itself");
        Line::styled(words::line(&again, width), of(style::BAD))
    } else if model.overdue >= PATIENCE {
        let text = format!(" the store has not answered for {}", words::duration(model.overdue));
        Line::styled(text, of(style::WARN))
    } else if let Some(notice) = &model.notice {
        let colour = if notice.bad { style::WARN } else { style::GOOD };
        Line::styled(words::line(&format!(" {}", notice.text), width), of(colour))
    } else {
        return;
    };
    frame.render_widget(line, area);
}

fn line_of_keys(model: &Model) -> Line<'static> {
    let keys = match (&model.popup, model.screens.last()) {
        (Some(Popup::Filter { .. }), _) => "⏎ list|Esc leave",
        (Some(Popup::Confirm { .. }), _) => "y yes|n no",
        (Some(Popup::Help), _) => "Esc close",
        (None, None) => {
            "⏎ tree|w why|l log|c cancel|r retry|p pause|/ filter|Tab list|? help|q quit"
        }
        (None, Some(Screen::Tree(_))) => {
            "⏎ open|← up|w why|l log|c cancel|r retry|p pause|Esc back|? help|q quit"
        }
        (None, Some(Screen::Log(_) | Screen::Why(_))) => "↑↓ scroll|Esc back|? help|q quit",
    };
    let mut line = Line::default();
    for (key, what) in keys.split('|').filter_map(|key| key.split_once(' ')) {
        line.push_span(Span::styled(format!(" {key} "), of(style::BOLD)));
        line.push_span(Span::styled(what, of(style::DIM)));
    }
    line
}

/// What people call a job.
pub(crate) fn name(job: &JobView) -> String {
    job.title.clone().unwrap_or_else(|| job.kind.clone())
}

/// A style of the rest of the command, for the screen.
fn of(style: anstyle::Style) -> Style {
    let mut found = Style::new();
    if let Some(anstyle::Color::Ansi(colour)) = style.get_fg_color() {
        found = found.fg(match colour {
            anstyle::AnsiColor::Green => Color::Green,
            anstyle::AnsiColor::Red => Color::Red,
            anstyle::AnsiColor::Yellow => Color::Yellow,
            anstyle::AnsiColor::Cyan => Color::Cyan,
            _ => Color::Reset,
        });
    }
    let effects = style.get_effects();
    if effects.contains(anstyle::Effects::BOLD) {
        found = found.add_modifier(Modifier::BOLD);
    }
    if effects.contains(anstyle::Effects::DIMMED) {
        found = found.add_modifier(Modifier::DIM);
    }
    found
}

/// A part of the screen under a title.
fn titled(title: Line<'static>, focus: bool) -> Block<'static> {
    let colour = if focus { of(style::BUSY) } else { of(style::DIM) };
    Block::new().borders(Borders::TOP).border_style(colour).title(title)
}

/// A title and what is told beside it.
fn title(name: &str, beside: &str) -> Line<'static> {
    let name = Span::styled(format!(" {name} "), Style::new().add_modifier(Modifier::BOLD));
    if beside.is_empty() {
        return Line::from(name);
    }
    Line::from(vec![name, Span::raw(format!("{beside} "))])
}

/// The style of a row.
fn row_style(selected: bool) -> Style {
    if selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() }
}

/// A bar of so many cells, and the percentage, where there is one.
fn bar(progress: Option<f64>, cells: usize) -> String {
    let Some(progress) = progress else { return format!("{}    -", "░".repeat(cells)) };
    let full = ((progress / 100.0 * cells as f64).floor() as usize).min(cells);
    format!("{}{} {:>3}%", "█".repeat(full), "░".repeat(cells - full), progress.floor())
}

/// A duration in one unit: `812ms`, `12s`, `4m`, `2h`, `3d`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Tasks a second: `0.4`, `12`, `1,234`; a dash before it is known.
fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "–".to_owned(),
        Some(rate) if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => words::number(rate.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn nothing_on_the_screen_steers_it() {
        let mut terminal = Terminal::new(TestBackend::new(20, 1)).unwrap();
        let draw = |frame: &mut Frame<'_>| {
            frame.buffer_mut().content[1].set_symbol("x\u{202e}");
            frame.buffer_mut().content[2].set_symbol("\u{1b}");
            disarm(frame);
        };
        terminal.draw(draw).unwrap();
        let shown: String =
            terminal.backend().buffer().content.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(shown.trim_end(), " \u{fffd}\u{fffd}");
    }
}
