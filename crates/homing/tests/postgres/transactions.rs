//! `homing::transaction`: what a body writes and the fact that it was written are one commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use homing::{State, step, task};
use tokio::sync::Semaphore;

use super::process::{self, Process};
use super::wire::Wire;
use super::*;

/// What the bodies of a test have in common: their table, how often they ran, and gates.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) table: String,
    pub(crate) runs: Arc<AtomicUsize>,
    /// Those who are inside a transaction; the first may go on, and those after it.
    inside: Arc<Semaphore>,
    go: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
}

impl World {
    /// A table with the rows that bodies write, in the schema of the store.
    pub(crate) async fn new(client: &Client, url: &str) -> Self {
        let world = Self::known(url);
        let sql = format!("CREATE TABLE {} (task text, page bigint)", world.table);
        client.batch_execute(&sql).await.unwrap();
        world
    }

    /// The same, made by another process.
    pub(crate) fn known(url: &str) -> Self {
        let schema = schema_of(url);
        let gate = || Arc::new(Semaphore::new(0));
        let (inside, go, go_on) = (gate(), gate(), gate());
        Self { table: format!("{schema}.pages"), runs: Arc::default(), inside, go, go_on }
    }

    /// Pages that were written, and how many of them were written more than once.
    pub(crate) async fn pages(&self, client: &Client) -> (i64, i64) {
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE n > 1) \
             FROM (SELECT count(*) AS n FROM {} GROUP BY task, page) AS p",
            self.table
        );
        let row = client.query_one(&sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }
}

async fn write(world: &World, page: i64) -> homing::Result<i64, homing::StepError> {
    let task = homing::id().to_string();
    homing::transaction("write", async |tx| {
        world.runs.fetch_add(1, Ordering::SeqCst);
        let sql = format!("INSERT INTO {} VALUES ($1, $2)", world.table);
        tx.execute(&sql, &[&task, &page]).await?;
        Ok(page)
    })
    .await
}

/// Writes pages between steps, and fails once when all are written.
#[task(retries = 5, backoff = "1ms..10ms")]
pub(crate) async fn import(pages: i64, State(world): State<World>) -> homing::Result<i64> {
    let mut sum = 0;
    for page in 0..pages {
        let fetched = step("fetch", || async { Ok(page) }).await?;
        sum += write(&world, fetched).await?;
    }
    if world.runs.fetch_add(1000, Ordering::SeqCst) < 1000 {
        return Err(homing::Error::msg("once more"));
    }
    Ok(sum)
}

#[tokio::test]
async fn a_replay_is_given_the_result_and_writes_nothing() {
    let (homing, client, url) = opened().await;
    let world = World::new(&client, &url).await;
    homing.worker().register(import).state(world.clone()).start().await.unwrap();
    assert_eq!(homing.submit(import(5)).await.unwrap().outcome().await.unwrap(), 10);
    assert_eq!(world.pages(&client).await, (5, 0));
    assert_eq!(world.runs.load(Ordering::SeqCst), 2005, "two runs of the body, five transactions");
    sound(&homing).await;
}

#[task(retries = 1, backoff = "1ms..1ms")]
async fn fails_first(State(world): State<World>) -> homing::Result<i64, homing::StepError> {
    let first = world.runs.load(Ordering::SeqCst) == 0;
    homing::transaction("write", async |tx| {
        world.runs.fetch_add(1, Ordering::SeqCst);
        tx.execute(&format!("INSERT INTO {} VALUES ('a', 1)", world.table), &[]).await?;
        if first { Err(homing::Error::msg("not yet")) } else { Ok(1) }
    })
    .await
}

#[tokio::test]
async fn an_error_rolls_back() {
    let (homing, client, url) = opened().await;
    let world = World::new(&client, &url).await;
    homing.worker().register(fails_first).state(world.clone()).start().await.unwrap();
    assert_eq!(homing.submit(fails_first()).await.unwrap().outcome().await.unwrap(), 1);
    assert_eq!(world.pages(&client).await, (1, 0));
    assert_eq!(world.runs.load(Ordering::SeqCst), 2);
}

/// Writes, says that it has, and commits only when it is told to.
#[task(retries = 0)]
async fn waits_inside(State(world): State<World>) -> homing::Result<i64, homing::StepError> {
    homing::transaction("write", async |tx| {
        let run = world.runs.fetch_add(1, Ordering::SeqCst);
        tx.execute(&format!("INSERT INTO {} VALUES ('a', $1)", world.table), &[&(run as i64)])
            .await?;
        world.inside.add_permits(1);
        let go = if run == 0 { &world.go } else { &world.go_on };
        go.acquire().await?.forget();
        Ok(run as i64)
    })
    .await
}

#[tokio::test]
async fn a_task_that_was_taken_away_commits_nothing() {
    let (homing, client, url) = opened().await;
    let world = World::new(&client, &url).await;
    let frozen = homing.worker().register(waits_inside).state(world.clone()).start().await.unwrap();
    let job = homing.submit(waits_inside()).await.unwrap();
    world.inside.acquire().await.unwrap().forget();
    // As if its lease had run out: another worker takes the task, and has not recorded anything yet.
    let other = homing::Homing::open(&url).await.unwrap();
    other.store().kill(frozen.id());
    other.worker().register(waits_inside).state(world.clone()).start().await.unwrap();
    world.inside.acquire().await.unwrap().forget();
    world.go.add_permits(1);
    frozen.shutdown(Duration::from_secs(10)).await;
    assert_eq!(world.pages(&client).await, (0, 0), "the fence is the token");
    world.go_on.add_permits(1);
    assert_eq!(job.outcome().await.unwrap(), 1);
    assert_eq!(world.pages(&client).await, (1, 0));
    sound(&homing).await;
}

