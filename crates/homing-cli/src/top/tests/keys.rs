//! What keys do to a live store.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use homing::{JobId, Status, TaskState};

use super::super::jobs::PAGE;
use super::super::model::{Effect, Screen};
use super::world::{World, broken, busy, import, talk};

#[tokio::test]
async fn c_cancels_once_it_is_confirmed() {
    let mut world = World::new().await;
    let job = world.homing.submit(busy()).title("endless").await.unwrap();
    world.reaches(job.id(), TaskState::Running).await;
    world.look().await;
    for no in [KeyCode::Char('n'), KeyCode::Esc, KeyCode::Enter, KeyCode::Char('c')] {
        world.type_in("c").await;
        assert_eq!(world.rows("Cancel the job “endless”").len(), 1);
        world.press(no).await;
        assert_eq!(job.status().await.unwrap(), Status::InProgress);
        assert!(world.rows("Cancel the job").is_empty());
    }
    world.type_in("cy").await;
    assert_eq!(job.status().await.unwrap(), Status::Cancelled);
    assert_eq!(world.rows(&format!("cancelled {}", job.id())).len(), 1);
    // It has ended: there is nothing to ask.
    world.type_in("c").await;
    assert_eq!(world.rows("there is nothing to cancel").len(), 1);
}

#[tokio::test]
async fn c_in_a_tree_cancels_the_selected_task() {
    let mut world = World::new().await;
    let job = world.nightly(5).await;
    world.look().await;
    world.press(KeyCode::Enter).await;
    world.press(KeyCode::Down).await;
    world.press(KeyCode::Right).await;
    world.press(KeyCode::Down).await;
    world.press(KeyCode::Down).await;
    world.type_in("c").await;
    assert_eq!(world.rows("Cancel the task “write_page”").len(), 1);
    world.type_in("y").await;
    let import = world.children(job).await[0];
    let second = world.children(import).await[1];
    assert_eq!(world.homing.task(second).await.unwrap().state, TaskState::Cancelled);
    // What bears a lost child goes on.
    world.reaches(job, TaskState::Succeeded).await;
}

#[tokio::test]
async fn r_retries_what_failed() {
    let mut world = World::new().await;
    let job = world.homing.submit(broken()).await.unwrap();
    job.outcome().await.unwrap_err();
    world.worker.shutdown(std::time::Duration::ZERO).await;
    world.look().await;
    world.type_in("rn").await;
    assert_eq!(job.status().await.unwrap(), Status::Failed);
    world.type_in("ry").await;
    assert_eq!(job.status().await.unwrap(), Status::InProgress);
    assert_eq!(world.rows("in progress").len(), 1);
    world.type_in("r").await;
    assert_eq!(world.rows("only failed and cancelled jobs are retried").len(), 1);
}

#[tokio::test]
async fn p_pauses_a_queue_and_resumes_it() {
    let mut world = World::new().await;
    world.homing.submit(busy().queue("reports")).await.unwrap();
    let paused = async |world: &World| world.homing.queues().await.unwrap()[0].paused;
    world.look().await;
    // The queue of the selected job.
    world.type_in("py").await;
    assert!(paused(&world).await);
    assert_eq!(world.rows("‖ reports").len(), 1);
    // The selected queue.
    world.press(KeyCode::Tab).await;
    world.press(KeyCode::Tab).await;
    world.type_in("pn").await;
    assert!(paused(&world).await);
    world.type_in("py").await;
    assert!(!paused(&world).await);
    assert!(world.rows("‖").is_empty());
}

#[tokio::test]
async fn a_filter_narrows_the_list_and_esc_drops_it() {
    let mut world = World::full().await;
    world.type_in("/status:failed").await;
    world.press(KeyCode::Enter).await;
    let names = |world: &World| -> Vec<String> {
        world.top.jobs.rows().iter().map(super::super::draw::name).collect()
    };
    assert_eq!(names(&world), ["broken"]);
    world.press(KeyCode::Esc).await;
    assert_eq!(names(&world).len(), 7);
    world.type_in("/AIRPORTS").await;
    world.press(KeyCode::Enter).await;
    assert_eq!(names(&world).len(), 3);
    // Letters that are keys elsewhere are letters here; Esc leaves the list as it was.
    world.type_in("/q?").await;
    world.press(KeyCode::Esc).await;
    assert_eq!(names(&world).len(), 3);
}

#[tokio::test]
async fn the_selection_stays_on_a_job_when_others_come() {
    let mut world = World::new().await;
    let old = world.homing.submit(busy()).await.unwrap().id();
    world.pass(std::time::Duration::from_secs(1));
    let new = world.homing.submit(busy()).await.unwrap().id();
    world.look().await;
    let selected = |world: &World| world.top.jobs.selected().map(|job| job.id);
    assert_eq!(selected(&world), Some(new));
    world.press(KeyCode::Down).await;
    assert_eq!(selected(&world), Some(old));
    world.pass(std::time::Duration::from_secs(1));
    let newest = world.homing.submit(busy()).await.unwrap().id();
    world.look().await;
    assert_eq!(selected(&world), Some(old));
    // At the top it stays at the top.
    world.press(KeyCode::Home).await;
    assert_eq!(selected(&world), Some(newest));
}

