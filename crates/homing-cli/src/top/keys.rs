//! What a key does. Whatever changes the store asks first.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::log::Log;
use super::look::Verb;
use super::model::{Effect, Focus, Model, Popup, Screen, Why};
use super::scroll::Move;
use super::tree::Tree;
use crate::words;

/// Characters of a title in a question.
const TITLE: usize = 40;

impl Model {
    /// Takes a key.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Effect {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Effect::Quit;
        }
        self.notice = None;
        match self.popup.take() {
            Some(popup) => self.press_popup(popup, key.code),
            None => self.press_screen(key.code),
        }
    }

    fn press_popup(&mut self, popup: Popup, key: KeyCode) -> Effect {
        match (popup, key) {
            (Popup::Confirm { verb, .. }, KeyCode::Char('y' | 'Y')) => return Effect::Do(verb),
            (Popup::Filter { text, .. }, KeyCode::Enter) => match self.filter_by(&text) {
                Ok(()) => return Effect::Look,
                Err(wrong) => self.popup = Some(Popup::Filter { text, wrong: Some(wrong) }),
            },
            (Popup::Filter { mut text, .. }, KeyCode::Backspace) => {
                text.pop();
                self.popup = Some(Popup::Filter { text, wrong: None });
            }
            (Popup::Filter { mut text, .. }, KeyCode::Char(letter)) => {
                text.push(letter);
                self.popup = Some(Popup::Filter { text, wrong: None });
            }
            (popup @ Popup::Filter { .. }, key) if key != KeyCode::Esc => self.popup = Some(popup),
            // Any other key than a yes is a no.
            _ => {}
        }
        Effect::None
    }

    fn press_screen(&mut self, key: KeyCode) -> Effect {
        if let Some(to) = motion(key) {
            return self.go(to);
        }
        match key {
            KeyCode::Char('q') => return Effect::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.popup = Some(Popup::Help),
            KeyCode::Esc | KeyCode::Backspace => return self.back(),
            KeyCode::Enter | KeyCode::Char(' ') => return self.enter(),
            KeyCode::Left | KeyCode::Right => return self.sideways(key == KeyCode::Right),
            KeyCode::Char('w') => {
                if let Some(selected) = self.selected() {
                    let (task, lines, top) = (selected.task, Vec::new(), 0);
                    return self.open(Screen::Why(Why { task, lines, top }));
                }
            }
            KeyCode::Char('l') => return self.open_log(),
            KeyCode::Char('c') => self.ask_cancel(),
            KeyCode::Char('r') => self.ask_retry(),
            KeyCode::Char('p') => self.ask_pause(),
            KeyCode::Char('/') if self.screens.is_empty() => {
                self.popup = Some(Popup::Filter { text: self.jobs.text.clone(), wrong: None });
            }
            KeyCode::Tab if self.screens.is_empty() => {
                self.focus = match self.focus {
                    Focus::Jobs => Focus::Workers,
                    Focus::Workers => Focus::Queues,
                    Focus::Queues => Focus::Jobs,
                };
            }
            _ => {}
        }
        Effect::None
    }

    fn go(&mut self, to: Move) -> Effect {
        let mut look = false;
        match (self.screens.last_mut(), self.focus) {
            // What comes into sight is not read before it is seen.
            (Some(Screen::Tree(tree)), _) => tree.go(to),
            (Some(Screen::Log(log)), _) => look = log.go(to),
            (Some(Screen::Why(why)), _) => {
                why.top = match to {
                    Move::Up => why.top.saturating_sub(1),
                    Move::PageUp => why.top.saturating_sub(10),
                    Move::Down => why.top.saturating_add(1),
                    Move::PageDown => why.top.saturating_add(10),
                    Move::First => 0,
                    Move::Last => u16::MAX,
                }
            }
            (None, Focus::Jobs) => look = self.jobs.go(to),
            (None, Focus::Workers) => {
                self.at_worker.go(to, self.workers.len());
            }
            (None, Focus::Queues) => {
                self.at_queue.go(to, self.queues.len());
            }
        }
        if look { Effect::Look } else { Effect::None }
    }

    fn filter_by(&mut self, text: &str) -> Result<(), String> {
        self.jobs.filter_by(text, self.now.unwrap_or_default())
    }

    fn open(&mut self, screen: Screen) -> Effect {
        self.screens.push(screen);
        Effect::Look
    }

    fn back(&mut self) -> Effect {
        if self.screens.pop().is_some() {
            return Effect::Look;
        }
        if !self.jobs.text.is_empty() && self.filter_by("").is_ok() {
            return Effect::Look;
        }
        Effect::None
    }

    fn enter(&mut self) -> Effect {
        let look = match self.screens.last_mut() {
            None => {
                let tree = self.job().map(Tree::of);
                return tree.map_or(Effect::None, |tree| self.open(Screen::Tree(Box::new(tree))));
            }
            Some(Screen::Tree(tree)) => tree.enter(),
            Some(_) => return Effect::None,
        };
        self.expanded(look)
    }

    fn sideways(&mut self, right: bool) -> Effect {
        let Some(Screen::Tree(tree)) = self.screens.last_mut() else { return Effect::None };
        if right {
            let look = tree.expand();
            return self.expanded(look);
        }
        tree.out();
        Effect::None
    }

    fn expanded(&mut self, look: Result<bool, String>) -> Effect {
        match look {
            Ok(true) => return Effect::Look,
            Ok(false) => {}
            Err(text) => self.warn(text),
        }
        Effect::None
    }

    fn open_log(&mut self) -> Effect {
        let Some(job) = self.job() else { return Effect::None };
        if matches!(self.screens.last(), Some(Screen::Log(_))) {
            return Effect::None;
        }
        let title = match self.screens.last() {
            Some(Screen::Tree(tree)) => tree.job.as_ref().map(super::draw::name),
            _ => self.jobs.selected().filter(|view| view.id == job).map(super::draw::name),
        };
        let title = title.unwrap_or_else(|| job.to_string());
        self.open(Screen::Log(Log::of(job, title)))
    }

    fn ask_cancel(&mut self) {
        let Some(selected) = self.selected() else { return };
        if !selected.open {
            self.warn("it has ended: there is nothing to cancel".to_owned());
            return;
        }
        let what = if selected.task.is_root() { "the job" } else { "the task" };
        let name = words::line(&selected.what, TITLE);
        let question = format!("Cancel {what} “{name}” and everything below it?");
        self.popup = Some(Popup::Confirm { verb: Verb::Cancel(selected.task), question });
    }

    fn ask_retry(&mut self) {
        let Some(job) = self.job() else { return };
        let view = match self.screens.last() {
            None => self.jobs.selected(),
            Some(Screen::Tree(tree)) => tree.job.as_ref(),
            Some(_) => None,
        };
        let Some(view) = view else { return };
        if !matches!(view.status, homing::Status::Failed | homing::Status::Cancelled) {
            self.warn(format!("it is {}: only failed and cancelled jobs are retried", view.status));
            return;
        }
        let name = words::line(&super::draw::name(view), TITLE);
        let question = format!("Retry the job “{name}”? Only what failed runs again.");
        self.popup = Some(Popup::Confirm { verb: Verb::Retry(job), question });
    }

    fn ask_pause(&mut self) {
        let queue = match self.selected() {
            Some(selected) => Some(selected.queue),
            None if self.screens.is_empty() && self.focus == Focus::Queues => {
                self.queues.get(self.at_queue.selected).map(|queue| queue.name.clone())
            }
            None => None,
        };
        let Some(queue) = queue else { return };
        let paused = self.queues.iter().any(|view| view.name == queue && view.paused);
        let (verb, question) = if paused {
            (Verb::Unpause(queue.clone()), format!("Resume claims from the queue “{queue}”?"))
        } else {
            let question = format!("Stop claims from the queue “{queue}”? What runs runs on.");
            (Verb::Pause(queue), question)
        };
        self.popup = Some(Popup::Confirm { verb, question });
    }
}

fn motion(key: KeyCode) -> Option<Move> {
    Some(match key {
        KeyCode::Up | KeyCode::Char('k') => Move::Up,
        KeyCode::Down | KeyCode::Char('j') => Move::Down,
        KeyCode::PageUp => Move::PageUp,
        KeyCode::PageDown => Move::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Move::First,
        KeyCode::End | KeyCode::Char('G') => Move::Last,
        _ => return None,
    })
}
