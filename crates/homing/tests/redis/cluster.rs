//! In a cluster: the store finds the node that has its slot, and follows the slot wherever it goes.

use homing::{StoreError, SubmitError, task};

use super::load::Load;
use super::server::{ALWAYS, Server};
use super::*;

#[task]
async fn note(text: String) -> homing::Result<usize> {
    Ok(text.len())
}

/// The slot of the only lane of a store with the usual prefix.
fn slot_of(url: &str) -> u16 {
    let node = url.strip_prefix("redis-cluster://").unwrap().split(',').next().unwrap();
    let tag = (0..).map(|at| format!("homing:00:{at}"));
    // The first that lies within 16 of the middle.
    tag.map(|tag| {
        let told = super::server::cli(&format!("redis://{node}"), &["CLUSTER", "KEYSLOT", &tag]);
        told.trim_start_matches("(integer) ").parse::<u16>().unwrap()
    })
    .find(|slot| slot.abs_diff(8192) <= 16)
    .unwrap()
}

/// Three primaries, each with a third of the slots, and so many replicas of each.
struct Cluster {
    primaries: Vec<Server>,
    /// Of the first primary, then of the second, and so on.
    replicas: Vec<Server>,
}

impl Cluster {
    async fn start(settings: &[&str], replicas: usize) -> Self {
        let settings = [settings, &["--cluster-node-timeout", "2000"]].concat();
        let node = || Server::node(&settings);
        let primaries: Vec<_> = (0..3).map(|_| node()).collect();
        let each = replicas;
        let replicas: Vec<_> = (0..3 * each).map(|_| node()).collect();
        let cluster = Self { primaries, replicas };
        for (at, (first, last)) in
            [("0", "5460"), ("5461", "10922"), ("10923", "16383")].into_iter().enumerate()
        {
            let node = &cluster.primaries[at];
            assert_eq!(node.cli(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "OK");
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        for node in cluster.nodes().skip(1) {
            let (port, bus) =
                (cluster.primaries[0].port().to_string(), bus_of(&cluster.primaries[0]));
            assert_eq!(node.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]), "OK");
        }
        let many = cluster.nodes().count();
        for node in cluster.nodes() {
            eventually("all nodes know each other", async || {
                let told = node.cli(&["CLUSTER", "INFO"]);
                let says = |line: &str| told.lines().any(|own| own.trim_end() == line);
                says("cluster_state:ok") && says(&format!("cluster_known_nodes:{many}"))
            })
            .await;
        }
        for (at, node) in cluster.replicas.iter().enumerate() {
            let of = id_of(&cluster.primaries[at / each]);
            eventually("it is a replica", async || {
                node.cli(&["CLUSTER", "REPLICATE", &of]) == "OK"
            })
            .await;
            eventually("the replica is there", async || {
                node.cli(&["INFO", "replication"]).contains("master_link_status:up")
            })
            .await;
        }
        cluster
    }

    fn nodes(&self) -> impl Iterator<Item = &Server> {
        self.primaries.iter().chain(&self.replicas)
    }

    fn url(&self, options: &str) -> String {
        let hosts: Vec<_> =
            self.primaries.iter().map(|own| format!("127.0.0.1:{}", own.port())).collect();
        format!("redis-cluster://{}{options}", hosts.join(","))
    }
}

/// An answer between quotes.
fn unquoted(told: &str) -> String {
    told.trim_matches('"').to_owned()
}

fn id_of(node: &Server) -> String {
    unquoted(&node.cli(&["CLUSTER", "MYID"]))
}

/// The port at which other nodes reach it.
fn bus_of(node: &Server) -> String {
    let told = node.cli(&["CONFIG", "GET", "cluster-port"]);
    told.split('"').nth(3).unwrap().to_owned()
}

/// Any node of a cluster leads to all of it, and nodes that are not there are passed over. What one process does, others hear.
#[tokio::test(flavor = "multi_thread")]
async fn one_node_that_answers_is_enough() {
    let cluster = Cluster::start(ALWAYS, 0).await;
    for node in &cluster.primaries {
        let url = format!("redis-cluster://127.0.0.1:1,127.0.0.1:{}/0", node.port());
        let homing = Homing::open(&url).await.unwrap();
        let job = homing.submit(note("found".into())).await.unwrap();
        assert!(homing.task(job.id()).await.is_ok());
    }
    // Two stores, the one of which hears of the other's commits.
    let (own, other) = (cluster.url(""), cluster.url(""));
    let (own, other) = (Homing::open(&own).await.unwrap(), Homing::open(&other).await.unwrap());
    let changed = own.store().hints().changed();
    eventually("a commit of another is heard", async || {
        other.submit(note("heard".into())).await.unwrap();
        // The first change is that it listens.
        *changed.borrow() > 1
    })
    .await;
    let listens = |node: &Server| node.cli(&["PUBSUB", "SHARDCHANNELS"]).contains("hints");
    let listens: Vec<_> = cluster.primaries.iter().map(listens).collect();
    assert_eq!(listens, [false, true, false], "at the node that has the slot");
    let load = Load::on(&cluster.url("")).await;
    load.survived().await;
}

