//! What a record answers, piece by piece, and beside a list that is searched.

use super::*;

const STEP: Operation<'_> = Operation::Value("a step");

fn value(text: &str) -> Entry {
    Entry::Value(format!("\"{text}\""))
}

fn replayed(text: &str) -> Verdict {
    Verdict::Value(format!("\"{text}\""))
}

fn page(from: u64, places: &[&str]) -> Vec<(u64, String, Entry)> {
    let entry = |(n, place): (usize, &&str)| (from + n as u64, (*place).to_owned(), value(place));
    places.iter().enumerate().map(entry).collect()
}

fn answer(members: u64) -> Answer {
    let place = "wait".to_owned();
    Answer { place, seq: 1, arm: 0, members, value: None, signal: None }
}

#[test]
fn a_record_is_paged_and_taken() {
    let mut recall = Recall::new(3);
    assert_eq!(recall.ask("a", STEP), Verdict::Load(0));
    recall.load(page(1, &["a", "b"]));
    assert_eq!(recall.ask("a", STEP), replayed("a"));
    assert_eq!(recall.ask("c", STEP), Verdict::Load(2));
    recall.load(page(3, &["c"]));
    assert!(recall.is_replaying());
    assert_eq!(recall.ask("c", STEP), replayed("c"));
    assert!(!recall.is_replaying());
    assert_eq!(recall.ask("c", STEP), Verdict::Execute, "an occurrence is asked for once");
    assert_eq!(recall.ask("b", STEP), replayed("b"), "reordered, yet found");
}

#[test]
fn a_record_that_ends_early_is_no_endless_loop() {
    let mut recall = Recall::new(9);
    recall.load(Vec::new());
    assert_eq!(recall.ask("a", STEP), Verdict::Execute);
}

#[test]
fn a_page_that_two_branches_load_is_taken_once() {
    let mut recall = Recall::new(2);
    assert_eq!(recall.ask("a", STEP), Verdict::Load(0));
    assert_eq!(recall.ask("b", STEP), Verdict::Load(0));
    recall.load(page(1, &["a", "b"]));
    assert_eq!(recall.ask("a", STEP), replayed("a"));
    assert_eq!(recall.ask("b", STEP), replayed("b"));
    recall.load(page(1, &["a", "b", "recorded by this run"]));
    assert_eq!(recall.rest(), Rest::Nothing);
}

#[test]
fn a_replay_knows_which_entry_is_next_until_the_body_does_something_new() {
    let mut recall = Recall::new(3);
    assert_eq!(recall.next(), Some(1));
    recall.load(page(1, &["a", "b", "c"]));
    recall.ask("b", STEP);
    assert_eq!(recall.next(), Some(3));
    recall.is_past();
    assert_eq!((recall.next(), recall.is_replaying()), (None, false));
}

/// One branch is ahead of another: what is recorded for that one under lower numbers it has not come to yet.
#[test]
fn what_branches_have_not_come_to_is_behind() {
    let mut recall = Recall::new(5);
    recall.load(page(1, &["a", "b", "c"]));
    recall.ask("c", STEP);
    assert_eq!(recall.behind(1, 9), [""; 0]);
    assert_eq!(recall.behind(2, 9), ["a"]);
    let mut behind = recall.behind(4, 9);
    behind.sort_unstable();
    assert_eq!((behind, recall.behind(4, 1).len()), (vec!["a", "b"], 1));
    recall.ask("a", STEP);
    recall.forget("b");
    assert_eq!(recall.behind(4, 9), [""; 0]);
    recall.is_past();
    assert_eq!((recall.next(), recall.is_left()), (Some(4), true), "two are not even read");
    recall.load(page(4, &["d", "e"]));
    assert_eq!((recall.next(), recall.behind(6, 9).len()), (None, 2));
    recall.ask("e", STEP);
    assert!(recall.is_left());
    recall.ask("d", STEP);
    assert!(!recall.is_left());
}

