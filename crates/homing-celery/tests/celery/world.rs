//! Servers, workers and clients of a test: processes of its own, which go with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homing_celery::wire::{Embed, Envelope, Headers, Message, Meta};
use serde_json::json;

/// The versions of Celery that are tested.
pub(crate) const NEWEST: &str = "5.7.0";

/// The Python of a version of Celery.
pub(crate) fn python(version: &str) -> PathBuf {
    let all = std::env::var("HOMING_TEST_CELERY").unwrap_or_else(|_| {
        panic!(
            "HOMING_TEST_CELERY is not set: run `scripts/test celery`, which makes a virtual environment for \
             each version of Celery, or name a directory that has them as in DIRECTORY/5.7.0/bin/python"
        )
    });
    Path::new(&all).join(version).join("bin/python")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Whether it comes up. It is another program, which tells nobody that it is up: it is asked again and again, until
    /// it has ended. The bound is one on hangs, never a measure.
    pub(crate) fn comes_up(&mut self, mut is_up: impl FnMut() -> bool) -> bool {
        for _ in 0..9000 {
            if is_up() {
                return true;
            }
            if self.0.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

/// Where what a program prints goes.
pub(crate) fn log(directory: &Path, name: &str) -> std::fs::File {
    std::fs::File::options().create(true).append(true).open(directory.join(name)).unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Redis server of one's own, its files in a directory of its own.
#[derive(Debug)]
pub(crate) struct Redis {
    directory: tempfile::TempDir,
    port: u16,
    process: Option<Process>,
    /// The application's broker and result backend, where they are others than this server.
    broker: Option<String>,
    results: Option<String>,
    /// Whether the application has quorum queues.
    pub(crate) quorum: bool,
}

impl Redis {
    /// For an application whose broker is RabbitMQ: it keeps results, unless they are sent, and counts.
    pub(crate) fn beside(broker: &str, rpc: bool) -> Self {
        let results = rpc.then(|| "rpc://".to_owned());
        Self { broker: Some(broker.to_owned()), results, ..Self::start() }
    }

    /// For an application whose broker and result backend are others: it counts.
    pub(crate) fn counting(broker: &str, results: &str) -> Self {
        let (broker, results) = (Some(broker.to_owned()), Some(results.to_owned()));
        Self { broker, results, ..Self::start() }
    }

    /// The application's broker.
    pub(crate) fn broker(&self) -> String {
        self.broker.clone().unwrap_or_else(|| self.url())
    }

    /// The application's result backend.
    pub(crate) fn results(&self) -> String {
        self.results.clone().unwrap_or_else(|| self.url())
    }

    pub(crate) fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("homing-celery-").tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut redis =
            Self { directory, port, process: None, broker: None, results: None, quorum: false };
        redis.run();
        redis
    }

    /// Starts it, or starts it again. What it has acknowledged it keeps.
    pub(crate) fn run(&mut self) {
        let log = log(self.directory.path(), "log");
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always", "--port", &self.port.to_string(), "--dir"])
            .arg(self.directory.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut process = Process(process);
        assert!(process.comes_up(|| self.cli(&["PING"]) == "PONG"), "redis-server did not start");
        self.process = Some(process);
    }

    /// As nobody expects it.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let done = Command::new("redis-cli").args(["-p", &port]).args(words).output().unwrap();
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

/// A program of tests/python, on a server.
pub(crate) fn script(version: &str, redis: &Redis, name: &str) -> Command {
    let mut command = Command::new(python(version));
    command.arg(scripts().join(name));
    with(&mut command, redis);
    command
}

/// A module of Python's, on a server.
pub(crate) fn module(version: &str, redis: &Redis, arguments: &[&str]) -> Command {
    let mut command = Command::new(python(version));
    command.arg("-m").args(arguments);
    with(&mut command, redis);
    command
}

fn with(command: &mut Command, redis: &Redis) {
    command.current_dir(scripts()).env("SHOP_REDIS", redis.url());
    command.env("SHOP_BROKER", redis.broker()).env("SHOP_RESULTS", redis.results());
    command.env("SHOP_QUEUE_TYPE", if redis.quorum { "quorum" } else { "classic" });
    // Nothing of Python's in the tree.
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
}

/// A worker of Celery's, once it is there.
pub(crate) fn celery_worker(version: &str, redis: &Redis) -> Process {
    let mut command = Command::new(python(version));
    command.args(["-m", "celery", "-A", "shop", "worker", "-P", "threads", "-c", "4"]);
    command.args(["--without-gossip", "--without-mingle", "-l", "ERROR", "-n", "celery@test"]);
    worker(command, redis)
}

/// A worker of Celery's that a command starts, once it is there.
pub(crate) fn worker(mut command: Command, redis: &Redis) -> Process {
    with(&mut command, redis);
    let log = std::fs::File::create(redis.directory.path().join("celery.log")).unwrap();
    let process = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let mut worker = Process(process);
    // It hears commands once it is up. Where its server is not this one, it is asked by those who need to know.
    let is_up = worker.comes_up(|| {
        redis.broker.is_some()
            || redis.cli(&["PUBSUB", "NUMPAT"]).parse::<u32>().is_ok_and(|number| number > 0)
    });
    assert!(is_up, "Celery's worker did not start:\n{}", celery_log(redis));
    worker
}

pub(crate) fn celery_log(redis: &Redis) -> String {
    std::fs::read_to_string(redis.directory.path().join("celery.log")).unwrap_or_default()
}

impl Redis {
    /// A connection of one's own.
    pub(crate) async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Puts a task's message into a queue, as a Celery client would.
    pub(crate) async fn send(&self, queue: &str, message: &Message) {
        self.push(queue, Envelope::of(message, queue).text().as_bytes()).await;
    }

    pub(crate) async fn push(&self, queue: &str, text: &[u8]) {
        let mut connection = self.connect().await;
        let () =
            redis::cmd("LPUSH").arg(queue).arg(text).query_async(&mut connection).await.unwrap();
    }

    /// Waits for a task's message in a queue, and takes it.
    pub(crate) async fn take(&self, queue: &str) -> Message {
        let connection = self.connect().await;
        let text = until("a message", || {
            let mut connection = connection.clone();
            async move {
                let taken = redis::cmd("RPOP").arg(queue).query_async(&mut connection).await;
                taken.unwrap()
            }
        });
        let text: Vec<u8> = text.await;
        Envelope::read(&text).unwrap().message().unwrap()
    }

    /// A result as Celery's worker stores it, and tells of it or not.
    pub(crate) async fn put(&self, id: &str, text: &str, told: bool) {
        let mut connection = self.connect().await;
        let key = format!("celery-task-meta-{id}");
        let () = redis::cmd("SET").arg(&key).arg(text).query_async(&mut connection).await.unwrap();
        if told {
            let () = redis::cmd("PUBLISH")
                .arg(&key)
                .arg(text)
                .query_async(&mut connection)
                .await
                .unwrap();
        }
    }

    /// Waits for the result of a task that is one for good.
    pub(crate) async fn result(&self, id: &str) -> Meta {
        let key = format!("celery-task-meta-{id}");
        until("a result", || async {
            let mut connection = self.connect().await;
            let text: Option<Vec<u8>> =
                redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
            text.map(|text| Meta::read(&text).unwrap()).filter(|meta| meta.status.is_final())
        })
        .await
    }
}

/// What `look` brings once it brings something. What other programs write to the server nothing here can wait for: it
/// is looked at again and again. The bound is one on hangs, never a measure.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    for _ in 0..3000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain for {what}");
}

/// A task's message with no more than it needs.
pub(crate) fn message(id: &str, task: &str, args: impl Into<Vec<serde_json::Value>>) -> Message {
    let headers = Headers { id: id.to_owned(), task: task.to_owned(), ..Headers::default() };
    let (args, kwargs) = (args.into(), serde_json::Map::new());
    Message { headers, args, kwargs, embed: Embed::default(), priority: 0, reply_to: None }
}

/// A success, as Celery writes it.
pub(crate) fn success(value: &serde_json::Value) -> String {
    json!({"status": "SUCCESS", "result": value, "traceback": null, "children": [], "date_done": "2026-01-31T12:00:00+00:00", "task_id": "x"}).to_string()
}

/// A failure, as Celery writes it.
pub(crate) fn failure(exc_type: &str, text: &str) -> String {
    let result = json!({"exc_type": exc_type, "exc_message": [text], "exc_module": "shop.errors"});
    json!({"status": "FAILURE", "result": result, "traceback": "Traceback: here", "children": [], "date_done": null, "task_id": "x"}).to_string()
}
