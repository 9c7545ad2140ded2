//! Rows that nobody of this version wrote: a stored value that does not decode harms its own task alone.
//! That one stands still and says why, the audit names it, and it goes on once the row is mended.
#![cfg(all(feature = "testing", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use homing::{Because, Homing, JobFilter, Result, TaskId, TaskState, TaskView, task};

#[cfg(feature = "postgres")]
#[path = "shared/server.rs"]
mod server;

#[cfg(feature = "redis")]
#[path = "shared/redis.rs"]
mod redis_server;

/// A store, and the way past it.
enum Place {
    Sqlite(tempfile::TempDir),
    #[cfg(feature = "postgres")]
    Postgres(String),
    #[cfg(feature = "redis")]
    Redis(String),
}

impl Place {
    fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    #[cfg(feature = "postgres")]
    fn postgres() -> Self {
        Self::Postgres(server::common_schema())
    }

    #[cfg(feature = "redis")]
    fn redis() -> Self {
        Self::Redis(redis_server::common_prefix())
    }

    async fn open(&self) -> Homing {
        let url = match self {
            Self::Sqlite(directory) => format!("sqlite:{}/jobs.db", directory.path().display()),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.clone(),
            #[cfg(feature = "redis")]
            Self::Redis(url) => url.clone(),
        };
        Homing::open(&url).await.unwrap()
    }

    /// Runs a statement that concerns a task: `{open}` is the table that its row moves in, `{job}` and
    /// `{task}` are the two parts of its id.
    fn doctor(&self, task: TaskId, sql: &str) {
        let (job, local) = parts(task);
        match self {
            Self::Sqlite(directory) => {
                let blob = |id: &str| format!("x'{}'", id.replace('-', ""));
                let sql = sql.replace("{open}", "tasks").replace("{tasks}", "tasks");
                let sql = sql.replace("{ended}", "tasks").replace("{records}", "records");
                let sql = sql.replace("{job}", &blob(&job)).replace("{task}", &blob(&local));
                let db = rusqlite::Connection::open(directory.path().join("jobs.db")).unwrap();
                db.busy_timeout(Duration::from_secs(10)).unwrap();
                assert_eq!(db.execute(&sql, ()).unwrap(), 1, "{sql}");
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let schema = url.split("schema=").nth(1).unwrap();
                let mut sql = sql.to_owned();
                for table in ["open", "tasks", "ended", "records"] {
                    sql = sql.replace(&format!("{{{table}}}"), &format!("{schema}.{table}"));
                }
                let sql = sql.replace("{job}", &format!("'{job}'"));
                let sql = sql.replace("{task}", &format!("'{local}'"));
                assert_eq!(server::psql(url, &format!("{sql} RETURNING 1")), "1", "{sql}");
            }
            #[cfg(feature = "redis")]
            Self::Redis(_) => unreachable!("it takes no SQL"),
        }
    }

