//! `chain`: one call after the other.

use super::{
    Chain, Deserialize, DeserializeOwned, Invalid, Kind, PhantomData, Result, Serialize, Value,
    planned,
};
use crate::body::join_set::JoinSet;
use crate::task::call::{Call, Next, Shape, Stored, Whole};

/// One call after the other, each given the value of the one before.
///
/// What follows is a call without its first argument, `TASK::with(the rest)`; or a whole call, which is not
/// given the value; or any other combinator made of such. A chain that begins with a partial call is one.
///
/// ```
/// # use homing::{task, chain};
/// # #[task] async fn fetch(page: u32) -> homing::Result<String> { Ok(page.to_string()) }
/// # #[task] async fn parse(text: String) -> homing::Result<u32> { Ok(text.parse()?) }
/// # #[task] async fn add(x: u32, y: u32) -> homing::Result<u32> { Ok(x + y) }
/// let call = chain(fetch(7)).then(parse::with()).then(add::with(8)).call(); // it brings a u32
/// # drop(call);
/// ```
///
/// Functions and closures are refused: they cannot be stored.
///
/// ```compile_fail
/// # use homing::{task, chain};
/// # #[task] async fn add(x: u32, y: u32) -> homing::Result<u32> { Ok(x + y) }
/// let call = chain(add(1, 2)).then(|x: u32| add(x, 8)).call();
/// ```
pub fn chain<K: Kind, L: Shape>(first: Call<K, L>) -> ChainBuilder<K::Output, L> {
    let links = Stored::of(first.draft).map(|first| vec![first]);
    ChainBuilder { links, output: PhantomData }
}

/// A chain to be; see [`chain`].
#[derive(Debug)]
#[must_use = "a chain does nothing until its call is spawned, submitted or detached"]
pub struct ChainBuilder<T, L = Whole> {
    links: Result<Vec<Stored>, Invalid>,
    output: PhantomData<fn() -> (T, L)>,
}

impl<T, L: Shape> ChainBuilder<T, L> {
    /// Adds a call that takes the value so far, or a whole one, which does not.
    pub fn then<N: Next<T>>(self, next: N) -> ChainBuilder<<N::Kind as Kind>::Output, L> {
        let links = self.links.and_then(|mut links| {
            links.push(Stored::of(next.next().draft)?);
            Ok(links)
        });
        ChainBuilder { links, output: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static, L: Shape> ChainBuilder<T, L> {
    /// The chain as a call that brings the last value.
    pub fn call(self) -> Call<Chain<T>, L> {
        planned("chain", self.links.map(|links| Plan { links }))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    links: Vec<Stored>,
}

pub(super) async fn body(plan: Plan, mut value: Value) -> Result<Value> {
    // One set, so that its children are listed in the order of the chain.
    let mut set = JoinSet::<Value>::named("chain");
    for link in plan.links {
        value = set.spawn_draft(link.draft(&value)).await?.await?;
    }
    Ok(value)
}
