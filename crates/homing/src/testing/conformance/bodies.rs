//! What bodies ask and say beside spawns and waits: who they are, signals to the tasks next to them,
//! waits for other jobs, soft timeouts.

use std::sync::Arc;
use std::time::Duration;

use super::waits::{children_when, failing, gated, leaf};
use super::{Lab, children};
use crate::testing::{Probe, faulty::Faulty};
use crate::{
    Homing, Info, JobId, JoinError, JoinSet, Reason, Result, State, TaskId, TaskState, step, task,
};

fn told(info: &Info) -> String {
    let Info { kind, depth, attempt, queue, priority, .. } = info;
    let parent = if info.parent == Some(info.root) { "root" } else { "other" };
    format!("{kind} {depth} {parent} {attempt} {queue} {priority}")
}

#[task(retries = 1, backoff = "1s")]
async fn telling(below: u64, State(probe): State<Probe>) -> Result<()> {
    let info = crate::info()?;
    assert_eq!((info.id, info.root), (crate::id(), crate::id().job.root()));
    assert_eq!(info.parent.is_none(), info.id.is_root());
    assert_eq!(crate::parent()?.map(|parent| parent.id()), info.parent);
    probe.note(told(&info));
    if below > 0 {
        crate::spawn(telling(below - 1)).await?.await?;
        // After the wait, in a new stretch.
        assert_eq!(told(&crate::info()?), told(&info));
    } else if info.attempt == 1 {
        return Err(crate::Error::msg("once more"));
    }
    Ok(())
}

/// A body knows its parent, root, depth, kind, attempt, queue and priority.
pub async fn info_tells_of_the_task(lab: Lab) {
    let worker = lab.worker().register(telling).queues(["slow"]).start().await.unwrap();
    let job = lab.homing.submit(telling(2).queue("slow").priority(4)).await.unwrap();
    let outcome = lab.turning(job.outcome());
    outcome.await.unwrap();
    let mut notes = lab.probe.notes();
    notes.dedup();
    let leaf: Vec<_> = notes.iter().filter(|note| note.contains("telling 2")).collect();
    assert_eq!(leaf, ["telling 2 other 1 slow 4", "telling 2 other 2 slow 4"]);
    assert_eq!(notes[..2], ["telling 0 other 1 slow 4", "telling 1 root 1 slow 4"]);
    lab.close([worker]).await;
}

#[task]
async fn collecting() -> Result<Vec<u64>> {
    let mut values = Vec::new();
    loop {
        match crate::signal::<u64>("n").await? {
            99 => return Ok(values),
            value => values.push(value),
        }
    }
}

#[task]
async fn signalling(times: u64, State(probe): State<Probe>) -> Result<Vec<u64>> {
    let child = crate::spawn(collecting()).await?;
    for n in 0..times {
        child.signal("n", &n).await?;
        if n % 3 == 0 {
            step("between", || async { Ok(()) }).await?;
        }
        if n % 4 == 3 {
            crate::spawn(leaf(n)).await?.await?;
        }
        probe.hit("said");
    }
    child.signal("n", &99).await?;
    Ok((&child).await?)
}

/// A child may be signalled right after its spawn; what it is sent comes once over all replays.
pub async fn a_child_is_signalled_once(lab: Lab) {
    let builder = lab.worker().register(signalling).register(collecting).register(leaf);
    let worker = builder.start().await.unwrap();
    let jobs = lab.homing.submit_all((0..3).map(|_| signalling(12))).await.unwrap();
    for job in jobs {
        assert_eq!(job.outcome().await.unwrap(), (0..12).collect::<Vec<_>>());
    }
    lab.close([worker]).await;
}

/// A unit that is told again, because its reply was lost, sends nothing again.
pub async fn a_lost_reply_sends_no_signal_twice(lab: Lab) {
    let faulty = Homing::over(Arc::new(Faulty::over(Arc::clone(lab.store()), 3)));
    let resident = if lab.is_resident() { 100 } else { 0 };
    let worker = faulty.worker().state(lab.probe.clone()).resident(resident);
    let worker = worker.register(signalling).register(collecting).register(leaf);
    let worker = worker.start().await.unwrap();
    let jobs = lab.homing.submit_all((0..3).map(|_| signalling(12))).await.unwrap();
    for job in jobs {
        assert_eq!(job.outcome().await.unwrap(), (0..12).collect::<Vec<_>>());
    }
    lab.close([worker]).await;
}

