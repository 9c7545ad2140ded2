//! `why`, in every state.

use std::time::Duration;

use homing::{TaskId, TaskState};

use crate::world::World;
use crate::{assert_said, tasks};

fn why(world: &World, id: impl Into<TaskId>) -> crate::world::Ran {
    let id = id.into().to_string();
    let lines = world.json(&["why", &id]);
    assert_eq!((&lines[0]["type"], &lines[0]["id"]), (&"why".into(), &id.clone().into()));
    world.run(&["why", &id])
}

#[tokio::test]
async fn a_parked_task_is_followed_down_to_what_it_hangs_on() {
    let world = World::busy().await;
    let job = world.nightly().await;
    assert_said!(why(&world, job), @r"
    nightly [id] is waiting
      it waits for its child import, which is waiting
        [id].[place]
      import [id].[place] is waiting
        it waits at `set:pages.join_all#1` until all have ended of its 5 children: 3 succeeded, 1 failed, 0 cancelled, 1 open
          [id].[place]
          [id].[place]
        write_page [id].[place] is waiting
          it waits for the signal `go` (integer): `signal [id].[place] go JSON` sends it
    --- exit 0
    ");
    assert_said!(world.run(&["why", &job.to_string(), "--depth", "0"]), @r"
    nightly [id] is waiting
      it waits for its child import, which is waiting
        [id].[place]
    --- exit 0
    ");
    let approval = world.homing.submit(tasks::approval()).await.unwrap();
    world.reaches(approval.id(), TaskState::Waiting).await;
    assert_said!(why(&world, approval.id()), @r"
    approval [id] is waiting
      it waits for the signal `approve` (string): `signal [id] approve JSON` sends it
      it goes on by itself at [time] (in [span])
    --- exit 0
    ");
}

#[tokio::test]
async fn a_pending_task_says_what_keeps_it() {
    let mut world = World::idle().await;
    let hello = || tasks::hello("Ada".to_owned());
    let nobody = world.homing.submit(hello().deadline(Duration::from_hours(3))).await.unwrap();
    assert_said!(why(&world, nobody.id()), @r"
    hello [id] is pending
      no living worker serves its queue `default`: start one
      it fails if it has not ended by [time] (in [span])
    --- exit 0
    ");
    nobody.cancel().await.unwrap();
    world.start_worker().await;
    let unknown = world.homing.submit_named("unknown", &serde_json::json!({})).force();
    assert_said!(why(&world, unknown.await.unwrap().id()), @r"
    unknown [id] is pending
      no living worker of the queue `default` is registered for `unknown`, nor has one ever been: start one
    --- exit 0
    ");
    let later = world.homing.submit(hello().delay(Duration::from_hours(5))).await.unwrap();
    assert_said!(why(&world, later.id()), @r"
    hello [id] is pending
      it starts at [time] (in [span])
    --- exit 0
    ");
    let flaky = world.homing.submit(tasks::flaky()).await.unwrap();
    world.until(async || world.homing.task(flaky.id()).await.unwrap().failures == 1).await;
    assert_said!(why(&world, flaky.id()), @r"
    flaky [id] is pending
      it has failed 1 time in a row and is tried again at [time] (in [span]): the feed is down
      [time] attempt 1 failed: the feed is down
    --- exit 0
    ");
    world.homing.pause("default").await.unwrap();
    let paused = world.homing.submit(hello()).await.unwrap();
    assert_said!(why(&world, paused.id()), @r"
    hello [id] is pending
      its queue `default` is paused: `unpause default` resumes it
    --- exit 0
    ");
}

#[tokio::test]
async fn a_running_task_says_where_and_a_queued_one_behind_what() {
    let mut world = World::busy().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(world.homing.submit(tasks::busy()).await.unwrap().id());
    }
    for job in &jobs {
        world.reaches(*job, TaskState::Running).await;
    }
    assert_said!(why(&world, jobs[0]), @r"
    busy [id] is running
      the worker night shift runs it
    --- exit 0
    ");
    world.until(async || world.homing.workers().await.unwrap()[0].running == 4).await;
    let queued = world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap();
    assert_said!(why(&world, queued.id()), @r"
    hello [id] is pending
      it waits for a free slot: the queue `default` has 1 task to start, 4 of 4 slots on 1 worker were taken
    --- exit 0
    ");
    world.kill_worker();
    assert_said!(why(&world, jobs[0]), @r"
    busy [id] is running
      its worker night shift died, last heard of [span] ago: the next worker to look takes it over
    --- exit 0
    ");
}

#[tokio::test]
async fn an_ended_task_says_why() {
    let world = World::busy().await;
    let good = world.homing.submit(tasks::hello("Ada".to_owned())).await.unwrap();
    good.outcome().await.unwrap();
    assert_said!(why(&world, good.id()), @r"
    hello [id] has succeeded
      it did what it was to do
    --- exit 0
    ");
    let bad = world.homing.submit(tasks::parent_of_broken()).await.unwrap();
    bad.outcome().await.unwrap_err();
    assert_said!(why(&world, bad.id()), @r"
    parent_of_broken [id] has failed
      its body returned an error in attempt 1: the table is locked (task broken [id].[place] failed in attempt 1)
        [id].[place]
      broken [id].[place] has failed
        its body returned an error in attempt 1: the table is locked
    --- exit 0
    ");
    let page = world.homing.submit(tasks::write_page(3)).await.unwrap();
    page.outcome().await.unwrap_err();
    assert_said!(why(&world, page.id()), @r"
    write_page [id] has failed
      its body returned an error in attempt 1: page 3 cannot be parsed, caused by: invalid digit found in string
    --- exit 0
    ");
    let job = world.nightly().await;
    world.homing.cancel(job).await.unwrap();
    assert_said!(why(&world, job), @r"
    nightly [id] was cancelled
      somebody cancelled it
    --- exit 0
    ");
    assert_said!(why(&world, world.children(job).await[0].id), @r"
    import [id].[place] was cancelled
      its parent had ended
    --- exit 0
    ");
}
