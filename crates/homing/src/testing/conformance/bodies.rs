//! What bodies ask and say beside spawns and waits: who they are, signals to the tasks next to them,
//! soft timeouts.

use std::sync::Arc;
use std::time::Duration;

use super::waits::{children_when, leaf};
use super::{Lab, children};
use crate::testing::{Probe, faulty::Faulty};
use crate::{Homing, Info, JoinSet, Result, State, TaskId, TaskState, step, task};

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
