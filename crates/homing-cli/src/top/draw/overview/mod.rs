//! Workers, queues and throughput, and the jobs below them.

use homing::{QueueView, Time, WorkerView};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Cell, Row, Sparkline, Table};

use super::super::model::{Focus, Model};
use super::{WIDE, of, rate, row_style, short, title, titled};
use crate::{style, words};

mod jobs;

/// Draws the overview.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let least = if area.height < 40 { 2 } else { 6 };
    let longest = model.workers.len().max(model.queues.len()).max(least);
    let longest = u16::try_from(longest).unwrap_or(u16::MAX).saturating_add(2);
    let upper = longest.min((area.height / 3).max(4));
    let [upper, lower] =
        Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(area);
    let mut parts = vec![Constraint::Fill(4), Constraint::Fill(3)];
    if area.width >= WIDE {
        parts.push(Constraint::Fill(3));
    }
    let parts = Layout::horizontal(parts).spacing(1).split(upper);
    draw_workers(frame, model, parts[0]);
    draw_queues(frame, model, parts[1]);
    if let Some(part) = parts.get(2) {
        draw_throughput(frame, model, *part);
    }
    jobs::draw(frame, model, lower);
}

fn draw_workers(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let now = model.now.unwrap_or_default();
    let focus = model.focus == Focus::Workers;
    let height = usize::from(area.height.saturating_sub(2));
    let sight = model.at_worker.fit(height, model.workers.len());
    let selected = model.at_worker.selected;
    let rows = sight.clone().map(|at| {
        let worker = &model.workers[at];
        worker_row(worker, rate(model.rates.of(worker.id)), now)
            .style(row_style(focus && at == selected))
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(5),
    ];
    let head = heads(&["WORKER", "  SLOTS", "PARKED", "TASK/S", "HEARD"]);
    let beside = place(&sight, model.workers.len());
    let table = Table::new(rows.collect::<Vec<_>>(), widths).header(head).column_spacing(1);
    frame.render_widget(table.block(titled(title("Workers", &beside), focus)), area);
}

fn worker_row(worker: &WorkerView, rate: String, now: Time) -> Row<'static> {
    let heard = short(now.since(worker.heartbeat));
    let name = words::line(&worker.name, 100);
    if !worker.alive {
        let dead = Style::new().patch(of(style::BAD));
        let cells = [Cell::from(name), right("dead", 7), Cell::default(), Cell::default()];
        return Row::new(cells.into_iter().chain([right(heard, 5)]).map(|cell| cell.style(dead)));
    }
    Row::new([
        Cell::from(name),
        right(format!("{}/{}", worker.running, worker.slots), 7),
        right(words::number(worker.resident.into()), 6),
        right(rate, 6),
        right(heard, 5),
    ])
}

fn draw_queues(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let now = model.now.unwrap_or_default();
    let focus = model.focus == Focus::Queues;
    let wide = area.width >= WIDE / 3;
    let height = usize::from(area.height.saturating_sub(2));
    let sight = model.at_queue.fit(height, model.queues.len());
    let selected = model.at_queue.selected;
    let rows = sight.clone().map(|at| {
        queue_row(&model.queues[at], now, wide).style(row_style(focus && at == selected))
    });
    let widths =
        [Constraint::Fill(1), Constraint::Length(7), Constraint::Length(7), Constraint::Length(6)];
    let head = heads(&["QUEUE", "  READY", "  LATER", "OLDEST"]);
    let beside = place(&sight, model.queues.len());
    let table = Table::new(rows.collect::<Vec<_>>(), widths).header(head).column_spacing(1);
    frame.render_widget(table.block(titled(title("Queues", &beside), focus)), area);
}

fn queue_row(queue: &QueueView, now: Time, wide: bool) -> Row<'static> {
    let oldest = queue.oldest.map(|since| short(now.since(since))).unwrap_or_default();
    let name = words::line(&queue.name, 100);
    let name = if queue.stalled > 0 && !queue.paused {
        let stalled = words::number(queue.stalled);
        Cell::from(format!("{name} ({stalled} stalled)")).style(of(style::BAD))
    } else if queue.paused {
        Cell::from(format!("‖ {name}{}", if wide { " (paused)" } else { "" }))
            .style(of(style::WARN))
    } else {
        Cell::from(name)
    };
    Row::new([
        name,
        right(words::number(queue.ready), 7),
        right(words::number(queue.scheduled), 7),
        right(oldest, 6),
    ])
}

fn draw_throughput(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let curve = model.rates.curve(usize::from(area.width));
    let most = curve.iter().copied().max().unwrap_or(0);
    let now = rate(model.rates.total());
    let beside = format!("{now} tasks/s, most {}", words::number(most));
    let block = titled(title("Throughput", &beside), false);
    frame.render_widget(Sparkline::default().data(curve).style(of(style::BUSY)).block(block), area);
}

/// Which of so many rows are in sight; nothing if all are.
fn place(sight: &std::ops::Range<usize>, len: usize) -> String {
    if sight.len() == len {
        return String::new();
    }
    format!("{}–{} of {len}", sight.start + 1, sight.end)
}

fn heads(heads: &[&'static str]) -> Row<'static> {
    Row::new(heads.iter().map(|head| Cell::from(*head))).style(of(style::DIM))
}

fn right(text: impl std::fmt::Display, width: usize) -> Cell<'static> {
    Cell::from(format!("{text:>width$}"))
}
