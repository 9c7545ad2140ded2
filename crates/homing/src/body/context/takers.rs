//! Which branches of a body take the outcomes of a set.
//!
//! `join_next` gives the lowest end that was not given, and so do the verbs for a whole set. In two branches that run
//! beside each other, a handle's end may be given before or after that: chance decides in the first run, and
//! another chance in a replay. So a set whose ends are given in their order belongs to one of the branches.

use std::collections::BTreeSet;

/// The branches that have taken outcomes of one set, by the prefixes of their places.
#[derive(Debug, Default)]
pub(super) struct Takers {
    in_order: BTreeSet<String>,
    by_handle: BTreeSet<String>,
}

impl Takers {
    /// A branch takes an outcome: the next in order, or that of a handle. `false` if a branch beside it does
    /// so too, and one of them in order.
    pub(super) fn take(&mut self, branch: &str, in_order: bool) -> bool {
        let by_handle = self.by_handle.iter().filter(|_| in_order);
        let alone = !self.in_order.iter().chain(by_handle).any(|other| beside(other, branch));
        let takers = if in_order { &mut self.in_order } else { &mut self.by_handle };
        if !takers.contains(branch) {
            takers.insert(branch.to_owned());
        }
        alone
    }
}

/// Whether two branches run beside each other: where their prefixes part, it is within one `join!`.
fn beside(a: &str, b: &str) -> bool {
    let group = |segment: &str| segment.rsplit_once('[').map(|(group, _)| group.to_owned());
    let parting = a.split('/').zip(b.split('/')).find(|(a, b)| a != b);
    parting.is_some_and(|(a, b)| group(a).is_some() && group(a) == group(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_of_one_join_are_beside_each_other() {
        let (first, second) = ("join!#1[0]/", "join!#1[1]/");
        assert!(beside(first, second));
        assert!(beside("join!#1[0]/join!#1[1]/", second));
        assert!(beside("join!#1[0]/join!#2[1]/", "join!#1[0]/join!#2[0]/"));
        for other in ["", first, "join!#2[1]/", "join!#1[0]/join!#1[1]/"] {
            assert!(!beside(first, other), "{other}");
        }
    }

    #[test]
    fn handles_are_taken_in_any_branch_and_an_order_in_one() {
        let mut takers = Takers::default();
        assert!(takers.take("join!#1[0]/", false) && takers.take("join!#1[1]/", false));
        assert!(!takers.take("join!#1[2]/", true));
        assert!(takers.take("join!#2[0]/", true) && takers.take("", false));
        assert!(!takers.take("join!#2[1]/", false));
    }
}
