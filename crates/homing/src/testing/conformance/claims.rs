//! G2, G6, G7 where two workers take turns: a claim ends the right of the futures that are older.

use std::time::Duration;

use super::Lab;
use super::by_hand::{ByHand, ending, task_of};
use super::waits::{gated, leaf};
use crate::core::time::Time;
use crate::core::wait::{Condition, Wait};
use crate::store::{Event, NewChild, Unit};
use crate::testing::Probe;
use crate::{Result, State, TaskState, step, task};

/// Which worker a body runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    A,
    B,
}

/// How the second worker lets go of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    Fails,
    IsShutDown,
    Dies,
}

#[task]
async fn hog(State(probe): State<Probe>) -> Result<()> {
    probe.hit("hog");
    probe.pass("hog").await;
    Ok(())
}

#[task(retries = 3)]
async fn charging(
    State(probe): State<Probe>,
    State(name): State<Name>,
    State(parting): State<Parting>,
) -> Result<u64> {
    crate::spawn(gated(0)).await?.await?;
    let charged = step("charge", async || {
        probe.hit("charge");
        Ok(probe.count("charge"))
    })
    .await?;
    probe.hit(&format!("charged on {name:?}"));
    if name == Name::B {
        if parting == Parting::Fails {
            return Err(crate::Error::msg("B fails after the step"));
        }
        probe.pass("never").await;
    }
    Ok(charged)
}

