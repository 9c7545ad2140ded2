//! G1, G2 and the job record: nothing lost, recorded once, readable.

use std::sync::Arc;
use std::time::Duration;

use super::by_hand::{ByHand, ending};
use super::waits::{failing, gated, leaf};
use super::{Lab, children};
use crate::store::Refusal;
use crate::testing::{Probe, faulty::Faulty};
use crate::{
    Homing, JobFilter, JobId, JoinSet, Result, State, Status, TaskState, limits, log, step, task,
};

/// An acknowledged task is run, though no worker was there when it was submitted.
pub async fn g01_a_submitted_task_is_run(lab: Lab) {
    let job = lab.homing.submit(leaf(7)).await.unwrap();
    assert_eq!(job.status().await.unwrap(), Status::InProgress);
    let worker = lab.worker().register(leaf).start().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 7);
    assert_eq!(lab.homing.job::<u64>(job.id()).outcome().await.unwrap(), 7, "re-opened by id");
    lab.close([worker]).await;
}

#[task]
async fn busy(State(probe): State<Probe>) -> Result<u64> {
    let mut set = JoinSet::new();
    let mut sum = 0;
    for n in 0..12 {
        sum += step("count", || async {
            probe.hit("step");
            Ok(n)
        })
        .await?;
        set.spawn(leaf(n)).await?;
        if n % 4 == 3 {
            sum += set.join_all().await?.iter().sum::<u64>();
        }
    }
    Ok(sum)
}

/// Every third exchange or its reply is lost on the wire, and two of three reads of a record fail for a
/// moment; nothing else is lost, and nobody takes it for drift.
pub async fn g01_lost_replies_lose_nothing(lab: Lab) {
    let faulty = Homing::over(Arc::new(Faulty::over(Arc::clone(lab.store()), 3)));
    let resident = if lab.is_resident() { 100 } else { 0 };
    let worker = faulty.worker().state(lab.probe.clone()).resident(resident);
    let worker = worker.register(leaf).register(busy).start().await.unwrap();
    let jobs = lab.homing.submit_all((0..4).map(|_| busy())).await.unwrap();
    for job in jobs {
        assert_eq!(job.outcome().await.unwrap(), 132);
        assert_eq!(job.view().await.unwrap().counts.succeeded, 13);
        let root = lab.homing.task(job.id()).await.unwrap();
        assert_eq!((root.stalls, root.reason), (0, None), "its absence was taken for drift");
    }
    lab.close([worker]).await;
}

/// The token fences a frozen worker, at the same attempt: what it says after its tasks were given to
/// another changes nothing.
pub async fn g02_a_frozen_worker_records_nothing(lab: Lab) {
    let job = lab.homing.submit(leaf(1)).await.unwrap();
    let mut frozen = ByHand::new(&lab).await;
    let first = frozen.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    lab.store().kill(frozen.worker);
    let mut other = ByHand::new(&lab).await;
    let second = other.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    assert_eq!((first.attempt, second.attempt), (1, 1), "a crash is no attempt");
    let reply = frozen.exchange(&["leaf"], vec![ending(first.task, first.token, "666")]).await;
    assert_eq!(reply.refused, [(first.task, Refusal::Lost)]);
    assert!(reply.claimed.is_empty(), "a worker that was given up takes nothing");
    other.exchange(&["leaf"], vec![ending(second.task, second.token, "1")]).await;
    assert_eq!(job.outcome().await.unwrap(), 1);
    lab.close([]).await;
}

/// The same end said twice is recorded once, and other units are not harmed.
pub async fn g02_outcomes_are_recorded_once(lab: Lab) {
    let jobs = lab.homing.submit_all([leaf(1), leaf(2)]).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let one = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    let two = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    let units = vec![
        ending(one.task, one.token, "1"),
        ending(one.task, one.token, "9"),
        ending(two.task, two.token, "2"),
    ];
    let reply = worker.exchange(&["leaf"], units).await;
    assert_eq!(reply.refused, [(one.task, Refusal::Lost)]);
    let mut values = Vec::new();
    for job in jobs {
        values.push(job.outcome().await.unwrap());
    }
    values.sort_unstable();
    assert_eq!(values, [1, 2]);
    lab.store().kill(worker.worker);
    lab.close([]).await;
}

