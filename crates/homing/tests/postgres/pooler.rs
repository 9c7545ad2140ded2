//! `pgbouncer` between the store and its server, where it is installed. What a pooler that lends connections
//! for one transaction takes away, notifications, `wire` takes away too.

use super::bouncer::Bouncer;
use super::load::Load;
use super::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_lends_connections_for_a_session() {
    let server = Server::start();
    let Some(pooler) = Bouncer::start(&server, "session") else {
        println!("not tried: there is no pgbouncer");
        return;
    };
    Load::with(&pooler.url(), &server.url("postgres")).await.survived().await;
}
