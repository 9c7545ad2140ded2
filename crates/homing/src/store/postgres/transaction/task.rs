//! A task's moving row: how it is read, born and written. What moves it stands in the verbs.

use std::ops::{Deref, DerefMut};

use tokio_postgres::Row;

use crate::core::id::{JobId, Local, Map, TaskId, Token};
use crate::core::link::LINK;
use crate::core::state::State;
use crate::core::time::Time;
use crate::core::wait::{Condition, Wait};
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::pipeline::{Statement, arrays, values};
use crate::store::postgres::transaction::columns::{Hash, count, progress, small, task_id, token};
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

/// The columns that [`Task::of`] reads, of a table called `o`. The kind of links, [`LINK`], is written in two
/// parts, because the schema's name is put where its first is.
macro_rules! columns {
    () => {
        "o.job, o.local, o.parent, o.\"set\", o.depth, o.state, o.priority, o.attempt, o.failures, \
         o.crashes, o.stalls, o.lines, o.due, o.worker, o.claim, o.started, o.expires, o.deadline, \
         o.parked_worker, o.parked_claim, o.held_until, o.holder, o.dropped, o.progress_done, \
         o.progress_total, o.signalled, o.queue, o.kind, o.key, o.waits, o.reason, \
         o.holder IS NOT NULL AND EXISTS (SELECT FROM homing.workers AS h WHERE h.id = o.holder), \
         CASE WHEN o.kind = 'homing' || '.link' THEN (SELECT t.arguments FROM homing.tasks AS t \
           WHERE t.job = o.job AND t.local = o.local) END"
    };
}

pub(in crate::store::postgres) use columns;

impl Task {
    /// Reads a row.
    pub(in crate::store::postgres) fn of(row: &Row) -> Result<Self> {
        let (waits, unreadable) = match decode(row.try_get(29)?) {
            Ok(waits) => (waits, None),
            Err(fault) => (Vec::new(), Some(Box::new((row.try_get(29)?, fault.to_string())))),
        };
        Ok(Self {
            row: rules::Row {
                id: task_id(row, 0)?,
                parent: row.try_get(2)?,
                set: row.try_get(3)?,
                depth: small(row, 4)?,
                state: row.try_get(5)?,
                attempt: small(row, 7)?,
                failures: small(row, 8)?,
                crashes: small(row, 9)?,
                stalls: small(row, 10)?,
                lines: small(row, 11)?,
                due: row.try_get(12)?,
                token: token(row, 13)?,
                started: row.try_get(15)?,
                expires: row.try_get(16)?,
                deadline: row.try_get(17)?,
                parked: token(row, 18)?,
                held_until: row.try_get(20)?,
                holder: row.try_get(21)?,
                dropped: count(row, 22)?,
                progress: progress(row, 23)?,
                kind: row.try_get(27)?,
                key: row.try_get(28)?,
                reason: row.try_get(30)?,
            },
            priority: row.try_get(6)?,
            signalled: row.try_get(25)?,
            queue: row.try_get(26)?,
            waits,
            unreadable,
            holder_lives: row.try_get(31)?,
            link: row.try_get(32)?,
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
            link: (new.kind == LINK).then(|| new.arguments.clone()),
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

const BEAR_PLAIN: &str =
    "INSERT INTO homing.tasks (job, local, parent, \"set\", number, placed, depth, kind, queue, priority,
    hash, arguments, bundle, created)
  SELECT n.*, $14::bigint FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[],
    $6::boolean[], $7::integer[], $8::text[], $9::text[], $10::smallint[], $11::uuid[], $12::text[],
    $13::uuid[]) AS n";

const BEAR: &str =
    "INSERT INTO homing.tasks (job, local, parent, \"set\", number, placed, depth, kind, queue, priority,
    hash, arguments, bundle, created, policy, key, origin_job, origin_local, title, tags)
  SELECT n.job, n.local, n.parent, n.\"set\", n.number, n.placed, n.depth, n.kind, n.queue, n.priority,
    n.hash, n.arguments, n.bundle, $14::bigint, n.policy, n.key, n.origin_job, n.origin_local, n.title,
    n.tags::text[]
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::boolean[],
    $7::integer[], $8::text[], $9::text[], $10::smallint[], $11::uuid[], $12::text[], $13::uuid[],
    $15::text[], $16::text[], $17::uuid[], $18::uuid[], $19::text[], $20::text[])
    AS n (job, local, parent, \"set\", number, placed, depth, kind, queue, priority, hash, arguments,
      bundle, policy, key, origin_job, origin_local, title, tags)";

/// Writes what newborn tasks will always be. The server's work grows with the number of columns, so that
/// what few tasks have is told only where one has it; here and below.
pub(in crate::store::postgres) fn bear<'e>(
    newborns: &[Newborn<'e>],
    bundles: &Map<TaskId, Local>,
    now: Time,
) -> Statement<'e> {
    let mut values = arrays!(newborns, n =>
        n.id.job, n.id.local,
        n.birth.map(|birth| birth.parent),
        n.birth.map(|birth| birth.set),
        n.birth.map(|birth| i64::from(birth.number)),
        n.birth.is_some_and(|birth| n.id.local != birth.set.numbered(birth.number)),
        n.birth.map_or(0, |birth| birth.depth as i32),
        n.new.kind.as_str(), n.new.queue.as_str(), n.new.priority, Hash(n.new.hash),
        n.new.arguments.as_str(), bundles.get(&n.id).copied()
    );
    if newborns.iter().all(|n| n.birth.is_none()) {
        // Roots have none of these; what a list lacks is NULL.
        values[2] = Box::new(Vec::<Option<Local>>::new());
        values[3] = Box::new(Vec::<Option<Local>>::new());
        values[4] = Box::new(Vec::<Option<i64>>::new());
    }
    values.extend(values![now]);
    if newborns.iter().all(Newborn::is_plain) {
        return Statement::new(BEAR_PLAIN, values);
    }
    values.extend(arrays!(newborns, n =>
        policy(&n.new.policy),
        n.job.and_then(|job| job.key.as_deref()),
        n.job.and_then(|job| job.origin).map(|origin| origin.job),
        n.job.and_then(|job| job.origin).map(|origin| origin.local),
        n.job.and_then(|job| job.title.as_deref()),
        Some(&n.new.tags).filter(|tags| !tags.is_empty()).map(|tags| words(tags))
    ));
    Statement::new(BEAR, values)
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

