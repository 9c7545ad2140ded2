//! A context without a worker: each test does by hand what the worker would.

use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::clock::Clock;
use crate::core::id::WorkerId;
use crate::core::log::Level;
use crate::core::policy::FailurePolicy;
use crate::core::record::Moment;
use crate::store::memory::Memory;
use crate::store::{Cause, Entry, Signalled};
use crate::{ManualClock, limits};

/// The context of a task's first run, or of one whose record has so many entries.
pub(crate) fn context(records: u64) -> Arc<Context> {
    let store = Arc::new(Memory::new(Clock::Manual(ManualClock::default())));
    let token = Token::at_once(WorkerId::fresh(), 1);
    let claimed = Claimed { records, ..Claimed::first("body", token) };
    Arc::new(Context::new(&claimed, store))
}

/// Says something that counts as a spawn and has so many bytes.
fn say(context: &Context, bytes: usize) {
    let mut signal = Signalled {
        seq: 0,
        place: String::new(),
        entry: Entry::Signalled([0; 16]),
        to: Local::ROOT,
        name: String::new(),
        value: String::new(),
    };
    let own = Event::Signal(Box::new(signal.clone())).size();
    signal.value = " ".repeat(bytes.saturating_sub(own));
    context.lock().push(Event::Signal(Box::new(signal)));
}

fn say_times(context: &Context, count: usize) {
    (0..count).for_each(|_| say(context, 0));
}

/// Whether the body goes on, and else what it needs.
fn goes_on(holding: &mut Pin<Box<impl Future<Output = ()>>>, context: &Context) -> Option<Needs> {
    if holding.as_mut().now_or_never().is_some() { None } else { Some(context.needs()) }
}

#[test]
fn a_quarter_of_the_spawns_that_may_wait_is_handed_over() {
    let context = context(0);
    say_times(&context, limits::UNFLUSHED_SPAWNS / 4 - 1);
    assert_eq!(goes_on(&mut Box::pin(context.hold_back()), &context), None);
    say(&context, 0);
    let mut holding = Box::pin(context.hold_back());
    assert_eq!(goes_on(&mut holding, &context), Some(Needs::Poll));
    assert_eq!(goes_on(&mut holding, &context), None);
}

#[test]
fn a_quarter_of_the_bytes_that_may_wait_is_handed_over() {
    for (bytes, expected) in [(1, None), (0, Some(Needs::Poll))] {
        let context = context(0);
        say(&context, limits::UNFLUSHED_BYTES / 4 - bytes);
        assert_eq!(goes_on(&mut Box::pin(context.hold_back()), &context), expected);
    }
}

/// Too many spawns wait for their commits until no more than half are on their way.
#[test]
fn spawns_beyond_the_limit_wait_for_half_of_them() {
    let (all, half) = (limits::UNFLUSHED_SPAWNS, limits::UNFLUSHED_SPAWNS / 2);
    let context = context(0);
    for count in [half, half - 1] {
        say_times(&context, count);
        context.take_events();
    }
    assert_eq!(context.lock().unflushed(), all - 1);
    assert_eq!(goes_on(&mut Box::pin(context.hold_back()), &context), None);
    say(&context, 0);
    let mut holding = Box::pin(context.hold_back());
    assert_eq!(goes_on(&mut holding, &context), Some(Needs::Poll));
    assert_eq!(goes_on(&mut holding, &context), Some(Needs::Worker));
    context.take_events();
    assert_eq!(goes_on(&mut holding, &context), Some(Needs::Worker));
    context.units_committed(1);
    assert_eq!(goes_on(&mut holding, &context), None);
    assert_eq!(context.lock().unflushed(), half);
    context.units_committed(2);
    assert_eq!(context.lock().unflushed(), 0);
}