/// A node refuses every script while the slot moves, also if all keys are there that scripts know before: one that met a job
/// that has gone would fail after its first write.
#[tokio::test(flavor = "multi_thread")]
async fn no_script_runs_while_its_slot_moves() {
    let cluster = Cluster::start(ALWAYS, 0).await;
    let url = cluster.url("");
    let homing = Homing::open(&url).await.unwrap();
    homing.submit(note("first".into())).await.unwrap();
    let (from, to) = (&cluster.primaries[1], &cluster.primaries[0]);
    let meta = unquoted(from.cli(&["KEYS", "*:meta"]).trim_start_matches("1) "));
    let lane = meta.strip_suffix("meta").unwrap();
    let sets = "ready timers running leases cascades jobs ids settled retries failed";
    let hashes = "classes workers notices out keys paused kinds fence over";
    for name in sets.split(' ') {
        from.cli(&["ZADD", &format!("{lane}{name}"), "1e300", "nobody's"]);
    }
    for name in hashes.split(' ') {
        from.cli(&["HSET", &format!("{lane}{name}"), "nobody's", "1"]);
    }
    let slot = slot_of(&url).to_string();
    assert_eq!(to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id_of(from)]), "OK");
    assert_eq!(from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id_of(to)]), "OK");
    match homing.submit(note("second".into())).await {
        Err(SubmitError::Store(StoreError::Busy { .. })) => {}
        other => panic!("a script ran while its slot moved: {other:?}"),
    }
    assert_eq!(from.cli(&["CLUSTER", "SETSLOT", &slot, "STABLE"]), "OK");
    homing.submit(note("second".into())).await.unwrap();
}

/// A slot moves key by key to another node and back. Meanwhile scripts are refused whole, and what is read is read where it
/// is; afterwards everything goes on there.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_moves_key_by_key_under_load() {
    let cluster = Cluster::start(ALWAYS, 0).await;
    let url = cluster.url("");
    let slot = slot_of(&url).to_string();
    let load = Load::on(&url).await;
    let other = Homing::open(&url).await.unwrap();
    let kept: Vec<_> = {
        let submit = async |n: usize| other.submit(note(n.to_string())).await.unwrap().id();
        let mut kept = Vec::new();
        for n in 0..20 {
            kept.push(submit(n).await);
        }
        kept
    };
    for (from, to) in [(1, 0), (0, 2), (2, 1)] {
        let (from, to) = (&cluster.primaries[from], &cluster.primaries[to]);
        let state = |what: &str, of: &Server| {
            ["CLUSTER", "SETSLOT", &slot, what, &id_of(of)].map(str::to_owned)
        };
        let run = |node: &Server, words: [String; 5]| {
            let words = words.each_ref().map(String::as_str);
            assert_eq!(node.cli(&words), "OK", "{words:?}");
        };
        run(to, state("IMPORTING", from));
        run(from, state("MIGRATING", to));
        let mut moved = 0;
        loop {
            let some = move_some(from, to, &slot).await;
            moved += some;
            match other.submit(note("refused".into())).await {
                Err(SubmitError::Store(StoreError::Busy { .. })) => {}
                other => panic!("a script ran while its slot moved: {other:?}"),
            }
            for id in &kept {
                assert!(other.task(*id).await.is_ok(), "wherever it is");
            }
            if some == 0 {
                break;
            }
        }
        assert!(moved > 20);
        for node in [to, from, &cluster.primaries[0], &cluster.primaries[1], &cluster.primaries[2]]
        {
            run(node, state("NODE", to));
        }
        load.goes_on().await;
        assert!(other.submit(note("again".into())).await.is_ok());
        assert!(other.check().await.unwrap().is_empty());
    }
    load.survived().await;
}

/// Moves some keys of a slot. Returns how many.
async fn move_some(from: &Server, to: &Server, slot: &str) -> usize {
    let client = redis::Client::open(from.url("")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut ask = redis::cmd("CLUSTER");
    ask.arg("GETKEYSINSLOT").arg(slot).arg(10);
    let keys: Vec<Vec<u8>> = ask.query_async(&mut connection).await.unwrap();
    if keys.is_empty() {
        return 0;
    }
    let mut go = redis::cmd("MIGRATE");
    go.arg("127.0.0.1").arg(to.port()).arg("").arg(0).arg(5000).arg("KEYS").arg(&keys);
    go.exec_async(&mut connection).await.unwrap();
    keys.len()
}

/// With `replicas=1` whatever was acknowledged is on the replica that takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_killed_and_its_replica_takes_over() {
    let mut cluster = Cluster::start(ALWAYS, 1).await;
    let load = Load::on(&cluster.url("?durability=replicas=1")).await;
    load.goes_on().await;
    cluster.primaries[1].kill();
    let replica = &cluster.replicas[1];
    eventually("the replica is the primary", async || {
        replica.cli(&["INFO", "replication"]).contains("role:master")
    })
    .await;
    // The old one comes back and is made a replica; until then nothing is acknowledged.
    cluster.primaries[1].run();
    load.goes_on().await;
    load.goes_on().await;
    let old = cluster.primaries[1].cli(&["INFO", "replication"]);
    assert!(old.contains("role:slave"), "{old}");
    load.survived().await;
}

