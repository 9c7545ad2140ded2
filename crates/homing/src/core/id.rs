//! Identities: jobs, tasks, sets, workers, tokens.
//!
//! A child's id is derived from its parent and its place there, so that a body which runs again finds
//! the children it has already spawned. Within a job the ids of one set's numbered children are
//! neighbours: their rows lie side by side in every store, and a million of them are read as a range.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::limits;

/// The id of a job: a root task and everything below it.
///
/// Fresh ids are UUID version 7, so they sort by the time of submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// No job's id is less.
    pub(crate) const LEAST: Self = Self(Uuid::nil());
    /// No job's id is greater.
    pub(crate) const GREATEST: Self = Self(Uuid::max());

    /// A fresh id.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that belongs to a name: the same name gives the same id everywhere and always.
    ///
    /// Handy with [`Submit::id`](crate::Submit::id) when a job has a natural name, such as the day it is for.
    pub fn named(name: &str) -> Self {
        Self(Uuid::new_v8(digest(&[b"job", name.as_bytes()])))
    }

    /// The id of a job detached by a task at a place.
    pub(crate) fn detached(origin: TaskId, place: &str) -> Self {
        let id = digest(&[b"detached", origin.job.as_bytes(), &origin.local.0, place.as_bytes()]);
        Self(Uuid::new_v8(id))
    }

    /// The root task of the job.
    pub fn root(self) -> TaskId {
        TaskId { job: self, local: Local::ROOT }
    }

    /// The id as a UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }

    #[doc(hidden)]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    #[doc(hidden)]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl From<Uuid> for JobId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidId { text: text.to_owned() })
    }
}

/// The id of a task: its job, and where in the job it stands.
///
/// It is stable over crashes, retries and replays, which makes it the idempotency key to hand to the
/// outside world (see [`homing::id`](crate::id())). The root of a job prints as the job's id; any
/// other task as `JOB.` and 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job the task belongs to.
    pub job: JobId,
    #[doc(hidden)]
    pub local: Local,
}

/// A map by ids: they are random, or hashes themselves, so that a fast hash will do.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
/// A set of ids.
pub(crate) type Set<K> = std::collections::HashSet<K, foldhash::fast::RandomState>;

impl TaskId {
    /// Whether the task is the root of its job.
    pub fn is_root(self) -> bool {
        self.local == Local::ROOT
    }

    /// The set that a name stands for in this task.
    pub(crate) fn set(self, name: &str) -> Local {
        let hash = digest(&[b"set", self.job.as_bytes(), &self.local.0, name.as_bytes()]);
        Local(hash).set()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { self.job.fmt(f) } else { write!(f, "{}.{}", self.job, self.local) }
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let Some((job, local)) = text.split_once('.') else {
            return Ok(text.parse::<JobId>()?.root());
        };
        let invalid = || InvalidId { text: text.to_owned() };
        if local.len() != 32 || !local.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let local = u128::from_str_radix(local, 16).map_err(|_| invalid())?;
        Ok(Self { job: job.parse().map_err(|_| invalid())?, local: Local(local.to_be_bytes()) })
    }
}

impl Serialize for TaskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl TaskId {
    /// The greatest there may be.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) const LAST: Self = Self { job: JobId(Uuid::max()), local: Local([255; 16]) };
}

impl From<JobId> for TaskId {
    fn from(job: JobId) -> Self {
        job.root()
    }
}

/// Text that is not the id of a job or task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an id: a job's is a UUID, a task's is the job's, a dot and 32 hexadecimal digits; of each the \
     first 4 will do where they are unique"
)]
pub struct InvalidId {
    text: String,
}

impl InvalidId {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }
}

/// A task's key within its job: zero for the root; 12 bytes of its set's hash and a 4-byte number for
/// a numbered child; a hash of all 16 bytes for a child with a place of its own; 12 bytes of a hash and the
/// number of its [origin](Self::origin) for one that another member has added to a growing set.
///
/// A set is written as its first 12 bytes and the number zero.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local(pub [u8; 16]);

impl Local {
    /// The root task of a job.
    pub const ROOT: Self = Self([0; 16]);

    /// The set a numbered child belongs to.
    #[must_use]
    pub fn set(self) -> Self {
        self.numbered(0)
    }

    /// The child of this set with a number.
    #[must_use]
    pub fn numbered(self, number: u32) -> Self {
        let mut bytes = self.0;
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }

