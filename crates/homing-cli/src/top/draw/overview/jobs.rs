//! The table of jobs.

use homing::{JobView, Status, Time};
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::super::super::model::{Focus, Model};
use super::super::{WIDE, bar, name, of, row_style, short, title, titled};
use super::{heads, place, right};
use crate::{style, words};

/// Draws the table.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let focus = model.focus == Focus::Jobs;
    let known = model.jobs.is_known();
    let len = model.jobs.rows().len();
    let sight = model.jobs.scroll.fit(usize::from(area.height.saturating_sub(2)), len);
    let block = titled(title("Jobs", &beside(model, &sight)), focus);
    if known && len == 0 {
        let none = if model.jobs.text.is_empty() { "no jobs yet" } else { "no such jobs" };
        frame.render_widget(Paragraph::new(Line::styled(none, of(style::DIM))).block(block), area);
        return;
    }
    let wide = area.width >= WIDE;
    let now = model.now.unwrap_or_default();
    let selected = model.jobs.scroll.selected;
    let rows = sight
        .map(|at| row(&model.jobs.rows()[at], now, wide).style(row_style(focus && at == selected)));
    let table = Table::new(rows.collect::<Vec<_>>(), widths(wide)).column_spacing(1);
    frame.render_widget(table.header(heads(headings(wide))).block(block), area);
}

fn beside(model: &Model, sight: &std::ops::Range<usize>) -> String {
    let jobs = &model.jobs;
    let (page, more) = jobs.place();
    let mut parts = Vec::new();
    if !jobs.is_known() {
        parts.push("reading …".to_owned());
    } else if page > 1 || more {
        let last = if more { "" } else { ", the last" };
        let (from, to, len) = (sight.start + 1, sight.end, jobs.rows().len());
        parts.push(format!("{from}–{to} of {len} on page {page}{last}"));
    } else {
        parts.push(place(sight, jobs.rows().len()));
    }
    if !jobs.text.is_empty() {
        parts.push(format!("only {}", words::line(&jobs.text, 40)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

fn headings(wide: bool) -> &'static [&'static str] {
    if wide {
        &[
            "STATUS",
            "PROGRESS",
            "      DONE/TASKS",
            " FAILED",
            "RUNNING",
            "WAITING",
            " PENDING",
            "  AGE",
            " TOOK",
            "JOB",
            "KIND",
            "QUEUE",
            "ID",
        ]
    } else {
        &["STATUS", "PROGRESS", "     DONE/TASKS", "FAILED", "  AGE", "JOB"]
    }
}

fn widths(wide: bool) -> Vec<Constraint> {
    let fixed: &[u16] = if wide { &[21, 15, 16, 7, 7, 7, 8, 5, 5] } else { &[11, 13, 15, 6, 5] };
    let mut widths: Vec<_> = fixed.iter().map(|width| Constraint::Length(*width)).collect();
    widths.push(Constraint::Fill(3));
    if wide {
        widths.extend([Constraint::Fill(2), Constraint::Fill(1), Constraint::Length(36)]);
    }
    widths
}

fn row(job: &JobView, now: Time, wide: bool) -> Row<'static> {
    let colour = of(style::of_status(job.status));
    let status = match job.status {
        Status::CompletedWithErrors if !wide => "with errors",
        status => status.name(),
    };
    let counts = job.counts;
    let done = format!("{}/{}", words::number(counts.ended()), words::number(counts.spawned()));
    let failed = if counts.failed > 0 { of(style::BAD) } else { Style::new() };
    let number = |n: u64, width| right(if n > 0 { words::number(n) } else { String::new() }, width);
    let mut cells = vec![
        Cell::from(Span::styled(status, colour)),
        Cell::from(Span::styled(bar(job.percent(), if wide { 10 } else { 8 }), colour)),
        right(done, if wide { 16 } else { 15 }),
        number(counts.failed, if wide { 7 } else { 6 }).style(failed),
    ];
    if wide {
        cells.push(number(counts.running, 7));
        cells.push(number(counts.waiting, 7));
        cells.push(number(counts.pending, 8));
    }
    cells.push(right(short(now.since(job.created)), 5));
    if wide {
        let took = job.started.map(|from| short(job.ended.unwrap_or(now).since(from)));
        cells.push(right(took.unwrap_or_default(), 5));
    }
    cells.push(Cell::from(words::line(&name(job), 200)));
    if wide {
        cells.push(Cell::from(words::line(&job.kind, 200)));
        cells.push(Cell::from(words::line(&job.queue, 200)));
        cells.push(Cell::from(Span::styled(job.id.to_string(), of(style::DIM))));
    }
    Row::new(cells)
}
