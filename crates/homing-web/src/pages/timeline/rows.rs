//! What a timeline shows: tasks in the order of the tree, narrow sets child by child, wide ones by evenly spaced
//! children. Bounded whatever the job's size: so many rows, so many looks at records.

use std::collections::VecDeque;

use homing::{EntryKind, EntryView, SetKey, SetView, TaskState, TaskView, Time};

use crate::problem::Result;
use crate::site::Cx;

/// Rows of a timeline.
pub(super) const ROWS: usize = 100;
/// Children of a set that are rows of their own.
const FEW: u64 = 25;
/// Children of a set that are all read.
const ALL: u64 = 200;
/// Children of a wider one that are read.
const SAMPLE: u64 = 64;
/// Sets of a task.
const SETS: usize = 20;
/// Records, and logs of attempts, that are read.
const RECORDS: usize = 30;
/// Entries of each.
pub(super) const ENTRIES: usize = 200;
/// Failed attempts of each.
const ATTEMPTS: usize = 20;

/// A row, and how deep in the tree it stands.
pub(super) struct Row {
    pub(super) depth: usize,
    pub(super) of: Of,
}

pub(super) enum Of {
    Task(Box<Bar>),
    Set(Box<Dense>),
}

/// A task with what is known of its time.
pub(super) struct Bar {
    pub(super) task: TaskView,
    pub(super) spans: Vec<Span>,
    /// When attempts failed.
    pub(super) attempts: Vec<Time>,
    /// Whether it has children that are no rows.
    pub(super) folded: bool,
}

/// A wide set, by some of its children.
pub(super) struct Dense {
    pub(super) parent: TaskView,
    pub(super) set: SetView,
    pub(super) sample: Vec<TaskView>,
}

impl Dense {
    /// For how many children each that was read stands.
    pub(super) fn weight(&self) -> f64 {
        self.set.children.spawned as f64 / self.sample.len().max(1) as f64
    }

    pub(super) fn is_exact(&self) -> bool {
        self.sample.len() as u64 == self.set.children.spawned
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Waits for a slot.
    Pending,
    Running,
    Parked,
}

/// A part of a task's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) what: What,
    pub(super) from: Time,
    pub(super) to: Time,
}

/// A node of the tree that is shown.
struct Node {
    depth: usize,
    of: Found,
    children: Vec<usize>,
    /// When the first of its children that were read was created, and the like for itself.
    created: Time,
}

enum Found {
    Task { task: TaskView, folded: bool },
    Set(Dense),
}

/// The tree below a task, breadth first within the bounds, in the order of the tree.
pub(super) async fn below(cx: &Cx, root: TaskView, now: Time) -> Result<Vec<Row>> {
    let mut nodes = vec![node(0, root)];
    let mut open = VecDeque::from([0]);
    while let Some(at) = open.pop_front() {
        let Found::Task { task, .. } = &nodes[at].of else { continue };
        if task.children.spawned == 0 {
            continue;
        }
        let (parent, depth) = (task.clone(), nodes[at].depth + 1);
        let mut folded = nodes.len() >= ROWS;
        let sets =
            if folded { Vec::new() } else { cx.homing().sets(parent.id, None, SETS + 1).await? };
        folded |= sets.len() > SETS;
        for set in sets.into_iter().take(SETS) {
            let spawned = set.children.spawned;
            if spawned == 0 {
                continue;
            }
            let few = spawned <= FEW && nodes.len() as u64 + spawned <= ROWS as u64;
            if few {
                for task in cx.homing().window(parent.id, set.key, 0, FEW as usize).await? {
                    open.push_back(nodes.len());
                    add(&mut nodes, at, node(depth, task));
                }
            } else if nodes.len() < ROWS {
                let sample = sample(cx, &parent, &set).await?;
                let created = sample.first().map_or(parent.created, |task| task.created);
                let of = Found::Set(Dense { parent: parent.clone(), set, sample });
                add(&mut nodes, at, Node { depth, of, children: Vec::new(), created });
            } else {
                folded = true;
            }
        }
        if let Found::Task { folded: is, .. } = &mut nodes[at].of {
            *is = folded;
        }
    }
    rows(cx, nodes, now).await
}

/// Children of one set, from a number on.
pub(super) async fn of_set(
    cx: &Cx,
    parent: &TaskView,
    set: SetKey,
    from: u64,
    now: Time,
) -> Result<Vec<Row>> {
    let tasks = cx.homing().window(parent.id, set, from, ROWS / 2).await?;
    let folded = |task: TaskView| Found::Task { folded: task.children.spawned > 0, task };
    let nodes = tasks.into_iter().map(|task| {
        let created = task.created;
        Node { depth: 0, of: folded(task), children: Vec::new(), created }
    });
    let nodes: Vec<Node> = nodes.collect();
    let mut budget = Budget { looks: RECORDS, now };
    let mut rows = Vec::new();
    for node in nodes {
        let Found::Task { task, folded } = node.of else { continue };
        rows.push(Row {
            depth: 0,
            of: Of::Task(Box::new(bar(cx, task, folded, &[], &mut budget).await?)),
        });
    }
    Ok(rows)
}

fn node(depth: usize, task: TaskView) -> Node {
    let created = task.created;
    Node { depth, of: Found::Task { task, folded: false }, children: Vec::new(), created }
}

fn add(nodes: &mut Vec<Node>, parent: usize, node: Node) {
    let at = nodes.len();
    nodes[parent].children.push(at);
    nodes.push(node);
}

