//! Which workers' processes are gone: seen by the end of their sessions, long before a lease runs out.
//!
//! A process with workers keeps a lock on the session that listens. The server frees it when the session
//! ends, and a process that was killed leaves its sessions at once. The lock alone proves nothing: it means something
//! only where the process has said, on that session, that it holds it (`workers.session`), and under which run of the
//! server (`workers.server`). So a restarted server, or a standby that has taken over, makes nobody look
//! dead; neither does a pooler that lends connections for one transaction, because there nothing is ever said. A process
//! that only lost its session takes back what it said, over any other connection. Where nothing is said the
//! lease decides, as it does for a machine that lost its network or stands still.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::core::id::WorkerId;
use crate::limits;
use crate::store::postgres::link::connect::Pool;
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::schema::Schema;

/// This run of the server: a restart is another.
macro_rules! server {
    () => {
        "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"
    };
}

/// Whether the session is gone on which a worker's process said that it lives. The lock is got only if nobody
/// holds it, and kept to the end of the transaction: who comes back meanwhile waits.
macro_rules! gone {
    () => {
        concat!(
            "(server = ",
            crate::store::postgres::hints::presence::server!(),
            " AND pg_try_advisory_xact_lock(session))"
        )
    };
}

pub(in crate::store::postgres) use {gone, server};

const HOLD: &str = "SELECT pg_backend_pid() FROM pg_advisory_lock_shared($1)";

/// It waits for no disk: a server that forgets it ends the session, too, and on the next one it is said again.
const SAY: &str = concat!(
    "WITH passing AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)) \
     UPDATE homing.workers SET server = ",
    server!(),
    " FROM passing WHERE session = $1 AND server IS DISTINCT FROM ",
    server!()
);

const TAKE_BACK: &str = "UPDATE homing.workers SET server = NULL WHERE session = $1";

