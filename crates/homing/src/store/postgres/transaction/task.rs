//! A task's moving row: how it is read, born and written. What moves it stands in the verbs.

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use tokio_postgres::Row;

use crate::core::id::{JobId, Local, Map, TaskId, Token};
use crate::core::link::is_followed;
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{Condition, Wait};
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::link::table::{Columns, table};
use crate::store::postgres::transaction::columns::{Hash, count, progress, small, token};
use crate::store::rules::{self, Birth};
use crate::store::{NewJob, NewTask, Policy};

/// A row of `open`: what both stores have of an open task, and what the claim and the writes need besides.
#[derive(Debug, Clone)]
pub(in crate::store::postgres) struct Task {
    row: rules::Row,
    pub(in crate::store::postgres) priority: i16,
    pub(in crate::store::postgres) queue: String,
    pub(in crate::store::postgres) signalled: bool,
    pub(in crate::store::postgres) waits: Vec<Wait>,
    /// Waits that do not decode, as they are stored, and what is wrong with them.
    pub(in crate::store::postgres) unreadable: Option<Box<(String, String)>>,
    /// Whether the store knows the holder: who is gone keeps nothing.
    pub(in crate::store::postgres) holder_lives: bool,
    /// The arguments of a link, which say what follows its end.
    pub(in crate::store::postgres) link: Option<String>,
}

impl Deref for Task {
    type Target = rules::Row;

    fn deref(&self) -> &rules::Row {
        &self.row
    }
}

impl DerefMut for Task {
    fn deref_mut(&mut self) -> &mut rules::Row {
        &mut self.row
    }
}

by_name! {
    /// The columns that [`Task::of`] reads, of a table called `o`. The kinds of links and of the bridge's tasks are written in two
    /// parts, because the schema's name is put where its first is.
    columns at {
        job = "o.job",
        local = "o.local",
        parent = "o.parent",
        set = "o.\"set\"",
        depth = "o.depth",
        state = "o.state",
        priority = "o.priority",
        attempt = "o.attempt",
        failures = "o.failures",
        crashes = "o.crashes",
        stalls = "o.stalls",
        lines = "o.lines",
        due = "o.due",
        worker = "o.worker",
        claim = "o.claim",
        started = "o.started",
        expires = "o.expires",
        deadline = "o.deadline",
        parked_worker = "o.parked_worker",
        parked_claim = "o.parked_claim",
        held_until = "o.held_until",
        holder = "o.holder",
        dropped = "o.dropped",
        progress_done = "o.progress_done",
        progress_total = "o.progress_total",
        signalled = "o.signalled",
        queue = "o.queue",
        kind = "o.kind",
        key = "o.key",
        waits = "o.waits",
        reason = "o.reason",
        holder_lives = "o.holder IS NOT NULL AND EXISTS (SELECT FROM homing.workers AS h \
          WHERE h.id = o.holder)",
        link = "CASE WHEN o.kind = 'homing' || '.link' OR o.kind LIKE 'homing' || '.celery.%' THEN (SELECT t.arguments \
          FROM homing.tasks AS t WHERE t.job = o.job AND t.local = o.local) END",
        at_once = "o.at_once",
    }
}

pub(in crate::store::postgres) use columns;

/// Where what follows these columns begins.
pub(in crate::store::postgres) const BEHIND: usize = at::COUNT;

impl Task {
    /// Reads a row.
    pub(in crate::store::postgres) fn of(row: &Row) -> Result<Self> {
        let waits = row.try_get(at::waits)?;
        let (waits, unreadable) = match decode(waits) {
            Ok(decoded) => (decoded, None),
            Err(fault) => {
                let stored = waits.unwrap_or_default().to_owned();
                (Vec::new(), Some(Box::new((stored, fault.to_string()))))
            }
        };
        Ok(Self {
            row: rules::Row {
                id: TaskId { job: row.try_get(at::job)?, local: row.try_get(at::local)? },
                parent: row.try_get(at::parent)?,
                set: row.try_get(at::set)?,
                depth: small(row, at::depth)?,
                kind: row.try_get(at::kind)?,
                key: row.try_get(at::key)?,
                state: row.try_get(at::state)?,
                attempt: small(row, at::attempt)?,
                failures: small(row, at::failures)?,
                crashes: small(row, at::crashes)?,
                at_once: row.try_get(at::at_once)?,
                stalls: small(row, at::stalls)?,
                due: row.try_get(at::due)?,
                started: row.try_get(at::started)?,
                expires: row.try_get(at::expires)?,
                deadline: row.try_get(at::deadline)?,
                token: token(row, (at::worker, at::claim))?,
                parked: token(row, (at::parked_worker, at::parked_claim))?,
                holder: row.try_get(at::holder)?,
                held_until: row.try_get(at::held_until)?,
                reason: row.try_get(at::reason)?,
                progress: progress(row, (at::progress_done, at::progress_total))?,
                lines: small(row, at::lines)?,
                dropped: count(row, at::dropped)?,
            },
            priority: row.try_get(at::priority)?,
            queue: row.try_get(at::queue)?,
            signalled: row.try_get(at::signalled)?,
            waits,
            unreadable,
            holder_lives: row.try_get(at::holder_lives)?,
            link: row.try_get(at::link)?,
        })
    }

