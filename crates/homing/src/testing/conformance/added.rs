//! Growing sets, where something goes wrong: words told twice or too late, cancellations at the same moment, retries of
//! the job, bodies that have changed, and verbs in the wrong place.

use super::by_hand::{ByHand, ending, task_of};
use super::growing::{gated, member, plan};
use super::waits::{children_when, leaf};
use super::{Lab, children};
use crate::core::id::{Local, TaskId};
use crate::store::{Abort, Addition, End, Entry, Event, NewChild, Refusal, Reply, Unit};
use crate::testing::Probe;
use crate::{Error, JoinSet, Reason, Result, State, Status, TaskState, step, task};

/// A parent and a member of its set, both claimed by a worker of the suite's own.
struct Family<'a> {
    worker: ByHand<'a>,
    set: Local,
    parent: crate::store::Claimed,
    member: crate::store::Claimed,
}

impl<'a> Family<'a> {
    async fn new(lab: &'a Lab) -> Self {
        lab.homing.submit(leaf(1)).await.unwrap();
        let mut worker = ByHand::new(lab).await;
        let parent = worker.exchange(&["leaf"], Vec::new()).await.claimed.remove(0);
        let set = parent.task.set("pages");
        let child = NewChild { local: set.numbered(0), set, number: 0, task: task_of("page") };
        let unit = Self::unit(&parent, vec![Event::Spawn(Box::new(child))]);
        let member = worker.exchange(&["page"], vec![unit]).await.claimed.remove(0);
        assert_eq!((member.set, member.policy.grows), (Some((set, 0)), true));
        Self { worker, set, parent, member }
    }

    fn unit(of: &crate::store::Claimed, events: Vec<Event>) -> Unit {
        Unit { task: of.task, token: of.token, renew: false, events }
    }

    fn added(&self, seq: u64) -> Local {
        self.set.added(self.member.task.local, 0, &format!("sibling#{seq}"), ("leaf", &[0; 16]))
    }

    /// The member's word that it adds.
    fn addition(&self, seq: u64) -> Event {
        Event::Add(Box::new(Addition {
            seq,
            place: format!("sibling#{seq}"),
            entry: Entry::Added([0; 16]),
            parent: self.parent.task.local,
            set: self.set,
            local: self.added(seq),
            task: task_of("leaf"),
        }))
    }

    async fn says(&mut self, events: Vec<Event>) -> Reply {
        let unit = Self::unit(&self.member, events);
        self.worker.exchange(&[], vec![unit]).await
    }

    async fn is_there(&self, lab: &Lab, seq: u64) -> bool {
        let id = TaskId { job: self.parent.task.job, local: self.added(seq) };
        lab.store().task(id).await.unwrap().is_some()
    }

    async fn end(mut self, lab: &Lab) {
        lab.homing.cancel(self.parent.task.job).await.unwrap();
        self.worker.exchange(&[], Vec::new()).await;
        lab.store().kill(self.worker.worker);
    }
}

/// What is told twice is added once, and what is told under a lost claim not at all.
pub async fn g02_a_frozen_member_adds_nothing(lab: Lab) {
    let mut family = Family::new(&lab).await;
    let (first, again) = (family.addition(1), family.addition(1));
    assert!(family.says(vec![first, again]).await.refused.is_empty());
    let again = family.addition(1);
    assert!(family.says(vec![again]).await.refused.is_empty());
    let counts = lab.store().set(family.parent.task, family.set).await.unwrap();
    assert_eq!((counts.spawned, counts.added, counts.own()), (2, 1, 1));
    // Another place, under a number that is taken: it was said before.
    let Event::Add(other) = family.addition(2) else { unreachable!("it adds") };
    let other = Event::Add(Box::new(Addition { seq: 1, ..*other }));
    family.says(vec![other]).await;
    assert!(!family.is_there(&lab, 2).await);
    let ends = ending(family.member.task, family.member.token, "1");
    family.worker.exchange(&[], vec![ends]).await;
    let late = family.addition(3);
    let reply = family.says(vec![late]).await;
    assert_eq!(reply.refused, [(family.member.task, Refusal::Lost)]);
    assert!(!family.is_there(&lab, 3).await);
    family.end(&lab).await;
    lab.close([]).await;
}

