//! The terminal: turns the wheel of look, picture and key, and leaves the terminal as it was however
//! that ends.

use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt;
use homing::Homing;
use ratatui::DefaultTerminal;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::draw;
use super::look::{Look, carry_out, look};
use super::model::{Effect, Model};
use crate::{Context, Exit, Result};

/// A look that takes long is followed by a pause so many times as long.
const LEISURE: u32 = 10;
/// Time between two pictures while nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// The screen, taken; given back when dropped. A panic gives it back too, before its message.
struct Taken {
    terminal: DefaultTerminal,
}

impl Taken {
    fn take() -> Result<Self> {
        Ok(Self { terminal: ratatui::try_init()? })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What comes back from the store.
enum Answer {
    Look(Box<Result<Look>>),
    Done(Result<String>),
}

/// The looks at the store: one at a time.
struct Looks {
    /// When the one under way began.
    since: Option<Instant>,
    /// When the next is due.
    next: Instant,
}

/// Shows the live view until somebody quits, or a signal comes.
pub(super) async fn run(cx: &Context, every: Duration) -> Result<Exit> {
    let mut model = Model::new(Homing::inspect(&cx.url).await?.url, every);
    let mut stop = std::pin::pin!(stopped());
    let mut taken = Taken::take()?;
    let mut keys = EventStream::new();
    let mut errands = JoinSet::new();
    let mut looks = Looks { since: None, next: Instant::now() };
    loop {
        if looks.since.is_none() && looks.next <= Instant::now() {
            looks.since = Some(Instant::now());
            let (homing, wanted) = (cx.homing.clone(), model.wanted());
            errands.spawn(async move { Answer::Look(Box::new(look(&homing, wanted).await)) });
        }
        model.overdue = looks.since.map(|since| since.elapsed()).unwrap_or_default();
        taken.terminal.draw(|frame| {
            draw::draw(frame, &mut model);
            if !cx.out.is_coloured() {
                draw::discolour(frame);
            }
        })?;
        let due = if looks.since.is_none() { looks.next } else { Instant::now() + TICK };
        let effect = tokio::select! {
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => model.press(key),
                Some(Ok(_)) => Effect::None,
                Some(Err(error)) => return Err(error.into()),
                None => Effect::Quit,
            },
            Some(answer) = errands.join_next() => looks.hear(unless_panicked(answer), &mut model),
            () = tokio::time::sleep_until(due) => Effect::None,
            stopped = &mut stop => return stopped.map(|()| Exit::Interrupted),
        };
        match effect {
            Effect::None => {}
            Effect::Look => looks.next = Instant::now(),
            Effect::Quit => return Ok(Exit::Done),
            Effect::Do(verb) => {
                let homing = cx.homing.clone();
                errands.spawn(async move { Answer::Done(carry_out(&homing, verb).await) });
            }
        }
    }
}

/// A panic has given the screen back already, wherever it was: it ends the view too.
fn unless_panicked(answer: Result<Answer, JoinError>) -> Answer {
    match answer {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Answer::Done(Err(std::io::Error::other(cancelled).into())),
        },
    }
}

impl Looks {
    fn hear(&mut self, answer: Answer, model: &mut Model) -> Effect {
        match answer {
            Answer::Done(done) => {
                model.hear(done);
                Effect::Look
            }
            Answer::Look(look) => {
                let began = self.since.take().unwrap_or_else(Instant::now);
                // Unless a key has asked for another meanwhile.
                if self.next <= began {
                    self.next = Instant::now() + model.every.max(began.elapsed() * LEISURE);
                }
                model.see(*look);
                Effect::None
            }
        }
    }
}

/// Waits for a signal to stop. Ctrl-C comes as a key.
async fn stopped() -> Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
    #[cfg(not(unix))]
    Ok(tokio::signal::ctrl_c().await?)
}
