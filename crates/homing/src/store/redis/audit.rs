//! `audit`: every breach of an invariant that a scan finds. Job by job, each as one command reads it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::link::fault::{Fault, Result};
use super::pack::{self, List};
use super::people::View;
use super::task::{self, Row, Task};
use crate::core::id::{JobId, Local, TaskId};
use crate::core::state::{CancelledBy, State};
use crate::core::time::Time;
use crate::core::wait::{self, Facts, SetCounts, Standing};
use crate::limits;
use crate::store::read::Breach;

/// Fields of a job that are read by one command at most.
const AT_ONCE: usize = 50_000;

type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// A job as one command has read it.
struct Read {
    job: JobId,
    fields: Fields,
    tasks: BTreeMap<Local, Task>,
    /// Tasks of which something does not decode, and what.
    unreadable: Vec<(Local, String)>,
    /// How the jobs stand that its tasks wait for.
    standings: BTreeMap<JobId, Standing>,
    now: Time,
}

impl Read {
    fn of(job: JobId, fields: Fields, now: Time) -> Result<Self> {
        let (mut tasks, mut unreadable) = (BTreeMap::new(), Vec::new());
        for (name, value) in &fields {
            let Some((letter, rest)) = name.split_first() else { continue };
            let (local, rest) = rest.split_at(rest.len().min(16));
            let fault = match letter {
                b'o' => {
                    let local = Local(pack::sixteen(local)?);
                    let birth = fields.get(&super::field(b'b', local));
                    let birth = birth.map_or(&[][..], Vec::as_slice);
                    let read = Task::from(TaskId { job, local }, birth, value);
                    read.and_then(|task| {
                        let policy = task.birth.policy().map(drop);
                        tasks.insert(local, task);
                        policy
                    })
                }
                b'w' => task::waits(value).map(drop),
                b'r' => {
                    let seq = rest.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                    let read = super::waits::entry_from(value, seq).map(drop);
                    read.map_err(|fault| fault.of(|| format!("entry {seq} of its record")))
                }
                _ => Ok(()),
            };
            match fault {
                Err(Fault::Unreadable(what)) => {
                    unreadable.push((Local(pack::sixteen(local)?), what));
                }
                done => done?,
            }
        }
        Ok(Self { job, fields, tasks, unreadable, standings: BTreeMap::new(), now })
    }

    fn id(&self, local: Local) -> TaskId {
        TaskId { job: self.job, local }
    }

    /// Those that do not decode satisfy nothing.
    fn waits(&self, local: Local) -> Vec<wait::Wait> {
        let kept = self.fields.get(&super::field(b'w', local));
        kept.and_then(|blob| task::waits(blob).ok()).unwrap_or_default()
    }

    /// Whether a cancellation on its way down will reach a task.
    fn is_falling(&self, task: &Task) -> bool {
        let mut above = task.birth.parent;
        while let Some(parent) = above {
            if self.fields.contains_key(&super::field(b'x', parent)) {
                return true;
            }
            above = self.tasks.get(&parent).and_then(|task| task.birth.parent);
        }
        false
    }

    fn of_rows(&mut self, breaches: &mut Vec<Breach>) {
        for (local, what) in &self.unreadable {
            breaches.push(Breach { task: self.id(*local), what: what.clone() });
        }
        for task in self.tasks.values() {
            let mut breach = |what: &str| {
                breaches.push(Breach { task: task.id, what: what.to_owned() });
            };
            let Row { state, .. } = task.row;
            if state == State::Waiting && !task.row.is_due_to_be_looked_at(self.now) {
                let waits = self.waits(task.id.local);
                let mut facts = JobFacts { read: self, task: task.id.local };
                let Ok(satisfied) = wait::satisfied(&waits, &mut facts);
                if satisfied {
                    breach("waiting, yet satisfied");
                }
            }
            if (state == State::Running) != task.row.token.is_some() {
                breach("running without a token, or a token without running");
            }
            let parent = task.birth.parent.and_then(|parent| self.tasks.get(&parent));
            let orphan = parent.is_some_and(|parent| parent.row.state.is_ended());
            if orphan && !state.is_ended() && !self.is_falling(task) {
                breach("open below an ended parent");
            }
        }
    }

    /// Counts of sets that differ from the rows.
    fn of_sets(&self, breaches: &mut Vec<Breach>) -> Result<()> {
        let mut counted: BTreeMap<(Local, Local), SetCounts> = BTreeMap::new();
        for task in self.tasks.values() {
            let (Some(parent), Some((set, number))) = (task.birth.parent, task.birth.set) else {
                continue;
            };
            let counts = counted.entry((parent, set)).or_default();
            counts.spawned += 1;
            counts.added += u64::from(number >= limits::CHILDREN);
            match task.row.state {
                State::Succeeded => counts.succeeded += 1,
                State::Failed => counts.failed += 1,
                State::Cancelled if task.row.by.is_some_and(CancelledBy::is_parent) => {
                    counts.aborted += 1;
                }
                State::Cancelled => counts.cancelled += 1,
                State::Pending | State::Running | State::Waiting => {}
            }
        }
        for (name, blob) in &self.fields {
            let Some((b's', names)) = name.split_first() else { continue };
            let (owner, set) = names.split_at(names.len().min(16));
            let (owner, set) = (Local(pack::sixteen(owner)?), Local(pack::sixteen(set)?));
            let (stored, _) = task::counts(blob)?;
            let rows = counted.remove(&(owner, set)).unwrap_or_default();
            let SetCounts { last_end, last_added, .. } = stored;
            if stored != (SetCounts { last_end, last_added, ..rows }) {
                let what = format!("the counts of set {set} differ from its rows");
                breaches.push(Breach { task: self.id(owner), what });
            }
        }
        for ((owner, set), _) in counted {
            let what = format!("set {set} has children and no counts");
            breaches.push(Breach { task: self.id(owner), what });
        }
        Ok(())
    }

