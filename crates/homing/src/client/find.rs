//! Ids as people write them: whole, or as beginnings that only one id has.
//!
//! A beginning is a range of a store's key, so that it is found in however large a store.

use std::str::FromStr;

use super::Homing;
use crate::core::id::{InvalidId, JobId, Local, TaskId};
use crate::store;

/// Fewest hexadecimal digits of a beginning.
const LEAST: usize = 4;
/// Fewest digits that an id is shortened to.
const SHORT: usize = 8;
/// Ids that an ambiguous beginning is told to mean.
const CANDIDATES: usize = 5;

/// The id of a job or a task, or its beginning: at least 4 hexadecimal digits of the job's, and of the task's
/// place after the dot. Dashes are as one likes. See [`Homing::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPrefix {
    text: String,
    job: Range,
    /// Absent for a root.
    local: Option<Range>,
}

/// The first and the last of those that begin alike.
type Range = ([u8; 16], [u8; 16]);

impl FromStr for IdPrefix {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (job, local) = match text.split_once('.') {
            Some((job, local)) => (job, Some(local)),
            None => (text, None),
        };
        let invalid = || InvalidId::new(text);
        let job = range(&job.replace('-', "")).ok_or_else(invalid)?;
        let local = local.map(|local| range(local).ok_or_else(invalid)).transpose()?;
        Ok(Self { text: text.to_owned(), job, local })
    }
}

impl std::fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}

impl From<TaskId> for IdPrefix {
    fn from(id: TaskId) -> Self {
        let local = (!id.is_root()).then_some((id.local.0, id.local.0));
        let job = (*id.job.as_bytes(), *id.job.as_bytes());
        Self { text: id.to_string(), job, local }
    }
}

fn range(digits: &str) -> Option<Range> {
    if !(LEAST..=32).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let left = 4 * (32 - digits.len());
    let from = u128::from_str_radix(digits, 16).ok()? << left;
    let to = from | ((1 << left) - 1);
    Some((from.to_be_bytes(), to.to_be_bytes()))
}

/// Why an id was not found by its beginning.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// No id begins so.
    #[error("no id begins with `{text}`")]
    Unknown {
        /// The beginning.
        text: String,
    },
    /// More than one id begins so.
    #[error("`{text}` is the beginning of several ids: {}", listed(candidates, *more))]
    Ambiguous {
        /// The beginning.
        text: String,
        /// The first of them, at most 5.
        candidates: Vec<TaskId>,
        /// Whether there are more.
        more: bool,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn listed(candidates: &[TaskId], more: bool) -> String {
    let ids: Vec<String> = candidates.iter().map(ToString::to_string).collect();
    ids.join(", ") + if more { ", …" } else { "" }
}

impl IdPrefix {
    /// The one of those found, of which one more was asked for than is told.
    fn only(&self, mut found: Vec<TaskId>) -> Result<TaskId, FindError> {
        let text = self.text.clone();
        match found[..] {
            [] => Err(FindError::Unknown { text }),
            [id] => Ok(id),
            _ => {
                let more = found.len() > CANDIDATES;
                found.truncate(CANDIDATES);
                Err(FindError::Ambiguous { text, candidates: found, more })
            }
        }
    }
}

impl Homing {
    /// The job or task whose id this is or begins with. A whole id is given back as it is, known or not.
    ///
    /// ```
    /// # use homing::{Homing, task};
    /// # #[task]
    /// # async fn leaf() -> homing::Result<u64> { Ok(1) }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// let job = homing.submit(leaf()).await?;
    /// let short = homing.short_ids(&[job.id()]).await?.remove(0);
    /// assert_eq!(homing.find(&short.parse()?).await?, job.id().root());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// No id begins so, or more than one does; or the store fails.
    pub async fn find(&self, id: &IdPrefix) -> Result<TaskId, FindError> {
        let (from, to) = id.job;
        let job = if from == to {
            JobId::from_bytes(from)
        } else {
            let (from, to) = (JobId::from_bytes(from), JobId::from_bytes(to));
            let found = self.store.jobs_between(from, to, CANDIDATES + 1).await?;
            id.only(found.into_iter().map(JobId::root).collect())?.job
        };
        match id.local {
            None => Ok(job.root()),
            Some((from, to)) if from == to => Ok(TaskId { job, local: Local(from) }),
            Some((from, to)) => {
                let (from, to) = (Local(from), Local(to));
                id.only(self.store.tasks_between(job, from, to, CANDIDATES + 1).await?)
            }
        }
    }

    /// For each job the shortest beginning of its id that no other job's id has now, of 8 digits at least.
    ///
    /// # Errors
    /// The store fails.
    pub async fn short_ids(&self, jobs: &[JobId]) -> Result<Vec<String>, store::Error> {
        let neighbours = self.store.neighbours(jobs.to_vec()).await?;
        let shorten = |(job, (before, after)): (&JobId, (Option<JobId>, Option<JobId>))| {
            let alike = |other: JobId| {
                let differ = job.uuid().as_u128() ^ other.uuid().as_u128();
                differ.leading_zeros() as usize / 4 + 1
            };
            let digits = before.into_iter().chain(after).map(alike).max().unwrap_or(0).max(SHORT);
            shortened(&job.to_string(), digits)
        };
        Ok(jobs.iter().zip(neighbours).map(shorten).collect())
    }
}

/// So many digits of an id, with the dashes between them.
fn shortened(id: &str, digits: usize) -> String {
    let mut left = digits;
    let take = |letter: &char| {
        let taken = left > 0;
        left -= usize::from(taken && *letter != '-');
        taken
    };
    id.chars().take_while(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_ranges() {
        let id = "01a2f9c4-0000-7000-8000-0123456789ab";
        let whole: IdPrefix = id.parse().unwrap();
        assert_eq!(whole.job.0, whole.job.1);
        assert_eq!(JobId::from_bytes(whole.job.0).to_string(), id);
        let short: IdPrefix = "01A2-F.abcd".parse().unwrap();
        assert_eq!(
            JobId::from_bytes(short.job.0).to_string(),
            "01a2f000-0000-0000-0000-000000000000"
        );
        assert_eq!(
            JobId::from_bytes(short.job.1).to_string(),
            "01a2ffff-ffff-ffff-ffff-ffffffffffff"
        );
        assert!(short.local.is_some());
        for wrong in ["", "01a", "01a2.", "01a2.abc", "nightly", "01a2 ", &"0".repeat(33)] {
            assert!(wrong.parse::<IdPrefix>().is_err(), "{wrong}");
        }
        assert_eq!(
            [8, 9, 12, 13].map(|digits| shortened(id, digits)),
            ["01a2f9c4", "01a2f9c4-0", "01a2f9c4-0000", "01a2f9c4-0000-7"]
        );
    }
}
