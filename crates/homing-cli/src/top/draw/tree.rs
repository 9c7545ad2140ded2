//! A job and its tree.

use homing::{JobView, TaskState, Time};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};

use super::super::tree::{Line, Row, Tree};
use super::{WIDE, bar, name, of, row_style, short, title, titled};
use crate::{style, words};

/// Levels of indentation before it is cut short, and the cells of one.
const INDENTS: usize = 12;
const INDENT: usize = 2;

/// Draws the tree under a head that tells of the job.
pub(super) fn draw(frame: &mut Frame<'_>, tree: &mut Tree, now: Option<Time>, area: Rect) {
    let [head, body] = Layout::vertical([Constraint::Length(4), Constraint::Fill(1)]).areas(area);
    let Some(job) = &tree.job else {
        let block = titled(title("Job", &tree.id.to_string()), true);
        frame.render_widget(Paragraph::new("reading …").block(block), area);
        return;
    };
    let now = now.unwrap_or_default();
    draw_job(frame, job, now, head);
    let wide = area.width >= WIDE;
    let len = tree.lines().len();
    let sight = tree.scroll.fit(usize::from(body.height.saturating_sub(1)), len);
    let lines = tree.lines();
    let rows =
        sight.map(|at| line(&lines[at], now, wide).style(row_style(at == tree.scroll.selected)));
    let mut widths = vec![
        Constraint::Fill(3),
        Constraint::Length(9),
        Constraint::Length(15),
        Constraint::Length(3),
        Constraint::Length(5),
    ];
    let mut heads = vec!["TASK", "STATE", "  DONE/CHILDREN", "TRY", " TOOK"];
    if wide {
        widths.push(Constraint::Fill(3));
        heads.push("FAILURE");
    }
    let head = TableRow::new(heads).style(of(style::DIM));
    let table = Table::new(rows.collect::<Vec<_>>(), widths).header(head).column_spacing(1);
    frame.render_widget(table, body);
}

fn draw_job(frame: &mut Frame<'_>, job: &JobView, now: Time, area: Rect) {
    let colour = of(style::of_status(job.status));
    let took = job.started.map(|from| short(job.ended.unwrap_or(now).since(from)));
    let beside = job.id.to_string();
    let room = usize::from(area.width).saturating_sub(beside.len() + 4);
    let lines = vec![
        Text::from(vec![
            Span::styled(format!("{}  ", job.status), colour),
            Span::styled(bar(job.percent(), 20), colour),
            Span::raw(format!("  {}", took.unwrap_or_default())),
        ]),
        Text::from(words::states(&job.counts)),
    ];
    let block = titled(title(&words::line(&name(job), room), &beside), true);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn line(line: &Line<'_>, now: Time, wide: bool) -> TableRow<'static> {
    let rest = |depth: &usize, text: String| {
        let text = format!("{}  {text}", indent(*depth));
        TableRow::new([Cell::from(Span::styled(text, of(style::DIM)))])
    };
    match line {
        Line::Task { depth, row, expanded } => task(row, (*depth, *expanded), now, wide),
        Line::Earlier { depth, count, .. } => {
            rest(depth, format!("↑ {} before these", words::number(*count)))
        }
        Line::Later { depth, count, .. } => {
            rest(depth, format!("↓ {} after these", words::number(*count)))
        }
        Line::Coming { depth, .. } => rest(depth, "reading …".to_owned()),
    }
}

fn task(row: &Row, (depth, expanded): (usize, bool), now: Time, wide: bool) -> TableRow<'static> {
    let sign = match (row.children.spawned, expanded) {
        (0, _) => ' ',
        (_, true) => '▾',
        (_, false) => '▸',
    };
    let note = Span::styled(row.note.clone(), note_style(row.state));
    let mut text = vec![Span::raw(format!("{}{sign} {} ", indent(depth), row.kind))];
    if row.note.is_empty() || wide {
        text.push(Span::styled(row.arguments.clone(), of(style::DIM)));
    } else {
        text.push(note.clone());
    }
    let children = if row.children.spawned > 0 {
        let (ended, spawned) = (row.children.ended(), row.children.spawned);
        format!("{}/{}", words::number(ended), words::number(spawned))
    } else {
        String::new()
    };
    let took = row.started.map(|from| short(row.ended.unwrap_or(now).since(from)));
    let mut cells = vec![
        Cell::from(Text::from(text)),
        Cell::from(Span::styled(row.state.to_string(), of(style::of_state(row.state)))),
        Cell::from(format!("{children:>15}")),
        Cell::from(format!("{:>3}", row.attempt)),
        Cell::from(format!("{:>5}", took.unwrap_or_default())),
    ];
    if wide {
        cells.push(Cell::from(note));
    }
    TableRow::new(cells)
}

fn note_style(state: TaskState) -> Style {
    of(if state == TaskState::Failed { style::BAD } else { style::WARN })
}

fn indent(depth: usize) -> String {
    if depth <= INDENTS {
        return " ".repeat(depth * INDENT);
    }
    format!("{depth:>width$} ", width = INDENTS * INDENT - 1)
}
