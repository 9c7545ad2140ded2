//! Fifty transcripts: what a record holds, what a body does, and what it is told, operation by operation.
//!
//! An entry of a record is a place and what is remembered there: `value JSON`, `answer MEMBERS`, `added HASH`,
//! `detached HASH`, `signalled HASH`, `returned`. A record is read in pages; before it stands how many entries a page
//! has, if that is not all.
//!
//! What a body does is `value PLACE`, `wait PLACE MEMBERS` or `said PLACE HASH`; behind the arrow stands what it is
//! told: `replayed`, `execute`, `park`, `mismatch`, or which page it has to load first, which may be left out.
//! Beside that it may `forget PLACE`, go `past` its record, and be asked which entry is `next` and what is the `rest`
//! that it has not come to.

use super::{Operation, Recall, Rest, Verdict};
use crate::core::record::Entry;
use crate::core::wait::Answer;

const TRANSCRIPTS: [(&str, &str, &[&str]); 50] = [
    (
        "a first run finds nothing",
        "",
        &[
            "value step:fetch -> execute",
            "wait set:pages.join_all#1 2 -> park",
            "said detach:child#1 1 -> execute",
            "next -> nothing",
            "rest -> nothing",
        ],
    ),
    (
        "a step is replayed",
        "step:fetch value 7",
        &["value step:fetch -> replayed 7", "rest -> nothing"],
    ),
    (
        "a step is replayed once",
        "step:fetch value 7",
        &["value step:fetch -> replayed 7", "value step:fetch -> execute"],
    ),
    ("a wait is answered", "sleep#1 answer 0", &["wait sleep#1 0 -> replayed", "next -> nothing"]),
    (
        "a wait is answered once",
        "sleep#1 answer 0",
        &["wait sleep#1 0 -> replayed", "wait sleep#1 0 -> park"],
    ),
    (
        "a job that was started is not started again",
        "detach:child#1 detached 1",
        &["said detach:child#1 1 -> replayed", "rest -> nothing"],
    ),
    (
        "a signal that was sent is not sent again",
        "send:go#1 signalled 1",
        &["said send:go#1 1 -> replayed", "rest -> nothing"],
    ),
    (
        "a member that was added is not added again",
        "add:page#1 added 1",
        &["said add:page#1 1 -> replayed", "rest -> nothing"],
    ),
    (
        "a crash between two steps",
        "step:fetch value 1",
        &["value step:fetch -> replayed 1", "value step:write -> execute"],
    ),
    (
        "a crash in a wait",
        "step:fetch value 1",
        &["value step:fetch -> replayed 1", "wait set:pages.join_all#1 2 -> park"],
    ),
    (
        "a body that goes on from its wait",
        "step:fetch value 1, set:pages.join_all#1 answer 2",
        &[
            "next -> 1",
            "value step:fetch -> replayed 1",
            "next -> 2",
            "wait set:pages.join_all#1 2 -> replayed",
            "next -> nothing",
            "value step:publish -> execute",
        ],
    ),
    (
        "each turn of a loop has an entry of its own",
        "step:turn#1 value 1, step:turn#2 value 2",
        &[
            "value step:turn#1 -> replayed 1",
            "value step:turn#2 -> replayed 2",
            "value step:turn#3 -> execute",
        ],
    ),
    (
        "a loop that waits in each turn",
        "sleep#1 answer 0, sleep#2 answer 0",
        &["wait sleep#1 0 -> replayed", "wait sleep#2 0 -> replayed", "wait sleep#3 0 -> park"],
    ),
    (
        "a loop that ends earlier than it did",
        "step:turn#1 value 1, step:turn#2 value 2",
        &["value step:turn#1 -> replayed 1", "rest -> step:turn#2"],
    ),
    (
        "two steps that changed places are both found",
        "step:a value 1, step:b value 2",
        &["value step:b -> replayed 2", "value step:a -> replayed 1", "rest -> nothing"],
    ),
    (
        "a new step before old ones is done",
        "step:a value 1",
        &["value step:new -> execute", "value step:a -> replayed 1", "rest -> nothing"],
    ),
    (
        "a step that was taken out is missed at the end",
        "step:a value 1, step:b value 2",
        &["value step:b -> replayed 2", "rest -> step:a"],
    ),
    (
        "of several that are missed the first is named",
        "step:a value 1, step:b value 2, step:c value 3",
        &[
            "value step:b -> replayed 2",
            "rest -> step:a",
            "value step:a -> replayed 1",
            "rest -> step:c",
        ],
    ),
    (
        "a step under another name",
        "step:fetch value 7",
        &["value step:load -> execute", "rest -> step:fetch"],
    ),
    (
        "a step where a wait was",
        "go#1 answer 0",
        &["value go#1 -> mismatch expected a wait, got a step"],
    ),
    (
        "a wait where a step was",
        "go#1 value 7",
        &["wait go#1 0 -> mismatch expected a value, got a wait"],
    ),
    (
        "a step where a job was started",
        "go#1 detached 1",
        &["value go#1 -> mismatch expected a job that is started, got a step"],
    ),
    (
        "a wait where a job was started",
        "go#1 detached 1",
        &["wait go#1 0 -> mismatch expected a job that is started, got a wait"],
    ),
    (
        "a job where a step was",
        "go#1 value 7",
        &["said go#1 1 -> mismatch expected a value, got another call or signal"],
    ),
    (
        "a job where a wait was",
        "go#1 answer 1",
        &["said go#1 1 -> mismatch expected a wait, got another call or signal"],
    ),
    (
        "another job than was started",
        "detach:child#1 detached 1",
        &[
            "said detach:child#1 2 -> mismatch expected a job that is started, got another call or signal",
        ],
    ),
    (
        "another value than was sent",
        "send:go#1 signalled 1",
        &[
            "said send:go#1 2 -> mismatch expected a signal that is sent, got another call or signal",
        ],
    ),
    (
        "another member than was added",
        "add:page#1 added 1",
        &[
            "said add:page#1 2 -> mismatch expected a task that is added to a set, got another call or signal",
        ],
    ),
    (
        "a step where the body had returned",
        "end returned",
        &["value end -> mismatch expected the end of the body, got a step"],
    ),
    (
        "a wait where the body had returned",
        "end returned",
        &["wait end 2 -> mismatch expected the end of the body, got a wait"],
    ),
    (
        "a wait for more children than there were",
        "set:pages.join_all#1 answer 2",
        &["wait set:pages.join_all#1 3 -> mismatch expected a wait for 2 children, got one for 3"],
    ),
    (
        "a wait for fewer children than there were",
        "set:pages.join_all#1 answer 2",
        &["wait set:pages.join_all#1 1 -> mismatch expected a wait for 2 children, got one for 1"],
    ),
    (
        "a set that had no children has some",
        "set:pages.join_all#1 answer 0",
        &["wait set:pages.join_all#1 1 -> mismatch expected a wait for 0 children, got one for 1"],
    ),
    (
        "what does not fit is taken nevertheless",
        "go#1 value 7",
        &[
            "wait go#1 0 -> mismatch expected a value, got a wait",
            "value go#1 -> execute",
            "rest -> nothing",
        ],
    ),
    (
        "what comes after a misfit is replayed",
        "go#1 value 7, step:b value 2",
        &["wait go#1 0 -> mismatch expected a value, got a wait", "value step:b -> replayed 2"],
    ),
    (
        "a wait that timed out",
        "slow#1/deadline value 10, slow#1 answer 1, slow#1/timed#out value 3",
        &[
            "value slow#1/deadline -> replayed 10",
            "wait slow#1 1 -> replayed",
            "value slow#1/timed#out -> replayed 3",
            "rest -> nothing",
        ],
    ),
    (
        "a wait with a timeout that was answered before",
        "slow#1/deadline value 10, slow#1 answer 1",
        &["value slow#1/deadline -> replayed 10", "wait slow#1 1 -> replayed", "rest -> nothing"],
    ),
    (
        "a wait that lost its timeout",
        "slow#1/deadline value 10, slow#1 answer 1",
        &["wait slow#1 1 -> replayed", "rest -> nothing"],
    ),
    (
        "a deadline is fixed before its wait parks",
        "slow#1/deadline value 10",
        &["value slow#1/deadline -> replayed 10", "wait slow#1 1 -> park"],
    ),
    (
        "what is of no more use is not missed",
        "step:a value 1, step:b value 2",
        &["load", "forget step:b", "value step:a -> replayed 1", "rest -> nothing"],
    ),
    (
        "what was forgotten is done anew",
        "step:a value 1",
        &["load", "forget step:a", "value step:a -> execute"],
    ),
    (
        "two branches in turn",
        "a/step:x#1 value 1, b/step:x#1 value 2, a/sleep#1 answer 0",
        &[
            "value a/step:x#1 -> replayed 1",
            "value b/step:x#1 -> replayed 2",
            "wait a/sleep#1 0 -> replayed",
            "wait b/sleep#1 0 -> park",
        ],
    ),
    (
        "two branches the other way round",
        "a/step:x#1 value 1, b/step:x#1 value 2",
        &["value b/step:x#1 -> replayed 2", "value a/step:x#1 -> replayed 1", "next -> nothing"],
    ),
    (
        "a branch that is behind its record while another is past it",
        "a/step:x#1 value 1, b/step:x#1 value 2",
        &[
            "value b/step:x#1 -> replayed 2",
            "value b/step:y#1 -> execute",
            "past",
            "value a/step:x#1 -> replayed 1",
            "rest -> nothing",
        ],
    ),
    (
        "a record that is read in pages of one",
        "1: step:a value 1, step:b value 2, sleep#1 answer 0",
        &[
            "value step:a -> load 0",
            "value step:a -> replayed 1",
            "value step:b -> load 1",
            "value step:b -> replayed 2",
            "wait sleep#1 0 -> load 2",
            "wait sleep#1 0 -> replayed",
            "value step:c -> execute",
        ],
    ),
    (
        "what was moved to the front is looked for in all pages",
        "1: step:a value 1, step:b value 2",
        &[
            "value step:b -> load 0",
            "value step:b -> load 1",
            "value step:b -> replayed 2",
            "value step:a -> replayed 1",
        ],
    ),
    (
        "what is new is known to be so at the last page",
        "2: step:a value 1, step:b value 2, step:c value 3",
        &["wait sleep#1 0 -> load 0", "wait sleep#1 0 -> load 2", "wait sleep#1 0 -> park"],
    ),
    (
        "a body that returns early has all its pages read",
        "1: step:a value 1, step:b value 2",
        &["value step:a -> replayed 1", "rest -> load 1", "rest -> step:b"],
    ),
    (
        "a body that has left out only what stands beside its waits",
        "1: step:a value 1, slow#1/deadline value 10",
        &["value step:a -> replayed 1", "rest -> load 1", "rest -> nothing"],
    ),
    (
        "what is done is past the record, whatever is left of it",
        "step:a value 1, step:b value 2, step:c value 3",
        &["value step:b -> replayed 2", "next -> 3", "past", "next -> nothing", "rest -> step:a"],
    ),
];

