//! TLS to brokers and result backends: who is trusted, and that everything works through it.

use std::process::{Command, Stdio};
use std::time::Duration;

use homing::Homing;
use homing_celery::{Celery, ping};
use lapin::types::AMQPValue;
use serde_json::json;

use crate::amqp::asked;
use crate::rabbit::{Client, Server, there};
use crate::tasks::{self, add, parent};
use crate::world::{NEWEST, Process, Redis, celery_worker, log, script};

/// Certificates: a server's for `localhost`, a client's, and a stranger's.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        crate::authority::write_files(files.path());
        Self(files)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Options of a URL in which `@name` stands for the path of a file.
    fn options(&self, options: &str) -> String {
        options.replace("=@", &format!("={}/", self.0.path().display()))
    }
}

const ROOT: &str = "sslrootcert=@ours.crt";
const OWN: &str = "sslcert=@client.crt&sslkey=@client.key";

/// What must come of each URL: nothing, or a refusal with these words.
async fn only_who_is_trusted(files: &Files, url: impl Fn(&str) -> String) {
    for (host, options, refusal) in [
        ("localhost", format!("{ROOT}&{OWN}"), None),
        ("127.0.0.1", format!("{ROOT}&{OWN}"), Some("certificate")),
        ("localhost", format!("sslrootcert=@theirs.crt&{OWN}"), Some("certificate")),
        ("localhost", OWN.to_owned(), Some("certificate")),
        // Who refuses a client may close before its alert is read: then there is no other word than that.
        ("localhost", ROOT.to_owned(), Some("cannot be reached")),
        (
            "localhost",
            format!("{ROOT}&sslcert=@stranger.crt&sslkey=@stranger.key"),
            Some("cannot be reached"),
        ),
        ("localhost", format!("{ROOT}&sslcert=@client.crt"), Some("`sslkey`")),
        ("localhost", format!("{ROOT}&sslcert=@client.crt&sslkey=@ours.crt"), Some("`sslkey`")),
        ("localhost", "sslrootcert=@nowhere.crt".to_owned(), Some("nowhere.crt")),
    ] {
        let url = format!("{}?{}", url(host), files.options(&options));
        let found = ping(&url, Duration::from_millis(10)).await.map_err(|error| error.to_string());
        match (&found, refusal) {
            (Ok(_), None) => {}
            (Err(found), Some(part)) if found.contains(part) => {}
            _ => panic!("{host} {options}: {found:?}"),
        }
    }
}

/// Celery's own URL, with the names that Celery has for the files, serves the bridge too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_with_tls() {
    let files = Files::new();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let log = log(files.0.path(), "log");
    let server = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--port", "0", "--tls-port"])
        .arg(port.to_string())
        .args(["--tls-cert-file", &files.path("server.crt")])
        .args(["--tls-key-file", &files.path("server.key")])
        .args(["--tls-ca-cert-file", &files.path("ours.crt")])
        .args(["--dir", &files.0.path().display().to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut server = Process(server);
    assert!(server.comes_up(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
    only_who_is_trusted(&files, |host| format!("rediss://{host}:{port}/0")).await;
    let url = format!("rediss://localhost:{port}/0?{}", files.options(
        "ssl_cert_reqs=required&ssl_ca_certs=@ours.crt&ssl_certfile=@client.crt&ssl_keyfile=@client.key",
    ));
    let redis = Redis::counting(&url, &url);
    let _celery = celery_worker(NEWEST, &redis);
    there(&url).await;
    // Both directions, results and the word of them.
    let (homing, _worker, _bridge) =
        tasks::start("memory:", (&url, &url), Duration::from_secs(30)).await;
    assert_eq!(homing.submit(parent(20)).await.unwrap().outcome().await.unwrap(), 2190);
    let mut client = script(NEWEST, &redis, "add.py");
    let done = client.args(["20", "22"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "42", "{done:?}");
    assert_eq!(homing.check().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbit_with_tls() {
    let files = Files::new();
    let server = Server::with(&format!(
        "listeners.ssl.default = 127.0.0.1:PORT\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
        files.path("ours.crt"),
        files.path("server.crt"),
        files.path("server.key"),
    ));
    let client = Client::connect(&server.url()).await;
    let address = |host: &str| format!("amqps://{host}:{}//", server.other_port());
    only_who_is_trusted(&files, address).await;
    let url = format!("{}?{}", address("localhost"), files.options(&format!("{ROOT}&{OWN}")));
    let homing = Homing::open("memory:").await.unwrap();
    homing.worker().register(add).register(parent).start().await.unwrap();
    let bridge = homing.celery(&url).results("rpc://").queue("homing").start().await.unwrap();
    client.declare("client", &[]).await;
    // Its frames come through the same guard.
    let mut odd = asked("odd", 1, 2).header_values();
    odd["tenant"] = json!(0);
    let mut bears = crate::rabbit::properties(&odd).with_reply_to("client".into());
    let mut table = bears.headers().clone().unwrap();
    let mut deep = AMQPValue::Void;
    for _ in 0..150 {
        deep = AMQPValue::FieldArray(vec![deep].into());
    }
    table.insert("tenant".into(), deep);
    bears = bears.with_headers(table);
    client.push("homing", asked("odd", 1, 2).body().to_string().as_bytes(), bears).await;
    let meta = client.result("client", "odd").await;
    assert!(meta.result["exc_message"].to_string().contains("`tenant`"), "{meta:?}");
    client.send("homing", &asked("good", 1, 2)).await;
    assert_eq!(client.result("client", "good").await.result, json!(3));
    // Children in Celery, whose worker uses the other door.
    let redis = Redis::counting(&server.url(), "rpc://");
    let _celery = celery_worker(NEWEST, &redis);
    there(&server.url()).await;
    assert_eq!(homing.submit(parent(20)).await.unwrap().outcome().await.unwrap(), 2190);
    bridge.shutdown(Duration::from_secs(5)).await;
}
