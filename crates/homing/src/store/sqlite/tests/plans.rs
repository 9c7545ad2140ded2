//! Hot statements use the index they were written for, and never sort or scan.

use super::super::{children, claim, people, prune, ready, replay, sweep};
use super::*;

#[test]
fn hot_statements_use_their_index() {
    let directory = Directory::new();
    let db = migrate::writer(&directory.options()).unwrap();
    let lane = "INDEX ready (queue=? AND kind=? AND priority<?)";
    let statements = [
        (ready::LANE, "INDEX ready ((queue,kind)>(?,?))"),
        (ready::READY, lane),
        (
            ready::READY_AFTER,
            "INDEX ready (queue=? AND kind=? AND priority=? AND (due,job,local)>(?,?,?))",
        ),
        (ready::DIRECT, "INDEX direct (due<?)"),
        (ready::NEXT, lane),
        (ready::DUE, "INDEX ready (queue=? AND kind=? AND priority=? AND due>?)"),
        (ready::HELD, "INDEX held (held_until>?)"),
        (ready::TIMER, "INDEX timers (timer>?)"),
        (sweep::DUE_TIMERS, "INDEX timers (timer<?)"),
        (replay::ENDS, "INDEX ends (job=? AND set=? AND end>?)"),
        (prune::OLD, "INDEX settled (ended>? AND ended<?)"),
        (
            children::numbered!("state"),
            "INDEX sqlite_autoindex_tasks_1 (job=? AND local>? AND local<?)",
        ),
        (children::placed!("state"), "INDEX placed (job=? AND set=? AND number>?)"),
        (people::children_sql(State::Waiting), "INDEX waiting (job=?)"),
        (people::children_sql(State::Failed), "INDEX fallen (job=? AND parent=? AND state=?)"),
        (people::children_sql(State::Cancelled), "INDEX fallen (job=? AND parent=? AND state=?)"),
        (people::JOBS, "PRIMARY KEY (created>? AND created<?)"),
        (people::FALLEN, "INDEX fallen_jobs (fallen=? AND created>? AND created<?)"),
        (people::OF_KIND, "SEARCH jobs USING PRIMARY KEY (created>? AND created<?)"),
        (people::OF_KIND, "by_second USING PRIMARY KEY (kind=? AND second>? AND second<?)"),
        (people::WITH_ERRORS, "INDEX with_errors (created>? AND created<?)"),
        (people::ALIKE, "COVERING INDEX alike (fingerprint=? AND (ended,job,local)<(?,?,?))"),
    ];
    for (sql, index) in statements {
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Null; explain.parameter_count()];
        let steps = explain
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3))
            .unwrap();
        let plan = steps.map(Result::unwrap).collect::<Vec<_>>().join("\n");
        assert!(plan.contains(index), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN tasks"), "{sql}\n{plan}");
    }
    // Groups are sorted, what they are made of is not, and no row is read.
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {}", people::GROUPS)).unwrap();
    let nothing = [rusqlite::types::Null; 4];
    let plan = explain.query_row(nothing, |row| row.get::<_, String>(3)).unwrap();
    let index = "COVERING INDEX alike (fingerprint>? AND fingerprint<?)";
    assert!(plan.contains(index), "{plan}");
    // Sorted by key, but few: what one worker holds of one exchange and later.
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {}", claim::AGAIN)).unwrap();
    let plan: String = explain
        .query_row((rusqlite::types::Null, rusqlite::types::Null), |row| row.get(3))
        .unwrap();
    assert!(plan.contains("INDEX running (worker=? AND claim>?)"), "{plan}");
}
