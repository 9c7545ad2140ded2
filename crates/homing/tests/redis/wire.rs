//! A way to the server that loses replies and delivers requests late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What a wire does to what passes.
#[derive(Debug, Default)]
pub(crate) struct Tricks {
    /// Every other reply to a script is lost with its connection.
    pub(crate) lose_every_other: AtomicBool,
    /// So many requests that run scripts are held: their callers lose the connection, the server gets them later.
    pub(crate) hold: AtomicUsize,
    /// Lets what is held go.
    pub(crate) deliver: Notify,
    /// Replies seen while they may be lost, and those that were.
    seen: AtomicUsize,
    pub(crate) lost: AtomicUsize,
    /// Requests that were delivered late.
    pub(crate) late: AtomicUsize,
}

/// A port that leads to a server.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) tricks: Arc<Tricks>,
    pub(crate) port: u16,
}

impl Wire {
    pub(crate) async fn to(server: u16) -> Self {
        let tricks = Arc::new(Tricks::default());
        let port = super::port::lead(server, Arc::clone(&tricks), pass).await;
        Self { tricks, port }
    }
}

/// Passes bytes both ways until one of them ends, or a trick ends them.
async fn pass(mut client: TcpStream, mut server: TcpStream, tricks: Arc<Tricks>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut up, mut down) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    // Whether the answer to come is a script's.
    let mut runs = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let bytes = &up[..count];
                runs = bytes.windows(7).any(|word| word == b"EVALSHA");
                let held = runs && tricks.hold.fetch_update(
                    Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1),
                ).is_ok();
                if held {
                    let deliver = tricks.deliver.notified();
                    drop(client);
                    deliver.await;
                    if server.write_all(bytes).await.is_ok() {
                        let _ = server.read(&mut down).await;
                    }
                    tricks.late.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if runs && tricks.lose_every_other.load(Ordering::SeqCst) {
                    runs = false;
                    if tricks.seen.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                        tricks.lost.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
                if client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
