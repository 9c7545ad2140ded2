//! What a bridge notes beside the store: registers of what is under way, ids that were revoked before they came, ids
//! under which a message was sent. In Redis where there is one, for all bridges; with RabbitMQ and `rpc://` each process
//! has its own, and they end with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use super::locked;
use super::servers::{Broker, Results, SENT};
use crate::error::Fault;
use crate::redis::{DUE, Link};

/// How long a revoked id that nobody knows yet is remembered, in seconds; as long as Celery's workers do.
const REVOKED: u64 = 10_800;
/// How many such ids a process remembers; as many as Celery's workers do.
const MOST_REVOKED: usize = 50_000;

/// What Celery runs for homing.
pub(crate) const OUT: &str = "out";
/// What homing runs for Celery.
pub(crate) const IN: &str = "in";

#[derive(Debug)]
pub(crate) enum Notes {
    Redis {
        registers: Link,
        /// Where marks are: with the messages, if those are in Redis too.
        marks: Link,
        /// Whether a message and its mark are written at once, by the broker itself.
        at_once: bool,
    },
    Here(Mutex<Here>),
}

/// What one process knows.
#[derive(Debug, Default)]
pub(crate) struct Here {
    registers: HashMap<String, BTreeMap<String, f64>>,
    revoked: HashMap<String, f64>,
}

impl Notes {
    pub(super) fn new(broker: &Broker, results: &Results) -> Self {
        match (results, broker) {
            (Results::Redis(registers), Broker::Redis(marks)) => {
                Self::Redis { registers: registers.clone(), marks: marks.clone(), at_once: true }
            }
            (Results::Redis(registers), Broker::Rabbit(_)) => {
                let marks = registers.clone();
                Self::Redis { registers: registers.clone(), marks, at_once: false }
            }
            (Results::Rpc(_), _) => Self::Here(Mutex::default()),
        }
    }

    /// Whether it ends with the process.
    pub(crate) fn is_mortal(&self) -> bool {
        matches!(self, Self::Here(_))
    }

    /// Enters tasks into a register, with the time of their next look; those that are there keep theirs if `new`.
    pub(crate) async fn enter(
        &self,
        register: &str,
        members: &[String],
        (next, new): (f64, bool),
    ) -> Result<(), Fault> {
        match self {
            Self::Redis { registers, .. } => {
                let mut add = redis::cmd("ZADD");
                add.arg(registers.keys.register(register));
                if new {
                    add.arg("NX");
                }
                for member in members {
                    add.arg(next).arg(member);
                }
                Ok(registers.command(&add).await?)
            }
            Self::Here(here) => {
                let mut here = locked(here);
                let register = here.registers.entry(register.to_owned()).or_default();
                for member in members {
                    let at = register.entry(member.clone()).or_insert(next);
                    if !new {
                        *at = next;
                    }
                }
                Ok(())
            }
        }
    }

    /// Enters tasks into a register of this process's own, due for a look.
    pub(super) fn hold(&self, register: &str, members: Vec<String>, now: f64) {
        if let Self::Here(here) = self {
            let mut here = locked(here);
            let register = here.registers.entry(register.to_owned()).or_default();
            register.extend(members.into_iter().map(|member| (member, now)));
        }
    }

    /// Strikes tasks off a register.
    pub(crate) async fn strike(&self, register: &str, members: &[&str]) -> Result<(), Fault> {
        match self {
            Self::Redis { registers, .. } => {
                let mut strike = redis::cmd("ZREM");
                strike.arg(registers.keys.register(register)).arg(members);
                Ok(registers.command(&strike).await?)
            }
            Self::Here(here) => {
                if let Some(register) = locked(here).registers.get_mut(register) {
                    for member in members {
                        register.remove(*member);
                    }
                }
                Ok(())
            }
        }
    }

    /// Tasks that are due for a look; they are due again after so many seconds.
    pub(crate) async fn due(
        &self,
        register: &str,
        (most, pause, now): (usize, f64, f64),
    ) -> Result<Vec<String>, Fault> {
        match self {
            Self::Redis { registers, .. } => {
                let mut script = DUE.prepare_invoke();
                script.key(registers.keys.register(register)).arg(most).arg(pause);
                Ok(registers.script(&script).await?)
            }
            Self::Here(here) => {
                let mut here = locked(here);
                let Some(register) = here.registers.get_mut(register) else {
                    return Ok(Vec::new());
                };
                let due = register.iter_mut().filter(|(_, at)| **at <= now).take(most);
                Ok(due
                    .map(|(member, at)| {
                        *at = now + pause;
                        member.clone()
                    })
                    .collect())
            }
        }
    }