#[task]
async fn reporting_up(n: u64) -> Result<()> {
    let parent = crate::parent()?.ok_or_else(|| crate::Error::msg("no parent"))?;
    parent.signal("found", &n).await?;
    // A replay says nothing again.
    crate::signal::<()>("go on").await?;
    parent.signal("done", &n).await?;
    Ok(())
}

#[task]
async fn hearing(State(probe): State<Probe>) -> Result<Vec<u64>> {
    let mut set = JoinSet::new();
    let mut handles = Vec::new();
    for n in 0..3 {
        handles.push(set.spawn(reporting_up(n)).await?);
    }
    let mut found = Vec::new();
    for _ in 0..3 {
        found.push(crate::signal::<u64>("found").await?);
    }
    found.sort_unstable();
    for handle in &handles {
        handle.signal("go on", &()).await?;
    }
    probe.hit("going on");
    set.join_all().await?;
    for _ in 0..3 {
        found.push(crate::signal::<u64>("done").await?);
    }
    found[3..].sort_unstable();
    // There is no fourth.
    let late = crate::signal::<u64>("found").timeout(Duration::from_secs(1)).await;
    assert!(late.is_err_and(|error| error.is_timeout()));
    Ok(found)
}

/// Children signal their parent, waiting or not, each once.
pub async fn a_parent_is_signalled(lab: Lab) {
    let worker = lab.worker().register(hearing).register(reporting_up).start().await.unwrap();
    let job = lab.homing.submit(hearing()).await.unwrap();
    let outcome = lab.turning(job.outcome()).await;
    assert_eq!(outcome.unwrap(), [0, 1, 2, 0, 1, 2]);
    lab.close([worker]).await;
}

#[task]
async fn signalling_the_ended() -> Result<u64> {
    let child = crate::spawn(leaf(3)).await?;
    let value = (&child).await?;
    child.signal("late", &1).await?;
    Ok(value + (&child).await?)
}

/// A signal to a child that has ended is nothing; names and values are checked before anything is sent.
pub async fn a_late_signal_is_nothing(lab: Lab) {
    let builder = lab.worker().register(signalling_the_ended).register(leaf).register(misnaming);
    let worker = builder.start().await.unwrap();
    let job = lab.homing.submit(signalling_the_ended()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 6);
    let job = lab.homing.submit(misnaming()).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 2);
    lab.close([worker]).await;
}

#[task]
async fn misnaming() -> Result<usize> {
    let child = crate::spawn(leaf(1)).await?;
    let mut refused = 0;
    refused += usize::from(child.signal("", &1).await.is_err());
    refused += usize::from(child.signal("far", &f64::NAN).await.is_err());
    Ok(refused)
}

#[task]
async fn changing_its_mind(State(probe): State<Probe>) -> Result<()> {
    let child = crate::spawn(collecting()).await?;
    probe.hit("said");
    child.signal("n", &probe.count("said")).await?;
    crate::signal::<()>("go").await?;
    Ok(())
}