    /// The child of this set that has a place of its own.
    #[must_use]
    pub fn placed(self, place: &str) -> Self {
        Self(digest(&[b"placed", &self.0, place.as_bytes()]))
    }

    /// The task that a member of this set adds to it at a place of its body, by a call's kind and hash. Its last
    /// four bytes are the number of the child that all of them go back to; see [`origin`](Self::origin).
    #[must_use]
    pub(crate) fn added(
        self,
        by: Self,
        origin: u32,
        place: &str,
        (kind, hash): (&str, &[u8; 16]),
    ) -> Self {
        let key = digest(&[b"added", &self.0, &by.0, place.as_bytes(), kind.as_bytes(), hash]);
        Self(key).numbered(origin)
    }

    /// The number of the child that the parent's own body has spawned and that this one goes back to: its own,
    /// or that of the member whose member, and so on, has added it. Aborts and retries of the parent mean a
    /// child with all that goes back to it.
    #[must_use]
    pub fn origin(self, number: u32) -> u32 {
        if number < limits::CHILDREN { number } else { self.last() }
    }

    /// The number that a key [with a number](Self::numbered) ends in; of any other key, what stands there.
    pub(crate) fn last(self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Local {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Local {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// The id of a worker: fresh for every process, and again after a lost lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(Uuid);

impl WorkerId {
    #[doc(hidden)]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    #[doc(hidden)]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    #[doc(hidden)]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl FromStr for WorkerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidId::new(text))
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fence of a claim, minted by the worker: its own id, the number of the exchange that claimed, and
/// whether the task was fetched ahead.
/// No two claims of a task share it, because a worker takes a task at most once in an exchange.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The worker that holds the task.
    pub worker: WorkerId,
    /// Twice the number of the exchange; one more if the task was fetched ahead.
    pub claim: u64,
}

impl Token {
    /// The claim of a task that begins at once.
    pub fn at_once(worker: WorkerId, exchange: u64) -> Self {
        Self { worker, claim: exchange * 2 }
    }

    /// The claim of a task that may wait for a slot in its worker, so that nobody else knows whether it has begun.
    pub fn ahead(worker: WorkerId, exchange: u64) -> Self {
        Self { worker, claim: exchange * 2 + 1 }
    }

    /// The claim of a task that is fetched ahead, or begins at once.
    pub fn of(worker: WorkerId, exchange: u64, ahead: bool) -> Self {
        if ahead { Self::ahead(worker, exchange) } else { Self::at_once(worker, exchange) }
    }

    /// Whether the task was fetched ahead.
    pub fn is_ahead(self) -> bool {
        self.claim % 2 == 1
    }

    /// The number of the exchange that claimed.
    pub fn exchange(self) -> u64 {
        self.claim / 2
    }

    /// The last claim that an exchange may have made: all later ones are greater.
    pub(crate) fn last_of(exchange: u64) -> u64 {
        exchange.saturating_mul(2).saturating_add(1)
    }
}

/// The first 16 bytes of SHA-256 over length-prefixed parts.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse() {
        let job = JobId::named("nightly");
        assert_eq!(job.to_string().parse(), Ok(job.root()));
        let child = TaskId { job, local: job.root().set("pages").numbered(7) };
        assert!(child.to_string().ends_with("00000007"));
        assert_eq!(child.to_string().parse(), Ok(child));
        for wrong in ["", "x", "0198.00", &format!("{job}.7"), &format!("{job}.{}", "é".repeat(16))]
        {
            assert!(wrong.parse::<TaskId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn children_of_a_set_are_neighbours() {
        let set = JobId::named("x").root().set("pages");
        assert!(set <= set.numbered(0) && set.numbered(0) < set.numbered(1));
        assert_eq!(set.numbered(9).set(), set);
        assert_ne!(set.placed("a"), set.placed("b"));
    }

    #[test]
    fn what_a_member_adds_goes_back_to_a_child_of_the_body() {
        let set = JobId::named("x").root().set("pages");
        let first = set.added(set.numbered(7), 7, "sibling#1", ("page", &[1; 16]));
        let second = set.added(first, 7, "sibling#1", ("page", &[1; 16]));
        assert_ne!(first, second);
        assert_ne!(first, set.added(set.numbered(7), 7, "sibling#1", ("page", &[2; 16])));
        assert_eq!(first.origin(limits::CHILDREN), 7);
        assert_eq!(second.origin(limits::CHILDREN + 9), 7);
        assert_eq!(set.placed("a").origin(3), 3);
    }
}
