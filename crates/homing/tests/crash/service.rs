//! The process that is killed: this test program again, in one of its roles.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use homing::{AmendError, Homing, JobId, Status};
use serde_json::json;

use super::tasks::{self, Notes, Told, whole_lines};

/// What the environment tells a process to be.
pub(crate) struct Order {
    pub(crate) role: String,
    pub(crate) directory: PathBuf,
    /// Rounds whose script it performs.
    pub(crate) rounds: Vec<u64>,
    pub(crate) lease: Duration,
}

impl Order {
    pub(crate) fn from_environment() -> Option<Self> {
        let role = std::env::var("HOMING_CRASH_ROLE").ok()?;
        let of = |name: &str| std::env::var(format!("HOMING_CRASH_{name}")).unwrap();
        let rounds = of("ROUNDS");
        Some(Self {
            role,
            directory: of("DIRECTORY").into(),
            rounds: rounds.split_whitespace().map(|round| round.parse().unwrap()).collect(),
            lease: Duration::from_millis(of("LEASE").parse().unwrap()),
        })
    }
}

/// How large the trees of a round are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) deep: u64,
    pub(crate) fan: u64,
    pub(crate) crawl: u64,
}

impl Size {
    /// Even rounds are small, odd ones large.
    pub(crate) fn of(round: u64) -> Self {
        if round.is_multiple_of(2) {
            Self { deep: 6, fan: 20, crawl: 1 }
        } else {
            Self { deep: 40, fan: 300, crawl: 3 }
        }
    }

    /// The jobs of a round, with the sum each ends with and the tasks that succeed and are cancelled.
    pub(crate) fn jobs(self) -> [(&'static str, u64, u64, u64); 9] {
        [
            ("deep", self.deep, self.deep + 1, 0),
            ("fan", self.fan * (self.fan - 1) / 2, self.fan + 1, 0),
            ("mixed", 1 + 2 + 3 + 25 + 6 + 1 + 10 + 20, 9, 1),
            ("patient", 11, 1, 0),
            ("broken", 3 + 7, 5, 0),
            ("side", 5, 1, 0),
            ("crawl", tasks::pages(self.crawl), 1 + tasks::pages(self.crawl), 0),
            ("misfit", 3, 1, 0),
            self.paced(),
        ]
    }
}

impl Size {
    /// How many at once, and how many turns of each.
    fn paces(self) -> (u64, u64) {
        if self.fan > 100 { (24, 10) } else { (2, 2) }
    }

