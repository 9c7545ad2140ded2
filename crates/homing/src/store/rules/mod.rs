//! What SQLite and PostgreSQL decide alike: what a unit does, how a task ends, who is woken, what upkeep does, and
//! which children a retry reopens.
//!
//! The rules are functions over two ports. [`Rows`] is what waits are held against; [`Ledger`] is what a unit and
//! an end write besides. SQLite answers each question by a statement, when it is asked. PostgreSQL has locked and
//! read everything before; it answers from memory, keeps what is to be written, and writes it in one round trip
//! afterwards. So a rule asks for one thing at a time, and asks for nothing that it does not need.
//!
//! A rule takes up the row of the task that it decides about, changes it, and puts it down. SQLite reads the row
//! when it is taken up and writes it once when it is put down; PostgreSQL has it all the while.
//!
//! A store that does something faster by itself does it before the rules, under the same tests: SQLite ends a plain task
//! without reading it (`end_without_reading`) and claims a new one without touching most of its indexes
//! (`TAKE_FIRST`); PostgreSQL keeps tasks that were created together in one row (`bundle`). The stores keep
//! what differs for good: how candidates for a claim are found, how a cascade finds the children, and the
//! statements by which a retry takes back a record.
//!
//! The memory store shares none of this, on purpose: it is the judge. The random histories compare each store with
//! it row by row, and would see nothing if all three followed one mistake.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::core::id::{JobId, Local, TaskId, Token};
use crate::core::time::Time;
use crate::core::wait::{Answer, SetCounts, Standing, Wait};
use crate::store::events::Swept;
use crate::store::{CancelledBy, Ended, Entry, LogLine, NewChild, NewJob, NewTask, Unit};

pub(crate) mod end;
pub(crate) mod log;
pub(crate) mod retry;
mod row;
pub(crate) mod unit;
pub(crate) mod upkeep;
pub(crate) mod wake;

pub(crate) use end::Ending;
pub(crate) use row::{Row, resumed};

/// Where a child stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birth {
    pub(crate) parent: Local,
    pub(crate) set: Local,
    pub(crate) number: u32,
    pub(crate) depth: u32,
}

/// Children to cancel in transactions to come: all of a task's, or those of one set below a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cascade {
    pub(crate) task: TaskId,
    pub(crate) set: Option<Local>,
    pub(crate) below: u32,
    pub(crate) by: CancelledBy,
}

/// The rows of open tasks, and what their waits are held against.
pub(crate) trait Rows {
    /// What may go wrong.
    type Error;

    /// The store's time, the same for the whole transaction.
    fn now(&self) -> Time;

    /// Reads the row of a task, if the task is open and its row is not in hand already.
    fn take_up(&mut self, id: TaskId) -> Result<bool, Self::Error>;

    /// The row of a task that was taken up and is still open.
    fn row(&self, id: TaskId) -> Option<&Row>;

    /// The same row, which is to be written.
    fn change(&mut self, id: TaskId) -> Option<&mut Row>;

    /// Writes the row of a task that was taken up, if it has changed. Of a task that has ended nothing is left to
    /// be written: [`Ledger::end`] has done it.
    fn put_down(&mut self, id: TaskId) -> Result<(), Self::Error>;

    /// What a task waits for; `None` if it is not waiting. The task need not be taken up.
    fn waits(&mut self, id: TaskId) -> Result<Option<Vec<Wait>>, Self::Error>;

    /// Makes a waiting task pending, as [`Row::wake`] does. It need not be taken up.
    fn wake(&mut self, id: TaskId) -> Result<(), Self::Error>;

    /// What of a task cannot be read, if that is the fault. Any other fault is passed on.
    fn unreadable(fault: Self::Error) -> Result<String, Self::Error>;

    /// Keeps a task of which something cannot be read from harming any other: it is pending, due later and later,
    /// and says why. What is stored stays as it is, so that the task goes on once it can be read. Its row may be
    /// what cannot be read, so it need not be taken up; if it was, it is put down.
    fn stall_unreadable(&mut self, id: TaskId, what: &str) -> Result<(), Self::Error>;

    /// The counts of a set; zero if it has never had a child.
    fn counts(&mut self, parent: TaskId, set: Local) -> Result<SetCounts, Self::Error>;

    /// Whether a task has ended, this transaction included.
    fn has_ended(&mut self, id: TaskId) -> Result<bool, Self::Error>;

    /// The oldest signal of a name that a task was sent; it is taken away if `take`.
    fn signal(&mut self, to: TaskId, name: &str, take: bool)
    -> Result<Option<String>, Self::Error>;

    /// How a job stands.
    fn standing(&mut self, job: JobId) -> Result<Standing, Self::Error>;

    /// The answer that a wait was given before, if its entry is recorded.
    fn answered(&mut self, id: TaskId, wait: &Wait) -> Result<Option<Answer>, Self::Error>;

