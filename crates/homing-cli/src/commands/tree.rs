//! A task and what is below it: bounded, or whole but never in memory whole.
//!
//! Bounded, a wide task shows the children that want a look: failed ones first, then open ones. Which
//! these are comes from the store's indexes, and how many there are from its counters, so a job of a
//! million tasks is as quick to show as one of ten.

use std::collections::VecDeque;

use homing::{ChildCounts, Cursor, TaskId, TaskState, TaskView, Time};

use crate::{Context, Result, json, style, words};

pub(crate) use homing_view::why::{reason_of as reason, took};

/// Levels shown below the first task, unless all are.
const LEVELS: usize = 20;
/// Children read at once on the way through a whole tree.
const PAGE: usize = 32;
/// Levels of indentation before it is cut short.
const INDENTS: usize = 24;

/// What is shown of a tree.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    view: TaskView,
    depth: usize,
    children: Vec<usize>,
}

impl Node {
    fn omitted(&self) -> u64 {
        self.view.children.spawned.saturating_sub(self.children.len() as u64)
    }
}

impl Tree {
    /// At most `tasks` tasks, those nearer the root first, and at most `children` below each.
    pub(crate) async fn bounded(
        cx: &Context,
        root: TaskView,
        children: usize,
        tasks: usize,
    ) -> Result<Self> {
        let mut nodes = vec![Node { view: root, depth: 0, children: Vec::new() }];
        let mut at = 0;
        while at < nodes.len() && nodes.len() < tasks {
            let free = children.min(tasks - nodes.len());
            let depth = nodes[at].depth + 1;
            if depth <= LEVELS && free > 0 {
                for mut view in notable(cx, &nodes[at].view, free).await? {
                    if !cx.json {
                        // Large, and not shown.
                        view.arguments = String::new();
                        view.value = None;
                    }
                    let child = nodes.len();
                    nodes[at].children.push(child);
                    nodes.push(Node { view, depth, children: Vec::new() });
                }
            }
            at += 1;
        }
        Ok(Self { nodes })
    }

    /// Writes it.
    pub(crate) fn show(&self, cx: &Context) -> Result<()> {
        self.show_below(cx, 0, &mut Trunk::default())
    }

    fn show_below(&self, cx: &Context, at: usize, trunk: &mut Trunk) -> Result<()> {
        let Some(node) = self.nodes.get(at) else { return Ok(()) };
        show_task(cx, &node.view, trunk)?;
        let omitted = node.omitted();
        for (n, child) in node.children.iter().enumerate() {
            let last = n + 1 == node.children.len() && omitted == 0;
            trunk.0.push(last);
            self.show_below(cx, *child, trunk)?;
            trunk.0.pop();
        }
        if omitted > 0 {
            trunk.0.push(true);
            let (parent, depth) = (node.view.id, node.depth + 1);
            cx.show(&json::Object::Omitted { parent, depth, count: omitted }, || {
                let rest = rest(&node.view.children, &self.states_below(node));
                let more = if node.children.is_empty() { "" } else { "more " };
                let of = format!("… {} {more}below: {rest}", words::number(omitted));
                format!("{}{}", trunk.prefix(), style::paint(style::DIM, of))
            })?;
            trunk.0.pop();
        }
        Ok(())
    }

    fn states_below(&self, node: &Node) -> Vec<TaskState> {
        node.children.iter().filter_map(|at| self.nodes.get(*at)).map(|n| n.view.state).collect()
    }
}

/// Writes a task and all that is below it, as it is read.
pub(crate) async fn show_whole(cx: &Context, root: &TaskView) -> Result<()> {
    show_task(cx, root, &Trunk::default())?;
    let mut levels = vec![Level::below(root.id)];
    let mut trunk = Trunk::default();
    while let Some(level) = levels.last_mut() {
        let Some((view, last)) = level.next(cx).await? else {
            levels.pop();
            trunk.0.pop();
            continue;
        };
        trunk.0.push(last);
        show_task(cx, &view, &trunk)?;
        if view.children.spawned > 0 {
            levels.push(Level::below(view.id));
        } else {
            trunk.0.pop();
        }
    }
    Ok(())
}

/// A walk over the children of one task.
struct Level {
    parent: TaskId,
    page: VecDeque<TaskView>,
    next: Option<Cursor>,
}

impl Level {
    fn below(parent: TaskId) -> Self {
        Self { parent, page: VecDeque::new(), next: Some(Cursor::default()) }
    }

