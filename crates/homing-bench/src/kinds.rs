//! `kinds`: what registered kinds and served queues cost that have no work. No-ops, drained by a worker that knows few kinds
//! and serves one queue, and by one that knows a thousand kinds more and serves twenty queues.

use homing::task::{Body, Input, Kind, Options, Parameter, StateType};
use homing::{Call, Homing, WorkerBuilder};
use tokio::time::Duration;

use crate::Result;
use crate::place::Fresh;
use crate::report::{Figures, Report};
use crate::rounds::Common;
use crate::tasks::{self, Bench};
use crate::throughput::{beside, drain};

/// Kinds without work.
const KINDS: usize = 1000;
/// Queues that are served; all work is in one of them.
const QUEUES: usize = 20;

/// One of many kinds that differ in their names alone: a macro would write a thousand functions for them.
struct Idle<const N: usize>;

impl<const N: usize> Idle<N> {
    const BYTES: [u8; 8] = {
        let mut name = *b"idle0000";
        let (mut rest, mut place) = (N, name.len());
        while rest > 0 {
            place -= 1;
            name[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        name
    };
}

impl<const N: usize> Kind for Idle<N> {
    const NAME: &'static str = match std::str::from_utf8(&Self::BYTES) {
        Ok(name) => name,
        Err(_) => "idle",
    };
    type Output = ();

    fn options() -> Options {
        Options::default()
    }

    fn states() -> Vec<StateType> {
        Vec::new()
    }

    fn arguments() -> Vec<Parameter> {
        Vec::new()
    }

    fn body(_: Input) -> Body<()> {
        Box::pin(async { Ok(()) })
    }
}

fn call<const N: usize>() -> Call<Idle<N>> {
    Call::build(&[])
}

/// Registers the kinds of these numbers, in each hundred.
macro_rules! register {
    ($worker:expr, $($number:literal)*) => {
        $worker
            $(.register(call::<$number>).register(call::<{ 100 + $number }>)
            .register(call::<{ 200 + $number }>).register(call::<{ 300 + $number }>)
            .register(call::<{ 400 + $number }>).register(call::<{ 500 + $number }>)
            .register(call::<{ 600 + $number }>).register(call::<{ 700 + $number }>)
            .register(call::<{ 800 + $number }>).register(call::<{ 900 + $number }>))*
    };
}

fn with_many(worker: WorkerBuilder) -> WorkerBuilder {
    let queues = (1..QUEUES).map(|n| format!("queue {n:02}")).chain(["default".to_owned()]);
    let worker = worker.queues(queues);
    register!(worker,
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19
        20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39
        40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59
        60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79
        80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 99)
}

pub(crate) async fn run(common: &Common) -> Result<Report> {
    let tasks = common.tasks(100_000, 20_000);
    let report = common
        .report("kinds", Some(tasks), None)
        .setting("concurrency", common.concurrency)
        .setting("kinds", KINDS)
        .setting("queues", QUEUES)
        .note("few_per_second: a worker of this bench's dozen kinds and one queue; per_second: with the many beside them");
    let run = async |fresh: &Fresh| {
        let few = common.store.fresh().await?;
        let few = one(&few, common, tasks, |worker| worker).await?;
        let mut figures = one(fresh, common, tasks, with_many).await?;
        figures.extend(beside(&figures, &few, ["few_per_second", "many_by_few"]));
        Ok(figures)
    };
    common.rounds(report, common.runs(5), run).await
}

async fn one(
    fresh: &Fresh,
    common: &Common,
    tasks: u64,
    with: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
) -> Result<Figures> {
    let homing = Homing::open(fresh.url()).await?;
    let worker = tasks::worker(&homing, &Bench::default(), common.concurrency, common.resident);
    let worker = with(worker).start().await?;
    let figures = drain(&homing, tasks, tasks::WIDTH).await?;
    worker.shutdown(Duration::from_secs(5)).await;
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        assert_eq!(
            [Idle::<0>::NAME, Idle::<7>::NAME, Idle::<999>::NAME],
            ["idle0000", "idle0007", "idle0999"]
        );
    }

    /// They are there, and the work is done beside them.
    #[tokio::test]
    async fn the_many_are_registered() {
        let homing = Homing::open("memory:").await.unwrap();
        let worker =
            with_many(tasks::worker(&homing, &Bench::default(), 4, 0)).start().await.unwrap();
        let known = homing.workers().await.unwrap().remove(0);
        let idle = known.kinds.iter().filter(|kind| kind.starts_with("idle"));
        assert_eq!((idle.count(), known.queues.len()), (KINDS, QUEUES));
        drain(&homing, 10, tasks::WIDTH).await.unwrap();
        worker.shutdown(Duration::from_secs(5)).await;
    }
}
