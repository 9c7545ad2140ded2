//! Behind sentinels: the store finds the primary, follows a failover by itself, and says what a failover has lost.

use std::process::{Child, Command, Stdio};

use homing::{StoreError, task};

use super::asked::Said;
use super::load::Load;
use super::server::{ALWAYS, Server, cli};
use super::*;

#[task]
async fn note(text: String) -> homing::Result<usize> {
    Ok(text.len())
}

/// A sentinel that watches one primary under the name `mine`.
pub(crate) struct Sentinel {
    _directory: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Sentinel {
    fn of(primary: &Server, more: &str) -> Self {
        let watched = format!("sentinel monitor mine 127.0.0.1 {} 2", primary.port());
        Self::with(&format!("{watched}\n{more}"))
    }

    /// With settings, of which one says what it watches.
    pub(crate) fn with(settings: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("homing-sentinel-").tempdir().unwrap();
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = port.local_addr().unwrap().port();
        let file = directory.path().join("sentinel.conf");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n{settings}\n\
             sentinel down-after-milliseconds mine 1000\nsentinel failover-timeout mine 4000\n",
            directory.path().display()
        );
        std::fs::write(&file, settings).unwrap();
        let process = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { _directory: directory, port, process }
    }

    pub(crate) fn ask(&self, password: &str, words: &[&str]) -> String {
        cli(&format!("redis://{password}127.0.0.1:{}/0", self.port), words)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A primary, its replica, and three sentinels that know both and each other.
struct Watched {
    primary: Server,
    replica: Server,
    sentinels: Vec<Sentinel>,
}

impl Watched {
    async fn start(settings: &[&str]) -> Self {
        let primary = Server::start(settings);
        let port = primary.port().to_string();
        let of = ["--replicaof", "127.0.0.1", &port];
        let replica = Server::start(&[settings, &of].concat());
        eventually("the replica is there", async || {
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
        })
        .await;
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::of(&primary, "")).collect();
        eventually("the sentinels know everybody", async || {
            sentinels.iter().all(|own| {
                let told = own.ask("", &["SENTINEL", "MASTER", "mine"]);
                let is = |name: &str, value: &str| {
                    let mut words = told.split('"').skip(1).step_by(2);
                    words.find(|word| *word == name).is_some() && words.next() == Some(value)
                };
                is("num-slaves", "1") && is("num-other-sentinels", "2")
            })
        })
        .await;
        Self { primary, replica, sentinels }
    }

    fn url(&self, options: &str) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|own| format!("127.0.0.1:{}", own.port)).collect();
        format!("redis-sentinel://{}/mine/0{options}", hosts.join(","))
    }

    async fn promoted(&self) {
        eventually("the replica is the primary", async || {
            self.replica.cli(&["INFO", "replication"]).contains("role:master")
        })
        .await;
    }
}

/// With `replicas=1` whatever was acknowledged is on the replica that takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_killed_and_its_replica_takes_over() {
    let mut watched = Watched::start(ALWAYS).await;
    let load = Load::on(&watched.url("?durability=replicas=1")).await;
    load.goes_on().await;
    watched.primary.kill();
    watched.promoted().await;
    // The old one comes back and is made a replica; until then nothing is acknowledged.
    watched.primary.run();
    load.goes_on().await;
    load.goes_on().await;
    assert!(watched.primary.cli(&["INFO", "replication"]).contains("role:slave"));
    load.survived().await;
}