/// A replay that sends another value stands still.
pub async fn another_signal_is_drift(lab: Lab) {
    let first =
        lab.worker().register(changing_its_mind).register(collecting).start().await.unwrap();
    let job = lab.homing.submit(changing_its_mind()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    first.kill().await;
    let second =
        lab.worker().register(changing_its_mind).register(collecting).start().await.unwrap();
    assert!(job.signal("go", &()).await.unwrap().is_sent());
    let standing = lab.observe(job.id(), "standing still", |view| view.reason.is_some());
    let reason = lab.turning(standing).await.reason.unwrap();
    let place = "`spawn:collecting[0].signal:n#1`: another value or task than 2";
    assert!(reason.contains(place), "{reason}");
    assert!(job.cancel().await.unwrap());
    lab.close([second]).await;
}

#[task]
async fn telling_a_child_too_soon(State(homing): State<Homing>) -> Result<String> {
    let child = crate::spawn(leaf(1)).await?;
    let sent = homing.signal(child.id(), "n", &1).await;
    Ok(sent.err().map_or_else(|| "sent".to_owned(), |error| error.to_string()))
}

/// A client in a body that signals a child the store does not know yet is told what to write.
pub async fn a_signal_too_soon_says_what_to_write(lab: Lab) {
    let builder = lab.worker().register(telling_a_child_too_soon).register(leaf);
    let worker = builder.state(lab.homing.clone()).start().await.unwrap();
    let job = lab.homing.submit(telling_a_child_too_soon()).await.unwrap();
    let text = job.outcome().await.unwrap();
    assert!(text.contains("`handle.signal(name, &value).await`"), "{text}");
    lab.close([worker]).await;
}

#[task]
async fn after(job: JobId, State(probe): State<Probe>) -> Result<u64> {
    let value: u64 = crate::job(job).await?;
    probe.hit("after");
    Ok(value + 1)
}

/// A task waits for another job that is open, or has ended, without a slot.
pub async fn a_job_is_waited_for(lab: Lab) {
    let worker = lab.worker().register(after).register(gated).register(leaf).concurrency(1);
    // Nobody runs yet: the task that waits is claimed first and gives its only slot back.
    let open = lab.homing.submit(gated(1)).await.unwrap();
    let waiting = lab.homing.submit(after(open.id()).priority(9)).await.unwrap();
    let second = lab.homing.submit(after(waiting.id()).priority(9)).await.unwrap();
    let worker = worker.start().await.unwrap();
    let view = lab.reaches(waiting.id(), TaskState::Waiting).await;
    assert_eq!(view.waits.len(), 1);
    let why = lab.homing.why(waiting.id()).await.unwrap();
    assert!(
        matches!(&why.because[0], crate::Because::Job { root, .. } if root.id == open.id().root())
    );
    lab.probe.open("gate 1");
    assert_eq!(second.outcome().await.unwrap(), 3);
    let ended = lab.homing.submit(after(open.id())).await.unwrap();
    assert_eq!(ended.outcome().await.unwrap(), 2);
    lab.close([worker]).await;
}

#[task]
async fn detaching_and_waiting() -> Result<u64> {
    let job = crate::detach(gated(5)).await?;
    let value: u64 = crate::job(job).await?;
    Ok(value)
}

/// Also for a job that the body has just detached.
pub async fn a_detached_job_is_waited_for(lab: Lab) {
    let worker = lab.worker().register(detaching_and_waiting).register(gated);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(detaching_and_waiting()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 5");
    assert_eq!(job.outcome().await.unwrap(), 5);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn judging(job: JobId, State(probe): State<Probe>) -> Result<String> {
    let text = match crate::job::<u64>(job).await {
        Ok(value) => format!("value {value}"),
        Err(JoinError::Failed { failure, .. }) => format!("failed: {:?}", failure.reason),
        Err(JoinError::UnknownJob { id, .. }) => format!("unknown: {}", id == job),
        Err(other) => format!("other: {other}"),
    };
    probe.hit("judged");
    crate::signal::<()>("go").await?;
    Ok(text)
}

/// Failed, cancelled, unknown: each is an error of its own, and remembered whatever becomes of the job.
pub async fn how_a_job_ended_is_remembered(lab: Lab) {
    let worker = lab.worker().register(judging).register(failing).register(gated).register(leaf);
    let worker = worker.start().await.unwrap();
    let (failed, cancelled) =
        (lab.homing.submit(failing(1)).await.unwrap(), lab.homing.submit(gated(1)).await.unwrap());
    let never = JobId::named("never submitted");
    let ids = [failed.id(), cancelled.id(), never];
    let judges = lab.homing.submit_all(ids.map(judging)).await.unwrap();
    assert!(cancelled.cancel().await.unwrap());
    lab.probe.hits("judged", 3).await;
    for judge in &judges {
        lab.reaches(judge.id(), TaskState::Waiting).await;
    }
    // What becomes of the jobs later is of no moment.
    failed.retry().await.unwrap();
    failed.outcome().await.unwrap_err();
    lab.advance(Duration::from_secs(2)).await;
    lab.homing.prune(Duration::from_secs(1)).await.unwrap();
    assert!(lab.homing.submit(leaf(1)).id(never).await.is_ok());
    let mut texts = Vec::new();
    for judge in &judges {
        assert!(judge.signal("go", &()).await.unwrap().is_sent());
        texts.push(judge.outcome().await.unwrap());
    }
    assert_eq!(texts[1..], ["failed: Cancelled", "unknown: true"]);
    assert_eq!(texts[0], "failed: Error");
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn waiting_for_its_own() -> Result<()> {
    let own = crate::id().job;
    Ok(crate::job::<()>(own).await?)
}

#[task(retries = 0)]
async fn asking_by_the_client(State(homing): State<Homing>) -> Result<()> {
    homing.job::<()>(JobId::named("x")).outcome().await?;
    Ok(())
}

/// A task that waits for its own job is refused, and so is the client's verb, with what to write.
pub async fn waits_for_jobs_say_what_to_write(lab: Lab) {
    let builder = lab.worker().register(waiting_for_its_own).register(asking_by_the_client);
    let worker = builder.state(lab.homing.clone()).start().await.unwrap();
    let own = lab.homing.submit(waiting_for_its_own()).await.unwrap();
    let failure = own.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert_eq!(failure.reason, Reason::Misuse);
    assert!(failure.message.contains("which it belongs to"), "{failure}");
    let asking = lab.homing.submit(asking_by_the_client()).await.unwrap();
    let failure = asking.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert_eq!(failure.reason, Reason::Misuse);
    assert!(failure.message.contains("`homing::job(id).await`"), "{failure}");
    let outside = crate::job::<()>(own.id()).await.unwrap_err().to_string();
    assert!(outside.starts_with("`job` was called outside a task"), "{outside}");
    lab.close([worker]).await;
}

#[task]
async fn racing(job: JobId, State(probe): State<Probe>) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    let late = crate::job::<u64>(job).timeout(Duration::from_mins(1)).await;
    seen.push(format!("timed out {}", late.is_err_and(|error| error.is_timeout())));
    probe.hit("timed out");
    let child = crate::spawn(gated(2)).await?;
    for _ in 0..2 {
        seen.push(crate::select! {
            told = crate::signal::<String>("go") => told?,
            value = crate::job::<u64>(job) => format!("job {}", value?),
        });
        probe.hit("selected");
    }
    let (value, other) = crate::join!(&child, crate::job::<u64>(job));
    seen.push(format!("{} {}", value?, other?));
    Ok(seen)
}

/// With a timeout, in `select!` and in branches.
pub async fn job_waits_weave(lab: Lab) {
    let worker = lab.worker().register(racing).register(gated).start().await.unwrap();
    let other = lab.homing.submit(gated(1)).await.unwrap();
    let job = lab.homing.submit(racing(other.id())).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_mins(1)).await;
    lab.probe.hits("timed out", 1).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert!(job.signal("go", "on").await.unwrap().is_sent());
    lab.probe.hits("selected", 1).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.probe.open("gate 1");
    lab.probe.hits("selected", 2).await;
    lab.probe.open("gate 2");
    assert_eq!(job.outcome().await.unwrap(), ["timed out true", "on", "job 1", "2 1"]);
    lab.close([worker]).await;
}

#[task(retries = 0)]
async fn hoping(State(probe): State<Probe>) -> Result<u64> {
    let tries = probe.count("hoped");
    probe.hit("hoped");
    if tries == 0 { Err(crate::Error::msg("not yet")) } else { Ok(8) }
}

/// A task that a job's failure brought down asks again when it is retried by hand.
pub async fn a_retried_task_asks_again(lab: Lab) {
    let worker = lab.worker().register(after).register(hoping).start().await.unwrap();
    let other = lab.homing.submit(hoping()).await.unwrap();
    let job = lab.homing.submit(after(other.id())).await.unwrap();
    let failure = job.outcome().await.unwrap_err().failure().cloned().unwrap();
    assert!(failure.message.contains("not yet"), "{failure}");
    assert_eq!(failure.attempt, 1, "a retry would be told the same");
    other.retry().await.unwrap();
    assert_eq!(other.outcome().await.unwrap(), 8);
    job.retry().await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), 9);
    lab.close([worker]).await;
}