    /// Records an answer, in place of what stands under its number.
    fn record_answer(&mut self, id: TaskId, answer: &Answer) -> Result<(), Self::Error>;

    /// Parents and sets whose children have ended and that were not looked at since.
    fn parents_to_check(&mut self) -> &mut BTreeSet<(TaskId, Local)>;

    /// Jobs that have ended and whose watchers were not looked at since.
    fn jobs_to_check(&mut self) -> &mut BTreeSet<JobId>;

    /// The tasks that wait for a job; with its end they cease to be kept.
    fn watchers(&mut self, job: JobId) -> Result<Vec<TaskId>, Self::Error>;
}

/// What a unit and an end write. `'e` is how long the unit lives: what it carries is not copied.
pub(crate) trait Ledger<'e>: Rows {
    /// The last question before a unit is carried out, which nothing else refuses. `false` if the task cannot go
    /// on: then it was taken from its worker.
    fn accept(&mut self, unit: &'e Unit) -> Result<bool, Self::Error> {
        let _ = unit;
        Ok(true)
    }

    /// Records an entry, if there is none under its number. Whether it is new.
    fn record(
        &mut self,
        id: TaskId,
        seq: u64,
        place: &'e str,
        entry: &'e Entry,
    ) -> Result<bool, Self::Error>;

    /// Kind and arguments of the task at a child's place, if it is another call than the child's.
    fn other_call(
        &mut self,
        parent: TaskId,
        child: &NewChild,
    ) -> Result<Option<(String, String)>, Self::Error>;

    /// Creates a child. `false` if it is there already: nothing has changed.
    fn spawn(&mut self, id: TaskId, birth: Birth, new: &'e NewTask) -> Result<bool, Self::Error>;

    /// Whether a task is open and no cascade is on its way to those children of a set that go back to `origin`.
    fn takes_members(
        &mut self,
        parent: TaskId,
        set: Local,
        origin: u32,
    ) -> Result<bool, Self::Error>;

    /// Changes the counts of a set, and returns them.
    fn change_counts(
        &mut self,
        parent: TaskId,
        set: Local,
        how: impl FnOnce(&mut SetCounts),
    ) -> Result<SetCounts, Self::Error>;

    /// Creates a job, unless its id or its key is taken.
    fn detach(&mut self, job: &'e NewJob) -> Result<(), Self::Error>;

    /// Whether a task that a unit sends a signal has failed or was cancelled, this transaction included.
    fn has_fallen(&mut self, id: TaskId) -> Result<bool, Self::Error>;

    /// Keeps a signal for a task that was taken up, or that has fallen.
    fn keep_signal(&mut self, to: TaskId, name: &'e str, value: &'e str)
    -> Result<(), Self::Error>;

    /// Keeps what a task waits for, whose row says that it does.
    fn set_waits(&mut self, id: TaskId, waits: &[Wait]) -> Result<(), Self::Error>;

    /// Keeps that a task waits for an open job.
    fn watch(&mut self, id: TaskId, job: JobId) -> Result<(), Self::Error>;

    /// Writes a line of a job's log that was not written before. Whether it is new.
    fn write_line(&mut self, id: TaskId, line: Cow<'e, LogLine>) -> Result<bool, Self::Error>;

    /// Keeps the identity of a line beyond the limit. Whether it is new.
    fn count_line(&mut self, id: TaskId, key: Cow<'e, str>) -> Result<bool, Self::Error>;

    /// Writes another text into a line.
    fn rewrite_line(&mut self, id: TaskId, line: LogLine) -> Result<(), Self::Error>;

    /// Whether a task may have open children.
    fn has_open_children(&mut self, id: TaskId) -> Result<bool, Self::Error>;

    /// Keeps a cascade for upkeep to carry down.
    fn add_cascade(&mut self, cascade: Cascade) -> Result<(), Self::Error>;

    /// Keeps for a worker that a task has ended under its hands.
    fn queue_cancellation_notice(&mut self, id: TaskId, token: Token) -> Result<(), Self::Error>;

    /// Forgets the signals that a task was sent and has not taken: it has succeeded.
    fn forget_signals(&mut self, id: TaskId) -> Result<(), Self::Error>;

    /// The arguments of a task that was taken up, if it is a link.
    fn link_arguments(&mut self, id: TaskId) -> Result<Option<String>, Self::Error>;

    /// Writes how a task ended that was taken up. `end` is its number in its set.
    fn end(&mut self, id: TaskId, end: Option<u64>, ending: Ending<'e>) -> Result<(), Self::Error>;

    /// Frees the key that a root holds, and keeps that its job has ended.
    fn end_job(&mut self, root: TaskId, ended: Ended) -> Result<(), Self::Error>;

    /// Creates the job that follows the failure of a link.
    fn follow(&mut self, job: NewJob) -> Result<(), Self::Error>;

    /// Keeps what is to be told of upkeep after the commit.
    fn tell(&mut self, swept: Swept);
}