    /// All tasks of a register.
    pub(crate) async fn all(&self, register: &str) -> Result<Vec<String>, Fault> {
        match self {
            Self::Redis { registers, .. } => {
                let mut read = redis::cmd("ZRANGE");
                read.arg(registers.keys.register(register)).arg(0).arg(-1);
                Ok(registers.command(&read).await?)
            }
            Self::Here(here) => {
                let here = locked(here);
                let register = here.registers.get(register);
                Ok(register.map(|register| register.keys().cloned().collect()).unwrap_or_default())
            }
        }
    }

    /// Remembers an id that was revoked.
    pub(crate) async fn revoke(&self, id: &str, now: f64) -> Result<(), Fault> {
        match self {
            Self::Redis { marks, .. } => {
                let mut remember = redis::cmd("SET");
                remember.arg(marks.keys.revoked(id)).arg("1").arg("EX").arg(REVOKED);
                Ok(marks.command(&remember).await?)
            }
            Self::Here(here) => {
                let mut here = locked(here);
                if here.revoked.len() >= MOST_REVOKED {
                    here.revoked.retain(|_, until| *until > now);
                }
                if here.revoked.len() < MOST_REVOKED {
                    here.revoked.insert(id.to_owned(), now + REVOKED as f64);
                }
                Ok(())
            }
        }
    }

    /// Whether an id was revoked.
    pub(crate) async fn is_revoked(&self, id: &str, now: f64) -> Result<bool, Fault> {
        match self {
            Self::Redis { marks, .. } => {
                let mut asked = redis::cmd("EXISTS");
                asked.arg(marks.keys.revoked(id));
                Ok(marks.command(&asked).await?)
            }
            Self::Here(here) => Ok(locked(here).revoked.get(id).is_some_and(|until| *until > now)),
        }
    }

    /// Whether a message was sent under an id, as far as it is this one's to know.
    pub(super) async fn was_sent(&self, id: &str) -> Result<bool, Fault> {
        match self {
            Self::Redis { marks, at_once: false, .. } => {
                let mut asked = redis::cmd("EXISTS");
                asked.arg(marks.keys.sent(id));
                Ok(marks.command(&asked).await?)
            }
            Self::Redis { .. } | Self::Here(_) => Ok(false),
        }
    }

    /// Remembers that a message was sent under an id.
    pub(super) async fn sent(&self, id: &str) -> Result<(), Fault> {
        match self {
            Self::Redis { marks, at_once: false, .. } => {
                let mut mark = redis::cmd("SET");
                mark.arg(marks.keys.sent(id)).arg("1").arg("EX").arg(SENT);
                Ok(marks.command(&mark).await?)
            }
            Self::Redis { .. } | Self::Here(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_one_process_notes() {
        let notes = Notes::Here(Mutex::default());
        let ids = ["a".to_owned(), "b".to_owned()];
        notes.enter(IN, &ids, (10.0, true)).await.unwrap();
        notes.enter(IN, &ids[..1], (20.0, true)).await.unwrap();
        assert_eq!(notes.due(IN, (9, 5.0, 9.0)).await.unwrap(), [] as [String; 0]);
        assert_eq!(notes.due(IN, (1, 5.0, 10.0)).await.unwrap(), ["a"]);
        assert_eq!(notes.due(IN, (9, 5.0, 10.0)).await.unwrap(), ["b"]);
        assert_eq!(notes.due(OUT, (9, 5.0, 99.0)).await.unwrap(), [] as [String; 0]);
        notes.enter(IN, &ids[..1], (30.0, false)).await.unwrap();
        assert_eq!(notes.due(IN, (9, 5.0, 16.0)).await.unwrap(), ["b"]);
        notes.strike(IN, &["a", "c"]).await.unwrap();
        assert_eq!(notes.all(IN).await.unwrap(), ["b"]);
        assert!(!notes.is_revoked("a", 0.0).await.unwrap());
        notes.revoke("a", 0.0).await.unwrap();
        assert!(notes.is_revoked("a", 1.0).await.unwrap());
        assert!(!notes.is_revoked("a", REVOKED as f64).await.unwrap());
    }
}
