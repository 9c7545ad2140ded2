//! What stands in front: the help, and questions.

use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Paragraph, Wrap};

use super::of;
use crate::style;

const HELP: [(&str, &str); 18] = [
    ("↑ ↓  k j", "move; over the edge of the jobs to the next page"),
    ("PgUp PgDn", "a screen up or down"),
    ("Home End", "to the first or last row; at the end a log is followed"),
    ("Tab", "jobs, workers or queues"),
    ("Enter", "a job: its tree; a task: expand or collapse"),
    ("← →", "collapse, or go to the parent; expand"),
    ("Esc", "back; from the jobs: drop the filter"),
    ("w", "why a job or task is where it is"),
    ("l", "the job's log"),
    ("c", "cancel the job or task, and what is below it"),
    ("r", "retry the job: only what failed runs again"),
    ("p", "pause the queue, or resume it; ‖ marks paused ones"),
    ("/", "filter the jobs by words of the title, and by"),
    ("", "status:open|completed|errors|failed|cancelled"),
    ("", "kind:KIND tag:TAG queue:QUEUE"),
    ("q  Ctrl-C", "quit"),
    ("", ""),
    ("", "Parked tasks and rates are as of the workers' latest heartbeats."),
];

/// Draws the help.
pub(super) fn draw_help(frame: &mut Frame<'_>) {
    let lines = HELP.iter().map(|(key, what)| {
        Line::from(vec![Span::styled(format!("{key:11}"), of(style::BOLD)), Span::raw(*what)])
    });
    draw_box(frame, " Keys ", lines.collect(), 76);
}

/// Draws a question.
pub(super) fn draw_question(frame: &mut Frame<'_>, question: &str) {
    let answer = Line::from(vec![
        Span::styled("y", of(style::BOLD)),
        Span::raw(" yes    "),
        Span::styled("n", of(style::BOLD)),
        Span::raw(" no"),
    ]);
    let lines = vec![Line::from(question.to_owned()), Line::default(), answer];
    draw_box(frame, " Sure? ", lines, 60);
}

fn draw_box(frame: &mut Frame<'_>, title: &'static str, lines: Vec<Line<'_>>, width: u16) {
    let area = frame.area();
    let width = width.min(area.width);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let rows: usize = lines.iter().map(|line| line.width().div_ceil(inner).max(1)).sum();
    // Words wrap earlier than cells: a row to spare.
    let spare = usize::from(lines.iter().any(|line| line.width() > inner));
    let height = u16::try_from(rows + spare + 2).unwrap_or(u16::MAX).min(area.height);
    let [area] = Layout::horizontal([Constraint::Length(width)]).flex(Flex::Center).areas(area);
    let [area] = Layout::vertical([Constraint::Length(height)]).flex(Flex::Center).areas(area);
    let block = Block::bordered().title(title).padding(Padding::horizontal(1));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), area);
}
