//! Reads of people and of the engine, each on connections of their own.

use super::*;
use crate::store::sqlite::readers::THREADS;
use crate::store::sqlite::{ready, tx::Tx};

/// Long reads of people, as many as there are threads for them, hold up no replay.
#[tokio::test]
async fn what_people_read_holds_up_no_replay() {
    let directory = Directory::new();
    let store = directory.store().await;
    store.submit(vec![new_job("a")]).await.unwrap();
    let mut releases = Vec::new();
    let mut long = Vec::new();
    for _ in 0..THREADS {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (say, begun) = tokio::sync::oneshot::channel();
        let read = store.readers.read(move |_| {
            let _ = say.send(());
            let _ = held.recv();
            Ok(())
        });
        releases.push(release);
        long.push((read, begun));
    }
    let (reads, begun): (Vec<_>, Vec<_>) = long.into_iter().unzip();
    let replay = async {
        for begun in begun {
            begun.await.unwrap();
        }
        let root = JobId::named("a").root();
        let engine = async { (store.record(root, 0, 10).await, store.task(root).await) };
        let told = tokio::time::timeout(Duration::from_mins(1), engine).await;
        drop(releases);
        told
    };
    let (told, read) = tokio::join!(replay, futures_util::future::join_all(reads));
    let (record, task) = told.expect("the replay is held up");
    assert!(record.unwrap().is_empty());
    assert!(task.unwrap().is_some());
    assert!(read.into_iter().all(|read| read.is_ok()));
}

/// A claim that has all it asked for reads no further: it read a second lot of rows, and threw them away.
#[tokio::test]
async fn a_claim_reads_no_more_ready_tasks_than_it_takes() {
    let directory = Directory::new();
    let store = directory.store().await;
    store.submit((0..5).map(|n| new_job(&format!("job {n}"))).collect()).await.unwrap();
    let mut worker = TestWorker::begin(&store).await;
    let Exchange { claim, .. } = worker.exchange(Vec::new(), 2);
    let db = directory.other();
    let tx = Tx::new(&db, &store.shared);
    let mut lanes = tx.lanes(worker.worker, &claim).unwrap();
    let chosen = tx.choose(worker.worker, &mut lanes, &mut claim.choice(&[])).unwrap();
    assert_eq!(chosen.len(), 2);
    let runs = [ready::READY, ready::READY_AFTER]
        .map(|sql| tx.sql(sql).unwrap().get_status(rusqlite::StatementStatus::Run));
    assert_eq!(runs, [1, 0]);
}