/// A record in its words, and how many entries a page has.
fn record(words: &str) -> (usize, Vec<(u64, String, Entry)>) {
    let (size, entries) = match words.split_once(": ") {
        Some((size, entries)) if size.len() == 1 => (size.parse().unwrap(), entries),
        _ => (usize::MAX, words),
    };
    let entry = |(words, seq): (&str, u64)| {
        let words: Vec<&str> = words.split(' ').collect();
        let hash = || [words[2].parse().unwrap(); 16];
        let entry = match words[1] {
            "value" => Entry::Value(words[2].to_owned()),
            "answer" => Entry::Answer(answer(words[0], words[2].parse().unwrap())),
            "added" => Entry::Added(hash()),
            "detached" => Entry::Detached(hash()),
            "signalled" => Entry::Signalled(hash()),
            "returned" => Entry::Returned { value: "1".to_owned(), open: Vec::new() },
            other => panic!("no entry is {other:?}"),
        };
        (seq, place(words[0]), entry)
    };
    (size, entries.split(", ").filter(|words| !words.is_empty()).zip(1..).map(entry).collect())
}

/// A place; `#` stands for the one blank that places have.
fn place(word: &str) -> String {
    word.replace("timed#out", "timed out")
}

fn answer(at: &str, members: u64) -> Answer {
    Answer { place: place(at), seq: 1, arm: 0, members, value: None, signal: None }
}

