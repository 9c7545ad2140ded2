//! A picture of each screen, at 80×24 and at 200×50.

use std::time::Duration;

use crossterm::event::KeyCode;
use homing::StoreError;
use insta::assert_snapshot;

use super::world::World;
use crate::Error;

macro_rules! assert_pictures {
    ($world:expr, $name:literal) => {
        assert_snapshot!(concat!($name, "_80x24"), $world.picture(80, 24));
        assert_snapshot!(concat!($name, "_200x50"), $world.picture(200, 50));
    };
}

#[tokio::test]
async fn the_overview() {
    let mut world = World::full().await;
    assert_pictures!(world, "overview");
    assert!(world.is_colourless());
}

#[tokio::test]
async fn the_first_picture_before_anything_is_read() {
    let mut world = World::new().await;
    assert_pictures!(world, "first");
}

#[tokio::test]
async fn a_jobs_tree_its_log_and_why() {
    let mut world = World::full().await;
    world.type_in("/nightly").await;
    world.press(KeyCode::Enter).await;
    world.press(KeyCode::Enter).await;
    world.press(KeyCode::Down).await;
    world.press(KeyCode::Enter).await;
    assert_pictures!(world, "tree");
    world.type_in("w").await;
    assert_pictures!(world, "why");
    world.press(KeyCode::Esc).await;
    world.type_in("l").await;
    assert_pictures!(world, "log");
}

#[tokio::test]
async fn the_help_and_a_question() {
    let mut world = World::full().await;
    world.type_in("?").await;
    assert_pictures!(world, "help");
    world.press(KeyCode::Esc).await;
    world.type_in("c").await;
    assert_pictures!(world, "question");
}

#[tokio::test]
async fn a_filter_being_typed_and_one_that_finds_nothing() {
    let mut world = World::full().await;
    world.type_in("/status:soon").await;
    world.press(KeyCode::Enter).await;
    assert_pictures!(world, "filter");
    for _ in 0..4 {
        world.press(KeyCode::Backspace).await;
    }
    world.type_in("failed nothing").await;
    world.press(KeyCode::Enter).await;
    assert_pictures!(world, "nothing");
}

/// A store that cannot be read for a moment leaves what was read last, and says so until it can.
#[tokio::test]
async fn trouble_with_the_store() {
    let mut world = World::full().await;
    let busy = StoreError::Busy { reason: "database is locked".to_owned() };
    world.top.see(Err(Error::Store(busy)));
    assert_pictures!(world, "trouble");
    world.look().await;
    assert!(world.rows("locked").is_empty());
    world.top.overdue = Duration::from_secs(7);
    assert_eq!(world.rows("the store has not answered for 7.0 s").len(), 1);
}
