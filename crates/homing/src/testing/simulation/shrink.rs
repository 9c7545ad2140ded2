//! Makes a failing case small: takes out whatever can go while it still fails.

use std::sync::Arc;

use super::Opener;
use super::ledger::Ledger;
use super::plan::{Case, Ending, Faults, Limits, Program, Statement};

/// Runs that are spent on one case.
const RUNS: usize = 600;

/// The smallest case that was found to fail, and its ledger.
pub(super) fn smallest(
    case: Case,
    ledger: Arc<Ledger>,
    opener: &dyn Opener,
) -> (Case, Arc<Ledger>) {
    let (mut case, mut ledger, mut left) = (case, ledger, RUNS);
    loop {
        let mut changed = false;
        for candidate in candidates(&case) {
            if left == 0 {
                return (case, ledger);
            }
            left -= 1;
            let tried = super::play(&candidate, opener);
            if kind(&tried) == kind(&ledger) {
                (case, ledger, changed) = (candidate, tried, true);
                break;
            }
        }
        if !changed {
            return (case, ledger);
        }
    }
}

/// What sort of fault a run found first: its words, without ids and numbers.
fn kind(ledger: &Ledger) -> Option<String> {
    let book = ledger.book();
    let words = book.faults.first()?.split([' ', '`', '"', '#']);
    let plain = |word: &&str| !word.is_empty() && word.chars().all(char::is_alphabetic);
    Some(words.filter(plain).take(4).collect::<Vec<_>>().join(" "))
}

/// Every case that is this one without one thing, the largest things first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for n in 0..case.jobs.len() {
        all.push(without(case, |case| drop(case.jobs.remove(n))));
    }
    if !case.script.is_empty() {
        all.push(without(case, |case| case.script.clear()));
    }
    for n in 0..case.script.len() {
        all.push(without(case, |case| {
            case.script.remove(n);
        }));
    }
    if let Some(again) = &case.again {
        all.push(without(case, |case| case.again = None));
        for n in 0..again.len() {
            all.push(without(case, |case| {
                case.again.as_mut().map(|again| again.remove(n));
            }));
        }
    }
    if case.faults != Faults::default() {
        all.push(without(case, |case| case.faults = Faults::default()));
    }
    for rate in 0..9 {
        if *rates(&mut case.faults.clone())[rate] > 0 {
            all.push(without(case, |case| *rates(&mut case.faults)[rate] = 0));
        }
    }
    if case.workers.len() > 1 {
        all.push(without(case, |case| case.workers.truncate(case.workers.len() - 1)));
    }
    for n in 0..case.jobs.len() {
        for smaller in programs(&case.jobs[n]) {
            all.push(without(case, |case| case.jobs[n] = smaller));
        }
    }
    all
}

fn without(case: &Case, change: impl FnOnce(&mut Case)) -> Case {
    let mut case = case.clone();
    change(&mut case);
    case
}

fn rates(faults: &mut Faults) -> [&mut u64; 9] {
    let Faults { requests, replies, late, revoked, unfit, drift, hints, heartbeats, reads } =
        faults;
    [requests, replies, late, revoked, unfit, drift, hints, heartbeats, reads]
}

/// Every program that is this one without one statement, or with a smaller one.
fn programs(program: &Program) -> Vec<Program> {
    let mut all = Vec::new();
    for n in 0..program.body.len() {
        let mut less = program.clone();
        less.body.remove(n);
        all.push(less);
    }
    for (n, statement) in program.body.iter().enumerate() {
        for smaller in statements(statement) {
            let mut less = program.clone();
            less.body[n] = smaller;
            all.push(less);
        }
    }
    all
}

/// Every list of programs that is this one without one, or with a smaller one. One is left.
fn calls_less(calls: &[Program]) -> Vec<Vec<Program>> {
    let mut all = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        if calls.len() > 1 {
            let mut fewer = calls.to_vec();
            fewer.remove(n);
            all.push(fewer);
        }
        for smaller in programs(call) {
            let mut less = calls.to_vec();
            less[n] = smaller;
            all.push(less);
        }
    }
    all
}

fn statements(statement: &Statement) -> Vec<Statement> {
    match statement {
        Statement::Spawn { set, at, limits, child } => {
            let spawn = |at, limits, child| Statement::Spawn { set: *set, at, limits, child };
            let mut all: Vec<_> =
                programs(child).into_iter().map(|child| spawn(*at, *limits, child)).collect();
            if *at {
                all.push(spawn(false, *limits, child.clone()));
            }
            if *limits != Limits::default() {
                all.push(spawn(*at, Limits::default(), child.clone()));
            }
            all
        }
        Statement::Set { named, policy, growing: true } => {
            vec![Statement::Set { named: *named, policy: *policy, growing: false }]
        }
        Statement::Sibling { at, sibling } => {
            let less = |sibling| Statement::Sibling { at: *at, sibling };
            programs(sibling).into_iter().map(less).collect()
        }
        Statement::Fewer { set, child } => {
            let fewer = |child| Statement::Fewer { set: *set, child };
            programs(child).into_iter().map(fewer).collect()
        }
        Statement::Canvas { set, shape, calls } => {
            let less = calls_less(calls).into_iter();
            less.map(|calls| Statement::Canvas { set: *set, shape: *shape, calls }).collect()
        }
        Statement::Replace(child) => programs(child).into_iter().map(Statement::Replace).collect(),
        Statement::Detach { key, child } => {
            let detach = |child| Statement::Detach { key: *key, child };
            programs(child).into_iter().map(detach).collect()
        }
        Statement::Branches(branches) => {
            calls_less(branches).into_iter().map(Statement::Branches).collect()
        }
        Statement::Wait(wait, ending) => {
            let mut all = Vec::new();
            if ending.timeout.is_some() {
                all.push(Statement::Wait(*wait, Ending { timeout: None, ..*ending }));
            }
            all
        }
        Statement::Select(first, second, ending) => {
            vec![Statement::Wait(*first, *ending), Statement::Wait(*second, *ending)]
        }
        Statement::Step { fails, takes } if *fails > 0 || *takes > 0 => {
            vec![Statement::Step { fails: 0, takes: 0 }]
        }
        _ => Vec::new(),
    }
}