#[test]
fn what_is_of_no_more_use_is_forgotten() {
    let mut recall = Recall::new(2);
    recall.load(page(1, &["a", "b"]));
    recall.forget("a");
    recall.ask("b", STEP);
    assert_eq!(recall.rest(), Rest::Nothing);
}

#[test]
fn arguments_are_shown_whole_or_with_their_end_marked() {
    let [whole, long] = [200, 201].map(|length| "x".repeat(length));
    let expected = format!("expected a({whole}), got b({whole}…)");
    assert_eq!(drift_text("a", &whole, "b", &long), expected);
}

#[test]
fn what_a_body_left_out_is_named_once_it_has_returned() {
    let mut recall = Recall::new(4);
    assert_eq!(recall.rest(), Rest::Load(0));
    recall.load(page(1, &["a", "wait#1/deadline", "wait#1", "b"]));
    recall.ask("wait#1", STEP);
    assert_eq!(recall.rest(), Rest::Left("a".to_owned()));
    recall.ask("a", STEP);
    assert_eq!(recall.rest(), Rest::Left("b".to_owned()));
    recall.ask("b", STEP);
    assert_eq!(recall.rest(), Rest::Nothing);
}

/// Every operation against every entry: what fits is replayed, what does not is named, what is not there is done.
#[test]
fn each_operation_has_its_own_entry() {
    let asked = |entry: Option<Entry>, operation: Operation<'_>| {
        let mut recall = Recall::new(u64::from(entry.is_some()));
        recall.load(entry.into_iter().map(|entry| (1, "p".to_owned(), entry)).collect());
        recall.ask("p", operation)
    };
    let (one, two) = ([1; 16], [2; 16]);
    let mismatch = |text: &str| Verdict::Mismatch(text.to_owned());
    let wait = |members| Operation::Wait(members);
    let returned = Entry::Returned { value: "1".to_owned(), open: Vec::new() };
    let cases = [
        (None, STEP, Verdict::Execute),
        (None, Operation::Said(one), Verdict::Execute),
        (None, wait(2), Verdict::Park),
        (Some(value("v")), STEP, replayed("v")),
        (Some(value("v")), wait(0), mismatch("expected a value, got a wait")),
        (Some(Entry::Answer(answer(2))), wait(2), Verdict::Answer(answer(2))),
        (
            Some(Entry::Answer(answer(2))),
            wait(3),
            mismatch("expected a wait for 2 children, got one for 3"),
        ),
        (Some(Entry::Answer(answer(2))), STEP, mismatch("expected a wait, got a step")),
        (Some(Entry::Detached(one)), Operation::Said(one), Verdict::Said),
        (Some(Entry::Signalled(one)), Operation::Said(one), Verdict::Said),
        (
            Some(Entry::Detached(one)),
            Operation::Said(two),
            mismatch("expected a job that is started, got another call or signal"),
        ),
        (Some(Entry::Signalled(one)), STEP, mismatch("expected a signal that is sent, got a step")),
        (Some(returned), STEP, mismatch("expected the end of the body, got a step")),
    ];
    for (entry, operation, verdict) in cases {
        assert_eq!(asked(entry.clone(), operation), verdict, "{operation:?} of {entry:?}");
    }
}

/// One thing that a made-up body does.
#[derive(Debug, Clone, PartialEq)]
struct Done {
    place: String,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Value(u64),
    Wait(u64),
    Said(u8),
}

impl Done {
    fn entry(&self) -> Entry {
        match self.what {
            What::Value(n) => Entry::Value(n.to_string()),
            What::Wait(members) => Entry::Answer(answer(members)),
            What::Said(n) => Entry::Detached([n; 16]),
        }
    }