#[test]
fn bytes_beyond_the_limit_wait_for_half_of_them() {
    let half = limits::UNFLUSHED_BYTES / 2;
    let context = context(0);
    for bytes in [half, half - 1_000] {
        say(&context, bytes);
        context.take_events();
    }
    say(&context, 1_000);
    assert_eq!(goes_on(&mut Box::pin(context.hold_back()), &context), None);
    say(&context, 0);
    context.take_events();
    let mut holding = Box::pin(context.hold_back());
    assert_eq!(goes_on(&mut holding, &context), Some(Needs::Poll));
    assert_eq!(goes_on(&mut holding, &context), Some(Needs::Worker));
    context.units_committed(1);
    assert_eq!(goes_on(&mut holding, &context), Some(Needs::Worker), "a little more than half");
    context.units_committed(1);
    assert_eq!(goes_on(&mut holding, &context), None);
}

/// A body that says much of what holds nothing back, progress say, takes no memory for it while the store is away.
#[test]
fn only_what_holds_the_body_back_is_kept_in_mind() {
    let context = context(0);
    context.send(Event::Progress { done: 1, total: 2 });
    context.record("step#1", Entry::Value("1".to_owned()));
    assert!(context.take_events().is_some());
    assert!(context.lock().in_flight.is_empty());
}

/// A store that is away is asked again, at pauses that grow; one that refuses stops the body.
#[tokio::test(start_paused = true)]
async fn a_read_is_sent_again_unless_the_store_refuses_it() {
    let work = async |context: &Context| {
        for request in context.take_requests() {
            tokio::time::timeout(Duration::from_mins(1), request).await.unwrap();
        }
    };
    let (context, asked) = (context(0), Arc::new(Mutex::new(0)));
    let mut reading = Box::pin(context.fetch(move |_| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        let away = || Error::Busy { reason: "it is away".to_owned() };
        std::future::ready(if *asked < 4 { Err(away()) } else { Ok(*asked) })
    }));
    assert!(reading.as_mut().now_or_never().is_none());
    let before = tokio::time::Instant::now();
    work(&context).await;
    assert_eq!(before.elapsed(), READ_PAUSE.0 * 7);
    assert_eq!(reading.as_mut().now_or_never(), Some(4));
    let refused = || Error::Failed { reason: "permission denied".to_owned() };
    let mut reading = Box::pin(context.fetch(move |_| std::future::ready(Err::<(), _>(refused()))));
    assert!(reading.as_mut().now_or_never().is_none());
    work(&context).await;
    assert!(reading.as_mut().now_or_never().is_none());
    assert!(matches!(context.lock().halt, Some(Halt::Store(_))));
}

fn answer(place: &str) -> Entry {
    let place = place.to_owned();
    Entry::Answer(Answer { place, seq: 1, arm: 0, members: 0, value: None, signal: None })
}

#[test]
fn an_answer_is_no_value() {
    let context = context(1);
    context.lock().recall.load(vec![(1, "place".to_owned(), answer("place"))]);
    assert_eq!(context.replayed("place", "a step").now_or_never(), None);
    let halt = context.lock().halt.take();
    let Some(Halt::Drift(reason)) = halt else { panic!("{halt:?}") };
    assert!(reason.contains("at `place`: expected a wait, got a step"), "{reason}");
}

/// What a branch has said before a wait of a replay was said before if the wait is recorded, and else is new.
#[test]
fn lines_before_a_wait_are_dropped_if_it_is_recorded() {
    for (recorded, lines) in [("wait#1", 0), ("another#1", 1)] {
        let context = context(1);
        context.lock().recall.load(vec![(1, recorded.to_owned(), answer(recorded))]);
        let mut branch = context.branch("join!#1[0]/".to_owned(), async {
            context.say(Level::Info, "a line");
            let answer = context.answered("wait#1", 0).await;
            assert_eq!(answer.is_none(), lines == 1);
            std::future::pending::<()>().await;
        });
        assert!((&mut branch).now_or_never().is_none());
        let events = context.take_events().map_or_else(Vec::new, |(events, _)| events);
        assert_eq!(events.len(), lines, "{events:?}");
    }
}

/// The line that counts those that were dropped is a warning, whatever they were.
#[test]
fn dropped_lines_are_counted_by_a_warning() {
    let context = context(0);
    (0..limits::UNFLUSHED_LINES + 3).for_each(|_| context.say(Level::Info, ""));
    let (events, _) = context.take_last([]);
    assert_eq!(events.len(), limits::UNFLUSHED_LINES + 1);
    let Some(Event::Log(line)) = events.last() else { panic!("no line") };
    assert_eq!(line.level, Level::Warn);
    assert!(line.message.starts_with("3 lines were dropped"), "{}", line.message);
}

