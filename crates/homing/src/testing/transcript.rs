//! Transcripts: what a body is given and what it says, as text that stays the same from run to run.
//!
//! A [`Recorder`] stands between a worker and a store and writes down the claims, units and answers of
//! one job's root. Ids become names in the order in which they appear, instants distances from the
//! start of the manual clock.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::id::{JobId, TaskId};
use crate::core::wait::Answer;
use crate::store::{Addition, Error, Event, Exchange, Reply, Signalled, Store};

/// A store that writes down what is said of one task.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<dyn Store>,
    task: TaskId,
    text: Mutex<String>,
}

impl Recorder {
    /// Writes down the root of a job.
    pub fn of(inner: Arc<dyn Store>, job: JobId) -> Arc<Self> {
        Arc::new(Self { inner, task: job.root(), text: Mutex::default() })
    }

    /// Adds a line of the test's own.
    pub fn note(&self, line: &str) {
        self.write(line);
    }

    /// The transcript so far.
    pub fn transcript(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        named(&text.replace(&self.task.job.to_string(), "JOB"))
    }

    fn write(&self, line: &str) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    async fn speak(&self, exchange: Exchange) -> Result<Reply, Error> {
        let units: Vec<_> =
            exchange.units.iter().filter(|unit| unit.task == self.task).cloned().collect();
        let reply = self.inner.exchange(exchange).await?;
        for unit in units {
            self.write(if unit.renew { "< says, renewing its budgets" } else { "< says" });
            unit.events.iter().for_each(|event| self.write(&told(event)));
        }
        for (_, refusal) in reply.refused.iter().filter(|(task, _)| *task == self.task) {
            self.write(&format!("> is refused: {refusal:?}"));
        }
        for (_, answers) in reply.ready.iter().filter(|(task, _)| *task == self.task) {
            self.write("> need not park");
            for answer in answers {
                self.write(&answered(answer));
            }
        }
        for claimed in reply.claimed.iter().filter(|claimed| claimed.task == self.task) {
            let (attempt, records, spawned) = (claimed.attempt, claimed.records, claimed.spawned);
            self.write(&format!(
                "> is claimed: attempt {attempt}, {records} recorded, {spawned} spawned"
            ));
            claimed.answers.iter().for_each(|answer| self.write(&answered(answer)));
        }
        Ok(reply)
    }
}

super::over::over!(Recorder, passing);

fn answered(answer: &Answer) -> String {
    let Answer { place, seq, arm, members, value, .. } = answer;
    let value = value.as_ref().map(|value| format!(", value {value}")).unwrap_or_default();
    format!("    answer {seq} at {place}: arm {arm} of {members} members{value}")
}

fn told(event: &Event) -> String {
    match event {
        Event::Record { seq, place, entry } => format!("    record {seq} at {place}: {entry:?}"),
        Event::Spawn(child) => {
            let (set, number, task) = (child.set, child.number, &child.task);
            format!("    spawn {} in {set}: {}{}", number, task.kind, task.arguments)
        }
        Event::Add(addition) => {
            let Addition { seq, place, set, task, .. } = &**addition;
            format!("    add {seq} at {place} to {set}: {}{}", task.kind, task.arguments)
        }
        Event::Signal(signal) => {
            let Signalled { seq, place, name, value, .. } = &**signal;
            format!("    signal {seq} at {place}: {name} {value}")
        }
        Event::Detach(job) => format!("    detach {}{}", job.task.kind, job.task.arguments),
        Event::Log(line) => {
            // Which claim it was differs from run to run.
            let attempt = line.key.split_once('@').map(|(attempt, _)| attempt);
            let attempt = attempt.filter(|attempt| attempt.starts_with(crate::core::log::ATTEMPT));
            let key = attempt.unwrap_or(&line.key);
            format!("    log {key}: {:?} {}", line.level, line.message)
        }
        Event::Park { waits, .. } => {
            let mut text = "    park".to_owned();
            for wait in waits {
                let arms = serde_json::to_string(&wait.arms).unwrap_or_default();
                let (seq, place, members) = (wait.seq, &wait.place, wait.members);
                let _ = write!(text, "\n      {seq} at {place} of {members} members: {arms}");
            }
            text
        }
        Event::End(end) => format!("    end {end:?}"),
        Event::Retry { failure, due } => format!("    retry at {}: {failure}", due.0),
        Event::Stall { reason, due } => format!("    stand still until {}: {reason}", due.0),
        Event::Begin | Event::Abort(_) | Event::Progress { .. } | Event::HandBack => {
            format!("    {event:?}")
        }
    }
}

/// Names for the ids and distances for the instants in a text.
fn named(text: &str) -> String {
    let start = crate::ManualClock::default().now().0;
    let (mut ids, mut named) = (Vec::<&str>::new(), String::new());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (token, after) = rest.split_at(word.max(rest.chars().next().map_or(0, char::len_utf8)));
        if token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let known = ids.iter().position(|id| *id == token).unwrap_or_else(|| {
                ids.push(token);
                ids.len() - 1
            });
            let _ = write!(named, "#{known}");
        } else if let Some(time) = token.parse::<i64>().ok().filter(|time| *time >= start) {
            let _ = write!(named, "T+{}ms", (time - start) / 1000);
        } else {
            named.push_str(token);
        }
        rest = after;
    }
    named
}