/// A primary that stands still is left as soon as another node says that its replica has taken over: no verb waits for its
/// answer, which would take half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_stands_still_and_its_replica_takes_over() {
    let cluster = Cluster::start(ALWAYS, 1).await;
    let homing = Homing::open(&cluster.url("")).await.unwrap();
    homing.submit(note("first".into())).await.unwrap();
    eventually("the replica has it", async || {
        cluster.replicas[1].cli(&["KEYS", "{homing:*:ids"]).contains("ids")
    })
    .await;
    cluster.primaries[1].signal("STOP");
    let submitted = tokio::spawn({
        let homing = homing.clone();
        async move {
            let mut told = String::new();
            loop {
                match homing.submit(note("second".into())).await {
                    Ok(job) => return (job.id(), told),
                    Err(SubmitError::Store(error)) if error.is_transient() => {
                        told.push_str(&error.to_string());
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let replica = &cluster.replicas[1];
    eventually("the replica is the primary", async || {
        replica.cli(&["INFO", "replication"]).contains("role:master")
    })
    .await;
    let (id, told) = submitted.await.unwrap();
    assert!(told.contains("another server has taken over"), "{told}");
    assert!(homing.task(id).await.is_ok());
    let key = replica.cli(&["KEYS", "{homing:*:ids"]);
    let key = key.split('"').nth(1).unwrap();
    assert_eq!(replica.cli(&["ZCARD", key]), "(integer) 2");
    cluster.primaries[1].signal("CONT");
    sound(&homing).await;
}

/// What is asked of a server is asked of the node that has the lane; what is wrong is said, without passwords.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    let cluster = Cluster::start(ALWAYS, 0).await;
    let refused = async |url: &str| {
        let error = Homing::open(url).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("secret"), "{text}");
        text
    };
    let url = cluster.url("");
    let homing = Homing::open(&url).await.unwrap();
    let (own, other) = (&cluster.primaries[1], &cluster.primaries[0]);
    assert_eq!(other.cli(&["CONFIG", "SET", "appendfsync", "everysec"]), "OK");
    Homing::open(&url).await.unwrap();
    assert_eq!(own.cli(&["CONFIG", "SET", "appendfsync", "everysec"]), "OK");
    let text = refused(&url).await;
    assert!(text.contains("durability=second"), "{text}");
    let text = refused(&own.url("")).await;
    assert!(text.contains("say `redis-cluster:`"), "{text}");
    // As the guide has them.
    let guide = include_str!("../../../../docs/guides/redis.md");
    let rights = guide.split('`').find(|words| words.starts_with("+@read")).unwrap();
    let rights =
        format!("ACL SETUSER app on >secret -@all {rights} +cluster|slots ~{{homing:* &{{homing:*");
    for node in &cluster.primaries {
        assert_eq!(node.cli(&rights.split_whitespace().collect::<Vec<_>>()), "OK");
    }
    let named = format!("redis-cluster://app:secret@127.0.0.1:{}?durability=second", other.port());
    Homing::open(&named).await.unwrap().submit(note("named".into())).await.unwrap();
    let plain = Server::start(ALWAYS);
    let text = refused(&format!("redis-cluster://127.0.0.1:{}", plain.port())).await;
    assert!(text.contains("say `redis:`"), "{text}");
    let text = refused(&format!("redis-cluster://u:secret@127.0.0.1:{}/1", own.port())).await;
    assert!(text.contains("no database but 0"), "{text}");
    let text = refused(&format!("redis-cluster://u:secret@127.0.0.1:{}", own.port())).await;
    assert!(text.contains("Refused"), "{text}");
    let text = refused("redis-cluster://u:secret@127.0.0.1:1,127.0.0.1:x").await;
    assert!(text.contains("HOST:PORT,HOST:PORT"), "{text}");
    let text = refused("redis-cluster://:secret@127.0.0.1:1,127.0.0.1:2").await;
    assert!(
        text.contains("Unreachable") && text.contains("no node of the cluster answers"),
        "{text}"
    );
    let slot = slot_of(&url);
    let gone = own.cli(&["CLUSTER", "DELSLOTS", &slot.to_string()]);
    assert_eq!(gone, "OK");
    let text = refused(&format!("redis-cluster://127.0.0.1:{}", own.port())).await;
    assert!(text.contains(&format!("serves slot {slot}")), "{text}");
    match homing.submit(note("x".into())).await {
        Err(SubmitError::Store(error)) => assert!(error.is_transient(), "{error}"),
        other => panic!("{other:?}"),
    }
}
