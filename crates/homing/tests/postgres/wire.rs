//! A way to the server that loses what it is told to lose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// What a wire does to what passes.
#[derive(Debug, Default)]
pub(crate) struct Tricks {
    /// So many answers to a caller's `COMMIT` are lost with their connection.
    pub(crate) lose_commits: AtomicUsize,
    /// So many a caller's `COMMIT` are lost with their connection.
    pub(crate) stop_commits: AtomicUsize,
    /// Notifications are swallowed: as behind a pooler that lends a connection for one transaction.
    pub(crate) swallow: AtomicBool,
    /// `LISTEN` is an error.
    pub(crate) refuse_listen: AtomicBool,
    /// How many were lost.
    pub(crate) lost: AtomicUsize,
}

/// A port that leads to a server.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) tricks: Arc<Tricks>,
    port: u16,
}

impl Wire {
    /// A wire to the server that a URL names, on the loopback.
    pub(crate) async fn to(url: &str) -> Self {
        let tricks = Arc::new(Tricks::default());
        let port = super::port::lead(port_of(url), Arc::clone(&tricks), pass).await;
        Self { tricks, port }
    }

    /// The URL, led through this wire. Without encryption, so that it can be read.
    pub(crate) fn through(&self, url: &str) -> String {
        let led = url.replacen(&format!(":{}/", port_of(url)), &format!(":{}/", self.port), 1);
        super::server::with_option(&led, "sslmode=disable")
    }
}

fn port_of(url: &str) -> u16 {
    let authority = url.split('/').nth(2).unwrap();
    authority.rsplit(':').next().unwrap().parse().unwrap()
}

async fn pass(client: TcpStream, server: TcpStream, tricks: Arc<Tricks>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut = Arc::new(Cut::default());
    let up = tokio::spawn(upwards(from_client, to_server, Arc::clone(&tricks), Arc::clone(&cut)));
    downwards(from_server, to_client, &tricks, &cut).await;
    up.abort();
}

/// Set when the next answer that says `COMMIT` is to be lost.
#[derive(Debug, Default)]
struct Cut {
    armed: AtomicBool,
    now: Notify,
}

/// Passes bytes: what a client sends in one go is never split by us.
async fn upwards(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    tricks: Arc<Tricks>,
    cut: Arc<Cut>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &mut buffer[..count];
        if bytes == b"Q\0\0\0\x0bCOMMIT\0" {
            if take(&tricks.stop_commits) {
                tricks.lost.fetch_add(1, Ordering::SeqCst);
                break;
            }
            if take(&tricks.lose_commits) {
                cut.armed.store(true, Ordering::SeqCst);
            }
        }
        if bytes.starts_with(b"Q")
            && tricks.refuse_listen.load(Ordering::SeqCst)
            && let Some(at) = bytes.windows(7).position(|word| word == b"LISTEN ")
        {
            bytes[at..at + 6].copy_from_slice(b"LIXTEN");
        }
        if to.write_all(bytes).await.is_err() {
            break;
        }
    }
    cut.now.notify_one();
}

fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// Passes messages, one by one.
async fn downwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, tricks: &Tricks, cut: &Cut) {
    loop {
        let message = tokio::select! {
            message = message(&mut from) => message,
            () = cut.now.notified() => return,
        };
        let Some(message) = message else { return };
        if cut.armed.load(Ordering::SeqCst) && message.ends_with(b"COMMIT\0") {
            tricks.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if message[0] == b'A' && tricks.swallow.load(Ordering::SeqCst) {
            continue;
        }
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

async fn message(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[1..5].try_into().ok()?) as usize;
    message.resize(length + 1, 0);
    from.read_exact(&mut message[5..]).await.ok()?;
    Some(message)
}
