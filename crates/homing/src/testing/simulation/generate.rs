//! From a seed to a case. Pure: the same case from the same seed, everywhere.
//!
//! Trees are small, so that a seed costs little and a failure is short; what matters is how verbs meet.

use super::plan::{
    Case, Crew, Ending, Failing, Faults, Incident, LONGEST, Limits, Program, Shape, Statement,
    Wait, What,
};
use crate::FailurePolicy;
use crate::testing::random::Random;

/// Tasks of a case beyond which nothing more is spawned.
const TASKS: usize = 14;

/// One of so many seeds follows a recipe: chance alone comes to its order of verbs too seldom for a store
/// on which few seeds are run.
const RECIPE: u64 = 25;

/// The seeds, by their rest of seven, in whose cases sets grow.
const GROWING: [u64; 2] = [0, 4];

/// Longer than a run takes, in milliseconds: the default of a worker is of this kind.
const LONG: u64 = 1_000_000_000;

/// The case of a seed.
pub(super) fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    // Neighbouring seeds begin alike otherwise.
    random.next();
    let mut maker = Maker { random, tasks: 0, rough: false };
    maker.rough = maker.random.one_in(2);
    let jobs = 1 + maker.random.below(3);
    let mut jobs: Vec<Program> = (0..jobs).map(|_| maker.program(0)).collect();
    if maker.random.one_in(30) {
        maker.drifts(&mut jobs[0].body);
    }
    if seed % RECIPE == 7 {
        maker.placed(&mut jobs[0].body);
    }
    if GROWING.contains(&(seed % 7)) {
        // By dice of its own: the other seeds are the cases they were before there were such sets.
        let mut maker = Maker { random: Random(!seed), tasks: 0, rough: maker.rough };
        for job in &mut jobs {
            maker.grow(&mut job.body);
        }
    }
    let workers = 1 + maker.random.below(3) as usize;
    let mut workers = (0..workers.max(2)).map(|_| maker.crew()).collect::<Vec<_>>();
    if seed % 3 == 2 {
        // By dice of its own, too.
        let mut random = Random(seed.rotate_left(32));
        for crew in &mut workers {
            crew.resident_age = *random.pick(&[0, 20, 300, 2_000]);
        }
    }
    let incidents = maker.random.below(8);
    let script = (0..incidents).map(|_| maker.incident(workers.len())).collect();
    let again = maker.random.one_in(3).then(|| {
        let incidents = maker.random.below(4);
        (0..incidents).map(|_| maker.incident(workers.len())).collect()
    });
    let faults = maker.faults();
    Case { seed, jobs, workers, script, again, faults }
}

struct Maker {
    random: Random,
    tasks: usize,
    /// Whether bodies may fail for good.
    rough: bool,
}

impl Maker {
    fn program(&mut self, depth: u32) -> Program {
        self.tasks += 1;
        let most = [9, 6, 3][depth.min(2) as usize];
        let statements = 1 + self.random.below(most);
        let mut body = Vec::new();
        if depth < 2 && !self.random.one_in(4) {
            body.push(self.set());
            for _ in 0..self.random.below(4) {
                if self.tasks < TASKS {
                    let (at, limits) = (self.random.one_in(5), self.limits());
                    let child = self.program(depth + 1);
                    body.push(Statement::Spawn { set: Some(0), at, limits, child });
                }
            }
        }
        for _ in 0..statements {
            self.statement(depth, false, &mut body);
        }
        Program { body }
    }

    fn set(&mut self) -> Statement {
        let policy = match self.random.below(7) {
            6 => FailurePolicy::Tolerate { failures: u64::MAX },
            0 => FailurePolicy::Tolerate { failures: self.random.below(3) },
            1 => FailurePolicy::ToleratePercent { percent: 50.0 },
            2 => FailurePolicy::Require { successes: 1 + self.random.below(2) },
            _ => FailurePolicy::FailFast,
        };
        Statement::Set { named: self.random.one_in(3), policy, growing: false }
    }