#[task]
pub(super) async fn reporting(State(probe): State<Probe>) -> Result<u64> {
    let mut set = JoinSet::new();
    log!("one");
    crate::progress(1, 4);
    set.spawn(gated(0)).await?;
    set.spawn(leaf(1)).await?;
    probe.pass("report").await;
    let sum = set.join_all().await?.iter().sum();
    log!(Warn, "two {sum}");
    Ok(sum)
}

/// Title, status, progress, counts and log are there live, and after the end.
pub async fn job_record_keeps_title_progress_log_and_counts(lab: Lab) {
    let builder = lab.worker().register(reporting).register(gated).register(leaf);
    let worker = builder.start().await.unwrap();
    let job = lab.homing.submit(reporting().tags(["nightly"])).title("a report").await.unwrap();
    lab.probe.open("report");
    lab.reaches(job.id(), TaskState::Waiting).await;
    let leaf = &super::waits::children_when(&lab, job.id().root(), 2).await[1];
    lab.reaches(leaf.id, TaskState::Succeeded).await;
    lab.observe(children(&lab, job.id()).await[0].id, "running", |view| view.worker.is_some())
        .await;
    let live = job.view().await.unwrap();
    assert_eq!(live.title.as_deref(), Some("a report"));
    assert_eq!((live.status, live.progress), (Status::InProgress, 25.0));
    let counts = live.counts;
    assert_eq!((counts.waiting, counts.running, counts.succeeded), (1, 1, 1));
    assert_eq!(job.log().page().await.unwrap()[0].message, "one");
    lab.probe.open("gate 0");
    job.outcome().await.unwrap();
    let done = job.view().await.unwrap();
    assert_eq!((done.status, done.progress, done.counts.succeeded), (Status::Completed, 100.0, 3));
    assert_eq!(done.tags, ["nightly"]);
    let lines = job.log().page().await.unwrap();
    let told: Vec<_> = lines.iter().map(|line| (line.level, line.message.as_str())).collect();
    assert_eq!(told, [(log::Level::Info, "one"), (log::Level::Warn, "two 1")]);
    assert!(lines[0].number < lines[1].number && lines[0].task == job.id().root());
    lab.close([worker]).await;
}

#[task(retries = 5, backoff = "1s")]
async fn chatty(State(probe): State<Probe>) -> Result<()> {
    log!("begun");
    for n in 0..3 {
        step("work", || async move { Ok(n) }).await?;
        log!("step {n}");
    }
    let branch = async |n: u64| {
        log!("branch {n}");
        crate::spawn(leaf(n)).await?.await?;
        log!("branch {n} joined");
        Ok::<_, crate::Error>(())
    };
    let (one, two) = crate::join!(branch(1), branch(2));
    one?;
    two?;
    log!("beyond");
    probe.hit("beyond");
    probe.pass("end").await;
    Ok(())
}

/// However often a body is replayed in one attempt, each line is said once.
pub async fn a_replay_repeats_no_log_line(lab: Lab) {
    let first = lab.worker().register(chatty).register(leaf).start().await.unwrap();
    let job = lab.homing.submit(chatty()).await.unwrap();
    lab.probe.hits("beyond", 1).await;
    while job.log().page().await.unwrap().len() < 9 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    first.kill().await;
    let second = lab.worker().register(chatty).register(leaf).start().await.unwrap();
    lab.turning(lab.probe.hits("beyond", 2)).await;
    lab.probe.open("end");
    job.outcome().await.unwrap();
    let mut lines = own_lines(&job).await;
    assert_eq!(lines[..4], ["begun", "step 0", "step 1", "step 2"]);
    lines.sort();
    let all = [
        "begun",
        "beyond",
        "branch 1",
        "branch 1 joined",
        "branch 2",
        "branch 2 joined",
        "step 0",
        "step 1",
        "step 2",
    ];
    assert_eq!(lines, all);
    lab.close([second]).await;
}

/// What bodies have said, without the lines of crashes.
async fn own_lines<T>(job: &crate::JobHandle<T>) -> Vec<String> {
    let lines = job.log().page().await.unwrap().into_iter().map(|line| line.message);
    lines.filter(|line| !line.starts_with("attempt 1 crashed: ")).collect()
}

