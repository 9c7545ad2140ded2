//! A way to the server that is cut: for a while without a word, or in the middle of an answer.
//!
//! Threads, not futures: the tests that use it block their own.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The tag of PostgreSQL's that says that a statement was carried out ends with a zero.
const COMMITTED: &[u8] = b"COMMIT\0";

/// What is done to what passes.
#[derive(Debug, Default)]
struct Ways {
    /// Whether the server is a Redis: each of its answers is to something that is committed.
    is_redis: bool,
    /// Nothing passes, and nobody is told.
    silent: AtomicBool,
    /// Goes up with every cut: connections of before are cut.
    generation: AtomicUsize,
    /// So many answers to what was committed are lost with their connection: the server has carried it out.
    lose_commits: AtomicUsize,
    /// So many answers are cut in their middle, with their connection.
    truncate: AtomicUsize,
    /// What was done so far.
    done: AtomicUsize,
}

impl Ways {
    /// Whether it is this one's turn.
    fn takes(&self, count: &AtomicUsize) -> bool {
        let takes = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if takes.is_ok() {
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        takes.is_ok()
    }
}

/// A port that leads to a server until it is cut.
#[derive(Debug)]
pub(crate) struct Cutter {
    ways: Arc<Ways>,
    begin: SocketAddr,
    over: Arc<AtomicBool>,
    listening: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Cutter {
    /// A way to the server that a URL names, on the loopback.
    pub(crate) fn to(url: &str) -> Self {
        Self::at("127.0.0.1", url).unwrap()
    }

    /// A way that begins at an address of this machine's.
    pub(crate) fn at(address: &str, url: &str) -> std::io::Result<Self> {
        let server = authority_of(url).port();
        let listener = TcpListener::bind((address, 0))?;
        let begin = listener.local_addr()?;
        let ways = Ways { is_redis: url.starts_with("redis:"), ..Ways::default() };
        let (ways, over) = (Arc::new(ways), Arc::new(AtomicBool::new(false)));
        let (shared, end) = (Arc::clone(&ways), Arc::clone(&over));
        let listening = std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                    connect(&client, &server, &shared);
                }
            }
        });
        Ok(Self { ways, begin, over, listening: Mutex::new(Some(listening)) })
    }

    /// The URL, led through here. Without encryption, so that it can be read.
    pub(crate) fn through(&self, url: &str) -> String {
        let led = url.replacen(&authority_of(url).to_string(), &self.begin.to_string(), 1);
        if self.ways.is_redis {
            return led;
        }
        format!("{led}{}sslmode=disable", if led.contains('?') { '&' } else { '?' })
    }

    /// From now on nothing passes, and no connection ends.
    pub(crate) fn silence(&self) {
        self.ways.silent.store(true, Ordering::SeqCst);
        self.ways.done.fetch_add(1, Ordering::SeqCst);
    }

    /// What was held back passes again.
    pub(crate) fn restore(&self) {
        self.ways.silent.store(false, Ordering::SeqCst);
    }

    /// Every connection ends; new ones are welcome.
    pub(crate) fn cut(&self) {
        self.ways.generation.fetch_add(1, Ordering::SeqCst);
        self.ways.done.fetch_add(1, Ordering::SeqCst);
    }

    /// The answers to the next commits are lost.
    pub(crate) fn lose_commits(&self, count: usize) {
        self.ways.lose_commits.store(count, Ordering::SeqCst);
    }

    /// The next answers are cut in their middle.
    pub(crate) fn truncate(&self, count: usize) {
        self.ways.truncate.store(count, Ordering::SeqCst);
    }

    /// How often something was done to what passed.
    pub(crate) fn done(&self) -> usize {
        self.ways.done.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.restore();
        self.cut();
        // So that it stops listening.
        let _ = TcpStream::connect(self.begin);
        if let Some(listening) = self.listening.lock().unwrap().take() {
            let _ = listening.join();
        }
    }
}

/// Where the server is, without who asks.
fn authority_of(url: &str) -> SocketAddr {
    let authority = url.split('/').nth(2).unwrap();
    authority.rsplit('@').next().unwrap().parse().unwrap()
}

fn connect(client: &TcpStream, server: &TcpStream, ways: &Arc<Ways>) {
    for (from, to, is_answer) in [(client, server, false), (server, client, true)] {
        from.set_nodelay(true).unwrap();
        from.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let ways = Arc::clone(ways);
        std::thread::spawn(move || {
            pass(&from, &to, &ways, is_answer);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// Passes bytes in one direction until the connection ends or is cut.
fn pass(mut from: &TcpStream, mut to: &TcpStream, ways: &Ways, is_answer: bool) {
    let generation = ways.generation.load(Ordering::SeqCst);
    let mut buffer = vec![0; 64 * 1024];
    while ways.generation.load(Ordering::SeqCst) == generation {
        if ways.silent.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if is_pause(&error) => continue,
            Err(_) => return,
        };
        // What was on its way when silence fell is held, too.
        while ways.silent.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let bytes = &buffer[..read];
        let is_committed =
            ways.is_redis || bytes.windows(COMMITTED.len()).any(|word| word == COMMITTED);
        if is_answer && is_committed && ways.takes(&ways.lose_commits) {
            return;
        }
        if is_answer && read > 1 && ways.takes(&ways.truncate) {
            let _ = to.write_all(&bytes[..read / 2]);
            return;
        }
        if to.write_all(bytes).is_err() {
            return;
        }
    }
}

fn is_pause(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