    /// The row of a task that is born.
    pub(in crate::store::postgres) fn born(
        id: TaskId,
        new: &NewTask,
        birth: Option<Birth>,
        now: Time,
    ) -> Self {
        let blank = Self::blank(id, new.queue.clone(), new.kind.clone());
        Self {
            row: rules::Row {
                parent: birth.map(|birth| birth.parent),
                set: birth.map(|birth| birth.set),
                depth: birth.map_or(0, |birth| birth.depth),
                due: new.due.unwrap_or(now),
                expires: new.expires,
                deadline: new.deadline,
                ..blank.row
            },
            priority: new.priority,
            link: is_followed(&new.kind).then(|| new.arguments.clone()),
            ..blank
        }
    }

    /// A row of which nothing is known but this.
    pub(in crate::store::postgres) fn blank(id: TaskId, queue: String, kind: String) -> Self {
        Self {
            row: rules::Row::blank(id, kind),
            priority: 0,
            queue,
            signalled: false,
            waits: Vec::new(),
            unreadable: None,
            holder_lives: false,
            link: None,
        }
    }

    /// The earliest instant at which the task must be looked at without a claim.
    pub(in crate::store::postgres) fn timer(&self) -> Option<Time> {
        self.row.timer(crate::core::wait::earliest(&self.waits))
    }

    /// Whether there is nothing to say of a newborn task that few tasks have.
    pub(in crate::store::postgres) fn is_plain(&self) -> bool {
        self.state == State::Pending
            && self.key.is_none()
            && self.expires.is_none()
            && self.deadline.is_none()
            && !self.signalled
    }

    fn waits_as_text(&self) -> Option<String> {
        // What cannot be read stays as it is, for whoever mends it.
        let unreadable = self.unreadable.as_ref().map(|unreadable| unreadable.0.clone());
        unreadable
            .or_else(|| (!self.waits.is_empty()).then(|| crate::core::encode::json(&self.waits)))
    }
}

/// Waits as they are stored.
pub(in crate::store::postgres) fn decode(waits: Option<&str>) -> Result<Vec<Wait>> {
    let Some(text) = waits else { return Ok(Vec::new()) };
    serde_json::from_str(text)
        .map_err(|error| Fault::Unreadable(format!("its waits do not decode: {error}")))
}

/// What waits name: sets, and single children.
pub(in crate::store::postgres) fn named(waits: &[Wait]) -> (Vec<Local>, Vec<Local>) {
    fn add(condition: &Condition, sets: &mut Vec<Local>, children: &mut Vec<Local>) {
        match condition {
            Condition::Set { set, .. } => sets.push(*set),
            Condition::Child { child, .. } => children.push(*child),
            Condition::All { of } => of.iter().for_each(|one| add(one, sets, children)),
            Condition::Signal { .. } | Condition::Job { .. } | Condition::At { .. } => {}
        }
    }
    let (mut sets, mut children) = (Vec::new(), Vec::new());
    let arms = waits.iter().flat_map(|wait| &wait.arms);
    arms.for_each(|arm| add(arm, &mut sets, &mut children));
    for names in [&mut sets, &mut children] {
        names.sort_unstable();
        names.dedup();
    }
    (sets, children)
}