#[task]
async fn chatting_branches() -> Result<()> {
    // The second branch has more to replay: it is still at it when the first one ends.
    let branch = async |n: u64, before: u64| {
        for n in 0..before {
            crate::spawn(leaf(n)).await?.await?;
        }
        crate::spawn(gated(n)).await?.await?;
        log!("joined {n}");
        Ok::<_, crate::Error>(())
    };
    let (one, two) = crate::join!(branch(1, 0), branch(2, 8));
    one?;
    two?;
    Ok(())
}

/// The last line of a branch was lost when the branch ended while another was still being replayed.
pub async fn branches_lose_no_log_line(lab: Lab) {
    let builder = lab.worker().register(chatting_branches).register(gated).register(leaf);
    let first = builder.start().await.unwrap();
    let job = lab.homing.submit(chatting_branches()).await.unwrap();
    let all = super::waits::children_when(&lab, job.id().root(), 2 + 8).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    // Both children end before anybody can resume the parent, so one claim answers both waits.
    let second = lab.worker().register(gated).start().await.unwrap();
    lab.probe.open("gate 1");
    lab.probe.open("gate 2");
    for child in all {
        lab.reaches(child.id, TaskState::Succeeded).await;
    }
    let third = lab.worker().register(chatting_branches).start().await.unwrap();
    lab.turning(job.outcome()).await.unwrap();
    let mut lines = own_lines(&job).await;
    lines.sort();
    assert_eq!(lines, ["joined 1", "joined 2"]);
    lab.close([second, third]).await;
}

#[task]
async fn traced() -> Result<()> {
    tracing::info!(target: "my_app", page = 7, "fetched");
    tracing::debug!(target: "my_app", "not important");
    Ok(())
}

/// `tracing` events of a body land in its job's log.
pub async fn tracing_events_are_logged(lab: Lab) {
    crate::testing::capture::install();
    let worker = lab.worker().register(traced).start().await.unwrap();
    let job = lab.homing.submit(traced()).await.unwrap();
    job.outcome().await.unwrap();
    let lines = job.log().page().await.unwrap();
    let told: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(told, ["fetched page=7"]);
    lab.close([worker]).await;
}

#[task]
async fn talkative() -> Result<()> {
    for n in 0..limits::LOG_LINES + 5 {
        log!("line {n}");
    }
    Ok(())
}

/// Lines beyond the cap are counted in one last line.
pub async fn log_lines_are_capped(lab: Lab) {
    let worker = lab.worker().register(talkative).start().await.unwrap();
    let job = lab.homing.submit(talkative()).await.unwrap();
    job.outcome().await.unwrap();
    let (mut log, mut lines, mut last) = (job.log(), 0, String::new());
    loop {
        let page = log.page().await.unwrap();
        let Some(line) = page.last() else { break };
        last.clone_from(&line.message);
        lines += page.len();
    }
    assert_eq!(lines, limits::LOG_LINES as usize + 1);
    assert_eq!(last, "5 more lines of this task were dropped");
    lab.close([worker]).await;
}

/// Jobs are filtered and paged, newest first.
pub async fn jobs_are_listed_and_paged(lab: Lab) {
    let worker = lab.worker().register(leaf).register(failing).start().await.unwrap();
    for n in 0..5 {
        let call = leaf(n).tags([format!("t{n}")]);
        lab.homing.submit(call).title(format!("Job {n}")).await.unwrap().outcome().await.unwrap();
        lab.advance(Duration::from_secs(1)).await;
    }
    lab.homing.submit(failing(9)).await.unwrap().ended().await.unwrap();
    let titles = async |filter| {
        let jobs = lab.homing.jobs(filter).await.unwrap();
        jobs.into_iter().map(|job| job.title.unwrap_or_default()).collect::<Vec<_>>()
    };
    let first = JobFilter { limit: 2, ..JobFilter::default() };
    assert_eq!(titles(first.clone()).await, ["", "Job 4"]);
    let last = lab.homing.jobs(first.clone()).await.unwrap().pop().unwrap();
    let second = JobFilter { after: Some((last.created, last.id)), ..first };
    assert_eq!(titles(second).await, ["Job 3", "Job 2"]);
    let failed = JobFilter { status: Some(Status::Failed), ..JobFilter::default() };
    let failed = lab.homing.jobs(failed).await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].failure.as_ref().unwrap().message, "no 9");
    let tagged = JobFilter { tag: Some("t3".to_owned()), ..JobFilter::default() };
    assert_eq!(titles(tagged).await, ["Job 3"]);
    let by_title = JobFilter { title: Some("job 1".to_owned()), ..JobFilter::default() };
    assert_eq!(titles(by_title).await, ["Job 1"]);
    let kind = JobFilter { kind: Some("leaf".to_owned()), ..JobFilter::default() };
    assert_eq!(titles(kind).await.len(), 5);
    let since = JobFilter { since: Some(last.created), ..JobFilter::default() };
    assert_eq!(titles(since).await, ["", "Job 4"]);
    lab.close([worker]).await;
}

