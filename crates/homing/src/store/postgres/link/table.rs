//! Many rows for one statement: each column once, by its name, its type and its value.
//!
//! The list that says the values makes the text of the statement too, so that no two columns can change places.
//! The text is made once in a process.

use std::fmt::Write as _;
use std::sync::OnceLock;

use tokio_postgres::types::ToSql;

use super::pipeline::{Statement, Value};

/// A column of a [`Table`].
#[derive(Debug, Clone, Copy)]
pub(in crate::store::postgres) struct Column {
    pub(in crate::store::postgres) name: &'static str,
    /// As it travels: an array of this type.
    pub(in crate::store::postgres) of: &'static str,
    /// As the table has it, where that is another: lists of lists travel as texts.
    pub(in crate::store::postgres) cast: &'static str,
}

/// Rows, column by column.
#[derive(Default)]
pub(in crate::store::postgres) struct Table<'e> {
    columns: Vec<Column>,
    values: Vec<Value<'e>>,
}

/// A table over the rows of a list: `table!(rows, row => job: uuid = row.id.job, tags: text as "::text[]" = …)`.
macro_rules! table {
    ($rows:expr, $row:pat => $($name:ident: $type:ident $(as $cast:literal)? = $value:expr),+ $(,)?) => {{
        let mut table = $crate::store::postgres::link::table::Table::default();
        $(
            #[allow(unused_variables, reason = "a column needs but a part of the row")]
            let column = $rows.iter().map(|$row| $value).collect::<Vec<_>>();
            table.add(
                $crate::store::postgres::link::table::Column {
                    name: stringify!($name),
                    of: stringify!($type),
                    cast: concat!($($cast)?),
                },
                Box::new(column),
            );
        )+
        table
    }};
}

pub(in crate::store::postgres) use table;

impl<'e> Table<'e> {
    pub(in crate::store::postgres) fn add(&mut self, column: Column, values: Value<'e>) {
        self.columns.push(column);
        self.values.push(values);
    }

    /// With more columns of the same rows.
    pub(in crate::store::postgres) fn and(mut self, more: Self) -> Self {
        self.columns.extend(more.columns);
        self.values.extend(more.values);
        self
    }

    /// Sends nothing in a column, which is NULL in every row.
    pub(in crate::store::postgres) fn lack<T>(&mut self, name: &str)
    where
        Vec<Option<T>>: ToSql + Sync + Send + 'e,
    {
        if let Some(at) = self.columns.iter().position(|column| column.name == name) {
            self.values[at] = Box::new(Vec::<Option<T>>::new());
        }
    }

    /// The statement over the rows. `sql` keeps the text that `make` makes; parameters of the statement's own are
    /// added by [`Statement::with`].
    pub(in crate::store::postgres) fn statement(
        self,
        sql: &'static OnceLock<String>,
        make: impl FnOnce(&Columns<'_>) -> String,
    ) -> Statement<'e> {
        let sql = sql.get_or_init(|| make(&Columns(&self.columns)));
        Statement::new(sql, self.values)
    }
}

/// The columns of a table, as statements name them.
pub(in crate::store::postgres) struct Columns<'c>(&'c [Column]);

impl Columns<'_> {
    fn list(&self, each: impl Fn(&mut String, usize, &Column) -> std::fmt::Result) -> String {
        let mut list = String::new();
        for (at, column) in self.0.iter().enumerate() {
            if at > 0 {
                list.push_str(", ");
            }
            // A string takes whatever is written.
            let _ = each(&mut list, at, column);
        }
        list
    }

    /// `"job", "local"`.
    pub(in crate::store::postgres) fn names(&self) -> String {
        self.list(|list, _, column| write!(list, "\"{}\"", column.name))
    }

    /// `n."job", n."local"`, as the table has them.
    pub(in crate::store::postgres) fn of(&self, alias: &str) -> String {
        self.list(|list, _, column| write!(list, "{alias}.\"{}\"{}", column.name, column.cast))
    }

    /// `"state" = n."state"` of all columns but the first ones, which are the key.
    pub(in crate::store::postgres) fn assigned(&self, alias: &str, key: usize) -> String {
        Columns(&self.0[key..]).list(|list, _, Column { name, cast, .. }| {
            write!(list, "\"{name}\" = {alias}.\"{name}\"{cast}")
        })
    }

    /// `unnest($1::uuid[], …) AS n ("job", …)`: the rows.
    pub(in crate::store::postgres) fn rows(&self, alias: &str) -> String {
        let arrays = self.list(|list, at, column| write!(list, "${}::{}[]", at + 1, column.of));
        format!("unnest({arrays}) AS {alias} ({})", self.names())
    }

    /// The number of the first parameter behind the columns.
    pub(in crate::store::postgres) fn next(&self) -> usize {
        self.0.len() + 1
    }
}
