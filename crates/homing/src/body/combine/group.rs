//! `group`: calls beside each other.

use super::{Group, Invalid, Members, Result, Value, planned};
use crate::body::join_set::JoinSet;
use crate::task::call::{Call, Stored};

/// Calls beside each other; brings their values in the order given.
///
/// Calls of one kind bring a `Vec`, unlike calls in a tuple bring a tuple. The first failure aborts the rest
/// and fails the group. A group of partial calls follows a value: each member is given it.
///
/// ```
/// # use homing::{task, chain, group};
/// # #[task] async fn fetch(page: u32) -> homing::Result<String> { Ok(page.to_string()) }
/// # #[task] async fn parse(text: String) -> homing::Result<u32> { Ok(text.parse()?) }
/// # #[task] async fn length(text: String) -> homing::Result<usize> { Ok(text.len()) }
/// let pages = group((0..10).map(fetch)); // brings a Vec<String>
/// let unlike = group((fetch(1), chain(fetch(2)).then(parse::with()).call())); // brings a (String, u32)
/// let following = chain(fetch(3)).then(group((parse::with(), length::with()))).call();
/// # drop((pages, unlike, following));
/// ```
pub fn group<M, C: Members<M>>(members: C) -> Call<Group<C::Output>, C::Lacks> {
    planned("group", stored(members))
}

pub(super) fn stored<M, C: Members<M>>(members: C) -> Result<Vec<Stored>, Invalid> {
    members.members().into_iter().map(|member| Stored::of(member.0)).collect()
}

pub(super) async fn body(plan: Vec<Stored>, value: Value) -> Result<Value> {
    let mut set = JoinSet::<Value>::named("group");
    for member in plan {
        set.spawn_draft(member.draft(&value)).await?;
    }
    let values: Vec<Value> = set.join_all().await?;
    Ok(Value::Array(values))
}