    /// The next child, and whether it is the last.
    async fn next(&mut self, cx: &Context) -> Result<Option<(TaskView, bool)>> {
        // One ahead, to know which is the last.
        while self.page.len() < 2
            && let Some(cursor) = self.next.take()
        {
            let (page, next) = cx.homing.children(self.parent, cursor, PAGE).await?;
            self.page.extend(page);
            self.next = next;
        }
        let view = self.page.pop_front();
        Ok(view.map(|view| (view, self.page.is_empty() && self.next.is_none())))
    }
}

/// Children that want a look, at most `limit`, in the order in which they were spawned: all, if so few;
/// else the failed and the open ones, and of the others as many as there is room for.
pub(crate) async fn notable(cx: &Context, task: &TaskView, limit: usize) -> Result<Vec<TaskView>> {
    let counts = task.children;
    let mut found = Vec::new();
    if counts.spawned <= limit as u64 {
        let mut level = Level::below(task.id);
        while found.len() < limit
            && let Some((view, _)) = level.next(cx).await?
        {
            found.push(view);
        }
        found.sort_by_key(|view| (view.created, view.set));
        return Ok(found);
    }
    let there = |n: u64| n > 0;
    let states = [
        (TaskState::Failed, there(counts.failed), limit / 2),
        (TaskState::Running, there(counts.open()), limit / 2),
        (TaskState::Waiting, there(counts.open()), limit / 4),
        (TaskState::Pending, there(counts.open()), limit),
        (TaskState::Failed, there(counts.failed), limit),
        (TaskState::Cancelled, there(counts.cancelled), limit),
        (TaskState::Succeeded, there(counts.succeeded), limit),
    ];
    for (state, _, most) in states.into_iter().filter(|(_, there, _)| *there) {
        let room = limit - found.len();
        if room == 0 {
            break;
        }
        // More than there is room for: those already found come again.
        for view in cx.homing.children_in(task.id, state, limit).await?.into_iter().take(most) {
            let known = found.iter().any(|other: &TaskView| other.id == view.id);
            if !known && found.len() < limit {
                found.push(view);
            }
        }
    }
    found.sort_by_key(|view| (view.created, view.set));
    Ok(found)
}

/// Whether each level above ends with the task under way.
#[derive(Debug, Default)]
struct Trunk(Vec<bool>);

impl Trunk {
    fn prefix(&self) -> String {
        let Some((last, above)) = self.0.split_last() else { return String::new() };
        let cut = above.len().saturating_sub(INDENTS);
        let mut prefix = if cut > 0 { format!("({cut} up) ") } else { String::new() };
        for ends in &above[cut..] {
            prefix += if *ends { "   " } else { "│  " };
        }
        prefix + if *last { "└─ " } else { "├─ " }
    }
}

fn show_task(cx: &Context, view: &TaskView, trunk: &Trunk) -> Result<()> {
    cx.show(&json::task(view, trunk.0.len()), || {
        format!("{}{}", trunk.prefix(), text(view, cx.now()))
    })
}

/// A task on a line: kind, state, how long, attempts, its place in the job, what went wrong.
pub(crate) fn text(view: &TaskView, now: Time) -> String {
    let state = style::paint(style::of_state(view.state), view.state);
    let mut parts = vec![view.kind.clone(), state, words::duration(took(view, now))];
    parts.extend((view.attempt > 1).then(|| format!("attempt {}", view.attempt)));
    let id = view.id.to_string();
    parts.extend(id.find('.').map(|dot| style::paint(style::DIM, &id[dot..])));
    let failure = view.failure.as_ref().map(|failure| failure.message.as_str());
    let trouble = failure.or(reason(view).filter(|_| !view.state.is_ended()));
    parts.extend(trouble.map(|text| style::paint(style::BAD, words::line(text, 80))));
    parts.join("  ")
}

/// The children that are not shown, by state.
fn rest(counts: &ChildCounts, shown: &[TaskState]) -> String {
    let shown_in =
        |states: &[TaskState]| shown.iter().filter(|state| states.contains(state)).count() as u64;
    let open = [TaskState::Pending, TaskState::Running, TaskState::Waiting];
    let parts = [
        (counts.open().saturating_sub(shown_in(&open)), "open"),
        (counts.succeeded.saturating_sub(shown_in(&[TaskState::Succeeded])), "succeeded"),
        (counts.failed.saturating_sub(shown_in(&[TaskState::Failed])), "failed"),
        (counts.cancelled.saturating_sub(shown_in(&[TaskState::Cancelled])), "cancelled"),
    ];
    let parts = parts.into_iter().filter(|(n, _)| *n > 0);
    let parts: Vec<String> =
        parts.map(|(n, word)| format!("{} {word}", words::number(n))).collect();
    parts.join(", ")
}
