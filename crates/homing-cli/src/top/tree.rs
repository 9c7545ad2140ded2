//! A job's tree: expanded where somebody looked, a page of children of each expanded task in memory.
//!
//! A task with a million children costs as much as one with fifty: its other pages are a cursor away.

use std::collections::{HashMap, HashSet};

use homing::{ChildCounts, Cursor, JobId, JobView, TaskId, TaskState, TaskView, Time};

use super::scroll::{Move, Scroll};
use crate::words;

/// Children of one task in memory.
pub(crate) const PAGE: usize = 50;
/// Tasks that may be expanded at once.
const EXPANDED: usize = 100;
/// Characters kept of arguments and failures.
const TEXT: usize = 300;

/// A task, without what may be large.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: TaskId,
    pub(crate) kind: String,
    pub(crate) arguments: String,
    pub(crate) queue: String,
    pub(crate) state: TaskState,
    pub(crate) attempt: u32,
    pub(crate) children: ChildCounts,
    pub(crate) started: Option<Time>,
    pub(crate) ended: Option<Time>,
    /// Why it failed, or was tried again.
    pub(crate) note: String,
}

impl From<TaskView> for Row {
    fn from(view: TaskView) -> Self {
        let note = view.failure.map(|failure| failure.message).or(view.reason);
        Self {
            id: view.id,
            kind: view.kind,
            arguments: words::line(&view.arguments, TEXT),
            queue: view.queue,
            state: view.state,
            attempt: view.attempt,
            children: view.children,
            started: view.started,
            ended: view.ended,
            note: words::line(&note.unwrap_or_default(), TEXT),
        }
    }
}

/// A page of a task's children, and how to get to its neighbours.
#[derive(Debug, Default)]
struct Window {
    /// The pages before: where they begin, and how many rows they had.
    before: Vec<(Cursor, usize)>,
    start: Cursor,
    rows: Vec<Row>,
    next: Option<Cursor>,
    known: bool,
}

/// What one look brings of a tree.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) job: JobView,
    pub(crate) root: Row,
    pub(crate) pages: Vec<Page>,
}

/// A page of a task's children.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) parent: TaskId,
    pub(crate) start: Cursor,
    pub(crate) rows: Vec<Row>,
    pub(crate) next: Option<Cursor>,
}

/// A line of the tree.
#[derive(Debug)]
pub(crate) enum Line<'t> {
    /// A task, and whether it is expanded.
    Task { depth: usize, row: &'t Row, expanded: bool },
    /// So many children of a task come before those shown.
    Earlier { depth: usize, of: TaskId, count: u64 },
    /// So many children of a task come after those shown.
    Later { depth: usize, of: TaskId, count: u64 },
    /// The children of a task are on their way.
    Coming { depth: usize, of: TaskId },
}

/// What a line stands for, whatever its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Task(TaskId),
    Earlier(TaskId),
    Later(TaskId),
    Coming(TaskId),
}

impl Line<'_> {
    fn key(&self) -> Key {
        match self {
            Self::Task { row, .. } => Key::Task(row.id),
            Self::Earlier { of, .. } => Key::Earlier(*of),
            Self::Later { of, .. } => Key::Later(*of),
            Self::Coming { of, .. } => Key::Coming(*of),
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Task { depth, .. }
            | Self::Earlier { depth, .. }
            | Self::Later { depth, .. }
            | Self::Coming { depth, .. } => *depth,
        }
    }
}

/// The tree of one job.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) id: JobId,
    pub(crate) job: Option<JobView>,
    root: Option<Row>,
    expanded: HashMap<TaskId, Window>,
    pub(crate) scroll: Scroll,
    chosen: Key,
}

impl Tree {
    /// The tree of a job, its root expanded.
    pub(crate) fn of(id: JobId) -> Self {
        Self {
            id,
            job: None,
            root: None,
            expanded: HashMap::from([(id.root(), Window::default())]),
            scroll: Scroll::default(),
            chosen: Key::Task(id.root()),
        }
    }

