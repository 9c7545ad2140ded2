//! The program of homing's that `bench.py` measures beside Celery's own worker: a task that does nothing, and a parent
//! that waits for one of Celery's. `scripts/test celery-bench` runs both.

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use homing::{Homing, step, task};
use homing_celery::{Celery, args, call};

/// Does nothing.
#[task(kind = "h.nothing")]
async fn nothing() -> homing::Result<()> {
    Ok(())
}

/// How long after the end of its child in Celery a parent goes on, so many times, one after the other; in seconds.
#[task(kind = "h.wakes")]
async fn wakes(times: u32) -> homing::Result<Vec<f64>> {
    let mut late = Vec::new();
    for _ in 0..times {
        let ended: f64 = homing::spawn(call("c.ended", args![])).await?.await?;
        late.push(step("late", || async { Ok(seconds() - ended) }).await?);
    }
    Ok(late)
}

#[expect(clippy::disallowed_methods, reason = "compared with the clock of Python's workers")]
fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(store), Some(broker)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench STORE BROKER".into());
    };
    let homing = Homing::open(&store).await?;
    homing.worker().register(nothing).register(wakes).concurrency(256).start().await?;
    let _bridge = homing.celery(&broker).queue("homing").events(false).start().await?;
    std::future::pending::<()>().await;
    Ok(())
}
