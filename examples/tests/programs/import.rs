//! `import`: the same last line however often it is killed, and each page in effect once.

use homing::{Homing, Status};
use rusqlite::Connection;

use crate::program::{Place, Random, newest, until_ended};

const LAST: &str =
    "imported 7813 rows, checksum bb70fe08857283c29c0fce5abfbbb31c9ddd8cd5b3894e2099cb2f729d724d7d";
/// Quick, and with failures enough.
const FAST: [&str; 4] = ["--latency", "1ms", "--fail-rate", "0.2"];
/// The root, `import`, `check` and 79 pages.
const TASKS: u64 = 82;

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FAST[..], more].concat()
}

/// Every page of the target took effect, and once.
fn effects(place: &Place) -> (i64, i64, i64) {
    let table = Connection::open(place.path("jobs.airports.db")).unwrap();
    let query = "SELECT (SELECT count(*) FROM pages), count(*), sum(writes) FROM airports";
    table.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

#[test]
fn memory() {
    let place = Place::new("import");
    assert_eq!(place.last_line(&arguments(&["--store", "memory:"])), LAST);
    assert_eq!(std::fs::read_dir(place.directory.path()).unwrap().count(), 0, "files were left");
}

#[tokio::test]
async fn sqlite() {
    let place = Place::new("import");
    let store = place.store();
    let arguments = arguments(&["--store", &store, "--concurrency", "1"]);
    assert_eq!(place.last_line(&arguments), LAST);
    assert_eq!(effects(&place), (79, 7_813, 7_813));
    let homing = Homing::open(&store).await.unwrap();
    let job = newest(&homing).await;
    assert_eq!((job.status, job.counts.spawned()), (Status::Completed, TASKS));
    assert_eq!(homing.check().await.unwrap(), []);

    // The same command again tells the same job's outcome; another id is another job.
    assert_eq!(place.last_line(&arguments), LAST);
    assert_eq!(homing.jobs(homing::JobFilter::default()).await.unwrap().len(), 1);
    assert_eq!(place.last_line(&[&arguments[..], &["--job", "again"]].concat()), LAST);
    assert_eq!(effects(&place), (2 * 79, 7_813, 2 * 7_813));
}

/// Killed after so many tasks, it finishes the same job. The moments are spread over the whole run and
/// moved a little by the seed.
#[tokio::test]
async fn kill_9_and_the_same_command_again() {
    let place = Place::new("import");
    let store = place.store();
    let arguments = arguments(&["--store", &store]);
    let homing = Homing::open(&store).await.unwrap();
    let mut random = Random(7);
    let mut id = None;
    for moment in 0..8 {
        let mut program = place.start(&arguments);
        let job = newest(&homing).await;
        assert_eq!(*id.get_or_insert(job.id), job.id);
        until_ended(&homing, job.id, moment * 10 + random.below(10), &mut program).await;
        program.kill();
    }
    assert_eq!(place.last_line(&arguments), LAST);
    let job = newest(&homing).await;
    assert_eq!((Some(job.id), job.counts.spawned()), (id, TASKS));
    assert_eq!(job.status, Status::Completed);
    assert_eq!(effects(&place), (79, 7_813, 7_813));
    assert_eq!(homing.check().await.unwrap(), []);
}

/// In PostgreSQL each page is one commit with the fact that it was written: a second writing would be an
/// error, not the same again.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn kill_9_and_the_same_command_again_on_postgres() {
    use crate::server;
    let place = Place::new("import");
    let store = server::common_schema();
    let arguments = arguments(&["--store", &store]);
    let homing = Homing::open(&store).await.unwrap();
    // Once: what the dead process held is taken back when its lease has run out.
    let mut program = place.start(&arguments);
    let job = newest(&homing).await;
    until_ended(&homing, job.id, 35, &mut program).await;
    program.kill();
    assert_eq!(place.last_line(&arguments), LAST);
    let job = newest(&homing).await;
    assert_eq!((job.status, job.counts.spawned()), (Status::Completed, TASKS));
    let schema = store.rsplit("schema=").next().unwrap();
    let query = format!(
        "SELECT (SELECT count(*) FROM {schema}_import.pages), count(*), sum(writes)
         FROM {schema}_import.airports"
    );
    assert_eq!(server::psql(&store, &query), "79|7813|7813");
    assert_eq!(homing.check().await.unwrap(), []);
}

/// One process submits and watches, others work, and one of those is killed.
#[tokio::test]
async fn split_into_processes() {
    let place = Place::new("import");
    let store = place.store();
    let mut worker = place.start(&arguments(&["--store", &store, "--worker-only"]));
    let homing = Homing::open(&store).await.unwrap();
    let submitter = async {
        let (place, store) = (place.clone(), store.clone());
        let run = move || place.last_line(&["--store", &store, "--submit-only"]);
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    let workers = async {
        let job = newest(&homing).await;
        until_ended(&homing, job.id, 20, &mut worker).await;
        worker.kill();
        place.start(&arguments(&["--store", &store, "--worker-only"]))
    };
    let (last, worker) = tokio::join!(submitter, workers);
    assert_eq!(last, LAST);
    assert_eq!(effects(&place), (79, 7_813, 7_813));
    assert!(worker.interrupt().success());
    assert_eq!(homing.workers().await.unwrap(), []);
}

/// A feed that never answers fails the job; with a feed that does, the same command goes on with it.
#[tokio::test]
async fn a_failed_job_is_tried_again() {
    let place = Place::new("import");
    let store = place.store();
    let dead = ["--store", &store, "--latency", "1ms", "--fail-rate", "1"];
    let (code, error) = place.failure(&dead);
    assert_eq!(code, Some(1));
    assert!(error.contains("error: the feed") && error.contains("(task nightly "), "{error}");
    assert_eq!(place.last_line(&arguments(&["--store", &store])), LAST);
    let homing = Homing::open(&store).await.unwrap();
    assert_eq!(newest(&homing).await.status, Status::Completed);
    assert_eq!(effects(&place), (79, 7_813, 7_813));
}

#[test]
fn wrong_arguments() {
    let place = Place::new("import");
    let says = |code, arguments: &[&str], text| {
        let (exit, error) = place.failure(arguments);
        assert!(exit == Some(code) && error.contains(text), "{arguments:?}: {exit:?} {error}");
    };
    says(2, &["--fail-rate", "1.5"], "--fail-rate");
    says(2, &["--fail-rate", "NaN"], "--fail-rate");
    says(2, &["--latency", "30"], "--latency");
    says(2, &["--latency=-1s"], "--latency");
    says(2, &["--concurrency", "0"], "--concurrency");
    says(2, &["--page-size", "0"], "--page-size");
    says(2, &["--worker-only", "--submit-only"], "cannot be used with");
    says(1, &["--store", "memory:", "--worker-only"], "no other process sees");
    says(1, &["--store", "memory:", "--submit-only"], "no other process sees");
    says(1, &["--store", "oracle:jobs"], "names no store");
    says(1, &["--store", "sqlite:nowhere/jobs.db"], "nowhere/jobs.db");
    assert_eq!(std::fs::read_dir(place.directory.path()).unwrap().count(), 0, "files were left");
}
