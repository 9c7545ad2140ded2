//! What `top` shows: plain data, moved by keys and by what was read of the store.

use std::time::Duration;

use homing::{JobId, QueueView, TaskId, Time, WorkerView};

use super::jobs::Jobs;
use super::log::Log;
use super::look::{Look, Verb, Wanted};
use super::rates::Rates;
use super::scroll::Scroll;
use super::tree::Tree;
use crate::{Error, Result};

/// Everything that is shown.
#[derive(Debug)]
pub(crate) struct Model {
    /// The store's name.
    pub(crate) store: String,
    /// Time between two looks.
    pub(crate) every: Duration,
    /// The time of the latest look; `None` before the first.
    pub(crate) now: Option<Time>,
    pub(crate) workers: Vec<WorkerView>,
    pub(crate) queues: Vec<QueueView>,
    pub(crate) rates: Rates,
    pub(crate) jobs: Jobs,
    pub(crate) focus: Focus,
    pub(crate) at_worker: Scroll,
    pub(crate) at_queue: Scroll,
    /// What covers the overview, the topmost last.
    pub(crate) screens: Vec<Screen>,
    pub(crate) popup: Option<Popup>,
    /// What became of the last key.
    pub(crate) notice: Option<Notice>,
    /// Why the store could not be read the last time.
    pub(crate) trouble: Option<String>,
    /// How long the store has owed an answer.
    pub(crate) overdue: Duration,
}

/// The list of the overview that keys go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    Jobs,
    Workers,
    Queues,
}

/// What covers the overview.
#[derive(Debug)]
pub(crate) enum Screen {
    Tree(Box<Tree>),
    Log(Log),
    Why(Why),
}

/// Why a task is where it is.
#[derive(Debug)]
pub(crate) struct Why {
    pub(crate) task: TaskId,
    pub(crate) lines: Vec<String>,
    pub(crate) top: u16,
}

/// What stands in front of everything and takes all keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popup {
    Help,
    /// A filter being typed, and what is wrong with it.
    Filter {
        text: String,
        wrong: Option<String>,
    },
    /// A verb to confirm.
    Confirm {
        verb: Verb,
        question: String,
    },
}

/// What became of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    pub(crate) bad: bool,
}

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing but another picture.
    None,
    /// A look at the store, at once.
    Look,
    /// A change of the store.
    Do(Verb),
    Quit,
}

impl Model {
    /// An overview that has read nothing yet.
    pub(crate) fn new(store: String, every: Duration) -> Self {
        Self {
            store,
            every,
            now: None,
            workers: Vec::new(),
            queues: Vec::new(),
            rates: Rates::default(),
            jobs: Jobs::default(),
            focus: Focus::Jobs,
            at_worker: Scroll::default(),
            at_queue: Scroll::default(),
            screens: Vec::new(),
            popup: None,
            notice: None,
            trouble: None,
            overdue: Duration::ZERO,
        }
    }

    /// What to read for what is shown.
    pub(crate) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        match self.screens.last() {
            None => wanted.jobs = Some(self.jobs.wanted()),
            Some(Screen::Tree(tree)) => wanted.family = Some((tree.id, tree.wanted())),
            Some(Screen::Log(log)) => wanted.log = log.wanted().map(|part| (log.id, part)),
            Some(Screen::Why(why)) => wanted.why = Some(why.task),
        }
        wanted
    }

    /// Takes in what was read, or why it was not.
    pub(crate) fn see(&mut self, look: Result<Look>) {
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                self.fail(&error);
                return;
            }
        };
        self.trouble = None;
        self.now = Some(look.now);
        self.rates.hear(&look.workers);
        self.workers = look.workers;
        if let Some((filter, rows, queues)) = look.jobs {
            self.jobs.take(&filter, rows);
            self.queues = queues;
        }
        match self.screens.last_mut() {
            Some(Screen::Tree(tree)) => {
                if let Some(family) = look.family.filter(|family| family.job.id == tree.id) {
                    tree.take(family);
                }
            }
            Some(Screen::Log(log)) => {
                if let Some((_, part, lines)) = look.log.filter(|(id, ..)| *id == log.id) {
                    log.take(part, lines);
                }
            }
            Some(Screen::Why(why)) => {
                if let Some((_, lines)) = look.why.filter(|(id, _)| *id == why.task) {
                    why.lines = lines;
                }
            }
            None => {}
        }
    }

    fn fail(&mut self, error: &Error) {
        // What is gone from the store is gone from the screen; all else may pass.
        if matches!(error, Error::Store(homing::StoreError::Unknown { .. })) {
            self.screens.clear();
            self.warn(error.to_string());
        } else {
            self.trouble = Some(error.to_string());
        }
    }

    /// Takes in what became of a verb.
    pub(crate) fn hear(&mut self, done: Result<String>) {
        match done {
            Ok(text) => self.notice = Some(Notice { text, bad: false }),
            Err(error) => self.warn(error.to_string()),
        }
    }

    pub(crate) fn warn(&mut self, text: String) {
        self.notice = Some(Notice { text, bad: true });
    }

    /// The task that keys are about.
    pub(crate) fn selected(&self) -> Option<Selected> {
        match self.screens.last() {
            None if self.focus == Focus::Jobs => self.jobs.selected().map(|job| Selected {
                task: job.id.root(),
                what: job.title.clone().unwrap_or_else(|| job.kind.clone()),
                queue: job.queue.clone(),
                open: !job.status.is_ended(),
            }),
            Some(Screen::Tree(tree)) => tree.selected().map(|row| Selected {
                task: row.id,
                what: row.kind,
                queue: row.queue,
                open: !row.state.is_ended(),
            }),
            _ => None,
        }
    }

    /// The job that keys are about.
    pub(crate) fn job(&self) -> Option<JobId> {
        match self.screens.last() {
            None => self.selected().map(|selected| selected.task.job),
            Some(Screen::Tree(tree)) => Some(tree.id),
            Some(Screen::Log(log)) => Some(log.id),
            Some(Screen::Why(why)) => Some(why.task.job),
        }
    }
}

/// A task that keys are about.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) task: TaskId,
    /// What people call it.
    pub(crate) what: String,
    pub(crate) queue: String,
    pub(crate) open: bool,
}
