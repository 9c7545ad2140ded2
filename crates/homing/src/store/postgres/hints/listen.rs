//! Hints between processes: `NOTIFY` after commits, `LISTEN` on a connection of its own.
//!
//! A hint may be lost; the store is the truth, and workers look at it every second whatever they hear.
//! A notification is never part of a write: a commit that notifies takes a lock on the whole database.
//! It is sent afterwards by the one task here, and what is said while one is on its way shares the next.
//! Where the server or a pooler keeps notifications away, everything goes on by looking alone.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client};
use uuid::Uuid;

use crate::limits;
use crate::store::postgres::hints::presence::{Presence, Statements, Watch};
use crate::store::postgres::hints::scan_starts::{Ready, ScanStarts};
use crate::store::postgres::link::connect::{Connector, Pool, Wire};
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::options::Options;
use crate::store::{Ended, Hints};

/// Jobs named in one notification; a payload has less than 8,000 bytes. More of them are "anything".
const JOBS: usize = 200;
/// How long a session's first notification may take to come back.
const PROOF: Duration = Duration::from_secs(5);
/// How often the server's clock is read again, which also shows a connection that died silently.
const CLOCK: Duration = Duration::from_secs(30);
/// Shortest and longest pause before the connection is made again. Those who look for lost sessions
/// ([`limits::POSTGRES_SESSION_TRUST`]) wait for longer.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What a commit has done that others may wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store::postgres) struct Announcement {
    /// Tasks may have become claimable.
    pub(in crate::store::postgres) ready: bool,
    /// What there is to claim.
    pub(in crate::store::postgres) claimable: Ready,
    /// A worker has news: somebody ended a task that it runs.
    pub(in crate::store::postgres) noticed: bool,
    /// Jobs that ended.
    pub(in crate::store::postgres) ended: Vec<Ended>,
}

impl Announcement {
    fn is_nothing(&self) -> bool {
        !self.ready && !self.noticed && self.ended.is_empty() && self.claimable.is_nothing()
    }

    fn add(&mut self, other: Self) {
        self.ready |= other.ready;
        self.claimable.extend(other.claimable);
        self.noticed |= other.noticed;
        // One more than fits says that there were more.
        let room = (JOBS + 1).saturating_sub(self.ended.len());
        self.ended.extend(other.ended.into_iter().take(room));
    }

    fn read<'w>(flags: &str, words: impl Iterator<Item = &'w str>) -> Option<Self> {
        let flags = flags.strip_prefix('-')?;
        let mut said =
            Self { ready: flags.contains('r'), noticed: flags.contains('n'), ..Self::default() };
        if flags.contains('a') {
            said.claimable = Ready::anything();
        }
        for word in words {
            match word.parse() {
                Ok(job) => said.ended.push(Ended::unknown(job)),
                Err(_) => said.claimable.read(word)?,
            }
        }
        Some(said)
    }

    fn payload(&self, sender: &str) -> String {
        let mut payload = format!("{sender} ");
        if self.ended.len() > JOBS {
            payload.push('*');
            return payload;
        }
        payload.push('-');
        payload.extend(self.ready.then_some('r'));
        payload.extend(self.noticed.then_some('n'));
        let mut levels = String::new();
        if self.claimable.write(&mut levels) {
            payload.push_str(&levels);
        } else {
            payload.push('a');
        }
        for Ended { job, .. } in &self.ended {
            // Writing to a string cannot fail.
            let _ = write!(payload, " {job}");
        }
        payload
    }
}

/// What tells this process and the others of commits. Ends its task when it is dropped.
#[derive(Debug)]
pub(in crate::store::postgres) struct Wake {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    hints: Hints,
    scan_starts: ScanStarts,
    presence: Presence,
    /// Who speaks: a process need not hear itself.
    sender: String,
    unsent: Mutex<Announcement>,
    more: Notify,
    /// How often this process has heard its own proof.
    proofs: watch::Sender<u64>,
}