/// Keys as the text of an array: `unnest` makes one list of an array of arrays, so that those travel as
/// texts.
fn list(names: &[Local]) -> Option<String> {
    let names: Vec<String> = names.iter().map(Local::to_string).collect();
    (!names.is_empty()).then(|| format!("{{{}}}", names.join(",")))
}

/// A task that is born in this transaction.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::postgres) struct Newborn<'e> {
    pub(in crate::store::postgres) id: TaskId,
    pub(in crate::store::postgres) birth: Option<Birth>,
    pub(in crate::store::postgres) new: &'e NewTask,
    /// The job of which it is the root.
    pub(in crate::store::postgres) job: Option<&'e NewJob>,
}

impl Newborn<'_> {
    /// Whether there is nothing to say of it that few tasks have.
    fn is_plain(&self) -> bool {
        let bare = |job: &NewJob| job.title.is_none() && job.origin.is_none() && job.key.is_none();
        self.new.policy == Policy::default()
            && self.new.tags.is_empty()
            && self.job.is_none_or(bare)
    }
}

/// Writes what newborn tasks will always be. The server's work grows with the number of columns, so that
/// what few tasks have is told only where one has it; here and below.
pub(in crate::store::postgres) fn bear<'e>(
    newborns: &[Newborn<'e>],
    bundles: &Map<TaskId, Local>,
    now: Time,
) -> Statement<'e> {
    static PLAIN: OnceLock<String> = OnceLock::new();
    static FULL: OnceLock<String> = OnceLock::new();
    let mut rows = table!(newborns, n =>
        job: uuid = n.id.job,
        local: uuid = n.id.local,
        parent: uuid = n.birth.map(|birth| birth.parent),
        set: uuid = n.birth.map(|birth| birth.set),
        number: bigint = n.birth.map(|birth| i64::from(birth.number)),
        placed: boolean =
            n.birth.is_some_and(|birth| n.id.local != birth.set.numbered(birth.number)),
        depth: integer = n.birth.map_or(0, |birth| birth.depth as i32),
        kind: text = n.new.kind.as_str(),
        queue: text = n.new.queue.as_str(),
        priority: smallint = n.new.priority,
        hash: uuid = Hash(n.new.hash),
        arguments: text = n.new.arguments.as_str(),
        bundle: uuid = bundles.get(&n.id).copied(),
    );
    if newborns.iter().all(|n| n.birth.is_none()) {
        rows.lack::<Local>("parent");
        rows.lack::<Local>("set");
        rows.lack::<i64>("number");
    }
    let make = |n: &Columns<'_>| {
        let (names, values, rows, now) = (n.names(), n.of("n"), n.rows("n"), n.next());
        format!(
            "INSERT INTO homing.tasks ({names}, created) SELECT {values}, ${now}::bigint FROM {rows}"
        )
    };
    if newborns.iter().all(Newborn::is_plain) {
        return rows.statement(&PLAIN, make).with(values![now]);
    }
    let more = table!(newborns, n =>
        policy: text = policy(&n.new.policy),
        key: text = n.job.and_then(|job| job.key.as_deref()),
        origin_job: uuid = n.job.and_then(|job| job.origin).map(|origin| origin.job),
        origin_local: uuid = n.job.and_then(|job| job.origin).map(|origin| origin.local),
        title: text = n.job.and_then(|job| job.title.as_deref()),
        tags: text as "::text[]" =
            Some(&n.new.tags).filter(|tags| !tags.is_empty()).map(|tags| words(tags)),
    );
    rows.and(more).statement(&FULL, make).with(values![now])
}

fn policy(policy: &Policy) -> Option<String> {
    (*policy != Policy::default()).then(|| crate::core::encode::json(policy))
}

