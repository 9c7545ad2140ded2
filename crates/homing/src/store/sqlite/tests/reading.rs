//! Reads of people and of the engine, each on connections of their own.

use super::*;
use crate::store::Records;
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
        let read = store.read(move |_| {
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
        let record = store.record(JobId::named("a").root(), 0, 10);
        let record = tokio::time::timeout(Duration::from_mins(1), record).await;
        drop(releases);
        record
    };
    let (record, read) = tokio::join!(replay, futures_util::future::join_all(reads));
    assert!(record.expect("the replay is held up").unwrap().is_empty());
    assert!(read.into_iter().all(|read| read.is_ok()));
}
