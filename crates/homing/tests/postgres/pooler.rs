//! `pgbouncer` between the store and its server, where it is installed. What a pooler that lends connections
//! for one transaction takes away, notifications, `wire` takes away too.

use std::process::{Child, Command, Stdio};

use super::load::Load;
use super::server::{Server, run_as_server};
use super::*;

/// A private pooler; stopped when it is dropped.
struct Pooler {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Pooler {
    /// `None` if none is installed.
    async fn start(server: &Server) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = server::free_port();
        let path = directory.path().join("ini");
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = session\nmax_client_conn = 200\ndefault_pool_size = 30\n",
            server.port()
        );
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new("pgbouncer");
        command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        run_as_server(&mut command, directory.path());
        let process = command.spawn().ok()?;
        eventually("the pooler listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Some(Self { process, port, _directory: directory })
    }

    fn url(&self) -> String {
        format!("postgres://anybody@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_lends_connections_for_a_session() {
    let server = Server::start();
    let Some(pooler) = Pooler::start(&server).await else {
        println!("not tried: there is no pgbouncer");
        return;
    };
    Load::with(&pooler.url(), &server.url("postgres")).await.survived().await;
}