    /// The lines, top down.
    pub(crate) fn lines(&self) -> Vec<Line<'_>> {
        let mut lines = Vec::new();
        // Depths grow with the tree, so no recursion: a chain may be longer than a stack is deep.
        let mut todo: Vec<Line<'_>> = Vec::new();
        todo.extend(self.root.as_ref().map(|row| self.line(row, 0)));
        while let Some(line) = todo.pop() {
            if let Line::Task { depth, row, expanded: true } = line {
                let below = todo.len();
                self.below(row, depth + 1, &mut todo);
                todo[below..].reverse();
            }
            lines.push(line);
        }
        lines
    }

    fn line<'t>(&self, row: &'t Row, depth: usize) -> Line<'t> {
        Line::Task { depth, row, expanded: self.expanded.contains_key(&row.id) }
    }

    fn below<'t>(&'t self, row: &Row, depth: usize, lines: &mut Vec<Line<'t>>) {
        let (of, Some(window)) = (row.id, self.expanded.get(&row.id)) else { return };
        let skipped = window.before.iter().map(|(_, rows)| *rows as u64).sum::<u64>();
        if skipped > 0 {
            lines.push(Line::Earlier { depth, of, count: skipped });
        }
        if !window.known && row.children.spawned > 0 {
            lines.push(Line::Coming { depth, of });
        }
        lines.extend(window.rows.iter().map(|row| self.line(row, depth)));
        let count = row.children.spawned.saturating_sub(skipped + window.rows.len() as u64);
        if window.next.is_some() && count > 0 {
            lines.push(Line::Later { depth, of, count });
        }
    }

    /// The pages to read again: those in sight, and those not yet known.
    pub(crate) fn wanted(&self) -> Vec<(TaskId, Cursor)> {
        let lines = self.lines();
        let mut parents: HashSet<TaskId> = HashSet::new();
        let mut above: Vec<TaskId> = Vec::new();
        let sight = self.scroll.sight(lines.len());
        for (at, line) in lines.iter().enumerate() {
            above.truncate(line.depth());
            if sight.contains(&at) {
                parents.extend(above.last());
            }
            if let Line::Task { row, .. } = line {
                above.push(row.id);
            }
        }
        let wanted = |(id, window): (&TaskId, &Window)| {
            // One without children yet has no line to be in sight.
            let look = !window.known || window.rows.is_empty() || parents.contains(id);
            look.then(|| (*id, window.start.clone()))
        };
        self.expanded.iter().filter_map(wanted).collect()
    }

    /// Takes in what was read; pages turned meanwhile are left out.
    pub(crate) fn take(&mut self, family: Family) {
        self.job = Some(family.job);
        self.root = Some(family.root);
        for Page { parent, start, rows, next } in family.pages {
            if let Some(window) = self.expanded.get_mut(&parent)
                && window.start == start
            {
                (window.rows, window.next, window.known) = (rows, next, true);
            }
        }
        self.forget_hidden();
        self.find_chosen();
    }

    /// Collapses what cannot be seen any more.
    fn forget_hidden(&mut self) {
        let seen: HashSet<TaskId> = self.lines().iter().filter_map(task).collect();
        if self.root.is_some() {
            self.expanded.retain(|id, _| seen.contains(id));
        }
    }

    fn find_chosen(&mut self) {
        let at = self.lines().iter().position(|line| line.key() == self.chosen);
        match at {
            Some(at) => self.scroll.selected = at,
            None => self.choose(),
        }
    }

    fn choose(&mut self) {
        let lines = self.lines();
        let at = self.scroll.selected.min(lines.len().saturating_sub(1));
        if let Some(key) = lines.get(at).map(Line::key) {
            (self.scroll.selected, self.chosen) = (at, key);
        }
    }

    /// Moves the selection.
    pub(crate) fn go(&mut self, to: Move) {
        self.scroll.go(to, self.lines().len());
        self.choose();
    }

    /// The selected task.
    pub(crate) fn selected(&self) -> Option<Row> {
        match self.lines().get(self.scroll.selected) {
            Some(Line::Task { row, .. }) => Some((*row).clone()),
            _ => None,
        }
    }

    /// Expands or collapses the selected task, or turns the page. Whether something must be read.
    ///
    /// # Errors
    /// So many tasks are expanded that another would be too many.
    pub(crate) fn enter(&mut self) -> Result<bool, String> {
        match self.chosen {
            Key::Task(id) if self.expanded.contains_key(&id) => {
                self.collapse(id);
                Ok(false)
            }
            Key::Task(_) => self.expand(),
            Key::Later(of) => Ok(self.turn(of, true)),
            Key::Earlier(of) => Ok(self.turn(of, false)),
            Key::Coming(_) => Ok(false),
        }
    }

    /// Expands the selected task.
    ///
    /// # Errors
    /// As for [`enter`](Self::enter).
    pub(crate) fn expand(&mut self) -> Result<bool, String> {
        let Some(row) = self.selected().filter(|row| row.children.spawned > 0) else {
            return Ok(false);
        };
        if self.expanded.contains_key(&row.id) {
            return Ok(false);
        }
        if self.expanded.len() >= EXPANDED {
            return Err(format!("{EXPANDED} tasks are expanded: collapse one first"));
        }
        self.expanded.insert(row.id, Window::default());
        Ok(true)
    }

    /// Collapses the selected task, or goes up to its parent.
    pub(crate) fn out(&mut self) {
        match self.chosen {
            Key::Task(id) if self.expanded.contains_key(&id) => self.collapse(id),
            _ => {
                let lines = self.lines();
                let depth = lines.get(self.scroll.selected).map_or(0, Line::depth);
                let above = lines.iter().take(self.scroll.selected);
                if let Some(at) = above.rev().position(|line| line.depth() < depth) {
                    self.scroll.selected -= at + 1;
                    self.choose();
                }
            }
        }
    }

    fn collapse(&mut self, id: TaskId) {
        self.expanded.remove(&id);
        self.forget_hidden();
    }

    fn turn(&mut self, of: TaskId, forward: bool) -> bool {
        let Some(window) = self.expanded.get_mut(&of) else { return false };
        let start = if forward {
            let Some(next) = window.next.clone() else { return false };
            window.before.push((window.start.clone(), window.rows.len()));
            next
        } else {
            let Some((start, _)) = window.before.pop() else { return false };
            start
        };
        let before = std::mem::take(&mut window.before);
        *window = Window { before, start, ..Window::default() };
        self.chosen = if forward { Key::Earlier(of) } else { Key::Later(of) };
        self.forget_hidden();
        true
    }
}

fn task(line: &Line<'_>) -> Option<TaskId> {
    if let Line::Task { row, .. } = line { Some(row.id) } else { None }
}