/// Nothing joins a set behind an abort, the end of the parent or a cancellation, said in the same exchange even:
/// what was added before falls with the others.
pub async fn g08_nothing_joins_behind_a_cancellation(lab: Lab) {
    for how in ["abort", "abort one", "abort earlier ones", "end", "cancel"] {
        let mut family = Family::new(&lab).await;
        let before = family.addition(1);
        assert!(family.says(vec![before]).await.refused.is_empty());
        let (set, policy) = (family.set, false);
        let child = (how == "abort one").then_some(family.member.task.local);
        let below = u32::from(how != "abort earlier ones");
        let cause = None;
        let failure = crate::Failure::new("leaf", family.parent.task, 1, Reason::Error, "no");
        let word = match how {
            "end" => vec![Event::End(End::Failed { failure, cause })],
            "cancel" => {
                lab.homing.cancel(family.parent.task).await.unwrap();
                Vec::new()
            }
            _ => vec![Event::Abort(Abort { set, child, below, policy })],
        };
        let mut units = vec![Family::unit(&family.member, vec![family.addition(2)])];
        if !word.is_empty() {
            units.insert(0, Family::unit(&family.parent, word));
        }
        let reply = family.worker.exchange(&[], units).await;
        let spared = how == "abort earlier ones";
        let refused = [(family.member.task, Refusal::Lost)];
        assert_eq!(reply.refused, if spared { &[][..] } else { &refused[..] }, "{how}");
        assert_eq!(family.is_there(&lab, 2).await, spared, "{how}");
        while lab.store().sweep(9).await.unwrap() {}
        let id = TaskId { job: family.parent.task.job, local: family.added(1) };
        let state = lab.store().task(id).await.unwrap().unwrap().state;
        let falls = !spared && how != "abort one";
        assert_eq!(state == TaskState::Cancelled, falls, "{how}: {state}");
        family.end(&lab).await;
    }
    lab.close([]).await;
}

#[task(retries = 0)]
async fn rash(State(probe): State<Probe>) -> Result<u64> {
    crate::spawn_sibling(leaf(2)).await?;
    step("said", || async { Ok(()) }).await?;
    probe.pass("rash").await;
    probe.hit("rash");
    if probe.count("rash") == 1 { Err(Error::msg("rash")) } else { Ok(1) }
}

#[task(retries = 0)]
async fn second_thoughts() -> Result<Vec<u64>> {
    let mut first = JoinSet::new().growing();
    first.spawn(rash()).await?;
    let mut second = JoinSet::new().growing();
    second.spawn(member(plan(10, [plan(11, [])]))).await?;
    let told = first.join_all().await;
    second.spawn(member(plan(20, [plan(21, [plan(22, [])])]))).await?;
    let mut all = second.join_all().await?;
    all.sort_unstable();
    all.extend(told?);
    Ok(all)
}

/// A job's retry takes back what was spawned after the loss, with what that has added, and leaves alone what was
/// added before; the member that failed adds nothing twice.
pub async fn job_retry_keeps_what_was_added(lab: Lab) {
    let builder = lab.worker().register(second_thoughts).register(rash).register(member);
    let worker = builder.register(leaf).start().await.unwrap();
    let job = lab.homing.submit(second_thoughts()).await.unwrap();
    // What is open when its sibling fails is aborted, and reopened with it.
    let there = children_when(&lab, job.id().root(), 4).await;
    let sibling = there.iter().find(|child| child.kind == "leaf").unwrap().id;
    lab.reaches(sibling, TaskState::Succeeded).await;
    lab.probe.open("rash");
    job.outcome().await.unwrap_err();
    assert_eq!(children(&lab, job.id()).await.len(), 7);
    let preview = job.retry_preview().await.unwrap();
    assert_eq!((preview.reopened, preview.removed), (2, 3), "{preview:?}");
    let retried = job.retry().await.unwrap();
    assert_eq!((retried.reopened, retried.removed), (2, 3), "{retried:?}");
    assert!(lab.homing.check().await.unwrap().is_empty());
    assert_eq!(job.outcome().await.unwrap(), [10, 11, 20, 21, 22, 1, 2]);
    let view = job.view().await.unwrap();
    assert_eq!((view.counts.spawned(), view.status), (8, Status::Completed), "{view:?}");
    lab.close([worker]).await;
}

/// Two versions of a program, as in the cases of drift.
mod new {
    use super::{JoinSet, Probe, Result, State, leaf, member, plan, task};

    #[task(kind = "adding", retries = 0)]
    pub(super) async fn adding(State(probe): State<Probe>) -> Result<u64> {
        crate::spawn_sibling(leaf(3)).await?;
        probe.hit("went on");
        Ok(1)
    }

    #[task(kind = "plain")]
    pub(super) async fn plain() -> Result<Vec<u64>> {
        let mut set = JoinSet::new();
        set.spawn(member(plan(1, [plan(2, [])]))).await?;
        Ok(set.join_all().await?)
    }
}

#[task(kind = "adding", retries = 0)]
async fn adding(State(probe): State<Probe>) -> Result<u64> {
    crate::spawn_sibling(leaf(2)).await?;
    step("committed", || async { Ok(()) }).await?;
    probe.hit("added");
    probe.pass("never").await;
    Ok(1)
}