    fn statement(&mut self, depth: u32, inside: bool, body: &mut Vec<Statement>) {
        let spawns = depth < 2 && self.tasks < TASKS;
        let statement = match self.random.below(28) {
            0..=5 if spawns => self.spawn(depth),
            0..=8 => self.wait(),
            9 | 10 => Statement::Select(self.what(), self.what(), self.ending()),
            11 if !inside => self.branches(depth),
            12 => Statement::Abort(self.number()),
            13 if self.random.one_in(2) => Statement::AbortAll(self.number()),
            13..=16 => Statement::Step { fails: self.few(), takes: self.pause() },
            17 => self.rare(inside),
            18 => Statement::Now,
            19 if spawns && self.random.one_in(2) => {
                let key = self.random.one_in(2).then(|| self.random.below(2) as u8);
                Statement::Detach { key, child: self.program(2) }
            }
            19 | 20 => Statement::Log,
            21 if !inside => Statement::Plain(self.pause()),
            22 => self.set(),
            23 if spawns => self.canvas(depth),
            24 if !inside => Statement::Tell(self.number()),
            25 => Statement::Overdue(self.pause()),
            26 if spawns && !inside && self.random.one_in(3) => {
                Statement::Replace(self.program(depth + 1))
            }
            _ if self.random.one_in(3) => self.fail(),
            _ => Statement::Step { fails: 0, takes: 0 },
        };
        body.push(statement);
    }

    fn rare(&mut self, inside: bool) -> Statement {
        match self.random.below(3) {
            0 => Statement::Progress,
            1 if !inside => Statement::Transaction,
            _ => Statement::Blocking,
        }
    }

    fn spawn(&mut self, depth: u32) -> Statement {
        let set = (!self.random.one_in(4)).then(|| self.number());
        let (at, limits) = (self.random.one_in(4), self.limits());
        Statement::Spawn { set, at, limits, child: self.program(depth + 1) }
    }

    /// Aborts a set in which some have places of their own, and spawns into it again.
    fn placed(&mut self, body: &mut Vec<Statement>) {
        let mut verbs = vec![self.set()];
        for at in [true, self.random.one_in(2)] {
            let child = self.program(2);
            verbs.push(Statement::Spawn { set: Some(0), at, limits: Limits::default(), child });
        }
        verbs.push(Statement::AbortAll(0));
        for at in [false, self.random.one_in(2)] {
            let child = self.program(2);
            verbs.push(Statement::Spawn { set: Some(0), at, limits: Limits::default(), child });
        }
        body.splice(0..0, verbs);
    }

    /// Lets most sets of a body grow, and their children add to them.
    fn grow(&mut self, body: &mut [Statement]) {
        for statement in body {
            match statement {
                Statement::Set { growing, .. } => *growing = !self.random.one_in(4),
                Statement::Spawn { child, .. } => {
                    self.grow(&mut child.body);
                    self.siblings(&mut child.body, 0);
                }
                Statement::Branches(branches) => {
                    for branch in branches {
                        self.grow(&mut branch.body);
                    }
                }
                _ => {}
            }
        }
    }

    fn siblings(&mut self, body: &mut Vec<Statement>, depth: u32) {
        for _ in 0..self.random.below(3) {
            if self.tasks == TASKS {
                return;
            }
            self.tasks += 1;
            let mut sibling = Program::default();
            for _ in 0..self.random.below(3) {
                // Nothing below it: that is what other programs are for.
                self.statement(2, false, &mut sibling.body);
            }
            if depth < 2 {
                self.siblings(&mut sibling.body, depth + 1);
            }
            let at = self.random.below(body.len() as u64 + 1) as usize;
            body.insert(at, Statement::Sibling { at: self.random.one_in(4), sibling });
        }
    }

    fn canvas(&mut self, depth: u32) -> Statement {
        let set = (!self.random.one_in(4)).then(|| self.number());
        let shape = *self.random.pick(&[Shape::Chain, Shape::Chord, Shape::Group, Shape::Link]);
        let calls = 1 + self.random.below(3);
        let calls = (0..calls).map(|_| self.program(depth.max(1) + 1)).collect();
        Statement::Canvas { set, shape, calls }
    }

    fn limits(&mut self) -> Limits {
        let mut limits = Limits::default();
        if !self.random.one_in(4) {
            return limits;
        }
        let mut time = |n| self.random.one_in(n).then(|| 1 + self.random.below(3_000));
        limits.soft_timeout = time(3);
        if self.rough {
            (limits.deadline, limits.expires, limits.timeout) = (time(4), time(4), time(4));
        }
        if self.rough && (limits.timeout.is_some() || self.random.one_in(2)) {
            limits.retries = Some(self.random.below(3) as u32);
        }
        limits.priority = self.random.one_in(3).then(|| self.random.below(3) as i16 - 1);
        limits
    }