#[task]
async fn telling_time(State(probe): State<Probe>) -> Result<(u64, u64)> {
    let told = async || {
        let now = crate::now().await?;
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok::<_, crate::Error>(since.as_secs())
    };
    let first = told().await?;
    crate::sleep(Duration::from_secs(30)).await?;
    probe.hit("slept");
    Ok((first, told().await?))
}

/// `now` tells a replay the same time.
pub async fn now_is_remembered(lab: Lab) {
    let worker = lab.worker().register(telling_time).start().await.unwrap();
    let job = lab.homing.submit(telling_time()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_secs(30)).await;
    let (first, second) = job.outcome().await.unwrap();
    assert!(second - first >= 30, "{first} {second}");
    lab.close([worker]).await;
}

#[task]
async fn detaching(State(probe): State<Probe>) -> Result<JobId> {
    let id = crate::detach(gated(5)).title("apart").await?;
    crate::signal::<()>("go").await?;
    probe.hit("gone on");
    Ok(id)
}

/// A detached job is linked, independent and started once, whatever is replayed.
pub async fn detach_starts_one_job(lab: Lab) {
    let first = lab.worker().register(detaching).register(gated).start().await.unwrap();
    let job = lab.homing.submit(detaching()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second = lab.worker().register(detaching).register(gated).start().await.unwrap();
    job.signal("go", &()).await.unwrap();
    let id = lab.turning(job.outcome()).await.unwrap();
    assert_eq!(job.status().await.unwrap(), Status::Completed, "it does not wait for it");
    let jobs = lab.homing.jobs(JobFilter::default()).await.unwrap();
    assert_eq!(jobs.len(), 2);
    let apart = lab.homing.job::<u64>(id);
    assert_eq!(apart.view().await.unwrap().origin, Some(job.id().root()));
    lab.probe.open("gate 5");
    assert_eq!(apart.outcome().await.unwrap(), 5);
    lab.close([second]).await;
}

#[task]
async fn detaching_with_a_key(taken: JobId) -> Result<(JobId, String)> {
    let id = crate::detach(gated(6)).key("held").await?;
    let error = crate::detach(gated(7)).id(taken).await.unwrap_err();
    crate::signal::<()>("go").await?;
    Ok((id, error.to_string()))
}

/// A detached call with a held key brings the open job's id; an id of another call is refused.
pub async fn detach_knows_keys_and_ids(lab: Lab) {
    let worker = lab.worker().register(detaching_with_a_key).register(gated);
    let worker = worker.start().await.unwrap();
    let holder = lab.homing.submit(gated(5)).key("held").await.unwrap();
    let job = lab.homing.submit(detaching_with_a_key(holder.id())).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 5");
    holder.outcome().await.unwrap();
    job.signal("go", &()).await.unwrap();
    let (id, error) = job.outcome().await.unwrap();
    assert_eq!(id, holder.id(), "remembered, though the key is free by now");
    assert!(error.contains("belongs to a job of another kind or with other arguments"), "{error}");
    assert_eq!(lab.homing.jobs(JobFilter::default()).await.unwrap().len(), 2);
    lab.close([worker]).await;
}

#[task]
async fn echoed(text: String) -> Result<String> {
    Ok(text)
}

#[task(retries = 2)]
async fn noisy(State(probe): State<Probe>) -> Result<Vec<String>> {
    crate::log!("before a step: a\0b");
    let one = step("one", async || Ok("1\0".to_owned())).await?;
    crate::log!("before a wait: a\0b");
    let two: String = crate::signal("go").await?;
    let three = crate::spawn(echoed("3\0".to_owned())).await?.await?;
    probe.hit("run");
    match probe.count("run") {
        1 => Err(crate::Error::msg("failed: a\0b")),
        2 => panic!("panicked: a\0b"),
        _ => Ok(vec![one, two, three]),
    }
}

#[task(retries = 0)]
async fn noisy_to_the_end() -> Result<()> {
    panic!("a\0b")
}

/// A zero byte in a log line, a failure or a panic is shown, on every store alike, and harms nobody; in a
/// value it stays what it is. Once a log line with one was the end of its task on PostgreSQL.
pub async fn zero_bytes_are_shown(lab: Lab) {
    let worker = lab.worker().register(noisy).register(echoed).register(noisy_to_the_end);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(noisy()).await.unwrap();
    job.signal("go", "2\0").await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), ["1\0", "2\0", "3\0"]);
    let view = lab.homing.task(job.id()).await.unwrap();
    let reason = view.reason.unwrap();
    assert!(reason.contains("panicked: a\u{2400}b"), "{reason}");
    let lines = lab.store().log(job.id(), 0, 100).await.unwrap();
    let lines: Vec<&str> = lines.iter().map(|line| line.message.as_str()).collect();
    for line in ["before a step: a\u{2400}b", "before a wait: a\u{2400}b"] {
        assert!(lines.contains(&line), "{lines:?}");
    }
    let error = lab.homing.submit(noisy_to_the_end()).await.unwrap().outcome().await.unwrap_err();
    assert_eq!(error.failure().unwrap().message, "a\u{2400}b");
    lab.close([worker]).await;
}

