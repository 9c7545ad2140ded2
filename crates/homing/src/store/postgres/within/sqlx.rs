//! Statements carried by sqlx: its own types are not needed, the bytes are the protocol's.

use bytes::BytesMut;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgRow, PgTypeInfo};
use sqlx::{
    Arguments as _, AssertSqlSafe, Encode, Executor as _, Postgres, Row as _, SqlSafeStr as _,
    Statement as _, ValueRef as _,
};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{self, Type};

use super::{Carry, Rows, Values, told};
use crate::store::Error;
use crate::store::postgres::link::fault::{Fault, Result};
use futures_util::future::BoxFuture;

/// A value as its bytes, and its type.
struct Bound {
    oid: Oid,
    bytes: Option<BytesMut>,
}

impl Encode<'_, Postgres> for Bound {
    fn encode_by_ref(
        &self,
        buffer: &mut PgArgumentBuffer,
    ) -> std::result::Result<IsNull, BoxDynError> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        buffer.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.oid))
    }
}

impl sqlx::Type<Postgres> for Bound {
    fn type_info() -> PgTypeInfo {
        // Never asked for: each value says its own.
        PgTypeInfo::with_oid(Oid(Type::UNKNOWN.oid()))
    }
}

impl Carry for &mut PgConnection {
    fn carry<'a>(
        &'a mut self,
        text: String,
        values: Values<'a>,
    ) -> BoxFuture<'a, Result<Rows, Error>> {
        Box::pin(async move { run(self, text, values).await.map_err(|fault| told(&fault)) })
    }
}

async fn run(connection: &mut PgConnection, text: String, values: Values<'_>) -> Result<Rows> {
    let text = AssertSqlSafe(text).into_sql_str();
    let statement = connection.prepare(text).await?;
    let parameters = statement.parameters().and_then(sqlx::Either::left).unwrap_or(&[]);
    let mut arguments = PgArguments::default();
    for (own, value) in parameters.iter().zip(values) {
        arguments.add(bound(own, value)?).map_err(Fault::foreign)?;
    }
    let rows = statement.query_with(arguments).fetch_all(connection).await?;
    rows.iter().map(columns).collect()
}

fn bound(own: &PgTypeInfo, value: &(dyn types::ToSql + Sync)) -> Result<Bound> {
    let oid = own.oid().unwrap_or(Oid(Type::UNKNOWN.oid()));
    let own = Type::from_oid(oid.0).unwrap_or(Type::UNKNOWN);
    let mut bytes = BytesMut::new();
    let null = value.to_sql_checked(&own, &mut bytes).map_err(Fault::foreign)?;
    let bytes = matches!(null, types::IsNull::No).then_some(bytes);
    Ok(Bound { oid, bytes })
}

fn columns(row: &PgRow) -> Result<Vec<Option<Vec<u8>>>> {
    (0..row.len())
        .map(|column| {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(None);
            }
            Ok(Some(value.as_bytes().map_err(Fault::foreign)?.to_vec()))
        })
        .collect()
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let code = match (&error, code) {
            (_, Some(code)) => Some(SqlState::from_code(&code)),
            (sqlx::Error::Io(_), None) => Some(SqlState::CONNECTION_FAILURE),
            _ => None,
        };
        let reason = error
            .as_database_error()
            .map_or_else(|| error.to_string(), |told| told.message().to_owned());
        Self::Foreign { code, reason }
    }
}

impl Fault {
    fn foreign(error: impl std::fmt::Display) -> Self {
        Self::Foreign { code: None, reason: error.to_string() }
    }
}
