use homing::{Homing, JoinSet, State, step, task};
use std::time::Duration;
#[task]
async fn leaf(n: u64, State(k): State<u64>) -> homing::Result<u64> { Ok(n * k) }
#[task]
async fn parent(n: u64) -> homing::Result<u64> {
    let mut set = JoinSet::new();
    for i in 0..n {
        let x = step("s", || async { Ok::<_, homing::Error>(i) }).await?;
        set.spawn(leaf(x)).await?;
    }
    let v = set.join_all().timeout(Duration::from_secs(60)).await?;
    homing::log!("joined {}", v.len());
    let h = homing::spawn(leaf(1)).await?;
    homing::sleep(Duration::from_millis(5)).await?;
    let one = h.await?;
    let (a, b) = homing::join!(
        async { homing::spawn(leaf(2)).await?.await.map_err(homing::Error::from) },
        async { homing::sleep(Duration::from_millis(5)).await?; step("x", || async { Ok::<_, homing::Error>(5u64) }).await }
    );
    Ok(v.iter().sum::<u64>() + one + a? + b?)
}
#[tokio::test]
async fn smoke() {
    for resident in [0, 100] {
        let homing = Homing::open("memory:").await.unwrap();
        let w = homing.worker().register(leaf).register(parent).state(10u64).concurrency(1).resident(resident).start().await.unwrap();
        let job = homing.submit(parent(4)).title("x").await.unwrap();
        let out = tokio::time::timeout(Duration::from_secs(5), job.outcome()).await;
        if out.is_err() { println!("{:#?}", job.view().await); println!("{:#?}", homing.task(job.id()).await); }
        assert_eq!(out.unwrap().unwrap(), 60 + 10 + 20 + 5);
        println!("{:?} {:?}", job.view().await.unwrap(), job.log().page().await);
        assert!(homing.check().await.unwrap().is_empty());
        w.shutdown(Duration::from_secs(1)).await;
    }
}
