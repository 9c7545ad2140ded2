//! A port that leads to a server, over which a test does as it likes.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

/// A port on the loopback. Each connection to it is given to `pass` with one to the server's port, and `tricks`.
pub(crate) async fn lead<T, F>(
    server: u16,
    tricks: Arc<T>,
    pass: impl Fn(TcpStream, TcpStream, Arc<T>) -> F + Send + 'static,
) -> u16
where
    T: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
            tokio::spawn(pass(client, server, Arc::clone(&tricks)));
        }
    });
    port
}