fn child(n: u8) -> Local {
    Local([n; 16])
}

/// A retry takes back what the body was told and has done since the moment it fails by, and nothing before.
#[test]
fn a_cause_names_what_came_since_its_moment() {
    let context = context(0);
    let set = context.open_set("pages", FailurePolicy::default());
    context.bear_losses([child(1)]);
    context.note_abort(set, Some(child(2)), 1);
    let first = context.moment("pages.join_next#1");
    context.tell_loss(&first, Some(child(3)));
    context.note_abort(set, Some(child(4)), 2);
    context.note_abort(set, None, 3);
    context.bad_signal("signal:go#1", "go".to_owned(), "no".to_owned());
    context.with_set(set, |state| state.issued = 5);
    context.note_spawn(set);
    context.note_spawn(set);
    let cause = Cause {
        places: vec!["pages.join_next#1".to_owned()],
        since: Some(1),
        grown: vec![(set, 3)],
        only: Vec::new(),
        given: vec![child(1)],
        aborted: vec![(set, Some(child(4)), 2), (set, None, 3)],
        aborted_before: vec![(set, Some(child(2)), 1)],
        bad_signals: vec!["signal:go#1".to_owned()],
    };
    assert_eq!(context.cause(Some(&first)).as_deref(), Some(&cause));
    assert_eq!(context.cause(None).as_deref(), Some(&cause), "the first, where none is told");
    let second = context.moment("pages.join_all#2");
    context.note_spawn(set);
    let cause = context.cause(Some(&second)).unwrap();
    assert_eq!((cause.given, cause.aborted), (vec![child(1), child(3)], Vec::new()));
    let before = [(set, Some(child(2)), 1), (set, Some(child(4)), 2), (set, None, 3)];
    assert_eq!(cause.aborted_before, before);
    assert_eq!(cause.grown, [(set, 4)]);
}

#[test]
fn a_closing_joins_cause_names_its_places_and_sets() {
    let context = context(0);
    let (places, only) = (vec!["returned".to_owned()], vec![(child(1), 2, vec![4])]);
    let moment = Moment { places: places.clone(), closing: only.clone(), ..Moment::default() };
    let expected = Cause { places, only, ..Cause::default() };
    assert_eq!(context.cause(Some(&moment)).as_deref(), Some(&expected));
}

/// A timeout in the closing join is no fault of the body's: what it returned and what the join was answered stay. A retry took
/// back the value and left the answer, and the body drifted.
#[test]
fn a_closing_join_that_is_cut_off_goes_on_where_it_was() {
    let context = context(0);
    context.bear_losses([child(1)]);
    context.tell_loss(&context.moment("wait#1"), Some(child(2)));
    assert!(context.cause(None).is_some());
    context.note_closing();
    assert_eq!(context.cause(None), None);
    let moment = Moment { closing: vec![(child(1), 0, Vec::new())], ..Moment::default() };
    assert!(context.cause(Some(&moment)).is_some(), "a loss that the join tells of");
}

/// A run that is cut off before it has come through its record has not been told what the one before it was: a retry that took
/// back anything, or reopened a child, would leave answers that speak of it.
#[test]
fn a_replay_that_is_cut_off_goes_on_where_it_was() {
    let context = context(2);
    context.bear_losses([child(1)]);
    assert_eq!(context.cause(None), None);
    context.tell_loss(&context.moment("wait#1"), Some(child(2)));
    assert!(context.cause(None).is_some(), "by a loss that it was told of");
}

