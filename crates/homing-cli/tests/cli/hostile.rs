//! A store that somebody else has written into: whatever stands in its rows, no command lets it steer the
//! terminal.

use homing::TaskState;
use rusqlite::Connection;

use crate::world::World;

/// The title of a window, a colour that no command uses, a cleared screen, turned text, broken lines, a zero byte.
const EVIL: &str =
    "e\u{1b}]0;PWN\u{7}\u{1b}[35m\u{9b}2J\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\0\r\nvil";

/// Writes it into every column that holds text.
fn doctor(world: &World) {
    let db = Connection::open(world.file("jobs.db")).unwrap();
    let json = serde_json::to_string(EVIL).unwrap();
    let (list, within) = (format!("[{json}]"), json.trim_matches('"'));
    let object = format!("{{{json}: {json}}}");
    for (sql, value) in [
        ("UPDATE tasks SET kind = ?1, queue = ?1", EVIL),
        ("UPDATE tasks SET reason = ?1 WHERE ended IS NULL", EVIL),
        ("UPDATE tasks SET \"key\" = ?1 WHERE \"key\" IS NOT NULL", EVIL),
        ("UPDATE tasks SET arguments = ?1", &object),
        ("UPDATE tasks SET waits = replace(waits, '\"place\":\"', '\"place\":\"' || ?1)", within),
        ("UPDATE tasks SET waits = replace(waits, '\"name\":\"', '\"name\":\"' || ?1)", within),
        (
            "UPDATE tasks SET outcome = replace(outcome, '\"message\":\"', '\"message\":\"' || ?1)",
            within,
        ),
        ("UPDATE tasks SET outcome = replace(outcome, '\"kind\":\"', '\"kind\":\"' || ?1)", within),
        ("UPDATE tasks SET outcome = ?1 WHERE state = 3", &object),
        ("UPDATE jobs SET title = ?1", EVIL),
        ("UPDATE jobs SET tags = ?1", &list),
        ("UPDATE keys SET \"key\" = ?1", EVIL),
        ("UPDATE logs SET message = ?1", EVIL),
        ("UPDATE workers SET name = ?1", EVIL),
        ("UPDATE workers SET queues = ?1", &list),
        ("UPDATE workers SET kinds = ?1", &list),
        ("UPDATE kinds SET arguments = ?1", &list),
        ("UPDATE OR REPLACE kinds SET name = ?1 WHERE name NOT LIKE 'homing.%'", EVIL),
        ("INSERT OR REPLACE INTO paused (queue) VALUES (?1)", EVIL),
    ] {
        db.execute(sql, [value]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Our own styles, taken away.
fn unstyled(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(part.len());
        let (numbers, after) = part.split_at(end);
        match after.strip_prefix('m').filter(|_| numbers != "35") {
            Some(after) => rest += after,
            None => rest.extend(["\u{1b}[", part]),
        }
    }
    rest
}

fn check(world: &World, arguments: &[&str]) {
    for before in [&["--color", "always"][..], &[], &["--json"]] {
        let ran = world.run(&[before, arguments].concat());
        let said = unstyled(&format!("{}{}", ran.out, ran.err));
        let steers = said.chars().find(|c| {
            let turns = "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202e}\u{2066}\u{2069}";
            (c.is_control() && *c != '\n') || turns.contains(*c)
        });
        assert_eq!(steers, None, "{arguments:?}: {said:?}");
        // Nor does a line feed make a line of its own.
        assert!(!said.lines().any(|line| line.starts_with("vil")), "{arguments:?}: {said:?}");
    }
}

#[tokio::test]
async fn no_command_lets_a_stores_rows_steer_the_terminal() {
    let mut world = World::busy().await;
    let job = world.nightly().await;
    world.kill_worker();
    doctor(&world);
    let import = world.children(job).await.remove(0).id;
    let pages = world.children(import).await;
    let (job, import) = (job.to_string(), import.to_string());
    for command in [
        &["jobs"][..],
        &["job", &job],
        &["job", &job, "--all"],
        &["job", &import],
        &["why", &job],
        &["why", &import],
        &["log", &job],
        &["queues"],
        &["workers"],
        &["kinds"],
        &["check"],
        &["store", "info"],
        &["submit", "nothing", "{}"],
        &["submit", EVIL.trim_end_matches(|c| c != '\u{2028}'), "{}"],
        &["pause", "no such queue"],
        &["signal", &import, "go", "1"],
    ] {
        // No argument of a process has a zero byte.
        check(&world, command);
    }
    for page in pages {
        check(&world, &["why", &page.id.to_string()]);
        check(&world, &["job", &page.id.to_string()]);
    }
    check(&world, &["cancel", &job]);
    world.reaches(job.parse::<homing::JobId>().unwrap(), TaskState::Cancelled).await;
    check(&world, &["watch", &job]);
    check(&world, &["why", &job]);
    check(&world, &["retry", &job]);
    check(&world, &["prune", "--older-than", "1s"]);
}
