//! `rediss:`: who is trusted, and that all that the store says to a server goes there encrypted.

use std::fs;
use std::path::PathBuf;

use homing::{OpenError, StoreError, task};

use super::authority;
use super::sentinel::Sentinel;
use super::server::Server;
use super::*;

#[task]
async fn plain(n: u64) -> homing::Result<u64> {
    Ok(n)
}

/// A server with a certificate for `localhost` alone, signed by `ours`.
struct Encrypted {
    server: Server,
    files: tempfile::TempDir,
    port: u16,
}

impl Encrypted {
    /// `clients`: whether a client needs a certificate of its own, `yes` or `no`.
    fn start(clients: &str) -> Self {
        Self::start_as(clients, Server::start)
    }

    fn start_as(clients: &str, start: impl FnOnce(&[&str]) -> Server) -> Self {
        let files = tempfile::tempdir().unwrap();
        authority::write_files(files.path());
        fs::write(files.path().join("empty.crt"), "").unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let path = |name: &str| files.path().join(name).display().to_string();
        let (port_text, server, key, ca) =
            (port.to_string(), path("server.crt"), path("server.key"), path("ours.crt"));
        let settings = [
            ["--tls-port", &port_text],
            ["--tls-cert-file", &server],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &ca],
            ["--tls-auth-clients", clients],
        ];
        Self { server: start(&settings.concat()), files, port }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A URL with options, in which `@name` stands for the path of a file.
    fn url(&self, host: &str, options: &str) -> String {
        let files = format!("={}/", self.files.path().display());
        let options = options.replace("=@", &files);
        format!("rediss://{host}:{}/0?durability=none{options}", self.port)
    }
}

/// What comes of opening a store; nobody waits for what is refused.
async fn opening(url: &str) -> Result<Homing, String> {
    match Homing::open(url).await {
        Ok(homing) => Ok(homing),
        Err(OpenError::Store(error @ StoreError::Untrusted { .. })) => {
            assert!(!error.is_transient(), "{error:?}");
            Err("untrusted".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn the_servers_certificate_is_verified() {
    let server = Encrypted::start("no");
    for (host, options, refusal) in [
        ("localhost", "&sslrootcert=@ours.crt", None),
        ("127.0.0.1", "&sslrootcert=@ours.crt", Some("untrusted")),
        ("localhost", "&sslrootcert=@theirs.crt", Some("untrusted")),
        ("localhost", "&sslrootcert=system", Some("untrusted")),
        ("localhost", "", Some("untrusted")),
        ("localhost", "&sslrootcert=@nowhere.crt", Some("nowhere.crt")),
        ("localhost", "&sslrootcert=@empty.crt", Some("no certificate")),
        ("localhost", "&sslcert=@client.crt", Some("sslkey")),
        ("localhost", "&sslkey=@client.key", Some("sslcert")),
        ("localhost", "&sslcert=@client.crt&sslkey=@ours.crt", Some("sslkey")),
    ] {
        let found = opening(&server.url(host, options)).await.err();
        match (&found, refusal) {
            (None, None) => {}
            (Some(found), Some(part)) if found.contains(part) => {}
            _ => panic!("{host} {options}: {found:?}"),
        }
    }
    let plain = server.url("localhost", "&sslrootcert=@ours.crt").replace("rediss:", "redis:");
    let found = opening(&plain).await.unwrap_err();
    assert!(found.contains("sslrootcert") && found.contains("rediss:"), "{found}");
    let insecure = format!("rediss://localhost:{}/0#insecure", server.port);
    let found = opening(&insecure).await.unwrap_err();
    assert!(found.contains("always verified"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate_where_it_is_asked() {
    let server = Encrypted::start("yes");
    let root = "&sslrootcert=@ours.crt";
    for (own, refused) in [
        ("", true),
        ("&sslcert=@stranger.crt&sslkey=@stranger.key", true),
        ("&sslcert=@client.crt&sslkey=@client.key", false),
    ] {
        let found = opening(&server.url("localhost", &format!("{root}{own}"))).await;
        assert_eq!(
            found.as_ref().err().map(|text| &text[..]),
            refused.then_some("untrusted"),
            "{own}"
        );
    }
    // Verbs, hints and the worker's exchanges.
    let url = server.url("localhost", &format!("{root}&sslcert=@client.crt&sslkey=@client.key"));
    let (client, working) = (Homing::open(&url).await.unwrap(), Homing::open(&url).await.unwrap());
    let worker = working.worker().register(plain).start().await.unwrap();
    assert_eq!(client.submit(plain(7)).await.unwrap().outcome().await.unwrap(), 7);
    sound(&client).await;
    worker.shutdown(Duration::from_secs(5)).await;
    assert!(server.file("client.key").exists());
}

/// All that goes to a cluster is encrypted: the question who has the slot, verbs, hints.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_spoken_to_encrypted() {
    let server = Encrypted::start_as("no", |settings| {
        let named = ["--cluster-announce-hostname", "localhost", "--tls-cluster", "yes"];
        let told_by = ["--cluster-preferred-endpoint-type", "hostname"];
        Server::node(&[settings, &named, &told_by].concat())
    });
    assert_eq!(server.server.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    eventually("the cluster is there", async || {
        server.server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    })
    .await;
    let url =
        |host: &str, options: &str| server.url(host, options).replace("rediss:", "rediss-cluster:");
    let trusted = url("localhost", "&sslrootcert=@ours.crt");
    // The node is asked by another name than its certificate has, by somebody who does not know it.
    for refused in [url("127.0.0.1", "&sslrootcert=@ours.crt"), url("localhost", "")] {
        assert_eq!(opening(&refused).await.unwrap_err(), "untrusted");
    }
    let homing = Homing::open(&trusted).await.unwrap();
    let other = Homing::open(&trusted).await.unwrap();
    let changed = homing.store().hints().changed();
    eventually("a commit of another is heard", async || {
        other.submit(plain(1)).await.unwrap();
        // The first change is that it listens.
        *changed.borrow() > 1
    })
    .await;
    let worker = homing.worker().register(plain).start().await.unwrap();
    assert_eq!(other.submit(plain(7)).await.unwrap().outcome().await.unwrap(), 7);
    worker.shutdown(Duration::from_secs(5)).await;
    sound(&homing).await;
}

/// Sentinels are spoken to encrypted, and so is the primary that they name, by its host.
#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_spoken_to_encrypted() {
    let server = Encrypted::start("no");
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    drop(held);
    let file = |name: &str| server.file(name).display().to_string();
    let sentinel = Sentinel::with(&format!(
        "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no\n\
         tls-replication yes\nsentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
         sentinel monitor mine localhost {} 1",
        file("server.crt"),
        file("server.key"),
        file("ours.crt"),
        server.port
    ));
    eventually("the sentinel is there", async || {
        sentinel.ask("", &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mine"]).contains("localhost")
    })
    .await;
    let url = |host: &str, options: &str| {
        let url = server.url("unused", options);
        let options = url.split_once('?').unwrap().1;
        format!("rediss-sentinel://{host}:{port}/mine/0?{options}")
    };
    for refused in [url("127.0.0.1", "&sslrootcert=@ours.crt"), url("localhost", "")] {
        assert_eq!(opening(&refused).await.unwrap_err(), "untrusted");
    }
    let homing = Homing::open(&url("localhost", "&sslrootcert=@ours.crt")).await.unwrap();
    let worker = homing.worker().register(plain).start().await.unwrap();
    assert_eq!(homing.submit(plain(7)).await.unwrap().outcome().await.unwrap(), 7);
    worker.shutdown(Duration::from_secs(5)).await;
    sound(&homing).await;
}