#[task]
async fn above() -> Result<Vec<u64>> {
    let mut set = JoinSet::new().growing();
    set.spawn(adding()).await?;
    Ok(set.join_all().await?)
}

#[task(kind = "plain")]
async fn plain() -> Result<Vec<u64>> {
    let mut set = JoinSet::new().growing();
    set.spawn(member(plan(1, [gated(plan(2, []))]))).await?;
    Ok(set.join_all().await?)
}

/// A replay that adds another task stands still at the place, and so does a parent whose set no longer grows.
pub async fn g10_growing_is_part_of_the_record(lab: Lab) {
    let builder = lab.worker().register(above).register(adding).register(plain);
    let first = builder.register(member).register(leaf).start().await.unwrap();
    let adds = lab.homing.submit(above()).await.unwrap();
    let grows = lab.homing.submit(plain()).await.unwrap();
    lab.probe.hits("added", 1).await;
    children_when(&lab, grows.id().root(), 2).await;
    lab.reaches(grows.id(), TaskState::Waiting).await;
    first.kill().await;
    lab.probe.open("gate 2");
    let builder = lab.worker().register(above).register(new::adding).register(new::plain);
    let second = builder.register(member).register(leaf).start().await.unwrap();
    let child = children(&lab, adds.id()).await.remove(0);
    let view = lab.observe(child.id, "standing still", |view| view.reason.is_some());
    let reason = lab.turning(view).await.reason.unwrap();
    let text = "at `sibling:leaf#1`: another call than leaf({\"n\":3})";
    assert!(reason.contains(text), "{reason}");
    let view = lab.observe(grows.id(), "standing still", |view| view.reason.is_some());
    let reason = lab.turning(view).await.reason.unwrap();
    let text = "at `set#1[0]`: expected a set that grows, got one that does not grow";
    assert!(reason.contains(text), "{reason}");
    assert_eq!(children(&lab, grows.id()).await.len(), 2, "nothing was spawned anew");
    assert_eq!(lab.probe.count("went on"), 0);
    adds.cancel().await.unwrap();
    grows.cancel().await.unwrap();
    lab.close([second]).await;
}

#[task(retries = 0)]
async fn misplaced() -> Result<()> {
    crate::spawn_sibling(leaf(1)).await?;
    Ok(())
}

#[task(retries = 0)]
async fn misusing(how: String) -> Result<()> {
    match how.as_str() {
        "plain set" => {
            let mut set = JoinSet::new();
            set.spawn(misplaced()).await?;
            set.join_all().await?;
        }
        "bare" => crate::spawn(misplaced()).await?.await?,
        "late" => {
            let mut set = JoinSet::new();
            set.spawn(leaf(1)).await?;
            drop(set.growing());
        }
        "too late" => {
            let mut set = JoinSet::new();
            set.spawn(leaf(1)).await?;
            set.join_all().await?;
            drop(set.growing());
        }
        "twice" => drop(JoinSet::<u64>::new().growing().growing()),
        _ => {
            crate::spawn_sibling(leaf(1)).await?;
        }
    }
    Ok(())
}

/// Where no set grows, the verb says what to write.
pub async fn misuse_of_growing_sets(lab: Lab) {
    let builder = lab.worker().register(misusing).register(misplaced).register(leaf);
    let worker = builder.start().await.unwrap();
    let grows_not = "`spawn_sibling` was called in a task whose set does not grow: its parent makes the set with `JoinSet::new().growing()` and spawns the task with the set's `spawn`; a child of this task is spawned with `homing::spawn`";
    let late = "`growing` was said twice, or after a child was spawned into";
    let root = "`spawn_sibling` was called in the root of a job, which is in no set: spawn a child with `homing::spawn`, or start a job with `homing::detach`";
    for (how, text) in [
        ("plain set", grows_not),
        ("bare", grows_not),
        ("late", late),
        ("too late", late),
        ("twice", late),
        ("root", root),
    ] {
        let job = lab.homing.submit(misusing(how.to_owned())).await.unwrap();
        let error = job.outcome().await.unwrap_err();
        let failure = error.failure().unwrap();
        let told = format!("{failure}");
        assert!(told.contains(text), "{how}: {told}");
        let by_child = text == grows_not;
        assert_eq!(failure.reason == Reason::Misuse, !by_child, "{how}: {failure:?}");
        assert_eq!(failure.attempt, 1, "{how}: {failure:?}");
    }
    let outside = crate::spawn_sibling(leaf(1)).await.unwrap_err().to_string();
    assert!(outside.starts_with("`spawn_sibling` was called outside a task"), "{outside}");
    lab.close([worker]).await;
}