    /// Runs a statement, or on Redis a script on the field of a task's job that a letter and the task name.
    fn change(&self, task: TaskId, sql: &str, field: (&str, Option<u64>), lua: &str) {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(url) => {
                let (job, local) = parts(task);
                let found = redis_server::cli(url, &["KEYS", &format!("{{{}:*meta", prefix(url))]);
                let lane = found.split('"').nth(1).unwrap().strip_suffix("meta").unwrap();
                let key = format!("x'{}{}", hex(&format!("{lane}j:")), job.replace('-', ""));
                let number = field.1.map_or_else(String::new, |number| format!("{number:016x}"));
                let field = format!("x'{}{}{number}", hex(field.0), local.replace('-', ""));
                let script = format!(
                    "local key, field = KEYS[1], ARGV[1] \
                     local value = redis.call('HGET', key, field) {lua} return 'done'"
                );
                let said = redis_server::cli(url, &["EVAL", &script, "1", &key, &field]);
                assert_eq!(said, "\"done\"", "{script}");
            }
            _ => {
                let _ = (field, lua);
                self.doctor(task, sql);
            }
        }
    }

    fn break_policy(&self, task: TaskId) {
        let sql = "UPDATE {tasks} SET policy = '{' WHERE job = {job} AND local = {task}";
        let lua = "local birth = cmsgpack.unpack(value) birth[8] = '{' \
            redis.call('HSET', key, field, cmsgpack.pack(birth))";
        self.change(task, sql, ("b", None), lua);
    }

    fn mend_policy(&self, task: TaskId) {
        let sql = "UPDATE {tasks} SET policy = NULL WHERE job = {job} AND local = {task}";
        let lua = "local birth = cmsgpack.unpack(value) birth[8] = '' \
            redis.call('HSET', key, field, cmsgpack.pack(birth))";
        self.change(task, sql, ("b", None), lua);
    }

    /// Returns what they were.
    fn break_waits(&self, task: TaskId) -> String {
        let before = self.value(task, "waits");
        self.set_waits(task, &before.replacen(':', ";", 1), BREAK);
        before
    }

    fn mend_waits(&self, task: TaskId, before: &str) {
        self.set_waits(task, before, MEND);
    }

    fn set_waits(&self, task: TaskId, waits: &str, lua: &str) {
        let sql = "UPDATE {open} SET waits = 'WAITS' WHERE job = {job} AND local = {task}";
        self.change(task, &sql.replace("WAITS", waits), ("w", None), lua);
    }

    fn add_broken_entry(&self, task: TaskId, seq: u64) {
        let sql = "INSERT INTO {records} (job, task, seq, place, entry) VALUES ({job}, {task}, SEQ, 'x', '{')";
        let lua = "redis.call('HSET', key, field, '\\147x')";
        self.change(task, &sql.replace("SEQ", &seq.to_string()), ("r", Some(seq)), lua);
    }

    fn remove_broken_entry(&self, task: TaskId, seq: u64) {
        let sql = "DELETE FROM {records} WHERE job = {job} AND task = {task} AND place = 'x'";
        self.change(task, sql, ("r", Some(seq)), "redis.call('HDEL', key, field)");
    }

    fn set_first_entry(&self, task: TaskId, entry: &str, lua: &str) {
        let sql =
            "UPDATE {records} SET entry = 'ENTRY' WHERE job = {job} AND task = {task} AND seq = 1";
        self.change(task, &sql.replace("ENTRY", entry), ("r", Some(1)), lua);
    }

    fn break_outcome(&self, task: TaskId) {
        let sql = "UPDATE {ended} SET outcome = '{' WHERE job = {job} AND local = {task}";
        let lua = "local row = { cmsgpack.unpack(value) } row[11] = 'j{' \
            redis.call('HSET', key, field, cmsgpack.pack(unpack(row)))";
        self.change(task, sql, ("o", None), lua);
    }

    /// A value of a task's row.
    fn value(&self, task: TaskId, column: &str) -> String {
        let (job, local) = parts(task);
        match self {
            Self::Sqlite(directory) => {
                let blob = |id: &str| format!("x'{}'", id.replace('-', ""));
                let db = rusqlite::Connection::open(directory.path().join("jobs.db")).unwrap();
                let (job, local) = (blob(&job), blob(&local));
                let sql =
                    format!("SELECT {column} FROM tasks WHERE job = {job} AND local = {local}");
                db.query_row(&sql, (), |row| row.get(0)).unwrap()
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let schema = url.split("schema=").nth(1).unwrap();
                let of = format!("job = '{job}' AND local = '{local}'");
                server::psql(url, &format!("SELECT {column} FROM {schema}.open WHERE {of}"))
            }
            // The job keeps it beside the broken one.
            #[cfg(feature = "redis")]
            Self::Redis(_) => String::new(),
        }
    }
}

/// On Redis: the value is kept, and one that does not decode takes its place.
const BREAK: &str = "redis.call('HSET', key, 'zz', value) redis.call('HSET', key, field, string.sub(value, 1, -12))";
/// It is put back.
const MEND: &str = "redis.call('HSET', key, field, redis.call('HGET', key, 'zz')) \
    redis.call('HDEL', key, 'zz')";

/// The two parts of a task's id.
fn parts(task: TaskId) -> (String, String) {
    let id = task.to_string();
    let (job, local) = id.split_once('.').unwrap_or((&id, "00000000-0000-0000-0000-000000000000"));
    (job.to_owned(), local.to_owned())
}