#[tokio::test]
async fn the_list_of_jobs_turns_its_pages() {
    let mut world = World::new().await;
    for n in 0..=PAGE {
        let job = world.homing.submit(busy().queue("nobody")).id(JobId::named(&n.to_string()));
        job.await.unwrap();
    }
    world.look().await;
    assert_eq!(world.top.jobs.rows().len(), PAGE);
    let first = world.top.jobs.selected().unwrap().id;
    world.press(KeyCode::End).await;
    let last = world.top.jobs.selected().unwrap().id;
    world.press(KeyCode::Down).await;
    assert_eq!((world.top.jobs.rows().len(), world.top.jobs.place()), (1, (2, false)));
    assert_eq!(world.rows("1–1 of 1 on page 2, the last").len(), 1);
    world.press(KeyCode::Up).await;
    assert_eq!(world.top.jobs.selected().unwrap().id, last);
    world.press(KeyCode::Home).await;
    assert_eq!(world.top.jobs.selected().unwrap().id, first);
}

/// However many children there are, a page of them is in memory, and each of them can be reached.
#[tokio::test]
async fn a_wide_tree_shows_a_page_of_children() {
    let mut world = World::new().await;
    let job = world.homing.submit(import(120)).await.unwrap().id();
    // A page that has failed is shown with its failure in the place of its arguments.
    world.settles(job, 120).await;
    world.look().await;
    world.press(KeyCode::Enter).await;
    assert_eq!(world.rows(r#"write_page {"page":1}"#).len(), 1);
    world.press(KeyCode::End).await;
    assert_eq!(world.rows("↓ 70 after these").len(), 1);
    assert_eq!(world.rows(r#"write_page {"page":50}"#).len(), 1);
    world.press(KeyCode::Enter).await;
    assert_eq!(world.rows("↑ 50 before these").len(), 1);
    assert_eq!(world.rows("write_page page 51 cannot be parsed").len(), 1);
    world.press(KeyCode::End).await;
    world.press(KeyCode::Enter).await;
    world.press(KeyCode::End).await;
    assert_eq!(world.rows(r#"write_page {"page":120}"#).len(), 1);
    assert!(world.rows("after these").is_empty());
    world.press(KeyCode::Left).await;
    world.press(KeyCode::Down).await;
    world.press(KeyCode::Enter).await;
    assert_eq!(world.rows("↓ 20 after these").len(), 1, "a page back");
    // Up to the root, and shut.
    world.press(KeyCode::Left).await;
    world.press(KeyCode::Left).await;
    assert!(world.rows("write_page").is_empty());
}

#[tokio::test]
async fn a_log_is_followed_and_read_back_to_its_first_line() {
    let mut world = World::new().await;
    let job = world.homing.submit(talk(3_000)).await.unwrap();
    job.outcome().await.unwrap();
    world.look().await;
    world.type_in("l").await;
    assert_eq!(world.rows("line 3000 ").len(), 1);
    assert_eq!(world.rows("followed").len(), 1);
    for _ in 0..12 {
        world.press(KeyCode::Home).await;
        world.picture(80, 24);
        assert_whole(&world);
    }
    assert_eq!(world.rows("line 1 ").len(), 1);
    // Forward again, line by line over the end of what is in memory.
    for _ in 0..400 {
        world.press(KeyCode::PageDown).await;
        world.picture(80, 24);
        assert_whole(&world);
    }
    assert_eq!(world.rows("line 3000 ").len(), 1);
    assert_eq!(world.rows("followed").len(), 1);
}

/// Of the log a bounded part is in memory, without gaps and nothing twice.
fn assert_whole(world: &World) {
    let Some(Screen::Log(log)) = world.top.screens.last() else { panic!("no log") };
    let numbers: Vec<u64> = log.sight().0.iter().map(|line| line.number).collect();
    assert!(numbers.len() <= 3_000 && numbers.is_sorted_by(|one, next| one + 1 == *next));
}

#[tokio::test]
async fn w_says_why_and_esc_goes_back() {
    let mut world = World::new().await;
    world.nightly(5).await;
    world.look().await;
    world.type_in("w").await;
    assert_eq!(world.rows("nightly: waiting").len(), 1);
    assert_eq!(world.rows("it waits for its child import, which is waiting").len(), 1);
    world.press(KeyCode::Esc).await;
    assert_eq!(world.rows("in progress").len(), 1);
}

#[tokio::test]
async fn a_pruned_job_leaves_its_screen() {
    let mut world = World::new().await;
    let job = world.homing.submit(talk(1)).await.unwrap();
    job.outcome().await.unwrap();
    world.look().await;
    world.press(KeyCode::Enter).await;
    world.pass(std::time::Duration::from_secs(1));
    world.homing.prune(std::time::Duration::ZERO).await.unwrap();
    world.look().await;
    world.look().await;
    assert_eq!(world.rows("no jobs yet").len(), 1);
    assert_eq!(world.rows("no task has the id").len(), 1);
}

#[tokio::test]
async fn q_and_ctrl_c_quit() {
    let mut world = World::new().await;
    world.look().await;
    assert!(world.press(KeyCode::Char('q')).await);
    // Also while something is asked.
    world.type_in("/abc").await;
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(world.top.press(key), Effect::Quit);
}