/// Every end of a job wakes those that wait for it: a value, an error, a cancellation, a deadline, the last
/// crash of a worker.
pub async fn every_end_of_a_job_wakes(lab: Lab) {
    let builder = lab.worker().register(judging).register(gated).register(failing).register(leaf);
    let worker = builder.start().await.unwrap();
    let gates = [11, 12, 13];
    let mut ids = Vec::new();
    ids.push(lab.homing.submit(gated(gates[0])).await.unwrap().id());
    ids.push(lab.homing.submit(gated(gates[1])).await.unwrap().id());
    let deadline = gated(gates[2]).deadline(Duration::from_secs(30));
    ids.push(lab.homing.submit(deadline).await.unwrap().id());
    let expiring = leaf(1).delay(Duration::from_hours(1)).expires(Duration::from_secs(40));
    ids.push(lab.homing.submit(expiring).await.unwrap().id());
    let later = failing(1).delay(Duration::from_secs(20));
    ids.push(lab.homing.submit(later).await.unwrap().id());
    let judges = lab.homing.submit_all(ids.iter().map(|id| judging(*id))).await.unwrap();
    for judge in &judges {
        lab.reaches(judge.id(), TaskState::Waiting).await;
    }
    lab.probe.open("gate 11");
    lab.probe.hits("judged", 1).await;
    assert!(lab.homing.cancel(ids[1]).await.unwrap());
    lab.probe.hits("judged", 2).await;
    lab.advance(Duration::from_secs(40)).await;
    lab.probe.hits("judged", 5).await;
    let mut texts = Vec::new();
    for judge in &judges {
        assert!(judge.signal("go", &()).await.unwrap().is_sent());
        texts.push(judge.outcome().await.unwrap());
    }
    let reasons = ["Cancelled", "Deadline", "Expired", "Error"].map(|why| format!("failed: {why}"));
    assert_eq!((texts[0].as_str(), &texts[1..]), ("value 11", &reasons[..]));
    lab.close([worker]).await;
}