    /// A body that spawns one child in its first run only, and has a second run by one failure at least.
    fn drifts(&mut self, body: &mut Vec<Statement>) {
        let at = self.random.below(body.len() as u64 + 1) as usize;
        let child = self.program(2);
        body.insert(at, Statement::Fewer { set: self.number(), child });
        body.insert(0, self.set());
        let at = at + 2 + self.random.below((body.len() - at - 1) as u64) as usize;
        body.insert(at, Statement::Fail { how: Failing::Retried, times: 1 });
    }

    fn branches(&mut self, depth: u32) -> Statement {
        let branches = 2 + self.random.below(2);
        let branches = (0..branches).map(|_| {
            let mut body = Vec::new();
            for _ in 0..=self.random.below(4) {
                self.statement(depth, true, &mut body);
            }
            Program { body }
        });
        Statement::Branches(branches.collect())
    }

    fn wait(&mut self) -> Statement {
        Statement::Wait(self.what(), self.ending())
    }

    fn what(&mut self) -> Wait {
        let number = self.number();
        match self.random.below(18) {
            0..=2 => Wait::Handle(number),
            3 => Wait::Taken(number),
            4..=6 => Wait::Next(number),
            7 => Wait::NextId(number),
            8 | 9 => Wait::All(number),
            10 => Wait::Settled(number),
            11 => Wait::First(number),
            12 => Wait::Some(number, self.random.below(3) as usize),
            13 | 16 => Wait::Signal(self.random.below(3) as u8),
            17 => Wait::Job(number),
            _ => Wait::Sleep(self.pause()),
        }
    }

    fn ending(&mut self) -> Ending {
        let timeout = self.random.one_in(4).then(|| self.pause());
        Ending { timeout, passed_on: self.rough && self.random.one_in(4) }
    }

    fn fail(&mut self) -> Statement {
        let how = match self.random.below(6) {
            0 if self.rough => Failing::Fatal,
            0 | 1 => Failing::After,
            2 => Failing::Panic,
            _ => Failing::Retried,
        };
        Statement::Fail { how, times: 1 + self.random.below(2) as u32 }
    }

    /// Of a set or a handle: mostly one of the first.
    fn number(&mut self) -> usize {
        if self.random.one_in(2) { 0 } else { self.random.below(4) as usize }
    }

    fn few(&mut self) -> u32 {
        if self.random.one_in(6) { 1 + self.random.below(2) as u32 } else { 0 }
    }

    /// Mostly short; now and then longer than a lease.
    fn pause(&mut self) -> u64 {
        match self.random.below(8) {
            0..=2 => 0,
            3 | 4 => self.random.below(20),
            5 | 6 => self.random.below(400),
            _ => self.random.below(LONGEST),
        }
    }

    fn crew(&mut self) -> Crew {
        let slots = *self.random.pick(&[1, 1, 2, 4]);
        let resident = *self.random.pick(&[0, 1, 2, 1_000, 1_000]);
        Crew { slots, resident, resident_age: LONG }
    }

    fn incident(&mut self, workers: usize) -> Incident {
        let worker = self.random.below(workers as u64) as usize;
        let (after, back) = (self.random.below(1_500), self.random.below(1_500));
        let what = match self.random.below(10) {
            0..=2 => What::Kill { worker, told: self.random.one_in(2), back },
            3..=5 => {
                let lasts = self.random.below(5_000);
                What::Freeze { worker, whole: self.random.one_in(2), lasts }
            }
            6..=8 => {
                let patience = if self.random.one_in(2) { 0 } else { self.pause() };
                What::Replace { worker, patience, back }
            }
            _ => What::Cancel(self.random.below(20) as usize),
        };
        Incident { after, what }
    }

    fn faults(&mut self) -> Faults {
        let mut rate = |most: u64| {
            if self.random.one_in(2) { 0 } else { self.random.below(most) }
        };
        let mut faults = Faults {
            requests: rate(150),
            replies: rate(150),
            late: rate(300),
            revoked: rate(100),
            hints: rate(900),
            heartbeats: rate(100),
            ..Faults::default()
        };
        if rate(2) == 1 {
            (faults.unfit, faults.drift, faults.reads) = (rate(60), rate(60), rate(30));
        }
        faults
    }
}
