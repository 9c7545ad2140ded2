//! A store, a worker in this process, and `top` without a terminal.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use homing::{
    Clock, FailurePolicy, Homing, JobId, JoinSet, ManualClock, TaskId, TaskState, Worker, log, task,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tempfile::TempDir;

use super::super::draw::{discolour, draw};
use super::super::look::{carry_out, look};
use super::super::model::{Effect, Model};

/// Longer than anything takes, however busy the machine is.
const DEADLINE: Duration = Duration::from_mins(1);
/// A lease so long that no heartbeat falls into a test: when one came would differ from run to run.
const LEASE: Duration = Duration::from_hours(24);

/// Writes one page: the second waits for a signal, every fourth fails, the others succeed.
#[task(retries = 0)]
pub(super) async fn write_page(page: u64) -> homing::Result<u64> {
    match page {
        2 => Ok(homing::signal::<u64>("go").await?),
        page if page % 4 == 3 => Err(homing::Error::msg(format!("page {page} cannot be parsed"))),
        page => Ok(page),
    }
}

/// Writes so many pages.
#[task(retries = 0)]
pub(super) async fn import(pages: u64) -> homing::Result<u64> {
    log!("{pages} pages found");
    let mut writes = JoinSet::named("pages").policy(FailurePolicy::Tolerate { failures: 1000 });
    for page in 1..=pages {
        writes.spawn(write_page(page)).await?;
    }
    log!(Warn, "some pages are odd: {}", "the feed of this morning has no end marker ".repeat(3));
    Ok(writes.join_all().await?.iter().sum())
}

/// A job with a tree below it.
#[task(retries = 0)]
pub(super) async fn nightly(pages: u64) -> homing::Result<u64> {
    Ok(homing::spawn(import(pages)).await?.await?)
}

/// Fails until it is mended.
#[task(retries = 0)]
pub(super) async fn broken() -> homing::Result<()> {
    Err(homing::Error::msg("the table is locked"))
}

/// Says so many lines.
#[task]
pub(super) async fn talk(lines: u64) -> homing::Result<()> {
    for line in 1..=lines {
        log!("line {line}");
    }
    Ok(())
}

/// Holds its slot until it is cancelled.
#[task]
pub(super) async fn busy() -> homing::Result<()> {
    std::future::pending::<homing::Result<()>>().await
}

pub(super) struct World {
    _directory: TempDir,
    clock: ManualClock,
    pub(super) homing: Homing,
    pub(super) worker: Worker,
    pub(super) top: Model,
}