/// What other branches of the body wait for, or are being told, goes with a loss, and what the record has for them under
/// lower numbers. Steps that run stay: nothing is told by them.
#[tokio::test]
async fn a_moment_takes_in_what_other_branches_had_not_come_to() {
    let context = context(3);
    let entry = |seq, place: &str| (seq, place.to_owned(), Entry::Value("1".to_owned()));
    context.lock().recall.load(vec![entry(1, "join!#1[0]/a#1"), entry(2, "b"), entry(3, "c")]);
    assert_eq!(context.replayed("c", "a step").await.as_deref(), Some("1"));
    let mut waiting =
        context.branch("join!#1[1]/".to_owned(), context.begin("set#1.join_next#1", false));
    let mut working = context.branch("join!#1[2]/".to_owned(), context.begin("step:s#1", true));
    let _open = ((&mut waiting).await, (&mut working).await);
    let mut moment = context.moment("select!#1/0");
    moment.places[1..].sort_unstable();
    assert_eq!(moment.places, ["select!#1", "b", "join!#1[0]/a#1", "set#1.join_next#1"]);
    assert_eq!((moment.since, moment.given), (Some(4), 0));
    assert_eq!(context.cause(None), None, "nothing was told, and there is more in the record");
    context.lock().recall.forget("b");
    context.lock().recall.forget("join!#1[0]/a#1");
    let cause = context.cause(None).unwrap();
    assert_eq!((cause.places, cause.since), (vec!["set#1.join_next#1".to_owned()], None));
}

/// With more that branches have not come to than a list has room for, there is none, and a retry takes nothing back.
#[test]
fn what_branches_have_not_come_to_is_bounded() {
    let cause = |behind: u64| {
        let context = context(behind + 1);
        let entry = |seq| (seq, format!("step#{seq}"), Entry::Value("1".to_owned()));
        let mut inner = context.lock();
        inner.recall.load((1..=behind + 1).map(entry).collect());
        let last = format!("step#{}", behind + 1);
        inner.recall.ask(&last, crate::core::replay::Operation::Value("a step"));
        drop(inner);
        context.tell_loss(&context.moment("wait#1"), Some(child(1)));
        context.cause(None)
    };
    assert_eq!(cause(1_000).unwrap().places.len(), 1_001);
    assert_eq!(cause(1_001), None);
}

/// With more losses borne than a list has room for, there is none. Of more aborts the last stands for all.
#[test]
fn lists_of_losses_and_aborts_are_bounded() {
    let context = context(0);
    context.bear_losses((0..1_000).map(|_| child(1)));
    assert_eq!(context.cause(None).unwrap().given.len(), 1_000);
    let last = context.moment("wait#1");
    context.tell_loss(&last, Some(child(2)));
    let beyond = context.moment("wait#2");
    context.tell_loss(&beyond, Some(child(3)));
    for moment in [&last, &beyond] {
        let cause = context.cause(Some(moment)).unwrap();
        assert_eq!((cause.given.len(), &cause.places[0][..]), (1_000, "wait#1"));
    }
    let context = self::context(0);
    context.bear_losses((0..1_001).map(|_| child(1)));
    assert_eq!(context.cause(None), None);
    context.tell_loss(&context.moment("wait#1"), None);
    assert_eq!(context.cause(None), None);
    let set = context.open_set("pages", FailurePolicy::default());
    let aborts = || context.with_set(set, |state| state.aborts.clone());
    (0..100).for_each(|n| context.note_abort(set, Some(child(1)), n));
    assert_eq!(aborts().len(), 100);
    context.note_abort(set, Some(child(1)), 100);
    assert_eq!(aborts(), [(101, None, 100)]);
}

/// Of aborts before a moment it is told whom they have hit, or nothing: what a child was spared of is reopened.
#[test]
fn aborts_before_a_moment_are_exact_or_left_out() {
    let context = context(0);
    let set = context.open_set("pages", FailurePolicy::default());
    let known = || context.cause(None).unwrap().aborted_before.len();
    (0..100).for_each(|n| context.note_abort(set, Some(child(1)), n));
    assert_eq!(known(), 100);
    context.note_abort(set, Some(child(1)), 100);
    context.note_abort(set, Some(child(1)), 101);
    assert_eq!(known(), 0, "the first of these stands for all");
    for n in 0..1_000 {
        assert_eq!(known(), n);
        context.note_abort(child(0).numbered(n as u32), None, 1);
    }
    assert_eq!(known(), 1_000);
    context.note_abort(child(0).numbered(1_000), None, 1);
    assert_eq!(known(), 0, "too many for a list");
}
