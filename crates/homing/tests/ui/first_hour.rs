//! What everybody gets wrong in the first hour.

use std::error::Error;
use std::sync::Arc;

use homing::{Homing, step, task};

struct Db;

#[task]
async fn forgets_state(db: Arc<Db>, number: u64) -> homing::Result<u64> {
    drop(db);
    Ok(number)
}

#[task]
async fn square(number: u64) -> homing::Result<u64> {
    Ok(number * number)
}

async fn plain(number: u64) -> homing::Result<u64> {
    Ok(number)
}

fn registers(homing: &Homing) {
    let _ = homing.worker().register(plain);
    let _ = homing.worker().register(square(1));
}

async fn awaits_a_call() -> homing::Result<u64> {
    square(3).await?
}

#[task]
async fn returns_a_box() -> Result<u64, Box<dyn Error>> {
    Ok(1)
}

async fn ends_with_a_step() -> homing::Result<u64> {
    step("five", || async { Ok(5) }).await
}

fn main() {}