/// Many jobs wait for one another, over two workers and in bundles: none is forgotten, none is locked out.
pub async fn many_jobs_wait_for_each_other(lab: Lab) {
    const CHAINS: u64 = 12;
    let worker = || lab.worker().register(after).register(leaf).concurrency(8);
    let workers = [worker().start().await.unwrap(), worker().start().await.unwrap()];
    let firsts = lab.homing.submit_all((0..CHAINS).map(leaf)).await.unwrap();
    let mut last: Vec<JobId> = firsts.iter().map(crate::JobHandle::id).collect();
    for _ in 0..4 {
        // Each job of a row is waited for twice.
        let calls = last.iter().flat_map(|id| [after(*id), after(*id)]);
        let row = lab.homing.submit_all(calls).await.unwrap();
        last = row.iter().map(crate::JobHandle::id).step_by(2).collect();
        if last.len() as u64 != CHAINS {
            unreachable!("a row is as long as the one before");
        }
    }
    for (n, id) in (0..).zip(last) {
        let value: u64 = lab.turning(lab.homing.job(id).outcome()).await.unwrap();
        assert_eq!(value, n + 4);
    }
    lab.close(workers).await;
}

async fn overdue_work(probe: &Probe) -> Result<[bool; 3]> {
    let token = crate::overdue()?;
    let before = token.is_cancelled();
    probe.hit("working");
    let caught = token.run_until_cancelled(probe.pass("never")).await.is_none();
    Ok([before, caught, crate::overdue()?.is_cancelled()])
}

