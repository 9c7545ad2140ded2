//! What reads of what has been: `record`, `failures`, `actions`, `samples`.

use crate::world::World;
use crate::{assert_said, tasks};

/// A record is told with when each entry was committed; how a body has drifted from it is data.
#[tokio::test]
async fn records_are_shown() {
    let world = World::busy().await;
    let job = world.homing.submit(tasks::straying()).await.unwrap().id();
    world.until(async || world.homing.task(job).await.unwrap().drift().is_some()).await;
    let id = job.to_string();
    assert_said!(world.run(&["record", &id]), @r"
    #  TIME  AFTER  PLACE  WHAT  VALUE
    1  [time]  [span]  step:committed#1  value  null
    --- exit 0
    ");
    let lines = world.json(&["record", &id]);
    assert_eq!((&lines[0]["place"], lines.len()), (&"step:committed#1".into(), 1));
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(world.json(&["record", &id, "--after", "1"]).len(), 0);
    let told = world.json(&["job", &id]);
    let task = told.iter().find(|line| !line["drift"].is_null());
    let task = task.unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(task["drift"]["place"], "spawn:hello[0]");
    assert_eq!(task["drift"]["expected"], r#"hello({"name":"attempt 1"})"#);
    assert_eq!(task["drift"]["got"], r#"hello({"name":"attempt 2"})"#);
    let hello = world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap();
    hello.outcome().await.unwrap();
    assert_said!(world.run(&["record", &hello.id().to_string()]), @r"
    --- stderr
    nothing is recorded there
    --- exit 0
    ");
}

/// Failures are listed over all jobs, those alike together.
#[tokio::test]
async fn failures_are_listed_by_error() {
    let world = World::busy().await;
    assert_said!(world.run(&["failures"]), @r"
    --- stderr
    no task has failed
    --- exit 0
    ");
    world.nightly().await;
    for _ in 0..2 {
        world.homing.submit(tasks::parent_of_broken()).await.unwrap().outcome().await.unwrap_err();
    }
    let list = world.run(&["failures"]).out;
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[0].starts_with("COUNT") && lines[0].ends_with("FINGERPRINT"), "{list}");
    assert!(lines[1].contains("  broken      the table is locked"), "{list}");
    assert!(lines[2].contains("  write_page  page 3 cannot be parsed"), "{list}");
    let groups = world.json(&["failures"]);
    assert_eq!((&groups[0]["count"], &groups[0]["latest"]["kind"]), (&2.into(), &"broken".into()));
    assert_eq!(
        world.json(&["failures", "--kind", "write_page", "--newer-than", "1h"]),
        groups[1..]
    );
    let print = groups[0]["fingerprint"].as_str().unwrap();
    let failed = world.json(&["failures", print]);
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0]["failure"]["message"], "the table is locked");
    let one = world.run(&["failures", print, "--limit", "1"]).out;
    assert_eq!(one.lines().count(), 2, "{one}");
    assert!(one.ends_with("the table is locked\n"), "{one}");
    let wrong = world.run(&["failures", "xyz"]);
    assert!(
        wrong.code == Some(2) && wrong.err.contains("`xyz` is no fingerprint"),
        "{}",
        wrong.err
    );
    for more in [vec!["failures", "--limit", "1"], vec!["failures", print, "--limit", "1"]] {
        let ran = world.run(&more);
        assert!(ran.err.starts_with("there may be more: --limit"), "{ran:?}");
    }
    assert_eq!(world.run(&["failures", "--kind", "nobody"]).err, "no such task has failed\n");
    let none = world.run(&["failures", &"0".repeat(32)]);
    assert_eq!(none.err, "no task that is still there has failed so\n");
}

/// What people have done is listed.
#[tokio::test]
async fn actions_are_listed() {
    let world = World::busy().await;
    assert_said!(world.run(&["actions"]), @r"
    --- stderr
    nobody has done anything
    --- exit 0
    ");
    world.run(&["pause", "slow"]);
    let job = world.run(&["submit", "approval"]).out.trim().to_owned();
    world.run(&["cancel", &job]);
    world.run(&["cancel", &job]);
    let actions = world.json(&["actions"]);
    let told: Vec<_> = actions.iter().map(|action| (&action["verb"], &action["result"])).collect();
    let text = |verb: &str, result: &str| (verb.into(), result.into());
    let wanted: [(serde_json::Value, serde_json::Value); 4] = [
        text("cancel", "it had ended"),
        text("cancel", "done"),
        text("submit", "approval"),
        text("pause", "done"),
    ];
    assert_eq!(told, wanted.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    assert_eq!(world.json(&["actions", "--on", &job, "--limit", "2"]), actions[..2]);
    let short = &job[..job.len() - 1];
    assert_eq!(world.json(&["actions", "--on", short, "--limit", "2"]), actions[..2]);
    for narrow in ["--by", "--on"] {
        let none = world.run(&["actions", narrow, "cafe"]);
        assert_eq!((none.code, none.err.as_str()), (Some(0), "nothing such has been done\n"));
    }
    let before = actions[1]["number"].to_string();
    assert_eq!(world.json(&["actions", "--before", &before]), actions[2..]);
    let list = world.run(&["actions", "--on", "slow"]).out;
    assert!(list.lines().count() == 2 && list.contains("pause  slow  done"), "{list}");
}

/// What a worker did is told once a minute, and as it leaves.
#[tokio::test]
async fn samples_are_listed() {
    let world = World::idle().await;
    let none = world.run(&["samples"]);
    assert!(
        none.out.is_empty() && none.err.starts_with("no worker has told of a minute"),
        "{none:?}"
    );
    let worker =
        world.homing.worker().name("the counter").register(tasks::hello).register(tasks::broken);
    let worker = worker.start().await.unwrap();
    world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap().outcome().await.unwrap();
    world.homing.submit(tasks::hello("Bo".to_owned())).await.unwrap().outcome().await.unwrap();
    worker.shutdown(std::time::Duration::from_mins(1)).await;
    let samples = world.json(&["samples", "--newer-than", "1h"]);
    let sum: u64 = samples
        .iter()
        .flat_map(|sample| sample["work"].as_array().unwrap())
        .map(|work| work["succeeded"].as_u64().unwrap())
        .sum();
    assert_eq!((&samples[0]["name"], sum), (&"the counter".into(), 2));
    let list = world.run(&["samples"]).out;
    assert!(list.lines().count() == samples.len() + 1 && list.contains("the counter"), "{list}");
    assert!(world.json(&["samples", "--newer-than", "0s"]).is_empty());
}
