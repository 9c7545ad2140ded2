//! The way to a server that others name, while they change their minds.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::connect::Link;
use super::options::Options;
use crate::clock::{Clock, ManualClock};
use crate::store::url::Url;

/// What a server says to the words of a command, as it is sent.
type Answers = Arc<dyn Fn(&[String]) -> String + Send + Sync>;

/// A server on the loopback, as long as the test runs.
fn serve(answers: Answers) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || converse(client, &answers));
        }
    });
    port
}

fn converse(mut client: TcpStream, answers: &Answers) {
    let mut asked = BufReader::new(client.try_clone().unwrap());
    while let Some(words) = command(&mut asked) {
        if client.write_all(answers(&words).as_bytes()).is_err() {
            return;
        }
    }
}

/// The next command: a list of texts, each behind its length.
fn command(asked: &mut impl BufRead) -> Option<Vec<String>> {
    let mut line = || {
        let mut line = String::new();
        (asked.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let count: usize = line()?.strip_prefix('*')?.parse().ok()?;
    (0..count).map(|_| line().and_then(|_| line())).collect()
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A primary, which says who it is. It greets nobody before it may.
fn server(name: &'static str, greets: Option<(Sender<()>, Receiver<()>)>) -> u16 {
    let greets = greets.map(Mutex::new);
    serve(Arc::new(move |words| match words[0].as_str() {
        "INFO" => bulk("role:master\r\n"),
        "WHO" => bulk(name),
        _ => {
            if let Some(greets) = &greets {
                let (asked, may) = &*greets.lock().unwrap();
                let _ = asked.send(());
                // Whoever has heard once that it may hears that the sender is gone from then on.
                let _ = may.recv();
            }
            "+OK\r\n".to_owned()
        }
    }))
}

/// The old primary takes writes for a while after another has taken over, which are lost: a connection to it that was begun
/// before, and is there after, carries none.
#[tokio::test]
async fn a_connection_begun_before_a_failover_is_not_used_after_it() {
    let ((asked, is_asked), (let_go, may)) = (channel(), channel());
    let (old, new) = (server("old", Some((asked, may))), server("new", None));
    let primary = Arc::new(AtomicU16::new(old));
    let told = Arc::clone(&primary);
    let sentinel = serve(Arc::new(move |words| match words[0].as_str() {
        "SENTINEL" => {
            let port = told.load(Ordering::SeqCst).to_string();
            format!("*2\r\n{}{}", bulk("127.0.0.1"), bulk(&port))
        }
        _ => "+OK\r\n".to_owned(),
    }));
    let url = format!("redis-sentinel://127.0.0.1:{sentinel}/mine/0?durability=none");
    let options = Options::of(&Url::parse(&url).unwrap()).unwrap();
    let link = Arc::new(Link::new(options, Clock::Manual(ManualClock::default())).unwrap());
    let own = Arc::clone(&link);
    let connecting = tokio::spawn(async move { own.connection().await });

    tokio::task::spawn_blocking(move || is_asked.recv().unwrap()).await.unwrap();
    primary.store(new, Ordering::SeqCst);
    link.moved(&format!("127.0.0.1:{new}"));
    drop(let_go);
    let mut connection = connecting.await.unwrap().unwrap();
    let who: String = redis::cmd("WHO").query_async(&mut connection).await.unwrap();
    assert_eq!(who, "new");
    let mut again = link.connection().await.unwrap();
    let who: String = redis::cmd("WHO").query_async(&mut again).await.unwrap();
    assert_eq!(who, "new");
}
