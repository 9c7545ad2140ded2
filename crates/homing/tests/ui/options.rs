//! Mistakes within the parentheses.

use homing::task;

#[task(retires = 5)]
async fn misspelled() -> homing::Result<()> {
    Ok(())
}

#[task(colour = "red")]
async fn unknown() -> homing::Result<()> {
    Ok(())
}

#[task(delay = "5s")]
async fn of_a_call() -> homing::Result<()> {
    Ok(())
}

#[task(retries)]
async fn no_value() -> homing::Result<()> {
    Ok(())
}

#[task(retries = 1, queue = "db", retries = 2)]
async fn doubled() -> homing::Result<()> {
    Ok(())
}

#[task(retries = "5")]
async fn quoted() -> homing::Result<()> {
    Ok(())
}

#[task(priority = 40000, retries = -1, max_attempts = 0)]
async fn out_of_range() -> homing::Result<()> {
    Ok(())
}

#[task(timeout = 30)]
async fn no_unit() -> homing::Result<()> {
    Ok(())
}

#[task(timeout = "1.5s", deadline = "30m 1h", expires = "0s")]
async fn no_durations() -> homing::Result<()> {
    Ok(())
}

#[task(backoff = "10m..1s")]
async fn falling() -> homing::Result<()> {
    Ok(())
}

#[task(kind = "write page", queue = "")]
async fn names() -> homing::Result<()> {
    Ok(())
}

#[task]
async fn größe() -> homing::Result<()> {
    Ok(())
}

fn main() {}