    fn operation(&self) -> Operation<'static> {
        match self.what {
            What::Value(_) => STEP,
            What::Wait(members) => Operation::Wait(members),
            What::Said(n) => Operation::Said([n; 16]),
        }
    }

    /// What must come of this, seen against all that was recorded and not yet come to.
    fn wanted(&self, left: &mut Vec<Done>) -> Option<Verdict> {
        let Some(at) = left.iter().position(|done| done.place == self.place) else {
            let waits = matches!(self.what, What::Wait(_));
            return Some(if waits { Verdict::Park } else { Verdict::Execute });
        };
        match (left.remove(at).what, self.what) {
            (What::Value(n), What::Value(_)) => Some(Verdict::Value(n.to_string())),
            (What::Wait(n), What::Wait(m)) if n == m => Some(Verdict::Answer(answer(n))),
            (What::Said(n), What::Said(m)) if n == m => Some(Verdict::Said),
            _ => None,
        }
    }
}

/// A body runs, and is replayed the same, with steps moved, left out, added and changed, from pages of any size:
/// what comes of each operation is what a list that is searched from its beginning says.
#[test]
fn any_replay_agrees_with_a_list_that_is_searched() {
    let (mut mismatches, mut left_out) = (0, 0);
    for seed in 0..3_000_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut roll = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut made = 0;
        let mut done = |roll: &mut dyn FnMut(u64) -> u64| {
            made += 1;
            let what = match roll(3) {
                0 => What::Value(roll(5)),
                1 => What::Wait(roll(3)),
                _ => What::Said(roll(3) as u8),
            };
            let beside = if roll(8) == 0 { DEADLINE } else { "" };
            Done { place: format!("p#{made}{beside}"), what }
        };
        let first: Vec<Done> = (0..roll(12)).map(|_| done(&mut roll)).collect();
        let mut second = first.clone();
        for _ in 0..roll(4) {
            let at = roll(second.len() as u64 + 1) as usize;
            match roll(4) {
                0 => second.insert(at, done(&mut roll)),
                _ if at == second.len() => {}
                1 => drop(second.remove(at)),
                2 => second[at].what = done(&mut roll).what,
                _ => {
                    let moved = second.remove(at);
                    let to = roll(second.len() as u64 + 1) as usize;
                    second.insert(to, moved);
                }
            }
        }
        let size = roll(4) as usize + 1;
        let page = |after: u64| {
            let numbered = first.iter().zip(1..).filter(|(_, seq)| *seq > after);
            let page = numbered.take(size);
            page.map(|(done, seq)| (seq, done.place.clone(), done.entry())).collect::<Vec<_>>()
        };
        let (mut recall, mut left) = (Recall::new(first.len() as u64), first.clone());
        for step in &second {
            let verdict = loop {
                match recall.ask(&step.place, step.operation()) {
                    Verdict::Load(after) => recall.load(page(after)),
                    verdict => break verdict,
                }
            };
            let wanted = step.wanted(&mut left);
            let drifted = matches!(verdict, Verdict::Mismatch(_));
            assert_eq!(drifted, wanted.is_none(), "seed {seed}: {step:?} of {first:?}");
            mismatches += u64::from(drifted);
            if let Some(wanted) = wanted {
                assert_eq!(verdict, wanted, "seed {seed}: {step:?} of {first:?}");
            }
        }
        let rest = loop {
            match recall.rest() {
                Rest::Load(after) => recall.load(page(after)),
                rest => break rest,
            }
        };
        let missing = left.iter().find(|done| !done.place.ends_with(DEADLINE));
        let wanted = missing.map_or(Rest::Nothing, |done| Rest::Left(done.place.clone()));
        assert_eq!(rest, wanted, "seed {seed}: {second:?} of {first:?}");
        left_out += u64::from(missing.is_some());
    }
    assert!(mismatches > 200 && left_out > 200, "{mismatches} mismatches, {left_out} left out");
}

#[test]
fn drift_names_what_was_expected_and_came() {
    let text = drift_reason("pages#2", &drift_text("write", "{\"n\":1}", "write", "{\"n\":2}"));
    assert!(text.contains("`pages#2`: expected write({\"n\":1}), got write({\"n\":2})"), "{text}");
    assert!(text.contains("HashMap"));
}