impl World {
    /// A store on which a worker is at work.
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("jobs.db").display());
        let clock = ManualClock::default();
        let homing = Homing::open_with(&url, Clock::Manual(clock.clone())).await.unwrap();
        let worker = homing.worker().name("night shift").concurrency(4).queues(["default"]);
        let worker = worker.lease(LEASE);
        let worker = worker.register(write_page).register(import).register(nightly);
        let worker = worker.register(broken).register(talk).register(busy);
        let worker = worker.start().await.unwrap();
        let top = Model::new("sqlite:jobs.db".to_owned(), Duration::from_secs(1));
        Self { _directory: directory, clock, homing, worker, top }
    }

    /// Jobs of every status, a queue that is paused, and a worker that has told its throughput.
    pub(super) async fn full() -> Self {
        let mut world = Self::new().await;
        let homing = world.homing.clone();
        let failed = homing.submit(broken()).id(JobId::named("broken")).await.unwrap();
        failed.outcome().await.unwrap_err();
        world.pass(Duration::from_mins(3));
        let done = homing.submit(import(1)).title("airports, one page").id(JobId::named("small"));
        done.await.unwrap().outcome().await.unwrap();
        let nightly = world.nightly(5).await;
        let odd = homing.submit(import(7)).title("airports, odd pages").id(JobId::named("odd"));
        let odd = odd.await.unwrap();
        world.reaches(odd.id(), TaskState::Waiting).await;
        world.child(odd.id(), 1, TaskState::Waiting).await;
        let second = world.children(odd.id()).await[1];
        homing.signal(second, "go", &2_u64).await.unwrap();
        odd.outcome().await.unwrap();
        homing.pause("reports").await.unwrap();
        let cancelled = homing.submit(busy().queue("reports")).title("monthly report");
        cancelled.id(JobId::named("cancelled")).await.unwrap().cancel().await.unwrap();
        world.pass(Duration::from_secs(42));
        let later = homing.submit(busy().queue("reports")).title("weekly report");
        later.id(JobId::named("later")).await.unwrap();
        let busy = homing.submit(busy()).id(JobId::named("busy")).await.unwrap();
        world.reaches(busy.id(), TaskState::Running).await;
        world.reaches(nightly, TaskState::Waiting).await;
        world.look().await;
        world.hear();
        world
    }

    /// Hears of two heartbeats, as if they had come.
    fn hear(&mut self) {
        for ended in [0, 385] {
            let mut worker = self.top.workers[0].clone();
            worker.heartbeat = worker.heartbeat.after(Duration::from_secs(5 * (1 + ended.min(1))));
            worker.ended = ended;
            self.top.rates.hear(&[worker]);
        }
    }

    /// A job whose import waits for its second page.
    pub(super) async fn nightly(&self, pages: u64) -> JobId {
        let job = self.homing.submit(nightly(pages)).title("nightly import of airports");
        let job = job.id(JobId::named("nightly")).await.unwrap().id();
        self.reaches(job, TaskState::Waiting).await;
        self.settles(self.children(job).await[0], pages).await;
        job
    }

    /// Waits until every page of an import is written, or has failed, but the second, which waits for its signal: until
    /// then the worker changes what a tree shows of them.
    pub(super) async fn settles(&self, import: impl Into<TaskId>, pages: u64) {
        let import = import.into();
        self.until(async || {
            let import = self.homing.task(import).await.unwrap();
            import.state == TaskState::Waiting && import.children.ended() == pages - 1
        })
        .await;
        self.child(import, 1, TaskState::Waiting).await;
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Waits until something holds. It looks again and again: the store wakes nobody when a task starts or parks, only when
    /// it ends, and the clock of the tests stands still.
    pub(super) async fn until(&self, holds: impl AsyncFn() -> bool) {
        let wait = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap();
    }

    /// Waits until a task is in a state.
    pub(super) async fn reaches(&self, id: impl Into<TaskId>, state: TaskState) {
        let id = id.into();
        self.until(async || self.homing.task(id).await.unwrap().state == state).await;
    }

    async fn child(&self, id: impl Into<TaskId>, number: usize, state: TaskState) {
        let child = self.children(id).await[number];
        self.reaches(child, state).await;
    }

    /// The children of a task, at most a page of one set.
    pub(super) async fn children(&self, id: impl Into<TaskId>) -> Vec<TaskId> {
        let page = self.homing.children(id, homing::Cursor::default(), 100).await.unwrap().0;
        page.iter().map(|child| child.id).collect()
    }

    /// Looks at the store, as `top` does every second.
    pub(super) async fn look(&mut self) {
        let look = look(&self.homing, self.top.wanted()).await;
        self.top.see(look);
    }

    /// Presses a key, and does what it leads to. Whether it ends `top`.
    pub(super) async fn press(&mut self, key: KeyCode) -> bool {
        match self.top.press(KeyEvent::new(key, KeyModifiers::NONE)) {
            Effect::None => {}
            Effect::Look => self.look().await,
            Effect::Do(verb) => {
                let done = carry_out(&self.homing, verb).await;
                self.top.hear(done);
                self.look().await;
            }
            Effect::Quit => return true,
        }
        false
    }

    /// Presses the keys of a text.
    pub(super) async fn type_in(&mut self, text: &str) {
        for letter in text.chars() {
            assert!(!self.press(KeyCode::Char(letter)).await, "it has quit");
        }
    }

    /// A picture of so many columns and rows.
    pub(super) fn picture(&mut self, columns: u16, rows: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, &mut self.top)).unwrap();
        terminal.backend().to_string()
    }

    /// The rows of a picture that contain a text.
    pub(super) fn rows(&mut self, text: &str) -> Vec<String> {
        let picture = self.picture(80, 24);
        picture.lines().filter(|row| row.contains(text)).map(str::to_owned).collect()
    }

    /// Whether no cell of a picture has a colour, once they are taken away.
    pub(super) fn is_colourless(&mut self) -> bool {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal
            .draw(|frame| {
                draw(frame, &mut self.top);
                discolour(frame);
            })
            .unwrap();
        let reset = ratatui::style::Color::Reset;
        terminal.backend().buffer().content.iter().all(|cell| cell.fg == reset && cell.bg == reset)
    }
}
