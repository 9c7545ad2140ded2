//! The table of `docs/guides/deploying.md`, row by row: a job of the old release is parked, then a worker of the new
//! one takes over. Each row is one test, of the same name as in the table.

use std::time::Duration;

use homing::{Homing, Status, TaskState, Verdict, task};

#[task]
async fn square(n: u64) -> homing::Result<u64> {
    Ok(n * n)
}

/// What the body of a release is: its arguments and what stands before, and after, the wait for the signal `go`.
macro_rules! release {
    ($name:ident($($parameters:tt)*) { $($before:tt)* } $($after:tt)*) => {
        mod $name {
            use super::square;
            #[allow(unused_imports, reason = "not every release has steps")]
            use homing::{JoinSet, step, task};
            #[task(kind = "order")]
            pub(crate) async fn order($($parameters)*) -> homing::Result<u64> {
                let _unused = (JoinSet::<u64>::new(), square as fn(u64) -> _);
                $($before)*
                homing::signal::<bool>("go").await?;
                $($after)*
            }
        }
    };
}

/// What became of the job: its value, or why it stands still.
#[derive(Debug, PartialEq)]
enum Became {
    GoesOn(String),
    /// And whether `verify` said so before.
    StandsStill(String, bool),
    Waits,
}

/// Runs `$old` until it waits, then `$new` until that ends or stands still. What `verify` says of `$new` before
/// that changes nothing, and is never more than what comes.
macro_rules! deploy {
    ($old:expr => $($new:ident)::+) => {{
        let homing = Homing::open("memory:").await.unwrap();
        let old = homing.worker().register(square).register(release::order);
        let old = old.start().await.unwrap();
        let job = homing.submit($old).await.unwrap();
        old.idle().await;
        assert_eq!(homing.task(job.id()).await.unwrap().state, TaskState::Waiting);
        old.shutdown(Duration::MAX).await;
        let before = homing.task(job.id()).await.unwrap();
        let mut verdicts = Vec::new();
        let dry = homing.worker().register(square).register($($new)::+);
        let replayed = dry.verify(|one| verdicts.push(one.verdict)).await.unwrap();
        assert_eq!(replayed, verdicts.len() as u64);
        assert_eq!(homing.task(job.id()).await.unwrap(), before);
        assert_eq!(homing.workers().await.unwrap(), []);
        let new = homing.worker().register(square).register($($new)::+).start().await.unwrap();
        homing.signal(job.id(), "go", &true).await.unwrap();
        new.idle().await;
        let root = homing.task(job.id()).await.unwrap();
        match root.value {
            Some(value) => {
                assert_eq!(verdicts, [Verdict::GoesOn]);
                assert_eq!(job.status().await.unwrap(), Status::Completed);
                Became::GoesOn(value)
            }
            None if root.stalls > 0 => {
                let reason = root.reason.unwrap_or_default();
                let foreseen = verdicts == [Verdict::StandsStill { reason: reason.clone() }];
                assert!(foreseen || verdicts == [Verdict::GoesOn], "{verdicts:?}, {reason}");
                Became::StandsStill(reason, foreseen)
            }
            None => {
                assert_eq!(verdicts, [], "no task of a kind that this release has");
                Became::Waits
            }
        }
    }};
}

fn goes_on(value: u64) -> Became {
    Became::GoesOn(value.to_string())
}

