//! `submit_in`: a job is there if and only if the caller's transaction commits.

use homing::{Homing, JobFilter, JobId, Misuse, State, SubmitError, task};
use sqlx::Connection as _;

use super::*;

#[task]
async fn double(number: u64) -> homing::Result<u64> {
    Ok(2 * number)
}

async fn jobs(homing: &Homing) -> usize {
    homing.jobs(JobFilter::default()).await.unwrap().len()
}

#[tokio::test]
async fn a_job_is_there_if_and_only_if_the_transaction_commits() {
    let (homing, mut client, _) = opened().await;
    homing.worker().register(double).start().await.unwrap();
    let tx = client.transaction().await.unwrap();
    homing.submit_in(&tx, double(1)).await.unwrap();
    assert_eq!(jobs(&homing).await, 0, "not committed yet");
    tx.rollback().await.unwrap();
    assert_eq!(jobs(&homing).await, 0);
    let tx = client.transaction().await.unwrap();
    let job = homing.submit_in(&tx, double(21)).await.unwrap();
    tx.commit().await.unwrap();
    homing.nudge();
    assert_eq!(job.outcome().await.unwrap(), 42);
    assert_eq!(jobs(&homing).await, 1);
    sound(&homing).await;
}

#[tokio::test]
async fn sqlx_carries_it_too() {
    let (homing, _, url) = opened().await;
    homing.worker().register(double).start().await.unwrap();
    let mut connection = sqlx::PgConnection::connect(url.split('?').next().unwrap()).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    let submit = homing.submit(double(1)).key("only").title("never");
    submit.within(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    let id = JobId::named("sqlx");
    for _ in 0..2 {
        let mut tx = connection.begin().await.unwrap();
        let submit = homing.submit(double(21)).key("only").title("by sqlx").id(id);
        let job = submit.within(&mut *tx).await.unwrap();
        assert_eq!(job.id(), id);
        let other = homing.submit(double(22)).id(id).within(&mut *tx).await;
        assert!(matches!(other, Err(SubmitError::Conflict { .. })), "{other:?}");
        tx.commit().await.unwrap();
    }
    assert_eq!(homing.job::<u64>(id).outcome().await.unwrap(), 42);
    assert_eq!(homing.job::<u64>(id).view().await.unwrap().title.as_deref(), Some("by sqlx"));
    assert_eq!(jobs(&homing).await, 1);
}

/// The rows of a root, but for what differs between any two: id, times.
async fn rows(client: &Client, url: &str, job: JobId) -> Vec<String> {
    let schema = schema_of(url);
    let mut rows = Vec::new();
    for table in ["tasks", "open"] {
        let sql = format!(
            "SELECT (to_jsonb(t) - 'job' - 'created' - 'due' - 'expires' - 'deadline' - 'timer' - 'key')::text
             FROM {schema}.{table} AS t WHERE job = $1::text::uuid"
        );
        let found = client.query(&sql, &[&job.to_string()]).await.unwrap();
        rows.extend(found.iter().map(|row| row.get::<_, String>(0)));
    }
    assert_eq!(rows.len(), 2, "{rows:?}");
    rows
}

#[tokio::test]
async fn the_rows_are_those_of_submit() {
    let (homing, mut client, url) = opened().await;
    let call = || double(7).priority(3).tags(["a", "b"]).queue("q").retries(9);
    let hour = Duration::from_hours(1);
    let call = || call().delay(hour).expires(hour * 2).deadline(hour * 3);
    let one = homing.submit(call()).title("t").key("one").await.unwrap();
    let tx = client.transaction().await.unwrap();
    let other = homing.submit(call()).title("t").key("other").within(&tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&client, &url, one.id()).await, rows(&client, &url, other.id()).await);
}

#[tokio::test]
async fn a_key_is_one_jobs_and_takes_no_transaction_down() {
    let (homing, mut first, url) = opened().await;
    let mut second = connect(&url).await;
    for committed in [false, true] {
        let one = first.transaction().await.unwrap();
        let winner = homing.submit(double(1)).key("k").within(&one).await.unwrap();
        let two = second.transaction().await.unwrap();
        let waiting = homing.submit(double(1)).key("k").within(&two);
        let (loser, ()) = tokio::join!(waiting, async {
            eventually("the second waits for the first", async || {
                let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' \
                    AND pid IN (SELECT pid FROM pg_stat_activity WHERE query LIKE '%' || $1 || '%keys%')";
                let probe = connect(&url).await;
                let schema = schema_of(&url);
                probe.query_one(sql, &[&schema]).await.unwrap().get::<_, i64>(0) == 1
            })
            .await;
            if committed { one.commit().await } else { one.rollback().await }.unwrap();
        });
        assert_eq!(loser.unwrap().id() == winner.id(), committed);
        // The transaction goes on.
        two.query_one("SELECT 1", &[]).await.unwrap();
        two.rollback().await.unwrap();
    }
    assert_eq!(jobs(&homing).await, 1);
    let again = homing.submit(double(1)).key("k").await.unwrap();
    assert_eq!(jobs(&homing).await, 1, "{again:?}");
}

#[tokio::test]
async fn another_store_has_no_transactions() {
    let memory = Homing::open("memory:").await.unwrap();
    let mut client = connect(&server::common()).await;
    let tx = client.transaction().await.unwrap();
    let refused = memory.submit_in(&tx, double(1)).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Misuse(Misuse::NoTransactions)), "{refused}");
}

#[task(retries = 0)]
async fn submits(
    beside: bool,
    State(homing): State<Homing>,
    State(url): State<String>,
) -> homing::Result<u64> {
    if beside {
        let mut client = connect(&url).await;
        let tx = client.transaction().await?;
        homing.submit_in(&tx, double(1)).await?;
        tx.commit().await?;
    }
    let job = homing::transaction("submit", async |tx| {
        let job = homing.submit_in(tx, double(21)).await?;
        Ok(job.id())
    });
    job.await?;
    Ok(1)
}

#[tokio::test]
async fn a_body_submits_in_its_own_transaction_only() {
    let (homing, _, url) = opened().await;
    let worker = homing.worker().register(double).register(submits).state(homing.clone());
    worker.state(url).start().await.unwrap();
    let job = homing.submit(submits(false)).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 1);
    assert_eq!(jobs(&homing).await, 2);
    let failure = homing.submit(submits(true)).await.unwrap().outcome().await.unwrap_err();
    assert!(failure.to_string().contains("`submit_in` was called inside a task"), "{failure}");
    assert_eq!(jobs(&homing).await, 3);
}

#[tokio::test]
async fn a_submission_by_name_is_checked_in_a_transaction_too() {
    let (homing, mut client, _) = opened().await;
    let worker = homing.worker().register(double).start().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let unknown = homing.submit_named("treble", &serde_json::json!({ "number": 7 }));
    let refused = unknown.within(&tx).await;
    assert!(matches!(refused, Err(SubmitError::UnknownKind { .. })), "{refused:?}");
    let named = homing.submit_named("double", &serde_json::json!({ "number": 7 })).priority(3);
    let job = named.title("by name").within(&tx).await.unwrap();
    tx.commit().await.unwrap();
    homing.nudge();
    assert_eq!(job.outcome().await.unwrap(), 14);
    let view = homing.task(job.id()).await.unwrap();
    assert_eq!((view.kind.as_str(), view.priority), ("double", 3));
    worker.shutdown(std::time::Duration::from_secs(5)).await;
}
