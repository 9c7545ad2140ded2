//! Parameters that can't be stored, or not under a name.

use homing::task;

#[task]
async fn borrowed(name: &str, bytes: &[u8], path: &std::path::Path, any: &dyn Copy) -> homing::Result<()> {
    Ok(())
}

#[task]
async fn borrowed_within(name: Option<&str>, text: std::borrow::Cow<'_, str>) -> homing::Result<()> {
    Ok(())
}

#[task]
async fn opaque(names: impl Iterator<Item = String>) -> homing::Result<()> {
    Ok(())
}

#[task]
async fn taken_apart((a, b): (u8, u8), _: bool, Some(c): Option<u8>) -> homing::Result<()> {
    Ok(())
}

#[task]
async fn no_state(State(db): Db) -> homing::Result<()> {
    Ok(())
}

#[task]
async fn attributed(#[cfg(unix)] name: String) -> homing::Result<()> {
    Ok(())
}

#[task]
async fn thirteen(
    a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8,
) -> homing::Result<()> {
    Ok(())
}

fn main() {}