impl Wake {
    /// Starts the task. It makes its connection by itself, now and whenever it was lost.
    pub(in crate::store::postgres) fn start(
        options: &Options,
        connector: Connector,
        pool: Pool,
    ) -> Self {
        let sender = Uuid::now_v7().simple().to_string();
        let shared = Arc::new(Shared {
            hints: Hints::default(),
            scan_starts: ScanStarts::default(),
            presence: Presence::of(&options.schema, &sender),
            sender,
            unsent: Mutex::default(),
            more: Notify::new(),
            proofs: watch::Sender::new(0),
        });
        let talk = Listener {
            shared: Arc::clone(&shared),
            connector,
            pool,
            statements: Statements::of(&options.schema),
            said: false,
            channel: options.schema.channel(),
            listen: options.listen,
            poll: (options.poll < limits::POLL).then_some(options.poll),
            location: options.location.clone(),
            warned: !options.listen,
        };
        Self { shared, task: tokio::spawn(talk.run()) }
    }

    /// The hints of this process.
    pub(in crate::store::postgres) fn hints(&self) -> &Hints {
        &self.shared.hints
    }

    /// Where there is something to claim.
    pub(in crate::store::postgres) fn scan_starts(&self) -> &ScanStarts {
        &self.shared.scan_starts
    }

    /// Which workers' processes are gone.
    pub(in crate::store::postgres) fn presence(&self) -> &Presence {
        &self.shared.presence
    }

