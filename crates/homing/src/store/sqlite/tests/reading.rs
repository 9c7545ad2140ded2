//! Reads of people and of the engine, each on connections of their own.

use super::*;
use crate::store::sqlite::readers::THREADS;

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