    fn paced(self) -> (&'static str, u64, u64, u64) {
        let (paces, turns) = self.paces();
        ("paced", paces * turns * (turns - 1) / 2, 1 + paces * (1 + turns), 0)
    }
}

pub(crate) fn job(round: u64, name: &str) -> JobId {
    JobId::named(&format!("{round} {name}"))
}

/// The store of a world: a file beside its notes, unless it says otherwise.
pub(crate) fn url(directory: &std::path::Path) -> String {
    if let Ok(url) = std::env::var("HOMING_CRASH_URL") {
        return url;
    }
    if let Ok(url) = std::fs::read_to_string(directory.join("url")) {
        return url;
    }
    format!("sqlite:{}", directory.join("jobs.db").display())
}

pub(crate) async fn serve(order: Order) {
    let notes = Notes::in_directory(&order.directory);
    if order.role == "rolling" {
        return roll(&order, &notes).await;
    }
    let homing = Homing::open(&url(&order.directory)).await.unwrap();
    if order.role == "client" {
        return perform(&order, &homing, &notes).await;
    }
    if order.role == "prune" {
        while homing.prune(Duration::ZERO).await.unwrap() > 0 {}
        notes.write("ack", "prune", "", "");
        return;
    }
    let builder = tasks::register(homing.worker(), &notes).lease(order.lease);
    let worker = builder.start().await.unwrap();
    notes.write("serving", worker.id(), "", "");
    if order.role == "worker" {
        std::future::pending::<()>().await;
    }
    perform(&order, &homing, &notes).await;
    // The second heartbeat may be later than the last outcome: it is waited for, to die at it.
    if std::env::var("HOMING_CRASH_AT").is_ok_and(|point| point.starts_with("heartbeat")) {
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    worker.shutdown(Duration::from_secs(30)).await;
}

async fn perform(order: &Order, homing: &Homing, notes: &Notes) {
    // Beside each other: a round may have been killed while it paused the queue of all.
    let rounds = order.rounds.iter().map(|round| async {
        Script::new(homing, notes, *round, &order.directory).perform().await;
    });
    futures_util::future::join_all(rounds).await;
}

/// Works with few slots, which are full for most of the time, until it is told to leave: then at once.
async fn roll(order: &Order, notes: &Notes) {
    let terminate = tokio::signal::unix::SignalKind::terminate();
    let mut terminate = tokio::signal::unix::signal(terminate).unwrap();
    let url = url(&order.directory);
    let start = async || {
        let homing = Homing::open(&url).await.ok()?;
        let builder = tasks::register(homing.worker(), notes).lease(order.lease).concurrency(3);
        builder.start().await.ok()
    };
    let worker = async {
        loop {
            // Its way to the server may be cut just now.
            if let Some(worker) = start().await {
                return worker;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let worker = tokio::select! {
        worker = worker => worker,
        _ = terminate.recv() => return,
    };
    notes.write("serving", worker.id(), "", "");
    terminate.recv().await;
    worker.shutdown(Duration::ZERO).await;
}

/// What a client does in one round. Everything acknowledged is noted, and never done again.
struct Script<'a> {
    homing: &'a Homing,
    notes: &'a Notes,
    round: u64,
    acknowledged: BTreeSet<String>,
}

impl<'a> Script<'a> {
    fn new(homing: &'a Homing, notes: &'a Notes, round: u64, directory: &std::path::Path) -> Self {
        let text = std::fs::read_to_string(directory.join("notes")).unwrap();
        let of = format!("{round}");
        let acks = whole_lines(&text).map(|line| line.split('\t').collect::<Vec<_>>());
        let acks = acks.filter(|line| line[0] == "ack" && line[1] == of);
        let acknowledged = acks.map(|line| line[2].to_owned()).collect();
        Self { homing, notes, round, acknowledged }
    }

    async fn once(&self, name: &str, act: impl Future<Output = String>) {
        if !self.acknowledged.contains(name) {
            let value = act.await;
            self.notes.write("ack", self.round, name, &value);
        }
    }

    fn mended(&self) -> String {
        format!("mended-{}", self.round)
    }

    async fn perform(&self) {
        let (homing, round) = (self.homing, self.round);
        let pause = async { homing.pause("side").await.map(|()| String::new()).unwrap() };
        self.once("pause", pause).await;
        self.submit_all().await;
        let patient = homing.job::<Told>(job(round, "patient"));
        self.once("signal", async {
            patient.signal("go", &11).await.unwrap().is_sent().to_string()
        })
        .await;
        let victim = homing.job::<Told>(job(round, "victim"));
        self.once("cancel", async { victim.cancel().await.unwrap().to_string() }).await;
        while homing.store().sweep(10_000).await.unwrap() {}
        let unpause = async { homing.unpause("side").await.map(|()| String::new()).unwrap() };
        self.once("unpause", unpause).await;
        self.mend().await;
        self.amend().await;
        for (name, ..) in Size::of(round).jobs() {
            let handle = homing.job::<Told>(job(round, name));
            let outcome = async {
                let told = handle.outcome().await.unwrap();
                format!("{} {}", told.sum, told.once)
            };
            self.once(&format!("outcome {name}"), outcome).await;
        }
        homing.job::<Told>(job(round, "victim")).ended().await.unwrap();
    }

    async fn submit_all(&self) {
        let (homing, round) = (self.homing, self.round);
        let Size { deep, fan, crawl } = Size::of(round);
        let id = |name: &str| job(round, name);
        let done = |_| String::new();
        let deep = homing.submit(tasks::deep(deep)).id(id("deep"));
        self.once("submit deep", async { deep.await.map(done).unwrap() }).await;
        let fan = homing.submit(tasks::fan(fan)).id(id("fan"));
        self.once("submit fan", async { fan.await.map(done).unwrap() }).await;
        let mixed = homing.submit(tasks::mixed()).id(id("mixed"));
        self.once("submit mixed", async { mixed.await.map(done).unwrap() }).await;
        let patient = homing.submit(tasks::patient()).id(id("patient"));
        self.once("submit patient", async { patient.await.map(done).unwrap() }).await;
        let victim = homing.submit(tasks::victim()).id(id("victim"));
        self.once("submit victim", async { victim.await.map(done).unwrap() }).await;
        let broken = homing.submit(tasks::broken(self.mended())).id(id("broken"));
        self.once("submit broken", async { broken.await.map(done).unwrap() }).await;
        let (paces, turns) = Size::of(round).paces();
        let job_paced = homing.submit(tasks::paced(paces, turns)).id(id("paced"));
        self.once("submit paced", async { job_paced.await.map(done).unwrap() }).await;
        let side = homing.submit(tasks::leaf(5).queue("side")).id(id("side"));
        self.once("submit side", async { side.await.map(done).unwrap() }).await;
        let crawl = homing.submit(tasks::crawl(crawl)).id(id("crawl"));
        self.once("submit crawl", async { crawl.await.map(done).unwrap() }).await;
        let misfit = homing.submit_named("leaf", &json!({"n": "three"})).id(id("misfit")).force();
        self.once("submit misfit", async { misfit.await.map(|_| String::new()).unwrap() }).await;
    }

    /// Gives the job that stands still arguments that fit. Done by a process that died before it knew, it is not
    /// done again.
    async fn amend(&self) {
        let misfit = self.homing.job::<Told>(job(self.round, "misfit"));
        let amend = async {
            loop {
                match self.homing.amend(misfit.id(), &json!({"n": 3})).await {
                    Ok(()) => return "true".to_owned(),
                    Err(AmendError::Ended { .. }) => return "false".to_owned(),
                    // It has not been tried yet, is being tried again or, amended, is about to end.
                    Err(AmendError::NotStalled { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        self.once("amend misfit", amend).await;
    }

    /// Lets the broken job fail, mends what broke it, and retries it.
    async fn mend(&self) {
        let broken = self.homing.job::<Told>(job(self.round, "broken"));
        let failed = async {
            let status = broken.ended().await.unwrap();
            assert!(matches!(status, Status::Failed), "{status:?}");
            String::new()
        };
        if !self.notes.has(&self.mended()) {
            self.once("failed", failed).await;
            self.notes.raise(&self.mended());
        }
        let retry = async {
            match broken.retry().await {
                Ok(_) => "true".to_owned(),
                Err(homing::RetryError::Open { .. } | homing::RetryError::Succeeded { .. }) => {
                    "false".to_owned()
                }
                Err(other) => panic!("{other}"),
            }
        };
        self.once("retry", retry).await;
    }
}