/// Other processes' workers whose sessions are gone. `OFFSET 0` keeps the planner from trying other locks.
const LOOK: &str = concat!(
    "SELECT pg_backend_pid(), EXISTS (SELECT FROM homing.workers WHERE session = $1 AND server IS DISTINCT FROM ",
    server!(),
    "), ARRAY(
  SELECT id FROM (SELECT id, session, server FROM homing.workers WHERE session <> $1 AND server = ",
    server!(),
    " OFFSET 0) AS w WHERE ",
    gone!(),
    ")"
);

/// What a process knows of the presence of others, and what it says of its own.
#[derive(Debug)]
pub(in crate::store::postgres) struct Presence {
    /// The number of this process's lock.
    session: i64,
    /// Whether this process has workers: it says that it lives, and looks at the others.
    works: AtomicBool,
    /// Whether there is a worker of which it has not been said yet.
    unsaid: AtomicBool,
    /// A worker was announced.
    announced: Notify,
    /// Workers whose sessions were gone at the last two looks.
    lost: Mutex<HashSet<WorkerId>>,
    /// How often this process has looked: what tests wait for.
    #[cfg(test)]
    looks: std::sync::atomic::AtomicU64,
}

impl Presence {
    pub(super) fn of(schema: &Schema, sender: &str) -> Self {
        let digest =
            crate::core::id::digest(&[b"session", schema.name().as_bytes(), sender.as_bytes()]);
        let mut session = [0; 8];
        session.copy_from_slice(&digest[..8]);
        Self {
            session: i64::from_be_bytes(session),
            works: AtomicBool::new(false),
            unsaid: AtomicBool::new(false),
            announced: Notify::new(),
            lost: Mutex::default(),
            #[cfg(test)]
            looks: std::sync::atomic::AtomicU64::default(),
        }
    }

    /// The number of the lock that is this process's.
    pub(in crate::store::postgres) fn session(&self) -> i64 {
        self.session
    }

    /// A worker of this process has been announced.
    pub(in crate::store::postgres) fn announced(&self) {
        self.unsaid.store(true, Ordering::SeqCst);
        self.works.store(true, Ordering::SeqCst);
        self.announced.notify_one();
    }

    fn known_lost(&self) -> MutexGuard<'_, HashSet<WorkerId>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Workers that are to be given up, if they are still gone.
    pub(in crate::store::postgres) fn lost(&self) -> Vec<WorkerId> {
        self.known_lost().iter().copied().collect()
    }

    #[cfg(test)]
    pub(in crate::store::postgres) fn looks(&self) -> u64 {
        self.looks.load(Ordering::SeqCst)
    }

    /// A worker has been given up.
    pub(in crate::store::postgres) fn forget(&self, worker: WorkerId) {
        self.known_lost().remove(&worker);
    }
}

/// The statements of a schema.
#[derive(Debug)]
pub(super) struct Statements {
    say: String,
    take_back: String,
    look: String,
}

impl Statements {
    pub(super) fn of(schema: &Schema) -> Self {
        let [say, take_back, look] = [SAY, TAKE_BACK, LOOK].map(|text| schema.render(text));
        Self { say, take_back, look }
    }

    /// Over any connection: the process has lost its session.
    pub(in crate::store::postgres) async fn take_back(
        &self,
        presence: &Presence,
        pool: &Pool,
    ) -> Result<()> {
        let taken = async {
            let client = pool.lend().await?;
            Ok(client.execute_typed(&self.take_back, &[number(&presence.session)]).await?)
        };
        // Soon enough to connect again before anybody takes the process for gone.
        match tokio::time::timeout(limits::POSTGRES_SESSION_GRACE / 2, taken).await {
            Ok(taken) => taken.map(|_| ()),
            Err(_) => Err(Fault::Unreachable),
        }
    }
}

fn number(number: &i64) -> (&(dyn ToSql + Sync), Type) {
    (number, Type::INT8)
}

/// One session's presence.
#[derive(Debug)]
pub(super) struct Watch {
    /// The server's process that holds the lock: if it changes, a pooler has lent another connection.
    held_by: Option<i32>,
    /// Whether a pooler has lent another connection.
    is_lent: bool,
    /// From when on this process judges others. What made this session new may have taken all sessions: a pooler was
    /// restarted, or a process of the server has crashed. The others need time to come back, too.
    from: Instant,
    /// Gone at the last look.
    suspects: HashSet<WorkerId>,
    next: Instant,
}

impl Watch {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let from = now + limits::POSTGRES_SESSION_TRUST;
        Self { held_by: None, is_lent: false, from, suspects: HashSet::new(), next: now }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held_by.is_some()
    }

    /// Completes when a worker has been announced, or it is time to look at the others.
    pub(super) async fn due(&self, presence: &Presence) {
        let looks = presence.works.load(Ordering::SeqCst) && !self.is_lent;
        tokio::select! {
            () = presence.announced.notified() => {}
            () = tokio::time::sleep_until(self.next), if looks => {}
        }
    }

    /// Says that this process lives, and looks at the others. `true` if some are to be given up. The session has
    /// been seen to be one.
    pub(super) async fn turn(
        &mut self,
        presence: &Presence,
        statements: &Statements,
        client: &Client,
    ) -> Result<bool> {
        if !presence.works.load(Ordering::SeqCst) || self.is_lent {
            return Ok(false);
        }
        // Also where something is refused below: by a standby, which takes no writes, say.
        self.next = Instant::now() + limits::POLL;
        let own = [number(&presence.session)];
        if self.held_by.is_none() {
            let held = client.query_typed(HOLD, &own).await?;
            self.held_by = held.first().map(|row| row.try_get(0)).transpose()?;
            presence.unsaid.store(true, Ordering::SeqCst);
        }
        if presence.unsaid.swap(false, Ordering::SeqCst) {
            let said = client.execute_typed(&statements.say, &own).await;
            presence.unsaid.fetch_or(said.is_err(), Ordering::SeqCst);
            said?;
        }
        let looked = client.query_typed(&statements.look, &own).await?;
        let Some(row) = looked.first() else { return Ok(false) };
        if self.held_by != Some(row.try_get(0)?) {
            self.is_lent = true;
            client.execute_typed(&statements.take_back, &own).await?;
            return Ok(false);
        }
        // What was taken back late, say, or what a server forgot that crashed.
        presence.unsaid.fetch_or(row.try_get(1)?, Ordering::SeqCst);
        let lost = self.judge(row.try_get::<_, Vec<WorkerId>>(2)?);
        let some = !lost.is_empty();
        *presence.known_lost() = lost;
        #[cfg(test)]
        presence.looks.fetch_add(1, Ordering::SeqCst);
        Ok(some)
    }

    /// Takes in what a look has shown, and says who is to be given up.
    fn judge(&mut self, gone: Vec<WorkerId>) -> HashSet<WorkerId> {
        let now = Instant::now();
        let again = |id: &WorkerId| now >= self.from && self.suspects.contains(id);
        let lost = gone.iter().copied().filter(again).collect();
        let pause = if gone.is_empty() { limits::POLL } else { limits::POSTGRES_SESSION_GRACE };
        (self.suspects, self.next) = (gone.into_iter().collect(), now + pause);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_twice_is_lost() {
        let (one, other) = (WorkerId::fresh(), WorkerId::fresh());
        let mut watch = Watch::new();
        tokio::time::advance(limits::POSTGRES_SESSION_TRUST).await;
        assert!(watch.judge(vec![one]).is_empty());
        assert_eq!(
            watch.next,
            Instant::now() + limits::POSTGRES_SESSION_GRACE,
            "it looks again soon"
        );
        assert_eq!(watch.judge(vec![one, other]), HashSet::from([one]));
        assert!(watch.judge(Vec::new()).is_empty());
        assert_eq!(watch.next, Instant::now() + limits::POLL);
        assert!(watch.judge(vec![other]).is_empty(), "it was there meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_new_session_judges_nobody() {
        let gone = vec![WorkerId::fresh()];
        let mut watch = Watch::new();
        assert!(watch.judge(gone.clone()).is_empty());
        tokio::time::advance(limits::POSTGRES_SESSION_TRUST.saturating_sub(limits::POLL)).await;
        assert!(watch.judge(gone.clone()).is_empty());
        tokio::time::advance(limits::POLL).await;
        assert_eq!(watch.judge(gone).len(), 1);
    }
}
