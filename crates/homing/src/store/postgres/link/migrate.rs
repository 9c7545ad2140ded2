//! Opening a database: which version its schema has, and the numbered steps to the newest.
//!
//! All steps to be done are one transaction under an advisory lock that belongs to the schema's name, and
//! the version is looked at again once the lock is held, so that any number of processes may open a new
//! or old database at once. A schema that is up to date needs no right but to read its version.

use deadpool_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::pipeline;
use crate::store::postgres::link::schema::Schema;
use crate::store::{Error, Migration};

/// The steps: the n-th leads from version n to n + 1. Written for the schema `homing`.
pub(in crate::store::postgres) const STEPS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
];

/// Checks the schema, and brings it to the newest version if that is asked for and allowed.
pub(in crate::store::postgres) async fn run(
    client: &mut Client,
    schema: &Schema,
    steps: &[&str],
    may: bool,
    location: &str,
) -> std::result::Result<Migration, Error> {
    let told = |fault: Fault| fault.told(location);
    let known = steps.len() as i64;
    let found = version(client, schema).await.map_err(told)?;
    let older = |reason: String| Error::OlderSchema { found, known, reason };
    if found > known {
        return Err(Error::NewerSchema { found, known });
    }
    if found == known {
        return Ok(Migration { from: found, to: known });
    }
    if !may {
        return Err(older("the URL says `migrate=off`".to_owned()));
    }
    let mut again = DEADLOCKS;
    let done = loop {
        match step(client, schema, steps).await {
            // Workers that live write to the same tables, in another order.
            Err(fault) if fault.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) && again > 0 => {
                again -= 1;
            }
            done => break done,
        }
    };
    match done {
        Ok(from) if from > known => Err(Error::NewerSchema { found: from, known }),
        Ok(from) => Ok(Migration { from, to: known }),
        Err(fault) if fault.is_forbidden() => Err(older(fault.to_string())),
        Err(fault) if is_taken(&fault) => {
            let reason = format!("the schema has tables of another application ({fault})");
            Err(Error::NotAStore { path: location.to_owned(), reason })
        }
        Err(fault) => Err(told(fault)),
    }
}

/// How often a migration is tried again that PostgreSQL has ended as one of a deadlock.
const DEADLOCKS: u32 = 10;

/// Refuses a schema that is not there, or would have to be migrated first.
pub(in crate::store::postgres) async fn as_it_is(
    client: &Client,
    schema: &Schema,
    location: &str,
) -> std::result::Result<(), Error> {
    let known = STEPS.len() as i64;
    match version(client, schema).await.map_err(|fault| fault.told(location))? {
        0 => Err(Error::Missing { path: location.to_owned() }),
        found if found > known => Err(Error::NewerSchema { found, known }),
        found if found < known => {
            let reason = "it was opened as it is".to_owned();
            Err(Error::OlderSchema { found, known, reason })
        }
        _ => Ok(()),
    }
}

/// What the schema's tables and their indexes take on the disk.
pub(in crate::store::postgres) async fn bytes(client: &Client, schema: &Schema) -> Result<u64> {
    let sql = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint \
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')";
    let bytes: i64 = client.query_one(sql, &[&schema.name()]).await?.try_get(0)?;
    Ok(bytes.unsigned_abs())
}

/// The schema's version; 0 if it is not there.
pub(in crate::store::postgres) async fn version(client: &Client, schema: &Schema) -> Result<i64> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c \
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = 'homing_version' AND c.relkind = 'r')";
    if !client.query_one(sql, &[&schema.name()]).await?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let sql = schema.render("SELECT COALESCE(max(version), 0) FROM homing.homing_version");
    Ok(client.query_one(&sql, &[]).await?.try_get(0)?)
}

/// Does what is to be done, and returns the version found under the lock.
async fn step(client: &mut Client, schema: &Schema, steps: &[&str]) -> Result<i64> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    let exists: bool = client.query_one(sql, &[&schema.name()]).await?.try_get(0)?;
    let tx = pipeline::begin(client).await?;
    // A step, and the wait for another process's, takes as long as it takes.
    tx.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('homing:' || $1::text, 0))";
    tx.execute(lock, &[&schema.name()]).await?;
    if !exists {
        // Not without need: even where it exists, asking for it takes the right to create one.
        tx.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {}", schema.quoted())).await?;
    }
    tx.batch_execute(&schema.render(VERSIONS)).await?;
    let sql = schema.render("SELECT COALESCE(max(version), 0) FROM homing.homing_version");
    let found: i64 = tx.query_one(&sql, &[]).await?.try_get(0)?;
    for (number, step) in (1_i64..).zip(steps).filter(|(number, _)| *number > found) {
        tx.batch_execute(&schema.render(step)).await?;
        let sql = schema.render("INSERT INTO homing.homing_version (version) VALUES ($1)");
        tx.execute(&sql, &[&number]).await?;
    }
    tx.commit().await?;
    Ok(found)
}

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS homing.homing_version (
    version bigint PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
)";

/// Whether something of the same name is there already.
fn is_taken(fault: &Fault) -> bool {
    matches!(
        fault.code(),
        Some(
            &SqlState::DUPLICATE_TABLE
                | &SqlState::DUPLICATE_OBJECT
                | &SqlState::DUPLICATE_FUNCTION
                | &SqlState::UNDEFINED_COLUMN
        )
    )
}
