//! What can't follow a value, or be a group's member.

use homing::{chain, chord, group, task};

#[task]
async fn add(x: i64, y: i64) -> homing::Result<i64> {
    Ok(x + y)
}

#[task]
async fn parse(text: String) -> homing::Result<i64> {
    Ok(text.parse()?)
}

#[task]
async fn sum(of: Vec<i64>) -> homing::Result<i64> {
    Ok(of.iter().sum())
}

fn closures() {
    let _ = chain(add(1, 2)).then(|x: i64| add(x, 8)).call();
    let _ = chord([add(1, 2)], |values: Vec<i64>| sum(values));
    let _ = add(1, 2).on_failure(|failure: homing::Failure| parse(failure.message));
}

fn functions() {
    let _ = chain(parse(String::new())).then(parse).call();
    let _ = chord([add(1, 2)], sum);
}

fn other_types() {
    let _ = chain(add(1, 2)).then(parse::with()).call();
    let _ = add(1, 2).on_success(sum::with());
}

fn unlike_members() {
    let _ = group((add(1, 2), add::with(2)));
    let _ = group(add(1, 2));
}

async fn not_whole() -> homing::Result<()> {
    homing::spawn(add::with(2)).await?;
    Ok(())
}

fn main() {}