    /// The job's own counts against its rows.
    fn of_job(&self, breaches: &mut Vec<Breach>) -> Result<()> {
        let Some(blob) = self.fields.get(b"n".as_slice()) else { return Ok(()) };
        let value = pack::parse(blob)?;
        let mut list = List::of(&value)?;
        for state in State::ALL {
            let stored: usize = list.count()?;
            let rows = self.tasks.values().filter(|task| task.row.state == state).count();
            if stored != rows {
                let what = format!("{stored} tasks are counted as {state}, and {rows} are");
                breaches.push(Breach { task: self.job.root(), what });
            }
        }
        Ok(())
    }
}

/// What a task's waits are held against.
struct JobFacts<'r> {
    read: &'r Read,
    task: Local,
}

impl Facts for JobFacts<'_> {
    type Error = Infallible;

    fn set(&mut self, set: Local) -> Result<SetCounts, Infallible> {
        let name = super::link::keys::field_of(b's', self.task, &[&set.0]);
        let kept = self.read.fields.get(&name).and_then(|blob| task::counts(blob).ok());
        Ok(kept.map_or_else(SetCounts::default, |(counts, _)| counts))
    }

    fn child_ended(&mut self, child: Local) -> Result<bool, Infallible> {
        Ok(self.read.tasks.get(&child).is_some_and(|task| task.row.state.is_ended()))
    }

    fn signal(&mut self, name: &str, _: bool) -> Result<Option<String>, Infallible> {
        let Some(task) = self.read.tasks.get(&self.task) else { return Ok(None) };
        let numbers = task.row.first_signal.max(1)..=task.row.last_signal;
        let kept = numbers.filter_map(|number| {
            let field = super::link::keys::field_of(b'i', self.task, &[&number.to_be_bytes()]);
            let value = pack::parse(self.read.fields.get(&field)?).ok()?;
            let mut list = List::of(&value).ok()?;
            Some((list.text().ok()?, list.text().ok()?))
        });
        let mut kept = kept.filter(|(own, _)| own == name);
        Ok(kept.next().map(|(_, value)| value))
    }

    fn job(&mut self, job: JobId) -> Result<Standing, Infallible> {
        Ok(self.read.standings.get(&job).cloned().unwrap_or(Standing::Open))
    }

    fn now(&self) -> Time {
        self.read.now
    }
}

impl View<'_> {
    pub(super) async fn audit(&self) -> Result<Vec<Breach>> {
        let mut breaches = Vec::new();
        let ids: Vec<Vec<u8>> =
            self.0.command(redis::cmd("ZRANGE").arg(self.0.lane.key("ids")).arg(0).arg(-1)).await?;
        for id in ids {
            let job = pack::job(&id)?;
            let fields = self.fields_of(job).await?;
            let mut read = Read::of(job, fields, self.0.clock.now())?;
            self.look_up_jobs(&mut read).await?;
            read.of_rows(&mut breaches);
            read.of_sets(&mut breaches)?;
            read.of_job(&mut breaches)?;
        }
        breaches.sort_by_key(|breach| breach.task);
        Ok(breaches)
    }

    /// A job whole. A large one is read part by part, so that nobody else is held up: what moves meanwhile may look like
    /// a breach.
    async fn fields_of(&self, job: JobId) -> Result<Fields> {
        let key = self.0.lane.job(job);
        let many: usize = self.0.command(redis::cmd("HLEN").arg(&key)).await?;
        if many <= AT_ONCE {
            return self.0.command(redis::cmd("HGETALL").arg(key)).await;
        }
        let (mut fields, mut at) = (Fields::new(), 0_u64);
        loop {
            let mut ask = redis::cmd("HSCAN");
            ask.arg(&key).arg(at).arg("COUNT").arg(1000);
            let (next, some): (u64, Fields) = self.0.command(&ask).await?;
            fields.extend(some);
            at = next;
            if at == 0 {
                return Ok(fields);
            }
        }
    }

    async fn look_up_jobs(&self, read: &mut Read) -> Result<()> {
        let mut asked = Vec::new();
        for (local, task) in &read.tasks {
            if task.row.state == State::Waiting {
                asked.extend(wait::jobs(&read.waits(*local)));
            }
        }
        for job in asked {
            let root = task::read(self.0, &[job.root()]).await?;
            let standing = match root.first() {
                None => Standing::Unknown,
                Some(root) => Standing::of(root.row.state, None),
            };
            read.standings.insert(job, standing);
        }
        Ok(())
    }
}
