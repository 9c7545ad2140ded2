//! Hot statements use the index they were written for, on empty tables and on full ones.

use super::talk::store;
use super::*;
use crate::store::postgres::link::pipeline;
use crate::store::postgres::link::schema::Schema;
use crate::store::postgres::people;
use crate::store::postgres::prune;
use crate::store::postgres::ready;
use crate::store::postgres::replay;
use crate::store::postgres::sweep;

/// Finished and waiting work, and little that is ready, as in a store that has run for long.
const FULL: &str = "
    INSERT INTO homing.ended (job, local, attempt, failures, crashes, lines, stalls, due, ended,
        dropped, state, outcome)
      SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 1, 0, 0, 0, 0, 0, n, 0, 3, '1'
      FROM generate_series(1, 20000) AS n;
    INSERT INTO homing.open (job, local, depth, state, priority, attempt, failures, crashes, stalls,
        lines, due, dropped, signalled, queue, kind)
      SELECT gen_random_uuid(), gen_random_uuid(), 0, CASE WHEN n % 100 = 0 THEN 0 ELSE 2 END, 0, 1, 0,
        0, 0, 0, n, 0, false, 'default', 'kind' || n % 3
      FROM generate_series(1, 20000) AS n;
    ANALYZE homing.ended; ANALYZE homing.open";

const STATEMENTS: [(&str, &[&str]); 14] = [
    (ready::READY, &["Index Only Scan using ready|Index Scan using ready"]),
    (ready::NEXT, &["using ready", "using timers"]),
    (ready::READY_SCANNED, &["Index Only Scan using ready|Index Scan using ready"]),
    (ready::NEXT_SCANNED, &["using ready", "using timers"]),
    (ready::READY_KNOWN, &["Index Only Scan using ready|Index Scan using ready"]),
    (ready::NEXT_KNOWN, &["using ready", "using timers"]),
    (ready::AGAIN, &["using running"]),
    (sweep::DUE_TIMERS, &["using timers"]),
    (replay::ENDS, &["using ends"]),
    (prune::OLD, &["using settled"]),
    (people::FALLEN, &["using fallen_roots"]),
    (people::OF_KIND, &["using kinds_of_roots"]),
    (people::ALIKE, &["Index Only Scan Backward using failures|Index Only Scan using failures"]),
    (people::GROUPS, &["using failures"]),
];

#[tokio::test]
async fn hot_statements_use_their_index() {
    let url = common_schema();
    let options = options(&url).unwrap();
    drop(store(&url).await);
    let client = pool(&url).get().await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute(pipeline::PLANS).await.unwrap();
    for full in [false, true] {
        if full {
            client.batch_execute(&options.schema.render(FULL)).await.unwrap();
        }
        for (n, (sql, indexes)) in STATEMENTS.iter().enumerate() {
            let plan = explain(&client, &options.schema, sql, &format!("p{n}{full}")).await;
            for index in *indexes {
                let used = index.split('|').any(|index| plan.contains(index));
                assert!(used, "full: {full}\n{sql}\n{plan}");
            }
            if *sql == ready::READY_KNOWN {
                let (scans, bounded) = ("using ready", "ROW(due, job, local) >= ");
                let (scans, bounded) = (plan.matches(scans).count(), plan.matches(bounded).count());
                assert_eq!(scans, bounded, "full: {full}: each begins where it may\n{plan}");
            }
            for table in ["open", "ended", "tasks"] {
                assert!(
                    !plan.contains(&format!("Seq Scan on {table}")),
                    "full: {full}\n{sql}\n{plan}"
                );
            }
        }
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    server::drop_schema(&url);
}

async fn explain(
    client: &deadpool_postgres::Client,
    schema: &Schema,
    sql: &str,
    name: &str,
) -> String {
    client.batch_execute(&format!("PREPARE {name} AS {}", schema.render(sql))).await.unwrap();
    let parameters = (1..20).take_while(|n| sql.contains(&format!("${n}"))).count();
    let nothing = vec!["NULL"; parameters].join(", ");
    let rows = client.query(&format!("EXPLAIN EXECUTE {name} ({nothing})"), &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}
