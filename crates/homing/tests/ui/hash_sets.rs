//! A warning, made an error to be seen: sets without an order. Maps are stored sorted.
#![deny(deprecated)]

use std::collections::{BTreeSet, HashMap, HashSet};

use homing::task;

#[task]
pub async fn warned(
    names: HashSet<String>,
    within: Vec<HashMap<String, std::collections::HashSet<u64>>>,
) -> homing::Result<usize> {
    Ok(names.len() + within.len())
}

#[task]
pub async fn silent(
    names: BTreeSet<String>,
    sizes: HashMap<String, u64>,
) -> homing::Result<usize> {
    Ok(names.len() + sizes.len())
}

fn main() {}
