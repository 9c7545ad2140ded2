//! The metrics as a real Prometheus reads them: Debian's package, on a port of its own, its files in a directory of its own.
//! It scrapes a site with a token, and answers the queries of the documentation: KEDA's, the dashboard's, the alerts.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homing::{Homing, task};
use homing_web::{Grant, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "scraper-token-0123456789abcdef";
/// Longer than anything takes, however busy the machine is.
const DEADLINE: Duration = Duration::from_mins(2);

#[task(kind = "leaf")]
async fn leaf() -> homing::Result<u64> {
    Ok(1)
}

/// A Prometheus of the test's own; it ends with it.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts one that scrapes a site every second.
    async fn scraping(site: u16, directory: &Path) -> Self {
        let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/grafana/alerts.yml");
        std::fs::copy(alerts, directory.join("alerts.yml")).unwrap();
        std::fs::write(directory.join("token"), TOKEN).unwrap();
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{
                "job_name": "homing",
                "authorization": { "credentials_file": "token" },
                "static_configs": [{ "targets": [format!("127.0.0.1:{site}")] }],
            }],
        });
        // JSON is YAML.
        std::fs::write(directory.join("prometheus.yml"), config.to_string()).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{free}"))
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("no prometheus: install Debian's package of that name, as scripts/test does");
        Self { child, port: free }
    }

    /// What it answers at an address, if it does.
    async fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let request = format!("GET /api/v1{path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// The numbers that a query gives.
    async fn query(&self, query: &str) -> Vec<f64> {
        let mut encoded = String::new();
        for byte in query.bytes() {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        let answer = self.ask(&format!("/query?query={encoded}")).await.expect("it answers");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let series = answer["data"]["result"].as_array().unwrap();
        series.iter().map(|one| one["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Waits until a query gives numbers.
    async fn until(&self, query: &str, wanted: &[f64]) {
        let comes = async {
            while self.ask("/status/runtimeinfo").await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let mut last = self.query(query).await;
            while last != wanted {
                tokio::time::sleep(Duration::from_millis(100)).await;
                last = self.query(query).await;
            }
        };
        assert!(
            tokio::time::timeout(DEADLINE, comes).await.is_ok(),
            "{query} never gave {wanted:?}"
        );
    }
}

/// The query that the guide gives to KEDA.
fn keda() -> String {
    let guide = include_str!("../../../docs/guides/dashboard.md");
    let line = guide.lines().find_map(|line| line.trim().strip_prefix("query: "));
    line.expect("the guide has a query for KEDA").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_reads_the_metrics() {
    let homing = Homing::open("memory:").await.unwrap();
    let options = Options::new().token("scraper", Grant::viewer(), TOKEN).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = listener.local_addr().unwrap().port();
    tokio::spawn(homing_web::serve(homing.clone(), options, listener, std::future::pending()));
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::scraping(site, directory.path()).await;
    prometheus.until("up", &[1.0]).await;
    // Nothing is there: zeros, not no series, which would leave KEDA where it was.
    let keda = keda();
    prometheus.until(&keda, &[0.0]).await;
    for _ in 0..3 {
        homing.submit(leaf()).await.unwrap();
    }
    prometheus.until(&keda, &[3.0]).await;
    prometheus.until("homing_queue_ready{queue=\"default\"}", &[3.0]).await;
    // Nobody serves the queue: two alerts wait to fire, the others do not.
    let pending = "count by (alertname) (ALERTS{alertstate=\"pending\"})";
    prometheus.until(&format!("count({pending})"), &[2.0]).await;
    let alerts = "ALERTS{alertname=~\"HomingQueueIsNotServed|HomingHasNoWorker\"}";
    assert_eq!(prometheus.query(alerts).await, [1.0, 1.0]);
    let worker = homing.worker().name("the runner").concurrency(4).register(leaf);
    let worker = worker.start().await.unwrap();
    prometheus.until("sum(homing_worker_slots)", &[4.0]).await;
    prometheus.until(&keda, &[0.0]).await;
    prometheus.until("count(ALERTS) or vector(0)", &[0.0]).await;
    // Every expression of the dashboard is one that it can work out, and has an answer.
    let dashboard: Value =
        serde_json::from_str(include_str!("../../../docs/grafana/homing.json")).unwrap();
    homing.pause("slow").await.unwrap();
    prometheus.until("homing_queue_paused", &[1.0]).await;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap().replace("$queue", ".*");
            let answer = prometheus.query(&expression).await;
            // A rate takes two scrapes that saw the worker.
            if !expression.contains("rate(") {
                assert!(!answer.is_empty(), "{expression} has no answer");
            }
        }
    }
    let rules = prometheus.ask("/rules").await.unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 5);
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
    worker.shutdown(Duration::ZERO).await;
}