#[cfg(feature = "redis")]
fn hex(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

#[cfg(feature = "redis")]
fn prefix(url: &str) -> &str {
    url.split("prefix=").nth(1).unwrap().split('&').next().unwrap()
}

#[cfg(any(feature = "postgres", feature = "redis"))]
impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Self::Sqlite(_) => {}
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => server::drop_schema(url),
            #[cfg(feature = "redis")]
            Self::Redis(url) => redis_server::forget(url),
        }
    }
}

/// One test for each store that keeps rows.
macro_rules! on_all {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Place::sqlite()).await;
            })+
        }
        #[cfg(feature = "postgres")]
        mod on_postgres {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Place::postgres()).await;
            })+
        }
        #[cfg(feature = "redis")]
        mod on_redis {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Place::redis()).await;
            })+
        }
    };
}

on_all!(a_policy, waits, a_recorded_answer, an_entry_of_a_record, an_outcome);

#[task]
async fn plain(n: u64) -> Result<u64> {
    Ok(n)
}

#[task]
async fn child() -> Result<u64> {
    Ok(homing::signal("go").await?)
}

#[task]
async fn parent() -> Result<u64> {
    Ok(homing::spawn(child()).await?.await?)
}

#[task]
async fn stepping() -> Result<u64> {
    let n = homing::step("one", async || Ok(1)).await?;
    let more: u64 = homing::signal("go").await?;
    Ok(n + more)
}

#[task(retries = 0)]
async fn failing() -> Result<()> {
    Err(homing::Error::msg("out of luck"))
}