/// Words as the text of an array, which is how lists of lists travel.
pub(in crate::store::postgres) fn words(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let word = word.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{word}\"")
    });
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// Writes the moving rows of newborn tasks: pending, or claimed already.
pub(in crate::store::postgres) fn open<'e>(tasks: &[&'e Task]) -> Statement<'e> {
    static PLAIN: OnceLock<String> = OnceLock::new();
    static FULL: OnceLock<String> = OnceLock::new();
    let rows = table!(tasks, t =>
        job: uuid = t.id.job,
        local: uuid = t.id.local,
        parent: uuid = t.parent,
        set: uuid = t.set,
        depth: integer = t.depth as i32,
        priority: smallint = t.priority,
        due: bigint = t.due,
        queue: text = t.queue.as_str(),
        kind: text = t.kind.as_str(),
    );
    if tasks.iter().all(|task| task.is_plain()) {
        return rows.statement(&PLAIN, |n| {
            let (names, values, rows) = (n.names(), n.of("n"), n.rows("n"));
            format!(
                "INSERT INTO homing.open ({names}, attempt, failures, crashes, stalls, lines, dropped,
                   state, signalled)
                 SELECT {values}, 1, 0, 0, 0, 0, 0, 0, false FROM {rows}"
            )
        });
    }
    let more = table!(tasks, t =>
        state: smallint = t.state,
        worker: uuid = t.token.map(|token| token.worker),
        claim: bigint = t.token.map(|token| token.claim as i64),
        started: bigint = t.started,
        expires: bigint = t.expires,
        deadline: bigint = t.deadline,
        timer: bigint = t.timer(),
        key: text = t.key.as_deref(),
        signalled: boolean = t.signalled,
    );
    rows.and(more).statement(&FULL, |n| {
        let (names, values, rows) = (n.names(), n.of("n"), n.rows("n"));
        format!(
            "INSERT INTO homing.open ({names}, attempt, failures, crashes, stalls, lines, dropped)
             SELECT {values}, 1, 0, 0, 0, 0, 0 FROM {rows}"
        )
    })
}

/// Writes rows that have moved.
pub(in crate::store::postgres) fn moved<'e>(tasks: &[&Task]) -> Statement<'e> {
    static SQL: OnceLock<String> = OnceLock::new();
    let names: Vec<_> = tasks.iter().map(|task| named(&task.waits)).collect();
    let tasks: Vec<_> = tasks.iter().zip(&names).collect();
    let rows = table!(tasks, (t, names) =>
        job: uuid = t.id.job,
        local: uuid = t.id.local,
        state: smallint = t.state,
        attempt: integer = t.attempt as i32,
        failures: integer = t.failures as i32,
        crashes: integer = t.crashes as i32,
        stalls: integer = t.stalls as i32,
        lines: integer = t.lines as i32,
        due: bigint = t.due,
        worker: uuid = t.token.map(|token| token.worker),
        claim: bigint = t.token.map(|token| token.claim as i64),
        started: bigint = t.started,
        timer: bigint = t.timer(),
        parked_worker: uuid = t.parked.map(|token| token.worker),
        parked_claim: bigint = t.parked.map(|token| token.claim as i64),
        held_until: bigint = t.held_until,
        holder: uuid = t.holder,
        dropped: bigint = t.dropped as i64,
        progress_done: bigint = t.progress.map(|(done, _)| done as i64),
        progress_total: bigint = t.progress.map(|(_, total)| total as i64),
        signalled: boolean = t.signalled,
        wait_sets: text as "::uuid[]" = list(&names.0),
        wait_children: text as "::uuid[]" = list(&names.1),
        waits: text = t.waits_as_text(),
        reason: text = t.reason.clone(),
        at_once: boolean = t.at_once,
    );
    rows.statement(&SQL, |m| {
        let (assigned, rows) = (m.assigned("m", 2), m.rows("m"));
        format!(
            "UPDATE homing.open AS o SET {assigned} FROM {rows}
             WHERE o.job = m.job AND o.local = m.local"
        )
    })
}

/// Three values for each row, where [`moved`] sends all columns that can change: a task that has never run has no more
/// to say.
const START: &str = "UPDATE homing.open AS o SET state = 1, worker = $4, claim = $5, started = $6,
    timer = b.timer
  FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS b (job, local, timer)
  WHERE o.job = b.job AND o.local = b.local";

/// Writes rows that are claimed for the first time, all in one exchange: what else there is to a row is as
/// it was born.
pub(in crate::store::postgres) fn begun<'e>(
    tasks: &[&Task],
    token: Token,
    now: Time,
) -> Statement<'e> {
    let mut values = arrays!(tasks, t => t.id.job, t.id.local, t.timer());
    values.extend(values![token.worker, token.claim as i64, now]);
    Statement::new(START, values)
}

/// Names a job's ids for a statement.
pub(in crate::store::postgres) fn ids(tasks: &[TaskId]) -> (Vec<JobId>, Vec<Local>) {
    tasks.iter().map(|task| (task.job, task.local)).unzip()
}
