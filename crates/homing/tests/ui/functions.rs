//! Functions that can't be tasks.

use homing::task;

#[task]
fn not_async() -> homing::Result<()> {
    Ok(())
}

#[task]
async fn generic<T: Clone>(value: T) -> homing::Result<()> {
    drop(value.clone());
    Ok(())
}

#[task]
async fn lifetime<'a>() -> homing::Result<&'a str> {
    Ok("")
}

#[task]
async fn bounded() -> homing::Result<()>
where
    u8: Clone,
{
    Ok(())
}

#[task]
async unsafe fn unchecked() -> homing::Result<()> {
    Ok(())
}

#[task]
async extern "C" fn foreign() -> homing::Result<()> {
    Ok(())
}

#[task]
const fn constant() -> homing::Result<()> {
    Ok(())
}

#[task]
async fn returns_nothing() {}

#[task]
async fn returns_a_value() -> u64 {
    7
}

struct Importer;

impl Importer {
    #[task]
    async fn method(&self) -> homing::Result<()> {
        Ok(())
    }
}

#[task]
struct NotAFunction;

#[task(retires = 1)]
fn several_mistakes(name: &str) {}

fn main() {}