/// A primary that stands still is left as soon as the sentinels say that another has taken over: no verb waits for its
/// answer, which would take half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_stands_still_and_its_replica_takes_over() {
    let watched = Watched::start(ALWAYS).await;
    let homing = Homing::open(&watched.url("")).await.unwrap();
    homing.submit(note("first".into())).await.unwrap();
    watched.primary.signal("STOP");
    let submitted = tokio::spawn({
        let homing = homing.clone();
        async move {
            loop {
                match homing.submit(note("second".into())).await {
                    Ok(job) => return job.id(),
                    Err(error) => assert!(error.to_string().contains("mine"), "{error}"),
                }
            }
        }
    });
    watched.promoted().await;
    let id = submitted.await.unwrap();
    assert!(homing.task(id).await.is_ok());
    let key = watched.replica.cli(&["KEYS", "{homing:*:ids"]);
    let key = key.split('"').nth(1).unwrap();
    assert_eq!(watched.replica.cli(&["ZCARD", key]), "(integer) 2");
    watched.primary.signal("CONT");
    sound(&homing).await;
}

/// A replica that lags takes over: what it had not got is lost, which is said once; work goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stood_still_takes_over() {
    let said = Said::losses();
    said.listen("mine (by sentinels)");
    let mut watched = Watched::start(ALWAYS).await;
    let homing = Homing::open(&watched.url("")).await.unwrap();
    let kept = homing.submit(note("kept".into())).await.unwrap();
    watched.replica.signal("STOP");
    // More than fits on the way to the replica.
    let mut lost = Vec::new();
    for _ in 0..60 {
        lost.push(homing.submit(note("x".repeat(400_000))).await.unwrap());
    }
    watched.primary.kill();
    watched.replica.signal("CONT");
    watched.promoted().await;
    eventually("it goes on", async || homing.submit(note("new".into())).await.is_ok()).await;
    eventually("the loss is said", async || said.count() > 0).await;
    let newest = lost.last().unwrap();
    let error = homing.task(newest.id()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
    let worker = homing.worker().register(note).start().await.unwrap();
    assert_eq!(kept.outcome().await.unwrap(), 4);
    worker.shutdown(Duration::from_secs(10)).await;
    assert_eq!(said.count(), 1);
    sound(&homing).await;
}

/// Server and sentinels have passwords of their own; what is wrong is said, without them.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_names() {
    let primary = Server::start(&[]);
    assert_eq!(primary.cli(&["CONFIG", "SET", "requirepass", "inner-secret"]), "OK");
    let more = "requirepass outer-secret\nsentinel auth-pass mine inner-secret";
    let sentinel = Sentinel::of(&primary, more);
    eventually("the sentinel is there", async || {
        sentinel.ask("default:outer-secret@", &["PING"]).contains("PONG")
    })
    .await;
    let url = |inner: &str, name: &str, options: &str| {
        format!(
            "redis-sentinel://{inner}127.0.0.1:1,127.0.0.1:{}/{name}/0?durability=none{options}",
            sentinel.port
        )
    };
    let refused = async |url: String| {
        let error = Homing::open(&url).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("secret"), "{text}");
        text
    };
    let outer = "&sentinel_password=outer-secret";
    // One sentinel is not there: the other is asked.
    let homing = Homing::open(&url(":inner-secret@", "mine", outer)).await.unwrap();
    homing.submit(note("x".into())).await.unwrap();
    let text = refused(url(":inner-secret@", "mine", "")).await;
    assert!(text.contains("NOAUTH") || text.contains("uthentication"), "{text}");
    let text = refused(url("", "mine", outer)).await;
    assert!(text.contains("NOAUTH") || text.contains("uthentication"), "{text}");
    let text = refused(url(":inner-secret@", "theirs", outer)).await;
    assert!(text.contains("`theirs`") && text.contains("SENTINEL MASTERS"), "{text}");
    let text = refused("redis-sentinel://:secret@127.0.0.1:1".to_owned()).await;
    assert!(text.contains("HOST:PORT,HOST:PORT/NAME/DATABASE"), "{text}");
    let text = refused("redis://127.0.0.1:1/0?sentinel_password=secret".to_owned()).await;
    assert!(text.contains("redis-sentinel:"), "{text}");
    let text = refused("redis-sentinel://127.0.0.1:1/mine/0".to_owned()).await;
    assert!(text.contains("no sentinel names its primary"), "{text}");
}