#[track_caller]
fn assert_stands_still(became: &Became, told: &str) {
    match became {
        Became::StandsStill(reason, foreseen) => {
            assert!(reason.contains(told), "{reason}");
            // A replay ends at the wait: what the body does not come to any more shows when it returns.
            assert_eq!(*foreseen, !told.contains("the body returned"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

// The old release.
release!(release(n: u64) {
    let before = step("before", || async { Ok(n) }).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before + child));

release!(with_option(n: u64, note: Option<String>) {
    let before = step("before", || async { Ok(n) }).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before + child + note.map_or(100, |note| note.len() as u64)));

#[tokio::test]
async fn an_argument_is_added_an_option() {
    assert_eq!(deploy!(release::order(3) => with_option::order), goes_on(112));
}

release!(with_default(n: u64, #[serde(default)] rate: u64) {
    let before = step("before", || async { Ok(n) }).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before + child + rate));

#[tokio::test]
async fn an_argument_is_added_with_serde_default() {
    assert_eq!(deploy!(release::order(3) => with_default::order), goes_on(12));
}

release!(with_another(n: u64, rate: u64) {
    let before = step("before", || async { Ok(n) }).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before + child + rate));

#[tokio::test]
async fn an_argument_is_added() {
    assert_stands_still(
        &deploy!(release::order(3) => with_another::order),
        "the argument `rate` does not decode",
    );
}

release!(renamed_argument(number: u64) {
    let before = step("before", || async { Ok(number) }).await?;
    let child = homing::spawn(square(number)).await?.await?;
} Ok(before + child));

#[tokio::test]
async fn an_argument_is_renamed() {
    let became = deploy!(release::order(3) => renamed_argument::order);
    assert_stands_still(&became, "the argument `number` does not decode");
}

release!(steps_added(n: u64) {
    let first = step("first", || async { Ok(1) }).await?;
    let before = step("before", || async { Ok(n) }).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before + child + first + step("last", || async { Ok(1) }).await?));

#[tokio::test]
async fn a_step_is_added() {
    assert_eq!(deploy!(release::order(3) => steps_added::order), goes_on(14));
}

release!(step_removed(n: u64) {
    let child = homing::spawn(square(n)).await?.await?;
} Ok(child));

#[tokio::test]
async fn a_step_is_removed() {
    let became = deploy!(release::order(3) => step_removed::order);
    assert_stands_still(
        &became,
        "at `step:before#1`: the body returned without coming to what is recorded",
    );
}

release!(step_of_another_type(n: u64) {
    let before: String = step("before", || async { Ok(n.to_string()) }).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before.len() as u64 + child));

#[tokio::test]
async fn a_step_returns_another_type() {
    let became = deploy!(release::order(3) => step_of_another_type::order);
    assert_stands_still(&became, "at `step:before#1`: the step's result does not decode");
    assert_stands_still(&became, "give the new one another name");
}

release!(set_added(n: u64) {
    let mut set = JoinSet::named("more");
    set.spawn(square(1)).await?;
    let before = step("before", || async { Ok(n) }).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before + child + set.join_all().await?[0]));

#[tokio::test]
async fn a_set_is_added() {
    assert_eq!(deploy!(release::order(3) => set_added::order), goes_on(13));
}

release!(other_child(n: u64) {
    let before = step("before", || async { Ok(n) }).await?;
    let child = homing::spawn(square(n + 1)).await?.await?;
} Ok(before + child));

#[tokio::test]
async fn a_child_gets_other_arguments() {
    let became = deploy!(release::order(3) => other_child::order);
    assert_stands_still(
        &became,
        "at `spawn:square[0]`: expected square({\"n\":3}), got square({\"n\":4})",
    );
}

release!(spawn_inserted(n: u64) {
    let before = step("before", || async { Ok(n) }).await?;
    let inserted = homing::spawn(square(0)).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before + child + inserted.await?));

#[tokio::test]
async fn a_spawn_of_a_kind_is_put_before_another() {
    assert_stands_still(
        &deploy!(release::order(3) => spawn_inserted::order),
        "at `spawn:square[0]`: expected",
    );
}

release!(spawn_inserted_at(n: u64) {
    let before = step("before", || async { Ok(n) }).await?;
    let inserted = homing::spawn(square(0).at("inserted")).await?;
    let child = homing::spawn(square(n)).await?.await?;
} Ok(before + child + inserted.await?));

#[tokio::test]
async fn a_spawn_with_a_place_of_its_own_is_put_before_another() {
    assert_eq!(deploy!(release::order(3) => spawn_inserted_at::order), goes_on(12));
}

release!(spawn_removed(n: u64) {
    let before = step("before", || async { Ok(n) }).await?;
} Ok(before));

#[tokio::test]
async fn a_spawn_is_removed() {
    let became = deploy!(release::order(3) => spawn_removed::order);
    assert_stands_still(&became, "the body returned without spawning them, expected 1");
}

#[task(kind = "order")]
async fn purchase(n: u64) -> homing::Result<u64> {
    let before = homing::step("before", || async { Ok(n) }).await?;
    let child = homing::spawn(square(n)).await?.await?;
    homing::signal::<bool>("go").await?;
    Ok(before + child)
}

#[tokio::test]
async fn the_function_is_renamed_with_its_kind_kept() {
    assert_eq!(deploy!(release::order(3) => purchase), goes_on(12));
}

#[task]
async fn bought(n: u64) -> homing::Result<u64> {
    Ok(n)
}

#[tokio::test]
async fn the_function_is_renamed() {
    assert_eq!(deploy!(release::order(3) => bought), Became::Waits);
}

/// The work of a step that is not recorded is not done by `verify`, and errors and panics are told.
#[tokio::test]
async fn verify_does_nothing() {
    mod old {
        #[homing::task(kind = "careful")]
        pub(crate) async fn careful(how: u64) -> homing::Result<u64> {
            Ok(how)
        }
    }
    mod new {
        #[homing::task(kind = "careful")]
        pub(crate) async fn careful(how: u64) -> homing::Result<u64> {
            match how {
                0 => Ok(homing::step("work", || async { panic!("it is not done") }).await?),
                1 => Ok(homing::step_blocking("work", || panic!("it is not done")).await?),
                2 => panic!("it panics"),
                3 => Err(homing::Error::msg("it fails")),
                4 => std::future::pending().await,
                _ => Ok(how),
            }
        }
    }
    let homing = Homing::open("memory:").await.unwrap();
    for how in 0..6 {
        homing.submit(old::careful(how)).title(how.to_string()).await.unwrap();
    }
    let mut told = Vec::new();
    let dry = homing.worker().register(new::careful);
    tokio::time::pause(); // for the body that waits for ever
    dry.verify(|one| told.push(one)).await.unwrap();
    tokio::time::resume();
    let mut verdicts: Vec<(String, Verdict)> = Vec::new();
    for one in told {
        let title = homing.job::<u64>(one.task.job).view().await.unwrap().title.unwrap();
        assert_eq!(one.kind, "careful");
        verdicts.push((title, one.verdict));
    }
    verdicts.sort_by(|a, b| a.0.cmp(&b.0));
    let fails = |message: &str| Verdict::Fails { message: message.to_owned() };
    let wanted = [
        Verdict::GoesOn,
        Verdict::GoesOn,
        fails("it panics"),
        fails("it fails"),
        Verdict::Undecided,
        Verdict::GoesOn,
    ];
    assert_eq!(verdicts.into_iter().map(|(_, verdict)| verdict).collect::<Vec<_>>(), wanted);
}

/// Every open task of a tree is replayed, with its own depth and its whole record; what has ended is not.
#[tokio::test]
async fn verify_goes_down_the_tree() {
    mod old {
        #[homing::task(kind = "node")]
        pub(crate) async fn node(depth: u32) -> homing::Result<u64> {
            homing::step("first", async || Ok(1)).await?;
            homing::step("second", async || Ok(2)).await?;
            if depth < 2 {
                homing::spawn(super::square(1)).await?.await?;
                homing::spawn(node(depth + 1)).await?;
            }
            homing::signal::<bool>("go").await?;
            Ok(0)
        }
    }
    mod new {
        #[homing::task(kind = "node")]
        pub(crate) async fn node(depth: u32) -> homing::Result<u64> {
            homing::progress(1, 2); // nothing new
            homing::step("first", async || Ok(1)).await?;
            homing::step("second", async || Ok(2)).await?;
            let seen = homing::info()?.depth;
            Err(homing::Error::msg(format!("{depth} is {seen}")))
        }
    }
    let homing = Homing::open("memory:").await.unwrap();
    let worker = homing.worker().register(square).register(old::node).start().await.unwrap();
    homing.submit(old::node(0)).await.unwrap();
    worker.idle().await;
    worker.shutdown(Duration::MAX).await;
    let mut told = Vec::new();
    let dry = homing.worker().register(square).register(new::node);
    assert_eq!(dry.verify(|one| told.push(one.verdict)).await.unwrap(), 3);
    let fails = |message: &str| Verdict::Fails { message: message.to_owned() };
    assert_eq!(told, [fails("0 is 0"), fails("1 is 1"), fails("2 is 2")]);
}

/// A member of a growing set may add to it in a replay as it may under a worker.
#[tokio::test]
async fn verify_lets_members_add() {
    #[task]
    async fn page(n: u64) -> homing::Result<u64> {
        if n == 1 {
            homing::spawn_sibling(page(2)).await?;
        }
        homing::signal::<bool>("go").await?;
        Ok(n)
    }
    #[task]
    async fn crawl() -> homing::Result<u64> {
        let mut pages = homing::JoinSet::new().growing();
        pages.spawn(page(1)).await?;
        Ok(pages.join_all().await?.iter().sum())
    }
    let homing = Homing::open("memory:").await.unwrap();
    let worker = homing.worker().register(crawl).register(page).start().await.unwrap();
    homing.submit(crawl()).await.unwrap();
    worker.idle().await;
    worker.shutdown(Duration::MAX).await;
    let mut told = Vec::new();
    let dry = homing.worker().register(crawl).register(page);
    assert_eq!(dry.verify(|one| told.push(one.verdict)).await.unwrap(), 3);
    assert_eq!(told, [Verdict::GoesOn, Verdict::GoesOn, Verdict::GoesOn]);
}

/// A page of the record that the store takes its time for is waited for: behind it is what does not fit.
#[cfg(feature = "testing")]
#[tokio::test]
async fn verify_waits_for_the_store() {
    use homing::testing::Probe;
    use homing::testing::scripted::{Scripted, Turn};
    use std::sync::Arc;
    mod new {
        #[homing::task(kind = "order")]
        pub(crate) async fn order(n: u64) -> homing::Result<u64> {
            Ok(homing::step("before", async || Ok(format!("{n}"))).await?.len() as u64)
        }
    }
    let homing = Homing::open("memory:").await.unwrap();
    let old = homing.worker().register(square).register(release::order).start().await.unwrap();
    homing.submit(release::order(3)).await.unwrap();
    old.idle().await;
    old.shutdown(Duration::MAX).await;
    let probe = Probe::default();
    let script = Scripted::over(Arc::clone(homing.store()), probe.clone());
    // Three reads for how long the record is and what the body returned; the fourth is its first page.
    let turns = [Turn::Passes, Turn::Passes, Turn::Passes, Turn::Waits("page")];
    script.next("record", turns);
    let mut told = Vec::new();
    let dry = Homing::over(script).worker().register(square).register(new::order);
    let open = async {
        probe.hits("record", 4).await;
        probe.open("page");
    };
    let (replayed, ()) = tokio::join!(dry.verify(|one| told.push(one.verdict)), open);
    assert_eq!(replayed.unwrap(), 1);
    let [Verdict::StandsStill { reason }] = &told[..] else { panic!("{told:?}") };
    assert!(reason.contains("`step:before#1`: the step's result does not decode"), "{reason}");
}