/// A task is parked on A, which keeps its future. B resumes it by replay while A's slot is taken, records
/// a step and lets go. A future that knows nothing of the step must not go on: once the step ran twice.
async fn an_older_future_is_dropped(lab: Lab, parting: Parting) {
    let builder = |name| lab.worker().register(charging).state(name).state(parting);
    let first = builder(Name::A).register(hog).concurrency(1).start().await.unwrap();
    let job = lab.homing.submit(charging()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let other = lab.homing.submit(hog()).await.unwrap();
    lab.probe.hits("hog", 1).await;
    let second = builder(Name::B).register(gated).start().await.unwrap();
    lab.probe.open("gate 0");
    lab.turning(lab.probe.hits("charged on B", 1)).await;
    match parting {
        Parting::Fails => {
            lab.observe(job.id(), "failed once", |view| view.attempt == 2).await;
            second.shutdown(Duration::ZERO).await;
        }
        Parting::IsShutDown => second.shutdown(Duration::ZERO).await,
        Parting::Dies => second.kill().await,
    }
    lab.probe.open("hog");
    other.outcome().await.unwrap();
    assert_eq!(lab.turning(job.outcome()).await.unwrap(), 1, "the value is not the record's");
    assert_eq!(lab.probe.count("charge"), 1, "a committed step ran again");
    assert_eq!(lab.probe.count("charged on A"), 1);
    lab.close([first]).await;
}

/// After the failure of another worker's attempt.
pub async fn g06_an_older_future_is_dropped_after_a_failure(lab: Lab) {
    an_older_future_is_dropped(lab, Parting::Fails).await;
}

/// After the graceful shutdown of another worker: a rolling restart is enough.
pub async fn g06_an_older_future_is_dropped_after_a_shutdown(lab: Lab) {
    an_older_future_is_dropped(lab, Parting::IsShutDown).await;
}

/// After the death of another worker.
pub async fn g06_an_older_future_is_dropped_after_a_crash(lab: Lab) {
    an_older_future_is_dropped(lab, Parting::Dies).await;
}

/// A worker that does not look for what others have made ready is given what its own units make ready: the children that it
/// spawns, one or many, and their parent when the last of them ends.
pub async fn a_worker_is_given_what_its_own_units_make_ready(lab: Lab) {
    for width in [1, 40] {
        let job = lab.homing.submit(leaf(1)).await.unwrap();
        let mut worker = ByHand::new(&lab).await;
        let parent = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
        worker.search = false;
        let set = parent.task.set("pages");
        let child = |number| {
            let local = set.numbered(number);
            Event::Spawn(Box::new(NewChild { local, set, number, task: task_of("page") }))
        };
        let ended = Some(u64::from(width));
        let all = Condition::Set { set, ended, lost: None, succeeded: None, drained: false };
        let waits = vec![Wait { place: "all".to_owned(), seq: 1, arms: vec![all], members: 0 }];
        let mut events: Vec<Event> = (0..width).map(child).collect();
        events.push(Event::Park { waits, resident: false });
        let unit = Unit { task: parent.task, token: parent.token, renew: false, events };
        let children = worker.claim((width as usize, 0), &["page"], vec![unit]).await.claimed;
        assert_eq!(children.len(), width as usize);
        let ends = children.iter().map(|child| ending(child.task, child.token, "1")).collect();
        let claimed = worker.claim((1, 0), &["leaf"], ends).await.claimed;
        assert_eq!(claimed.iter().map(|one| one.task).collect::<Vec<_>>(), [parent.task]);
        worker.exchange(&[], vec![ending(parent.task, claimed[0].token, "1")]).await;
        assert_eq!(job.outcome().await.unwrap(), 1);
    }
    lab.close([]).await;
}

/// A signal has woken a parent, which waits for a job, too. It is claimed by the exchange that says that a child of its
/// has ended: its wait is answered by the signal.
pub async fn a_signal_answers_a_parent_whose_child_ends(lab: Lab) {
    let other = lab.homing.submit(leaf(2).delay(Duration::from_hours(1))).await.unwrap();
    let job = lab.homing.submit(leaf(1)).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let parent = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    let set = parent.task.set("pages");
    let local = set.numbered(0);
    let child = NewChild { local, set, number: 0, task: task_of("page") };
    let go = Condition::Signal { name: "go".to_owned(), schema: None };
    let arms = vec![go, Condition::Job { job: other.id() }];
    let waits = vec![Wait { place: "either".to_owned(), seq: 1, arms, members: 0 }];
    let events = vec![Event::Spawn(Box::new(child)), Event::Park { waits, resident: false }];
    let unit = Unit { task: parent.task, token: parent.token, renew: false, events };
    let child = worker.exchange(&["page"], vec![unit]).await.claimed.remove(0);
    lab.store().signal(parent.task, "go".to_owned(), "7".to_owned()).await.unwrap();
    let ends = ending(child.task, child.token, "1");
    let claimed = worker.exchange(&["leaf"], vec![ends]).await.claimed.remove(0);
    assert_eq!(claimed.task, parent.task);
    let answers: Vec<_> =
        claimed.answers.iter().map(|answer| (answer.arm, answer.value.as_deref())).collect();
    assert_eq!(answers, [(0, Some("7"))]);
    worker.exchange(&[], vec![ending(parent.task, claimed.token, "1")]).await;
    assert_eq!(job.outcome().await.unwrap(), 1);
    lab.homing.cancel(other.id()).await.unwrap();
    lab.close([]).await;
}

/// Tasks of more kinds than are worth asking for one by one: each claim takes the next of them all, by priority and then by
/// due time, also of those that came meanwhile. One that had room left says when the next falls due; one that had none need
/// not, for it is made again.
pub async fn tasks_of_many_kinds_are_claimed_in_one_order(lab: Lab) {
    const KINDS: u32 = 120;
    const AT_ONCE: usize = 25;
    let job = lab.homing.submit(leaf(1)).await.unwrap();
    let mut worker = ByHand::new(&lab).await;
    let parent = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
    let set = parent.task.set("pages");
    let born = |number: u32, priority: i16, due: Time| {
        let mut task = task_of(&format!("kind {:03}", number * 7 % KINDS));
        (task.priority, task.due) = (priority, Some(due));
        NewChild { local: set.numbered(number), set, number, task }
    };
    let saying = |children: &[NewChild]| {
        let spawns = children.iter().map(|child| Event::Spawn(Box::new(child.clone())));
        Unit { task: parent.task, token: parent.token, renew: false, events: spawns.collect() }
    };
    let before = |n: u32| Time(parent.due.0 - i64::from(n));
    let mut left: Vec<NewChild> =
        (0..2 * KINDS).map(|n| born(n, (n % 3) as i16, before(n * 31 % 997))).collect();
    worker.exchange(&[], vec![saying(&left)]).await;
    let kinds: Vec<String> = (0..KINDS).map(|n| format!("kind {n:03}")).collect();
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let later = parent.due.after(Duration::from_hours(1));
    let (mut ends, mut news) = (Vec::new(), vec![born(1000, 0, later)]);
    while !left.is_empty() {
        // The first ones of all come when some have been taken.
        news.extend((left.len() == 190).then(|| born(1001, 2, before(5000))));
        news.extend((left.len() == 166).then(|| born(1002, 0, before(5000))));
        left.extend(news.iter().filter(|child| child.task.due < Some(later)).cloned());
        let units = ends.drain(..).chain([saying(&news)]).collect();
        let reply = worker.claim((AT_ONCE, 0), &kinds, units).await;
        news.clear();
        left.sort_by_key(|child| (-child.task.priority, child.task.due, child.local));
        let next: Vec<_> = left.drain(..AT_ONCE.min(left.len())).map(|child| child.local).collect();
        let mut claimed = reply.claimed;
        claimed.sort_by_key(|one| (-one.priority, one.due, one.task));
        assert_eq!(claimed.iter().map(|one| one.task.local).collect::<Vec<_>>(), next);
        let expected = (claimed.len() < AT_ONCE).then_some(later);
        assert_eq!(reply.next_due, expected, "{} were claimed", claimed.len());
        ends.extend(claimed.iter().map(|one| ending(one.task, one.token, "1")));
    }
    worker.exchange(&[], ends).await;
    lab.homing.cancel(job.id()).await.unwrap();
    lab.close([]).await;
}
