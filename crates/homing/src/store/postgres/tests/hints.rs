//! Hints between processes: heard, coalesced, and not needed.

use super::*;
use crate::core::id::JobId;
use crate::store::Ended;

fn wake(url: &str) -> Wake {
    let options = options(url).unwrap();
    Wake::start(&options, connector(&options), pool(url))
}

/// Waits until a process listens: what it missed so far it takes for anything.
async fn listening(url: &str, wakes: &[&Wake]) {
    let channel = options(url).unwrap().schema.channel();
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%clock_timestamp()%' \
         AND state = 'idle' AND application_name = '{channel}'"
    );
    for _ in 0..1000 {
        if server::psql(&server::common(), &sql) == wakes.len().to_string() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody listens");
}

fn url() -> String {
    let url = common_schema();
    let channel = options(&url).unwrap().schema.channel();
    with_option(&url, &format!("application_name={channel}"))
}

#[tokio::test]
async fn what_one_process_commits_another_hears() {
    let url = url();
    let (here, there) = (wake(&url), wake(&url));
    let elsewhere = wake(&self::url());
    listening(&url, &[&here, &there]).await;
    let mut ended = there.hints().ended();
    let own = here.hints().ended();
    let mut ready = there.hints().ready();
    let other = elsewhere.hints().ended();
    let jobs: Vec<Ended> = (0..3).map(|n| Ended::unknown(JobId::named(&n.to_string()))).collect();
    ready.mark_unchanged();
    here.tell(Announcement { ready: true, ended: jobs.clone(), ..Announcement::default() });
    assert_eq!(&*ended.recv().await.unwrap(), jobs);
    ready.changed().await.unwrap();
    // Its own process heard of it before the server did, and once.
    assert_eq!(own.len(), 1);
    assert!(other.is_empty(), "another schema is another store");
}

#[tokio::test]
async fn more_than_fits_is_anything() {
    let url = url();
    let (here, there) = (wake(&url), wake(&url));
    listening(&url, &[&here, &there]).await;
    let mut changed = there.hints().changed();
    changed.mark_unchanged();
    let ended = (0..100_000).map(|_| Ended::unknown(JobId::fresh())).collect();
    here.tell(Announcement { ended, ..Announcement::default() });
    changed.changed().await.unwrap();
}

#[tokio::test]
async fn what_is_said_while_one_is_on_its_way_shares_the_next() {
    let url = url();
    let (here, there) = (wake(&url), wake(&url));
    listening(&url, &[&here, &there]).await;
    let mut ended = there.hints().ended();
    let jobs: Vec<Ended> = (0..100).map(|_| Ended::unknown(JobId::fresh())).collect();
    for job in &jobs {
        here.tell(Announcement { ended: vec![job.clone()], ..Announcement::default() });
    }
    let (mut heard, mut messages) = (Vec::new(), 0);
    while heard.len() < jobs.len() {
        heard.extend(ended.recv().await.unwrap().iter().cloned());
        messages += 1;
    }
    assert_eq!(heard, jobs);
    assert!(messages <= 2, "{messages} notifications");
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_anything_may_have_happened() {
    let url = url();
    let (here, there) = (wake(&url), wake(&url));
    listening(&url, &[&here, &there]).await;
    let mut changed = there.hints().changed();
    changed.mark_unchanged();
    let channel = options(&url).unwrap().schema.channel();
    server::psql(
        &server::common(),
        &format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{channel}'"
        ),
    );
    changed.changed().await.unwrap();
    listening(&url, &[&here, &there]).await;
    let mut ended = there.hints().ended();
    here.tell(Announcement {
        ended: vec![Ended::unknown(JobId::named("a"))],
        ..Announcement::default()
    });
    ended.recv().await.unwrap();
}

/// As behind a pooler that lends a connection for one transaction: nothing is heard, so it looks.
#[tokio::test]
async fn without_listen_it_looks_as_often_as_asked() {
    let wake = wake(&with_option(&url(), "listen=off&poll=10ms"));
    let mut changed = wake.hints().changed();
    for _ in 0..5 {
        changed.changed().await.unwrap();
    }
}

/// Regression: the pooler lent the connection that listens to whoever told it something, so it heard itself
/// by chance, and looked once a second only.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_that_lends_for_a_transaction_it_looks_as_often_as_asked() {
    let server = Server::start();
    let Some(pooler) = super::bouncer::Bouncer::start(&server, "transaction") else {
        println!("not tried: there is no pgbouncer");
        return;
    };
    let wake = wake(&with_option(&pooler.url(), "poll=10ms"));
    let mut changed = wake.hints().changed();
    // A few may come before it hears anything. The bound is one on hangs.
    let looks = async {
        for _ in 0..100 {
            changed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looks).await.unwrap();
}