/// So long that nine of them fill a page.
fn long() -> String {
    "x".repeat(1_000_000)
}

#[task]
async fn lengthy() -> Result<String> {
    Ok(long())
}

#[task]
async fn collecting() -> Result<usize> {
    let mut set = JoinSet::named("long");
    for n in 0..12 {
        step(&format!("step {n}"), async || Ok(long())).await?;
        set.spawn(lengthy()).await?;
    }
    let mut bytes = 0;
    for _ in 0..4 {
        bytes += set.join_next().await.transpose()?.map_or(0, |value| value.len());
    }
    Ok(bytes + set.join_all().await?.iter().map(String::len).sum::<usize>())
}

/// Pages are bounded in bytes as well as in rows, and whoever reads them misses nothing.
pub async fn g12_pages_are_bounded_in_bytes(lab: Lab) {
    let worker = lab.worker().register(collecting).register(lengthy).start().await.unwrap();
    let job = lab.homing.submit(collecting()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 12_000_000);
    let (root, page) = (job.id().root(), limits::PAGE);
    let set = lab.store().sets(root, None, 10).await.unwrap()[0].set;
    let ends = lab.store().ends(root, set, 0, page).await.unwrap();
    assert_eq!(ends.len(), limits::PAGE_BYTES.div_ceil(1_000_002));
    let rest = lab.store().ends(root, set, ends.len() as u64, page).await.unwrap();
    assert_eq!(ends.len() + rest.len(), 12);
    let called = lab.store().children(root, set, 0, page).await.unwrap();
    assert!(called.len() == 12 && called.iter().all(|child| child.outcome.is_none()));
    let record = lab.store().record(root, 0, page).await.unwrap();
    assert!(record.len() < 12, "{} entries on a page", record.len());
    let jobs = lab.homing.submit_all((0..12).map(|_| lengthy())).await.unwrap();
    for job in &jobs {
        assert_eq!(job.outcome().await.unwrap().len(), 1_000_000);
    }
    let ids: Vec<JobId> = jobs.iter().map(crate::JobHandle::id).collect();
    let outcomes = lab.store().outcomes(ids).await.unwrap();
    let there = outcomes.iter().filter(|(_, settled)| settled.outcome.is_some()).count();
    assert_eq!((outcomes.len(), there), (12, ends.len()));
    // By handles that heard nothing of them: the watcher asks for all at once.
    let again = jobs.iter().map(|job| lab.homing.job::<String>(job.id()));
    let again: Vec<_> = again.collect();
    for value in futures_util::future::join_all(again.iter().map(crate::JobHandle::outcome)).await {
        assert_eq!(value.unwrap().len(), 1_000_000);
    }
    lab.close([worker]).await;
}
