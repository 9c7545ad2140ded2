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
        pub(in crate::store) mod $at {
            #[allow(non_camel_case_types, reason = "they are the names of columns")]
            enum Column { $first, $($name,)* Count }
            pub(in crate::store) const $first: usize = Column::$first as usize;
            $(pub(in crate::store) const $name: usize = Column::$name as usize;)*
            #[allow(dead_code, reason = "few lists have more behind them")]
            pub(in crate::store) const COUNT: usize = Column::Count as usize;
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

// What both SQL stores read by the same names.

by_name! {
    /// An entry of a record.
    entry_columns entry {
        seq,
        place,
        entry,
        time,
    }
}

by_name! {
    /// A set of a task.
    set_columns set {
        set = "\"set\"",
        counts = set_counts_columns!(),
    }
}

by_name! {
    /// A set of any task.
    whose_set_columns whose_set {
        job,
        task,
        set = "\"set\"",
        counts = set_counts_columns!(),
    }
}

by_name! {
    /// A line of a job's log.
    line_columns line {
        number,
        time,
        level,
        task,
        message,
    }
}

by_name! {
    /// A kind and its arguments.
    kind_columns kind {
        name,
        arguments,
    }
}

by_name! {
    /// A cancellation on its way down.
    cascade_columns cascade {
        number,
        job,
        task,
        set = "\"set\"",
        below,
        by,
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
