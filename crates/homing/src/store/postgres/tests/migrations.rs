//! Migrations: once, whoever comes together; never by a role that may not; never backwards.

use super::*;
use crate::store::Migration;

const STEPS: &[&str] = &[
    "CREATE TABLE homing.first (id int); SELECT pg_sleep(0.2)",
    "CREATE TABLE homing.second (id int)",
];

async fn run(url: &str, steps: &[&str], may: bool) -> Result<Migration, Error> {
    let options = options(url).unwrap();
    let mut client = pool(url).get().await?;
    migrate::run(&mut client, &options.schema, steps, may, &options.location).await
}

fn tables(url: &str) -> String {
    let schema = options(url).unwrap().schema;
    let sql = format!(
        "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = '{}'::regnamespace",
        schema.name()
    );
    server::psql(url, &sql)
}

#[tokio::test]
async fn many_at_once_make_each_step_once() {
    let url = common_schema();
    let all = futures_util::future::join_all((0..6).map(|_| run(&url, STEPS, true))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let from: Vec<i64> = all.into_iter().map(|done| done.unwrap().from).collect();
    assert_eq!(from.iter().filter(|from| **from == 0).count(), 1, "{from:?}");
    assert_eq!(tables(&url), "first,homing_version,second");
}

#[tokio::test]
async fn an_older_schema_is_led_on_from_where_it_is() {
    let url = common_schema();
    run(&url, &STEPS[..1], true).await.unwrap();
    let error = run(&url, STEPS, false).await.unwrap_err();
    assert!(matches!(error, Error::OlderSchema { found: 1, known: 2, .. }), "{error}");
    assert_eq!(run(&url, STEPS, true).await.unwrap(), Migration { from: 1, to: 2 });
    assert_eq!(run(&url, STEPS, false).await.unwrap(), Migration { from: 2, to: 2 });
}

#[tokio::test]
async fn a_step_may_take_longer_than_a_statement() {
    let url = with_option(&common_schema(), "options=-c%20statement_timeout%3D100");
    assert_eq!(run(&url, STEPS, true).await.unwrap().from, 0);
}

#[tokio::test]
async fn an_older_program_is_refused() {
    let url = common_schema();
    run(&url, STEPS, true).await.unwrap();
    let error = run(&url, &STEPS[..1], true).await.unwrap_err();
    assert!(matches!(error, Error::NewerSchema { found: 2, known: 1 }), "{error}");
    assert!(error.to_string().contains("use a newer homing"));
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing() {
    let url = common_schema();
    run(&url, &["CREATE TABLE homing.first (id int)", "SELECT 1/0"], true).await.unwrap_err();
    assert_eq!(run(&url, STEPS, true).await.unwrap().from, 0);
}

/// Workers that live write to the tables that a step changes, in another order: PostgreSQL ends one of both.
#[tokio::test]
async fn a_step_that_meets_a_deadlock_is_done_again() {
    let url = common_schema();
    let first = "CREATE SEQUENCE homing.tries";
    run(&url, &[first], true).await.unwrap();
    // What a sequence has counted stays, whatever becomes of the transaction.
    let falls = |times: u32| {
        format!(
            "CREATE TABLE homing.second (id int);
             DO $$ BEGIN IF nextval('homing.tries') <= {times} THEN
               RAISE 'fell' USING ERRCODE = 'deadlock_detected'; END IF; END $$"
        )
    };
    assert_eq!(run(&url, &[first, &falls(2)], true).await.unwrap(), Migration { from: 1, to: 2 });
    assert_eq!(tables(&url), "homing_version,second");
    // Not for ever.
    let third = falls(1_000).replace("second", "third");
    let error = run(&url, &[first, &falls(2), &third], true).await.unwrap_err();
    assert!(error.to_string().contains("fell"), "{error}");
    assert_eq!(tables(&url), "homing_version,second");
}

#[tokio::test]
async fn tables_of_another_application_are_not_touched() {
    let url = common_schema();
    let schema = options(&url).unwrap().schema;
    let name = schema.name();
    server::psql(&url, &format!("CREATE SCHEMA {name}; CREATE TABLE {name}.first (mine text)"));
    let error = run(&url, STEPS, true).await.unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    assert_eq!(tables(&url), "first");
}

#[tokio::test]
async fn a_role_without_ddl_opens_what_is_up_to_date_and_no_more() {
    let server = Server::start();
    server.sql("CREATE ROLE worker LOGIN; CREATE ROLE owner LOGIN; GRANT CREATE ON DATABASE postgres TO owner");
    let (worker, owner) = (server.url("worker"), server.url("owner"));
    let error = run(&worker, STEPS, true).await.unwrap_err();
    assert!(matches!(error, Error::OlderSchema { found: 0, known: 2, .. }), "{error}");
    assert!(error.to_string().contains("`homing store migrate`"), "{error}");

    run(&owner, &STEPS[..1], true).await.unwrap();
    let error = run(&worker, &STEPS[..1], true).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "not granted yet: {error}");
    server.sql(
        "GRANT USAGE ON SCHEMA homing TO worker;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA homing TO worker",
    );
    assert_eq!(run(&worker, &STEPS[..1], true).await.unwrap(), Migration { from: 1, to: 1 });
    let error = run(&worker, STEPS, true).await.unwrap_err();
    assert!(matches!(error, Error::OlderSchema { found: 1, known: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_told_of() {
    let url = with_option(&common_schema(), "options=-c%20default_transaction_read_only%3Don");
    let error = run(&url, STEPS, true).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }) && error.is_transient(), "{error}");
    run(&url.replace("%3Don", "%3Doff"), STEPS, true).await.unwrap();
    run(&url, STEPS, true).await.unwrap();
}