/// Children of a set at even distances, the first and the last among them; all, where they are not many.
async fn sample(cx: &Cx, parent: &TaskView, set: &SetView) -> Result<Vec<TaskView>> {
    let spawned = set.children.spawned;
    if spawned <= ALL {
        return Ok(cx.homing().window(parent.id, set.key, 0, ALL as usize).await?);
    }
    let mut sample = Vec::new();
    for n in 0..SAMPLE {
        let number = (u128::from(n) * u128::from(spawned - 1) / u128::from(SAMPLE - 1)) as u64;
        sample.extend(cx.homing().window(parent.id, set.key, number, 1).await?);
    }
    Ok(sample)
}

/// The nodes as rows: parents before children, children by when they were created.
async fn rows(cx: &Cx, nodes: Vec<Node>, now: Time) -> Result<Vec<Row>> {
    let mut budget = Budget { looks: RECORDS, now };
    let mut order = Vec::with_capacity(nodes.len());
    let mut stack = vec![0];
    while let Some(at) = stack.pop() {
        order.push(at);
        let mut children = nodes[at].children.clone();
        children.sort_by_key(|at| nodes[*at].created);
        stack.extend(children.into_iter().rev());
    }
    // When the children of each were spawned, as far as they were read: it ran then.
    let spawns: Vec<Vec<Time>> = nodes.iter().map(|node| spawned(&nodes, node)).collect();
    let mut nodes: Vec<Option<(Node, Vec<Time>)>> =
        nodes.into_iter().zip(spawns).map(Some).collect();
    let mut rows = Vec::with_capacity(order.len());
    for at in order {
        let Some((Node { depth, of, .. }, spawns)) = nodes[at].take() else { continue };
        let of = match of {
            Found::Task { task, folded } => {
                Of::Task(Box::new(bar(cx, task, folded, &spawns, &mut budget).await?))
            }
            Found::Set(dense) => Of::Set(Box::new(dense)),
        };
        rows.push(Row { depth, of });
    }
    Ok(rows)
}

fn spawned(nodes: &[Node], node: &Node) -> Vec<Time> {
    let mut times = Vec::new();
    for child in &node.children {
        match &nodes[*child].of {
            Found::Task { task, .. } => times.push(task.created),
            Found::Set(dense) => times.extend(dense.sample.iter().map(|task| task.created)),
        }
    }
    times.sort_unstable();
    times
}

/// Looks that may still be taken, and when they are.
struct Budget {
    looks: usize,
    now: Time,
}

impl Budget {
    fn take(&mut self) -> bool {
        let left = self.looks > 0;
        self.looks = self.looks.saturating_sub(1);
        left
    }
}

async fn bar(
    cx: &Cx,
    task: TaskView,
    folded: bool,
    children: &[Time],
    budget: &mut Budget,
) -> Result<Bar> {
    // A leaf that waits for nothing has only steps in its record: its page shows them.
    let tells =
        task.children.spawned > 0 || task.state == TaskState::Waiting || task.parent.is_none();
    let entries = if tells && task.started.is_some() && budget.take() {
        cx.homing().record(task.id, 0, ENTRIES).await?
    } else {
        Vec::new()
    };
    let attempts = if task.attempt > 1 && budget.take() {
        cx.homing().failed_attempts(task.id, ATTEMPTS).await?
    } else {
        Vec::new()
    };
    let spans = spans(&task, &entries, children, budget.now);
    Ok(Bar { task, spans, attempts: attempts.into_iter().map(|line| line.time).collect(), folded })
}

/// What a task did when: an entry of a wait is committed when the wait is over, any other while the task runs. When it
/// parked is not recorded: no earlier than its last entry before, and the last child that it spawned before.
fn spans(task: &TaskView, entries: &[EntryView], children: &[Time], now: Time) -> Vec<Span> {
    let end = task.ended.unwrap_or(now);
    let mut spans = Spans(Vec::new());
    let Some(started) = task.started else {
        spans.add(What::Pending, task.created, end);
        return spans.0;
    };
    spans.add(What::Pending, task.created, started);
    let mut told: Vec<(Time, EntryKind)> =
        entries.iter().filter_map(|entry| Some((entry.time?, entry.what))).collect();
    told.sort_by_key(|(time, _)| *time);
    let mut last = started;
    let parked = |spans: &mut Spans, from: Time, to: Time| {
        let spawned = children.iter().rev().find(|time| (from..to).contains(*time));
        let from_park = spawned.copied().unwrap_or(from);
        spans.add(What::Running, from, from_park);
        spans.add(What::Parked, from_park, to);
    };
    let mut returned = false;
    for (time, what) in told {
        match what {
            EntryKind::Wait => parked(&mut spans, last, time),
            _ => spans.add(What::Running, last, time),
        }
        returned |= what == EntryKind::Returned;
        last = last.max(time);
    }
    match task.state {
        TaskState::Waiting => parked(&mut spans, last, end),
        TaskState::Pending => spans.add(What::Pending, last, end),
        // What ends after it returned has waited for its children meanwhile.
        _ if returned && task.children.spawned > 0 => parked(&mut spans, last, end),
        _ => spans.add(What::Running, last, end),
    }
    spans.0
}

/// Spans in order, those alike together.
struct Spans(Vec<Span>);

impl Spans {
    fn add(&mut self, what: What, from: Time, to: Time) {
        match self.0.last_mut() {
            _ if to <= from => {}
            Some(last) if last.what == what => last.to = to,
            _ => self.0.push(Span { what, from, to }),
        }
    }
}
