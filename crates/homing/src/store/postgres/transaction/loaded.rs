//! What the statements of a round trip have read, and how it comes into the scene.

use tokio_postgres::Row;

use super::bundle::dissolve;
use super::columns::{Hash, count, set_counts, task_id};
use super::task::Task;
use super::tx::{ChangedCounts, Sibling, Tx};
use crate::store::postgres::link::fault::Result;

/// What the statements of a round trip read, and where their answers are.
pub(in crate::store::postgres) struct Loads(pub(super) Vec<(usize, Load)>);

impl Loads {
    /// Puts all that was read into the scene.
    pub(in crate::store::postgres) fn absorb(
        &self,
        answers: &[Vec<Row>],
        tx: &mut Tx<'_>,
    ) -> Result<()> {
        self.0.iter().try_for_each(|(at, what)| what.absorb(&answers[*at], tx))
    }
}

/// What a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    Dissolved,
    Bundles,
    Rows,
    Sets,
    Over,
    Signals,
    Records,
    Above,
    Descending,
    Siblings,
    Roots,
    Holders,
    Said,
    Jobs,
    Watchers,
    Numbers,
    Fallen,
}

impl Load {
    /// Puts what was read into the scene. What the scene knows already stays: it may have changed there.
    fn absorb(self, rows: &[Row], tx: &mut Tx<'_>) -> Result<()> {
        if self == Self::Dissolved {
            tx.effects.claimable.extend(dissolve::claimable(rows)?);
        }
        for row in rows {
            match self {
                Self::Dissolved => break,
                Self::Bundles => drop(tx.add_bundle(row)?),
                Self::Rows => tx.add(Task::of(row)?),
                Self::Sets => {
                    let counts = set_counts(row, 3)?;
                    let key = (task_id(row, 0)?, row.try_get(2)?);
                    tx.sets.entry(key).or_insert(ChangedCounts { counts, changed: false });
                }
                Self::Fallen => drop(tx.fallen.insert(task_id(row, 0)?)),
                Self::Over => drop(tx.over.insert(task_id(row, 0)?)),
                Self::Signals => {
                    let key = (task_id(row, 0)?, row.try_get(2)?);
                    tx.signals.insert(key, (row.try_get(3)?, row.try_get(4)?));
                }
                Self::Records => {
                    let (task, seq) = (task_id(row, 0)?, count(row, 2)?);
                    match serde_json::from_str(row.try_get(4)?) {
                        Ok(entry) => {
                            drop(tx.records.insert((task, seq), (row.try_get(3)?, entry)));
                        }
                        Err(error) => {
                            let what =
                                format!("entry {seq} of its record does not decode: {error}");
                            tx.unreadable.insert(task, what);
                        }
                    }
                }
                Self::Above => drop(tx.above.insert(task_id(row, 0)?)),
                Self::Descending => {
                    let below = count(row, 3)? as u32;
                    tx.descending.push((task_id(row, 0)?, row.try_get(2)?, below));
                }
                Self::Siblings => {
                    let (kind, arguments) = (row.try_get(2)?, row.try_get(4)?);
                    let hash = row.try_get::<_, Hash>(3)?.0;
                    let new = Sibling { kind, hash, arguments };
                    // Asked for twice, by one call that fits and one that does not: this one is told.
                    let known = tx.siblings.entry(task_id(row, 0)?).or_insert_with(|| new.clone());
                    known.arguments = known.arguments.take().or(new.arguments);
                }
                Self::Roots => drop(tx.roots.insert(row.try_get(0)?)),
                Self::Holders => drop(tx.holders.insert(row.try_get(0)?, row.try_get(1)?)),
                Self::Jobs => tx.add_standing(row)?,
                Self::Watchers => {
                    tx.watchers.insert((row.try_get(2)?, task_id(row, 0)?));
                }
                Self::Numbers => tx.numbers.push_back(row.try_get(0)?),
                Self::Said => drop(tx.said.insert((task_id(row, 0)?, row.try_get(2)?))),
            }
        }
        Ok(())
    }
}