/// Plays one line to a record. What the body is told, in words.
fn play(recall: &mut Recall, words: &[&str]) -> String {
    let verdict = match words {
        ["value", at] => recall.ask(&place(at), Operation::Value("a step")),
        ["wait", at, members] => recall.ask(&place(at), Operation::Wait(members.parse().unwrap())),
        ["said", at, hash] => recall.ask(&place(at), Operation::Said([hash.parse().unwrap(); 16])),
        ["next"] => return recall.next().map_or("nothing".to_owned(), |seq| seq.to_string()),
        ["rest"] => {
            return match recall.rest() {
                Rest::Nothing => "nothing".to_owned(),
                Rest::Left(place) => place,
                Rest::Load(after) => format!("load {after}"),
            };
        }
        other => panic!("no body does {other:?}"),
    };
    match verdict {
        Verdict::Value(text) => format!("replayed {text}"),
        Verdict::Answer(_) | Verdict::Said => "replayed".to_owned(),
        Verdict::Execute => "execute".to_owned(),
        Verdict::Park => "park".to_owned(),
        Verdict::Mismatch(text) => format!("mismatch {text}"),
        Verdict::Load(after) => format!("load {after}"),
    }
}

#[test]
fn fifty_transcripts() {
    for (name, words, lines) in TRANSCRIPTS {
        let (size, entries) = record(words);
        let mut recall = Recall::new(entries.len() as u64);
        let page = |after: usize| entries.iter().skip(after).take(size).cloned().collect();
        for line in lines {
            let (asked, told) = line.split_once(" -> ").unwrap_or((line, ""));
            let asked: Vec<&str> = asked.split(' ').collect();
            match asked[..] {
                ["load"] => recall.load(page(0)),
                ["forget", at] => recall.forget(&place(at)),
                ["past"] => recall.is_past(),
                _ => loop {
                    let heard = play(&mut recall, &asked);
                    let load = heard.strip_prefix("load ").map(|after| after.parse().unwrap());
                    if let Some(after) = load {
                        recall.load(page(after));
                    }
                    if load.is_none() || told.starts_with("load") {
                        assert_eq!(heard, told, "{name}: {line}");
                        break;
                    }
                },
            }
        }
    }
}