const OPEN_PLAIN: &str =
    "INSERT INTO homing.open (job, local, parent, \"set\", depth, priority, due, queue,
    kind, state, attempt, failures, crashes, stalls, lines, dropped, signalled)
  SELECT n.*, 0, 1, 0, 0, 0, 0, 0, false FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[],
    $5::integer[], $6::smallint[], $7::bigint[], $8::text[], $9::text[]) AS n";

const OPEN: &str = "INSERT INTO homing.open (job, local, parent, \"set\", depth, priority, due, queue, kind,
    state, attempt, failures, crashes, stalls, lines, dropped, signalled, worker, claim, started, expires,
    deadline, timer, key)
  SELECT n.job, n.local, n.parent, n.\"set\", n.depth, n.priority, n.due, n.queue, n.kind, n.state, 1, 0, 0,
    0, 0, 0, n.signalled, n.worker, n.claim, n.started, n.expires, n.deadline, n.timer, n.key
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::integer[], $6::smallint[],
    $7::bigint[], $8::text[], $9::text[], $10::smallint[], $11::uuid[], $12::bigint[], $13::bigint[],
    $14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::boolean[])
    AS n (job, local, parent, \"set\", depth, priority, due, queue, kind, state, worker, claim, started,
      expires, deadline, timer, key, signalled)";

/// Writes the moving rows of newborn tasks: pending, or claimed already.
pub(in crate::store::postgres) fn open<'e>(tasks: &[&'e Task]) -> Statement<'e> {
    let mut values = arrays!(tasks, t =>
        t.id.job, t.id.local, t.parent, t.set, t.depth as i32, t.priority, t.due, t.queue.as_str(),
        t.kind.as_str()
    );
    if tasks.iter().all(|task| task.is_plain()) {
        return Statement::new(OPEN_PLAIN, values);
    }
    values.extend(arrays!(tasks, t =>
        t.state, t.token.map(|token| token.worker), t.token.map(|token| token.claim as i64), t.started,
        t.expires, t.deadline, t.timer(), t.key.as_deref(), t.signalled
    ));
    Statement::new(OPEN, values)
}

const MOVE: &str = "UPDATE homing.open AS o SET state = m.state, attempt = m.attempt,
    failures = m.failures, crashes = m.crashes, stalls = m.stalls, lines = m.lines, due = m.due,
    worker = m.worker, claim = m.claim, started = m.started, timer = m.timer,
    parked_worker = m.parked_worker, parked_claim = m.parked_claim, held_until = m.held_until,
    holder = m.holder, dropped = m.dropped, progress_done = m.progress_done,
    progress_total = m.progress_total, signalled = m.signalled, wait_sets = m.wait_sets::uuid[],
    wait_children = m.wait_children::uuid[], waits = m.waits, reason = m.reason
  FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::integer[], $5::integer[], $6::integer[],
    $7::integer[], $8::integer[], $9::bigint[], $10::uuid[], $11::bigint[], $12::bigint[],
    $13::bigint[], $14::uuid[], $15::bigint[], $16::bigint[], $17::uuid[], $18::bigint[],
    $19::bigint[], $20::bigint[], $21::boolean[], $22::text[], $23::text[], $24::text[], $25::text[])
    AS m (job, local, state, attempt, failures, crashes, stalls, lines, due, worker, claim, started,
      timer, parked_worker, parked_claim, held_until, holder, dropped, progress_done, progress_total,
      signalled, wait_sets, wait_children, waits, reason)
  WHERE o.job = m.job AND o.local = m.local";

/// Writes rows that have moved.
pub(in crate::store::postgres) fn moved<'e>(tasks: &[&Task]) -> Statement<'e> {
    let names: Vec<_> = tasks.iter().map(|task| named(&task.waits)).collect();
    let tasks: Vec<_> = tasks.iter().zip(&names).collect();
    Statement::new(
        MOVE,
        arrays!(tasks, (t, names) =>
            t.id.job, t.id.local, t.state, t.attempt as i32, t.failures as i32, t.crashes as i32,
            t.stalls as i32, t.lines as i32, t.due, t.token.map(|token| token.worker),
            t.token.map(|token| token.claim as i64), t.started, t.timer(),
            t.parked.map(|token| token.worker), t.parked.map(|token| token.claim as i64),
            t.held_until, t.holder, t.dropped as i64, t.progress.map(|(done, _)| done as i64),
            t.progress.map(|(_, total)| total as i64), t.signalled, list(&names.0), list(&names.1),
            t.waits_as_text(), t.reason.clone()
        ),
    )
}

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
