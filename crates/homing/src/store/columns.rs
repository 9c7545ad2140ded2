//! The columns of a query, by name.

/// A list of columns: `$list!()` is its text, and `$at::name` the number of each. What reads the rows names the
/// columns, so that the text and the reading cannot get out of step.
macro_rules! by_name {
    ($(#[$doc:meta])* $list:ident $at:ident {
        $first:ident = $first_sql:literal, $($name:ident = $sql:literal,)*
    }) => {
        $(#[$doc])*
        macro_rules! $list {
            () => {
                concat!($first_sql $(, ", ", $sql)*)
            };
        }

        #[allow(non_upper_case_globals, reason = "they are the names of columns")]
        mod $at {
            #[allow(non_camel_case_types, reason = "they are the names of columns")]
            enum Column { $first, $($name,)* }
            pub(super) const $first: usize = Column::$first as usize;
            $(pub(super) const $name: usize = Column::$name as usize;)*
        }
    };
}