#[task(soft_timeout = "5s", timeout = "1h", retries = 0)]
async fn overdue_twice(State(probe): State<Probe>) -> Result<[[bool; 3]; 2]> {
    let first = step("first", || overdue_work(&probe)).await?;
    // Another stretch begins, with a time of its own.
    crate::sleep(Duration::from_mins(1)).await?;
    let second = step("second", || overdue_work(&probe)).await?;
    Ok([first, second])
}

/// A soft timeout tells the body, once per stretch, and does not end it.
pub async fn a_soft_timeout_is_caught(lab: Lab) {
    let worker = lab.worker().register(overdue_twice).register(unlimited).start().await.unwrap();
    let job = lab.homing.submit(overdue_twice()).await.unwrap();
    lab.probe.hits("working", 1).await;
    lab.advance(Duration::from_secs(5)).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_mins(1)).await;
    lab.probe.hits("working", 2).await;
    lab.advance(Duration::from_secs(5)).await;
    assert_eq!(job.outcome().await.unwrap(), [[false, true, true]; 2]);
    let job = lab.homing.submit(unlimited().soft_timeout(Duration::from_secs(1))).await.unwrap();
    assert!(lab.turning(job.outcome()).await.unwrap());
    lab.close([worker]).await;
}

#[task]
async fn unlimited() -> Result<bool> {
    crate::overdue()?.cancelled().await;
    Ok(crate::overdue()?.is_cancelled())
}

#[task(retries = 0)]
async fn sometimes(n: u64, State(probe): State<Probe>) -> Result<u64> {
    probe.pass(&format!("gate {n}")).await;
    if n == 1 { Err(crate::Error::msg("no 1")) } else { Ok(n) }
}

#[task]
async fn telling_apart(State(probe): State<Probe>) -> Result<Vec<String>> {
    let mut set = JoinSet::new();
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(set.spawn(sometimes(n)).await?.id());
    }
    let at = |id: Option<TaskId>| ids.iter().position(|own| Some(*own) == id);
    let mut seen = Vec::new();
    while let Some(next) = set.join_next_with_id().timeout(Duration::from_mins(1)).await {
        seen.push(match next {
            Ok((id, value)) => format!("{:?} {value}", at(Some(id))),
            Err(error) if error.is_timeout() => format!("late {:?}", error.id()),
            Err(error) => format!("{:?} failed", at(error.id())),
        });
        probe.hit(&format!("told apart {}", seen.len()));
    }
    Ok(seen)
}

/// `join_next_with_id` says which child an outcome is of, and an error which one failed.
pub async fn join_next_tells_the_child(lab: Lab) {
    let worker = lab.worker().register(telling_apart).register(sometimes).start().await.unwrap();
    let job = lab.homing.submit(telling_apart()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    lab.advance(Duration::from_mins(1)).await;
    for (n, gate) in (1..).zip([2, 1, 0]) {
        // A replay comes by the earlier ones again: each has a name of its own.
        lab.probe.hits(&format!("told apart {n}"), 1).await;
        lab.reaches(job.id(), TaskState::Waiting).await;
        lab.probe.open(&format!("gate {gate}"));
    }
    let seen = job.outcome().await.unwrap();
    assert_eq!(seen, ["late None", "Some(2) 2", "Some(1) failed", "Some(0) 0"]);
    lab.close([worker]).await;
}

#[task]
async fn named(child: TaskId) -> Result<TaskId> {
    Ok(child)
}

#[task]
async fn naming() -> Result<bool> {
    let child = crate::spawn(leaf(1)).await?;
    let told = crate::spawn(named(child.id())).await?.await?;
    let (first, again) = ((&child).await?, (&child).await?);
    Ok(told == child.id() && first == again)
}

/// Ids are arguments and values; a handle can be awaited by reference, and again.
pub async fn ids_travel_and_handles_are_kept(lab: Lab) {
    let worker = lab.worker().register(naming).register(named).register(leaf);
    let worker = worker.start().await.unwrap();
    let job = lab.homing.submit(naming()).await.unwrap();
    assert!(job.outcome().await.unwrap());
    assert_eq!(children(&lab, job.id()).await.len(), 2);
    assert_eq!(children_when(&lab, job.id().root(), 2).await.len(), 2);
    lab.close([worker]).await;
}
