//! What the killed processes run. Every body says what it does in a file that survives it, under its
//! own id and with a value that no other run of it would make.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homing::{
    JoinError, JoinSet, Result, State, TaskId, WorkerBuilder, log, spawn, spawn_sibling, step, task,
};
use serde::{Deserialize, Serialize};

/// The file of what happened. One line is one write, so it is whole whenever its writer dies.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    file: Arc<File>,
    directory: PathBuf,
}

/// The lines of a file of notes. Of one that somebody is just writing, the first bytes may be there: it is left to the next look.
pub(crate) fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines()
}

impl Notes {
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(directory.join("notes"));
        Self { file: Arc::new(file.unwrap()), directory: directory.to_owned() }
    }

    pub(crate) fn write(
        &self,
        what: &str,
        subject: impl std::fmt::Display,
        place: &str,
        value: &str,
    ) {
        let pid = std::process::id();
        let line = format!("{what}\t{subject}\t{place}\t{value}\t{pid}\n");
        (&*self.file).write_all(line.as_bytes()).unwrap();
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.directory.join(flag).exists()
    }

    pub(crate) fn raise(&self, flag: &str) {
        std::fs::write(self.directory.join(flag), "").unwrap();
    }

    /// Waits for a flag: plain I/O as far as a body is concerned.
    async fn pass(&self, flag: &str) {
        while !self.has(flag) {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

/// A value that is made once in all processes.
fn fresh() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::SeqCst))
}

/// A child's outcome: who it was, one of a kind, and a number to check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) task: TaskId,
    pub(crate) once: String,
    pub(crate) sum: u64,
}

fn told(sum: u64) -> Told {
    Told { task: homing::id(), once: fresh(), sum }
}

/// A parent has been told of an ended child.
fn over(notes: &Notes, child: &Told) -> u64 {
    notes.write("over", child.task, &homing::id().to_string(), &child.once);
    child.sum
}

/// A step whose running and whose committed result are both noted.
async fn remembered(notes: &Notes, name: &str) -> Result<String> {
    let task = homing::id();
    let work = || async {
        let value = fresh();
        notes.write("ran", task, name, &value);
        Ok(value)
    };
    let value = step(name, work).await?;
    notes.write("seen", task, name, &value);
    Ok(value)
}

fn began(notes: &Notes) {
    notes.write("began", homing::id(), "", "");
}

#[task]
pub(crate) async fn deep(levels: u64, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    remembered(&notes, "down").await?;
    let mut sum = 0;
    if levels > 0 {
        sum = 1 + over(&notes, &spawn(deep(levels - 1)).await?.await?);
    }
    log!("back at {levels}");
    remembered(&notes, "up").await?;
    Ok(told(sum))
}

#[task]
pub(crate) async fn leaf(n: u64, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    if n.is_multiple_of(5) {
        remembered(&notes, "leaf").await?;
    }
    Ok(told(n))
}

#[task]
pub(crate) async fn fan(children: u64, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let mut set = JoinSet::new();
    for n in 0..children {
        if n % 25 == 0 {
            remembered(&notes, &format!("page {n}")).await?;
        }
        set.spawn(leaf(n)).await?;
    }
    let all = set.join_all().await?;
    Ok(told(all.iter().map(|child| over(&notes, child)).sum()))
}

/// Fails until it has been begun three times in all, with a step on each side of the failure.
#[task(retries = 1000, backoff = "2ms")]
pub(crate) async fn flaky(State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    remembered(&notes, "before").await?;
    let task = homing::id();
    if (1..=2).any(|n| !notes.has(&format!("flaky-{task}-{n}"))) {
        let n = if notes.has(&format!("flaky-{task}-1")) { 2 } else { 1 };
        notes.raise(&format!("flaky-{task}-{n}"));
        return Err(homing::Error::msg("not yet"));
    }
    remembered(&notes, "after").await?;
    Ok(told(1))
}

#[task]
pub(crate) async fn forever(State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    Ok(told(homing::signal::<u64>("never").await?))
}

#[task]
pub(crate) async fn slow(millis: u64, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    Ok(told(millis))
}

/// Every wait there is. What a wait answered is noted, and must be answered again by every replay.
#[task]
pub(crate) async fn mixed(State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let answer = |place: &str, value: &str| notes.write("answer", homing::id(), place, value);
    let mut sum = 0;
    let mut set = JoinSet::new();
    for n in 1..4 {
        set.spawn(leaf(n)).await?;
    }
    set.spawn(slow(25)).await?;
    for turn in 0.. {
        match set.join_next().timeout(Duration::from_millis(4)).await {
            None => break,
            Some(Ok(child)) => {
                answer(&format!("next {turn}"), &child.once);
                sum += over(&notes, &child);
            }
            Some(Err(JoinError::TimedOut(_))) => answer(&format!("next {turn}"), "timed out"),
            Some(Err(other)) => return Err(other.into()),
        }
    }
    let doomed = spawn(forever()).await?;
    remembered(&notes, "doomed").await?;
    doomed.abort();
    let aborted = doomed.await.map(|child| child.once);
    answer("doomed", &format!("{:?}", aborted.map_err(|error| error.to_string())));
    let racing = spawn(slow(6)).await?;
    homing::select! {
        child = &racing => { answer("race", "child"); sum += child?.sum; },
        slept = homing::sleep(Duration::from_millis(6)) => {
            slept?;
            answer("race", "sleep");
            sum += racing.await?.sum;
        },
    }
    sum += over(&notes, &spawn(flaky()).await?.await?);
    let (left, right) = homing::join!(branch(&notes, 10), branch(&notes, 20));
    Ok(told(sum + left? + right?))
}

