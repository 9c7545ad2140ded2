//! The columns of a query, by name.

use crate::core::wait::SetCounts;

/// A list of columns: `$list!()` is its text, and `$at::name` the number of each. What reads the rows names the
/// columns, so that the text and the reading cannot get out of step. The numbers are constants: a row is read as
/// fast as by numbers in the code. A column is written as it is called, or as the text behind its name. Another
/// list may stand last in one; what follows a list begins at `$at::COUNT`.
macro_rules! by_name {
    ($(#[$doc:meta])* $list:ident $at:ident {
        $first:ident $(= $first_sql:expr)?, $($name:ident $(= $sql:expr)?,)*
    }) => {
        $(#[$doc])*
        macro_rules! $list {
            () => {
                concat!(by_name!(@$first $($first_sql)?) $(, ", ", by_name!(@$name $($sql)?))*)
            };
        }

        #[allow(non_upper_case_globals, reason = "they are the names of columns")]
        mod $at {
            #[allow(non_camel_case_types, reason = "they are the names of columns")]
            enum Column { $first, $($name,)* Count }
            pub(super) const $first: usize = Column::$first as usize;
            $(pub(super) const $name: usize = Column::$name as usize;)*
            #[allow(dead_code, reason = "few lists have more behind them")]
            pub(super) const COUNT: usize = Column::Count as usize;
        }
    };
    (@$name:ident $sql:expr) => { $sql };
    (@$name:ident) => { stringify!($name) };
}

by_name! {
    /// The counts of a set.
    set_counts_columns at {
        spawned,
        succeeded,
        failed,
        cancelled,
        aborted,
        last_end,
        added,
        last_added,
    }
}

/// The counts of a set, from their columns.
pub(super) fn set_counts<E>(
    column: impl Fn(usize) -> std::result::Result<u64, E>,
) -> std::result::Result<SetCounts, E> {
    Ok(SetCounts {
        spawned: column(at::spawned)?,
        succeeded: column(at::succeeded)?,
        failed: column(at::failed)?,
        cancelled: column(at::cancelled)?,
        aborted: column(at::aborted)?,
        last_end: column(at::last_end)?,
        added: column(at::added)?,
        last_added: column(at::last_added)?,
    })
}
