//! What the URL asks of a server, and what a server is held to.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, Once};

use homing::{OpenError, StoreError, task};

use super::server::{ALWAYS, EVERYSEC, Server};
use super::*;

#[task]
async fn plain(n: u64) -> homing::Result<u64> {
    Ok(n)
}

async fn refusal(url: &str) -> String {
    match Homing::open(url).await {
        Err(OpenError::Store(StoreError::Refused { reason, .. })) => reason,
        other => panic!("{url}: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_as_it_was_installed_is_refused_with_both_ways_out() {
    let server = Server::start(&[]);
    let reason = refusal(&server.url("")).await;
    assert!(reason.contains("lost when it stops"), "{reason}");
    assert!(
        reason.contains("appendfsync always") && reason.contains("durability=none"),
        "{reason}"
    );
    Homing::open(&server.url("?durability=none")).await.unwrap();
    let server = Server::start(EVERYSEC);
    let reason = refusal(&server.url("")).await;
    assert!(reason.contains("last second") && reason.contains("durability=second"), "{reason}");
    Homing::open(&server.url("?durability=second")).await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert!(refusal(&server.url("?durability=none")).await.contains("noeviction"));
}

#[tokio::test]
async fn settings_that_change_are_shown() {
    let server = Server::start(ALWAYS);
    let url = server.url("");
    Homing::open(&url).await.unwrap();
    let shown = || async { Homing::inspect(&url).await.unwrap().durability.unwrap() };
    assert!(shown().await.contains("kept if the server or its machine stops"));
    server.cli(&["CONFIG", "SET", "appendfsync", "everysec"]);
    let said = shown().await;
    assert!(said.contains("less than the URL asks for"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_have_what_is_acknowledged() {
    let server = Server::start(ALWAYS);
    let url = server.url("?durability=replicas=1");
    assert!(refusal(&url).await.contains("0 replicas"));
    let port = server.port().to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    eventually("the replica is there", async || {
        server.cli(&["INFO", "replication"]).contains("connected_slaves:1")
            && replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
    })
    .await;
    assert!(refusal(&replica.url("?durability=none")).await.contains("name the primary"));
    let homing = Homing::open(&url).await.unwrap();
    let job = homing.submit(plain(1)).await.unwrap();
    assert_eq!(replica.cli(&["EXISTS", &key_of_a_job(&replica)]), "(integer) 1", "{job:?}");
    replica.signal("STOP");
    let error = homing.submit(plain(2)).await.unwrap_err();
    assert!(error.to_string().contains("0 of 1 replicas"), "{error}");
    replica.signal("CONT");
    homing.submit(plain(3)).await.unwrap();
}

/// The name of the one job's hash, as `redis-cli` reads it.
fn key_of_a_job(server: &Server) -> String {
    let found = server.cli(&["KEYS", "{homing:*:meta"]);
    found.split('"').nth(1).unwrap().to_owned()
}

/// Commits that the server has forgotten are told of once, loudly.
#[tokio::test]
async fn the_loss_of_acknowledged_commits_is_noticed() {
    let said = Said::losses();
    let mut server = Server::start(&[]);
    said.listen(&format!("127.0.0.1:{}/", server.port()));
    let homing = Homing::open(&server.url("?durability=none")).await.unwrap();
    for n in 0..5 {
        homing.submit(plain(n)).await.unwrap();
    }
    server.kill();
    server.run();
    for n in 0..5 {
        while homing.submit(plain(n)).await.is_err() {}
    }
    eventually("it is said", async || said.count() > 0).await;
    assert_eq!(said.count(), 1);
}

/// What a server keeps is read again at each new connection, while the store is open: less is said, once, as an error.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_change_are_told_of() {
    let said = Said::of("keeps less than it did when the store was opened");
    let server = Server::start(ALWAYS);
    said.listen(&format!("127.0.0.1:{}/", server.port()));
    let homing = Homing::open(&server.url("")).await.unwrap();
    let connect_again = async |n: u64| {
        assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "(integer) 0");
        while homing.submit(plain(n)).await.is_err() {}
    };
    connect_again(0).await;
    assert_eq!(server.cli(&["CONFIG", "SET", "appendfsync", "everysec"]), "OK");
    connect_again(1).await;
    eventually("it is said", async || said.count() > 0).await;
    connect_again(2).await;
    connect_again(3).await;
    assert_eq!(said.count(), 1);
}

/// How often something was said in the program's log, of a server at an address.
#[derive(Debug, Clone)]
pub(crate) struct Said(Arc<Mutex<(usize, String)>>, &'static str);

impl Said {
    pub(crate) fn of(what: &'static str) -> Self {
        Self(Arc::default(), what)
    }

    /// How often a loss was told of.
    pub(crate) fn losses() -> Self {
        Self::of("lost commits that it had acknowledged")
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().0
    }

    /// Listens from here on, to what is said of a store.
    pub(crate) fn listen(&self, store: &str) {
        store.clone_into(&mut self.0.lock().unwrap().1);
        LISTENING.lock().unwrap().push(self.clone());
        BEGIN.call_once(|| tracing::subscriber::set_global_default(Everything).unwrap());
    }

    fn hear(&self, message: &str) {
        let mut said = self.0.lock().unwrap();
        said.0 += usize::from(message.contains(self.1) && message.contains(&said.1));
    }
}

/// Those who listen, in whichever test of this process.
static LISTENING: Mutex<Vec<Said>> = Mutex::new(Vec::new());
static BEGIN: Once = Once::new();

/// Everything that is said, by threads of the stores' own too.
struct Everything;

impl tracing::Subscriber for Everything {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                write!(self.0, "{value:?} ").unwrap();
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        LISTENING.lock().unwrap().iter().for_each(|said| said.hear(&message.0));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