#[tokio::test]
async fn a_cancelled_task_commits_nothing() {
    let (homing, client, url) = opened().await;
    let world = World::new(&client, &url).await;
    let worker = homing.worker().register(waits_inside).state(world.clone()).start().await.unwrap();
    let job = homing.submit(waits_inside()).await.unwrap();
    world.inside.acquire().await.unwrap().forget();
    assert!(homing.cancel(job.id().root()).await.unwrap());
    world.go.add_permits(1);
    worker.shutdown(Duration::from_secs(10)).await;
    assert_eq!(world.pages(&client).await, (0, 0));
    sound(&homing).await;
}

/// Parks between two transactions, so that it runs under a claim of its own in each.
#[task(retries = 0)]
async fn parks_between(State(world): State<World>) -> homing::Result<i64> {
    let first = write(&world, 1).await?;
    homing::sleep(Duration::from_millis(1)).await?;
    let (second, third) = homing::join!(write(&world, 2), step("beside", || async { Ok(3) }));
    Ok(first + second? + third?)
}

#[tokio::test]
async fn each_claim_has_its_own_fence() {
    for resident in [0, 10] {
        let (homing, client, url) = opened().await;
        let world = World::new(&client, &url).await;
        let worker = homing.worker().register(parks_between).state(world.clone());
        worker.resident(resident).start().await.unwrap();
        assert_eq!(homing.submit(parks_between()).await.unwrap().outcome().await.unwrap(), 6);
        assert_eq!(world.pages(&client).await, (2, 0));
        sound(&homing).await;
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_is_found_out() {
    for arrives in [true, false] {
        let (homing, client, url) = opened().await;
        let world = World::new(&client, &url).await;
        let wire = Wire::to(&url).await;
        let tricks = &wire.tricks;
        let lose = if arrives { &tricks.lose_commits } else { &tricks.stop_commits };
        lose.store(3, Ordering::SeqCst);
        let led = homing::Homing::open(&wire.through(&url)).await.unwrap();
        led.worker().register(import).state(world.clone()).start().await.unwrap();
        let job = homing.submit(import(5)).await.unwrap();
        assert_eq!(job.outcome().await.unwrap(), 10);
        assert_eq!(tricks.lost.load(Ordering::SeqCst), 3);
        assert_eq!(world.pages(&client).await, (5, 0));
        // One that was committed is found and no failure; one that was not is written by a retry.
        let (runs, attempts) = if arrives { (2005, 2) } else { (2008, 5) };
        assert_eq!(world.runs.load(Ordering::SeqCst), runs);
        assert_eq!(homing.task(job.id()).await.unwrap().attempt, attempts);
        sound(&homing).await;
    }
}

/// Tasks that were submitted together have no rows of their own when their bodies begin.
#[tokio::test]
async fn tasks_that_were_born_together_write_once() {
    let (homing, client, url) = opened().await;
    let world = World::new(&client, &url).await;
    let jobs = homing.submit_all((0..20).map(|_| import(2))).await.unwrap();
    let worker = homing.worker().register(import).state(world.clone()).concurrency(40);
    worker.start().await.unwrap();
    for job in jobs {
        // A bound on hangs, never a measure.
        let outcome = tokio::time::timeout(Duration::from_mins(1), job.outcome()).await.unwrap();
        assert_eq!(outcome.unwrap(), 1);
    }
    assert_eq!(world.pages(&client).await, (40, 0));
    sound(&homing).await;
}

#[tokio::test]
async fn a_process_killed_around_the_commit_writes_once() {
    for point in ["transaction.applied:2", "transaction.committed:2"] {
        let (homing, client, url) = opened().await;
        let world = World::new(&client, &url).await;
        let job = homing.submit(import(4)).await.unwrap();
        let mut first = Process::start(&url, Some(point));
        assert!(first.has_aborted().await, "{point}: {}", first.log());
        let committed = if point.contains("committed") { 2 } else { 1 };
        assert_eq!(world.pages(&client).await, (committed, 0), "{point}");
        let _second = Process::start(&url, None);
        assert_eq!(job.outcome().await.unwrap(), 6, "{point}");
        assert_eq!(world.pages(&client).await, (4, 0), "{point}");
        sound(&homing).await;
    }
}

/// The process that is killed: this test program again.
#[test]
fn worker_process() {
    let Some(url) = process::order() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let homing = homing::Homing::open(&url).await.unwrap();
        let worker = homing.worker().register(import).state(World::known(&url));
        worker.lease(process::lease()).start().await.unwrap();
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn elsewhere_it_is_refused() {
    let memory = homing::Homing::open("memory:").await.unwrap();
    let world = World::known("memory:?schema=a");
    memory.worker().register(fails_first).state(world).start().await.unwrap();
    let failure = memory.submit(fails_first()).await.unwrap().outcome().await.unwrap_err();
    assert!(failure.to_string().contains("`transaction` needs a store in PostgreSQL"), "{failure}");
}
