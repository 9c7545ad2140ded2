//! What the statements of a round trip have read, and how it comes into the scene.

use tokio_postgres::Row;

use super::bundle::dissolve;
use super::columns::{Hash, count, set_counts, task_id};
use super::scene::{Counted, Scene, Sibling};
use super::task::Task;
use crate::store::postgres::link::fault::Result;

/// What the statements of a round trip read, and where their answers are.
pub(in crate::store::postgres) struct Whats(pub(super) Vec<(usize, What)>);

impl Whats {
    /// Puts all that was read into the scene.
    pub(in crate::store::postgres) fn absorb(
        &self,
        answers: &[Vec<Row>],
        scene: &mut Scene<'_>,
    ) -> Result<()> {
        self.0.iter().try_for_each(|(at, what)| what.absorb(&answers[*at], scene))
    }
}

/// What a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
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
}

impl What {
    /// Puts what was read into the scene. What the scene knows already stays: it may have changed there.
    fn absorb(self, rows: &[Row], scene: &mut Scene<'_>) -> Result<()> {
        if self == Self::Dissolved {
            scene.effects.claimable.extend(dissolve::claimable(rows)?);
        }
        for row in rows {
            match self {
                Self::Dissolved => break,
                Self::Bundles => drop(scene.add_bundle(row)?),
                Self::Rows => scene.add(Task::of(row)?),
                Self::Sets => {
                    let counts = set_counts(row, 3)?;
                    let key = (task_id(row, 0)?, row.try_get(2)?);
                    scene.sets.entry(key).or_insert(Counted { counts, changed: false });
                }
                Self::Over => drop(scene.over.insert(task_id(row, 0)?)),
                Self::Signals => {
                    let key = (task_id(row, 0)?, row.try_get(2)?);
                    scene.signals.insert(key, (row.try_get(3)?, row.try_get(4)?));
                }
                Self::Records => {
                    let (task, seq) = (task_id(row, 0)?, count(row, 2)?);
                    match serde_json::from_str(row.try_get(4)?) {
                        Ok(entry) => {
                            drop(scene.records.insert((task, seq), (row.try_get(3)?, entry)));
                        }
                        Err(error) => {
                            let what =
                                format!("entry {seq} of its record does not decode: {error}");
                            scene.unreadable.insert(task, what);
                        }
                    }
                }
                Self::Above => drop(scene.above.insert(task_id(row, 0)?)),
                Self::Descending => {
                    let below = count(row, 3)? as u32;
                    scene.descending.push((task_id(row, 0)?, row.try_get(2)?, below));
                }
                Self::Siblings => {
                    let (kind, arguments) = (row.try_get(2)?, row.try_get(4)?);
                    let hash = row.try_get::<_, Hash>(3)?.0;
                    let new = Sibling { kind, hash, arguments };
                    // Asked for twice, by one call that fits and one that does not: this one is told.
                    let known =
                        scene.siblings.entry(task_id(row, 0)?).or_insert_with(|| new.clone());
                    known.arguments = known.arguments.take().or(new.arguments);
                }
                Self::Roots => drop(scene.roots.insert(row.try_get(0)?)),
                Self::Holders => drop(scene.holders.insert(row.try_get(0)?, row.try_get(1)?)),
                Self::Jobs => scene.add_standing(row)?,
                Self::Watchers => {
                    scene.watchers.insert((row.try_get(2)?, task_id(row, 0)?));
                }
                Self::Numbers => scene.numbers.push_back(row.try_get(0)?),
                Self::Said => drop(scene.said.insert((task_id(row, 0)?, row.try_get(2)?))),
            }
        }
        Ok(())
    }
}