    /// Tells of a commit: this process now, the others as soon as the way is free.
    pub(in crate::store::postgres) fn tell(&self, said: Announcement) {
        if said.is_nothing() {
            return;
        }
        self.shared.unsent().add(said.clone());
        self.shared.more.notify_one();
        self.shared.say(said);
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn unsent(&self) -> MutexGuard<'_, Announcement> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Anything may have happened.
    fn say_changed(&self) {
        self.scan_starts.ready(&Ready::anything());
        self.hints.say_changed();
    }

    fn say(&self, said: Announcement) {
        self.scan_starts.ready(&said.claimable);
        self.hints.say_ended(said.ended);
        if said.ready {
            self.hints.say_ready();
        }
        if said.noticed {
            self.hints.say_noticed();
        }
    }

    /// A notification came. What cannot be read is "anything": a newer homing may say more.
    fn hear(&self, payload: &str) {
        let mut words = payload.split(' ');
        let (sender, flags) = (words.next(), words.next().unwrap_or_default());
        if sender == Some(&self.sender) {
            if flags == PROVE {
                self.proofs.send_modify(|proofs| *proofs += 1);
            }
            return;
        }
        if flags == PROVE {
            return;
        }
        match Announcement::read(flags, words) {
            Some(said) => self.say(said),
            None => self.say_changed(),
        }
    }
}

/// What a process says to hear whether it hears itself.
const PROVE: &str = "?";

/// The task's side.
struct Listener {
    shared: Arc<Shared>,
    connector: Connector,
    /// Connections on which a lost session is told of.
    pool: Pool,
    statements: Statements,
    /// Whether this process has said on its session that it lives.
    said: bool,
    channel: String,
    listen: bool,
    poll: Option<Duration>,
    location: String,
    /// Whether it has been said that there are no notifications; once is enough.
    warned: bool,
}

impl Listener {
    async fn run(mut self) {
        let mut pause = PAUSE.0;
        loop {
            let connected = self.session(&mut pause).await;
            if self.said {
                // Tried again before the next attempt, if it fails.
                match self.statements.take_back(&self.shared.presence, &self.pool).await {
                    Ok(()) => self.said = false,
                    Err(fault) => {
                        tracing::debug!(store = self.location, %fault, "a lost session is not told of");
                    }
                }
            }
            if let Err(fault) = connected {
                tracing::debug!(store = self.location, %fault, ?pause, "no hints for now");
            }
            self.look_for(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Without a connection: looks now and then.
    async fn look_for(&self, pause: Duration) {
        let looking = async {
            loop {
                tokio::time::sleep(self.poll.unwrap_or(limits::POLL)).await;
                self.shared.say_changed();
            }
        };
        // The time is up, which is what this waits for.
        let _ = tokio::time::timeout(pause, looking).await;
    }

    /// One connection, from its making to its end.
    async fn session(&mut self, pause: &mut Duration) -> Result<()> {
        let (client, wire) = self.connector.connect().await?;
        let mut driver = Driver(tokio::spawn(drive(wire, Arc::clone(&self.shared))));
        let mut proofs = self.shared.proofs.subscribe();
        // A pooler that lends a connection for one transaction takes the request and loses it: whether
        // notifications come shows when one has come.
        let (mut heard, mut hoping) = (false, self.listen && self.listen_on(&client).await?);
        *pause = PAUSE.0;
        // Whatever was said while nobody listened.
        self.shared.say_changed();
        let mut clock = tokio::time::interval(CLOCK);
        let mut look = tokio::time::interval(self.poll.unwrap_or(limits::POLL));
        let mut watch = Watch::new();
        let patience = tokio::time::sleep(PROOF);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                () = self.shared.more.notified() => {
                    self.send(&client).await?;
                    tokio::time::sleep(limits::POSTGRES_NOTIFY).await;
                }
                _ = clock.tick() => self.connector.look_at_clock(&client).await?,
                _ = look.tick(), if !heard && self.poll.is_some() => self.shared.say_changed(),
                _ = proofs.changed(), if hoping => {
                    (heard, hoping, self.warned) = (true, false, false);
                    self.watch(&mut watch, &client).await?;
                }
                () = watch.due(&self.shared.presence), if heard => {
                    self.watch(&mut watch, &client).await?;
                }
                () = &mut patience, if hoping => {
                    hoping = false;
                    self.warn("LISTEN is accepted and brings nothing: is there a pooler that lends connections for one transaction?");
                }
                _ = &mut driver.0 => return Err(Fault::Unreachable),
            }
        }
    }

    /// On a session that is one, for it hears itself: says that this process lives, and looks at the others.
    async fn watch(&mut self, watch: &mut Watch, client: &Client) -> Result<()> {
        let turn = watch.turn(&self.shared.presence, &self.statements, client).await;
        self.said |= watch.is_held();
        match turn {
            Err(fault) if fault.is_of_the_connection() => return Err(fault),
            // A standby that takes no writes, say.
            Err(fault) => tracing::debug!(store = self.location, %fault, "not seen who lives"),
            Ok(true) => self.shared.hints.say_ready(),
            Ok(false) => {}
        }
        Ok(())
    }

    /// Asks for notifications, and for one to see whether they come. `false` if the server refuses.
    async fn listen_on(&mut self, client: &Client) -> Result<bool> {
        let listening = client.batch_execute(&format!("LISTEN \"{}\"", self.channel)).await;
        match listening.map_err(Fault::from) {
            Err(fault) if fault.is_of_the_connection() => Err(fault),
            Err(fault) => {
                self.warn(&fault.to_string());
                Ok(false)
            }
            Ok(()) => {
                self.prove(client).await?;
                Ok(true)
            }
        }
    }

    /// Tells itself something over another connection, if it gets one: to this one a pooler that lends
    /// connections for one transaction may lend the listening one again, and it would be heard by chance.
    async fn prove(&self, client: &Client) -> Result<()> {
        let proof = format!("{} {PROVE}", self.shared.sender);
        match self.connector.connect().await {
            Ok((other, wire)) => {
                let _driver = Driver(tokio::spawn(async move {
                    // Whoever speaks over it hears of its end.
                    let _ = wire.await;
                }));
                self.notify(&other, &proof).await
            }
            Err(_) => self.notify(client, &proof).await,
        }
    }

    /// Says that there are no notifications; once is enough, until there were some.
    fn warn(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                store = self.location,
                reason,
                "no notifications: work of other processes is found by looking alone, every second or as `poll=` says"
            );
        }
    }

    async fn send(&self, client: &Client) -> Result<()> {
        let said = std::mem::take(&mut *self.shared.unsent());
        if said.is_nothing() {
            return Ok(());
        }
        self.notify(client, &said.payload(&self.shared.sender)).await
    }

    /// One notification. A server that takes none, a standby say, is no reason to give up listening.
    async fn notify(&self, client: &Client, payload: &str) -> Result<()> {
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&self.channel, Type::TEXT), (&payload, Type::TEXT)];
        match client.query_typed("SELECT pg_notify($1, $2)", &parameters).await.map_err(Fault::from)
        {
            Err(fault) if fault.is_of_the_connection() => Err(fault),
            Err(fault) => {
                tracing::debug!(store = self.location, %fault, "a notification was not sent");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}

/// Drives a connection; ends with it, or with this.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn drive(mut wire: Wire, shared: Arc<Shared>) {
    while let Some(Ok(message)) = poll_fn(|cx| wire.poll_message(cx)).await {
        if let AsyncMessage::Notification(notification) = message {
            shared.hear(notification.payload());
        }
    }
}