/// A bound on hangs, never a measure.
async fn observe(homing: &Homing, task: TaskId, wanted: impl Fn(&TaskView) -> bool) -> TaskView {
    for _ in 0..3000 {
        let view = homing.task(task).await.unwrap();
        if wanted(&view) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {:#?}", homing.task(task).await)
}

/// A task stands still and says what is wrong, and nobody else is harmed.
async fn stands_still(homing: &Homing, task: TaskId, what: &str) {
    observe(homing, task, |view| view.state == TaskState::Pending && view.stalls > 0).await;
    let other = homing.submit(plain(7)).await.unwrap();
    let other = tokio::time::timeout(Duration::from_secs(30), other.outcome()).await;
    assert_eq!(other.unwrap().unwrap(), 7, "another job was harmed");
    let why = homing.why(task).await.unwrap();
    let Some(Because::Drift { reason, .. }) = why.because.first() else { panic!("{why:#?}") };
    assert!(reason.contains(&task.to_string()) && reason.contains(what), "{reason}");
    let breaches = homing.check().await.unwrap();
    assert!(
        breaches.iter().any(|breach| breach.task == task && breach.what.contains(what)),
        "{breaches:#?}"
    );
}

async fn is_sound(homing: &Homing) {
    let breaches = homing.check().await.unwrap();
    assert!(breaches.is_empty(), "{breaches:#?}");
}

async fn a_policy(place: Place) {
    let homing = place.open().await;
    let job = homing.submit(plain(1)).await.unwrap();
    let root = TaskId::from(job.id());
    place.break_policy(root);
    homing.worker().register(plain).start().await.unwrap();
    stands_still(&homing, root, "its policy").await;
    place.mend_policy(root);
    assert_eq!(job.outcome().await.unwrap(), 1);
    is_sound(&homing).await;
}

/// A parent that is parked on its child, and that child, which waits to be let go.
async fn parked(homing: &Homing) -> (homing::JobHandle<u64>, TaskId, TaskId, homing::Worker) {
    let worker = homing.worker().register(parent).register(child).register(plain);
    let worker = worker.start().await.unwrap();
    let job = homing.submit(parent()).await.unwrap();
    let root = TaskId::from(job.id());
    observe(homing, root, |view| view.state == TaskState::Waiting).await;
    let (children, _) = homing.children(root, homing::Cursor::default(), 0).await.unwrap();
    let child = children[0].id;
    observe(homing, child, |view| view.state == TaskState::Waiting).await;
    (job, root, child, worker)
}

async fn waits(place: Place) {
    let homing = place.open().await;
    let (job, root, child, _worker) = parked(&homing).await;
    let before = place.break_waits(root);
    let view = homing.task(root).await.unwrap();
    assert!(view.reason.is_some_and(|reason| reason.contains("its waits")), "it is shown");
    assert_eq!(homing.jobs(JobFilter::default()).await.unwrap().len(), 1);
    homing.signal(child, "go", &5).await.unwrap();
    observe(&homing, child, |view| view.state == TaskState::Succeeded).await;
    stands_still(&homing, root, "its waits").await;
    place.mend_waits(root, &before);
    assert_eq!(job.outcome().await.unwrap(), 5);
    is_sound(&homing).await;
}

async fn a_recorded_answer(place: Place) {
    let homing = place.open().await;
    let (job, root, child, worker) = parked(&homing).await;
    let seq = homing.task(root).await.unwrap().waits[0].seq;
    place.add_broken_entry(root, seq);
    // The child ends under a worker that cannot resume the parent; the one that can finds it woken.
    worker.shutdown(Duration::ZERO).await;
    let other = homing.worker().register(self::child).register(plain).start().await.unwrap();
    homing.signal(child, "go", &5).await.unwrap();
    observe(&homing, root, |view| view.state == TaskState::Pending).await;
    other.shutdown(Duration::ZERO).await;
    homing.worker().register(parent).register(plain).start().await.unwrap();
    stands_still(&homing, root, &format!("entry {seq} of its record")).await;
    place.remove_broken_entry(root, seq);
    assert_eq!(job.outcome().await.unwrap(), 5);
    is_sound(&homing).await;
}

async fn an_entry_of_a_record(place: Place) {
    let homing = place.open().await;
    let start = || homing.worker().register(stepping).register(plain).resident(0).start();
    start().await.unwrap();
    let job = homing.submit(stepping()).await.unwrap();
    let root = TaskId::from(job.id());
    observe(&homing, root, |view| view.state == TaskState::Waiting).await;
    place.set_first_entry(root, r#"{"value":1"#, BREAK);
    job.signal("go", &2).await.unwrap();
    observe(&homing, root, |view| view.stalls > 0).await;
    let why = homing.why(root).await.unwrap();
    let Some(Because::Drift { reason, .. }) = why.because.first() else { panic!("{why:#?}") };
    let named = format!("entry 1 of the record of task {root}");
    assert!(reason.contains(&named), "{reason}");
    let other = homing.submit(plain(7)).await.unwrap();
    assert_eq!(other.outcome().await.unwrap(), 7);
    place.set_first_entry(root, r#"{"value":"1"}"#, MEND);
    assert_eq!(job.outcome().await.unwrap(), 3);
    is_sound(&homing).await;
}

async fn an_outcome(place: Place) {
    let homing = place.open().await;
    homing.worker().register(failing).start().await.unwrap();
    let job = homing.submit(failing()).await.unwrap();
    job.outcome().await.unwrap_err();
    let root = TaskId::from(job.id());
    place.break_outcome(root);
    let view = homing.task(root).await.unwrap();
    let failure = view.failure.unwrap();
    assert!(failure.message.contains("does not decode"), "{failure}");
    let jobs = homing.jobs(JobFilter::default()).await.unwrap();
    assert!(jobs[0].failure.as_ref().unwrap().message.contains("does not decode"), "{jobs:#?}");
    is_sound(&homing).await;
}

/// An answer whose place PostgreSQL cannot hold once made every claim of the lane fail, for ever.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_place_with_a_zero_byte() {
    let place = Place::postgres();
    let homing = place.open().await;
    let (job, root, child, _worker) = parked(&homing).await;
    let before = place.value(root, "waits");
    let set = "UPDATE {open} SET waits = 'WAITS' WHERE job = {job} AND local = {task}";
    let broken = before.replacen(r#""place":""#, r#""place":"\u0000"#, 1);
    assert_ne!(before, broken);
    place.doctor(root, &set.replace("WAITS", &broken));
    homing.signal(child, "go", &5).await.unwrap();
    observe(&homing, root, |view| view.stalls > 0).await;
    let other = homing.submit(plain(7)).await.unwrap();
    assert_eq!(other.outcome().await.unwrap(), 7);
    let why = homing.why(root).await.unwrap();
    let Some(Because::Drift { reason, .. }) = why.because.first() else { panic!("{why:#?}") };
    assert!(reason.contains("zero byte"), "{reason}");
    place.doctor(root, &set.replace("WAITS", &before));
    assert_eq!(job.outcome().await.unwrap(), 5);
    is_sound(&homing).await;
}