async fn branch(notes: &Notes, n: u64) -> Result<u64> {
    remembered(notes, &format!("branch {n}")).await?;
    Ok(over(notes, &spawn(leaf(n)).await?.await?))
}

/// Several that work at a pace of their own, beside each other.
#[task]
pub(crate) async fn paced(paces: u64, turns: u64, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let mut set = JoinSet::new();
    for _ in 0..paces {
        set.spawn(pace(turns)).await?;
    }
    let all = set.join_all().await?;
    Ok(told(all.iter().map(|child| over(&notes, child)).sum()))
}

/// Resumes, records, and holds its slot for a while, over and over: whoever keeps its future while another goes on
/// with it, keeps one that is older than its record.
#[task]
pub(crate) async fn pace(turns: u64, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let mut sum = 0;
    for turn in 0..turns {
        sum += over(&notes, &spawn(leaf(turn)).await?.await?);
        remembered(&notes, &format!("turn {turn}")).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(told(sum))
}

/// How many pages a crawl finds whose first pages are so many levels deep.
pub(crate) fn pages(levels: u64) -> u64 {
    2 * ((1 << (levels + 1)) - 1)
}

/// Two pages in a set that grows by what they find.
#[task]
pub(crate) async fn crawl(levels: u64, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let mut set = JoinSet::new().growing();
    for _ in 0..2 {
        set.spawn(page(levels)).await?;
    }
    let mut sum = 0;
    while let Some(child) = set.join_next().await {
        sum += over(&notes, &child?);
    }
    Ok(told(sum))
}

/// Adds two more pages beside itself, with a step between them. Every replay must find the same two again.
#[task]
pub(crate) async fn page(levels: u64, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let found = async |place: &str| {
        let id = spawn_sibling(page(levels - 1)).await?;
        notes.write("answer", homing::id(), place, &id.to_string());
        Ok::<_, homing::Error>(())
    };
    if levels > 0 {
        found("first link").await?;
        remembered(&notes, "between").await?;
        found("second link").await?;
    }
    Ok(told(1))
}

/// Waits for a signal that comes.
#[task]
pub(crate) async fn patient(State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let sum = homing::signal::<u64>("go").await?;
    notes.write("answer", homing::id(), "go", &sum.to_string());
    Ok(told(sum))
}

/// Waits for what never comes, and its children too: it is there to be cancelled.
#[task]
pub(crate) async fn victim(State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let mut set = JoinSet::new();
    for _ in 0..4 {
        set.spawn(forever()).await?;
    }
    let all = set.join_all().await?;
    Ok(told(all.len() as u64))
}

/// Fails for good until it is mended.
#[task]
pub(crate) async fn mendable(flag: String, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    remembered(&notes, "mendable").await?;
    if notes.has(&flag) { Ok(told(7)) } else { Err(homing::Error::msg("broken").fatal()) }
}

#[task]
pub(crate) async fn broken(flag: String, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    let mut set = JoinSet::new();
    for n in 0..3 {
        set.spawn(leaf(n)).await?;
    }
    set.spawn(mendable(flag)).await?;
    let all = set.join_all().await?;
    Ok(told(all.iter().map(|child| over(&notes, child)).sum()))
}

/// Holds a slot until its gate is opened.
#[task]
pub(crate) async fn gated(flag: String, State(notes): State<Notes>) -> Result<Told> {
    began(&notes);
    notes.pass(&flag).await;
    notes.write("passed", homing::id(), "", "");
    Ok(told(1))
}

/// Every kind of this file.
pub(crate) fn register(worker: WorkerBuilder, notes: &Notes) -> WorkerBuilder {
    let worker = worker.state(notes.clone()).queues(["default", "side"]).max_crashes(10_000);
    let worker =
        worker.register(deep).register(leaf).register(fan).register(flaky).register(forever);
    let worker = worker.register(slow).register(mixed).register(patient).register(victim);
    let worker = worker.register(mendable).register(broken).register(gated).register(paced);
    worker.register(pace).register(crawl).register(page)
}

/// A reader that looks between two parts of one write took `ov` for a line.
#[test]
fn a_line_that_is_being_written_is_left_to_the_next_look() {
    let lines = |text| whole_lines(text).collect::<Vec<_>>();
    assert_eq!(lines("over\t1\nov"), ["over\t1"]);
    assert_eq!(lines("over\t1\nover\t2\n"), ["over\t1", "over\t2"]);
    assert!(lines("ov").is_empty() && lines("").is_empty());
}
