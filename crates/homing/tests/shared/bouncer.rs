//! `pgbouncer` before a private server, where it is installed.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::server::{Server, free_port, run_as_server};

/// A private pooler; stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Bouncer {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Bouncer {
    /// One that lends connections for a `session` or a `transaction`; `None` if none is installed.
    pub(crate) fn start(server: &Server, mode: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = directory.path().join("ini");
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\nmax_client_conn = 200\ndefault_pool_size = 30\n",
            server.port()
        );
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new("pgbouncer");
        command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        run_as_server(&mut command, directory.path());
        let process = command.spawn().ok()?;
        let bouncer = Self { process, port, _directory: directory };
        for _ in 0..1500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(bouncer);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the pooler does not listen");
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://anybody@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
