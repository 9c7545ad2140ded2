//! `chord`: a group, and then a call that is given its values.

use super::{
    Chord, Deserialize, DeserializeOwned, Members, Result, Serialize, Value, group, planned,
};
use crate::body::join_set::JoinSet;
use crate::error::{JoinError, Misuse};
use crate::task::Kind;
use crate::task::call::{Call, Next, Stored};

/// A group, and then a call that is given all its values. An empty header runs the body at once.
///
/// ```
/// # use homing::{task, chord};
/// # #[task] async fn count(page: u32) -> homing::Result<u64> { Ok(page.into()) }
/// # #[task] async fn report(counts: Vec<u64>, title: String) -> homing::Result<u64> { Ok(counts.iter().sum()) }
/// let call = chord((0..10).map(count), report::with("nightly".to_owned()));
/// # drop(call);
/// ```
pub fn chord<M, C: Members<M>, N: Next<C::Output>>(
    header: C,
    body: N,
) -> Call<Chord<<N::Kind as Kind>::Output>, C::Lacks> {
    let plan = group::stored(header)
        .and_then(|header| Ok(Plan { header, body: Stored::of(body.next().draft)? }));
    planned("chord", plan)
}

#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    header: Vec<Stored>,
    body: Stored,
}

pub(super) async fn body(plan: Plan, value: Value) -> Result<Value> {
    let values = group::body(plan.header, value).await?;
    let mut set = JoinSet::<Value>::named("body");
    Ok(set.spawn_draft(plan.body.draft(&values)).await?.await?)
}

/// A chord whose header grows while its task runs: add calls as you find them, then run the body with
/// all their values.
///
/// Used in the body of a task. A chord is a join and a call; this is just the two under their old name.
#[derive(Debug)]
pub struct ChordSet<T> {
    header: JoinSet<T>,
}

impl<T: Serialize + DeserializeOwned + Send + 'static> ChordSet<T> {
    /// A chord with an empty header.
    pub fn new() -> Self {
        Self { header: JoinSet::new() }
    }

    /// Adds a call to the header.
    ///
    /// # Errors
    /// As [`JoinSet::spawn`].
    pub async fn add<K: Kind<Output = T>>(&mut self, call: Call<K>) -> Result<(), Misuse> {
        self.header.spawn(call).await.map(drop)
    }

    /// Waits for the header and then for the call that `body` makes of its values. Here `body` may be a
    /// closure: nothing is stored, the running task calls it.
    ///
    /// # Errors
    /// The first failure of the header, which aborts the rest; or the body's.
    pub async fn run<K: Kind>(
        mut self,
        body: impl FnOnce(Vec<T>) -> Call<K>,
    ) -> Result<K::Output, JoinError> {
        let values = self.header.join_all().await?;
        crate::body::handle::spawn(body(values)).await?.await
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Default for ChordSet<T> {
    fn default() -> Self {
        Self::new()
    }
}
