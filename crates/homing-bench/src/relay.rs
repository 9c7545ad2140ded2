//! A way to a PostgreSQL server that counts what passes: statements, and round trips.
//!
//! It reads the kinds of messages and nothing of what they say. A round trip begins with what a client
//! sends when everything it had sent before has been answered; whether it waits for the answer, nobody can
//! see from here. Making a connection is not counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Result;

/// A port of the loopback that leads to a server until it is dropped; connections that are made stay.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

/// What has passed, over all connections.
#[derive(Debug, Default)]
struct Counts {
    statements: AtomicU64,
    round_trips: AtomicU64,
}

impl Relay {
    /// A relay to a server without encryption.
    pub(crate) async fn to(host: &str, port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (server, counts) = ((host.to_owned(), port), Arc::<Counts>::default());
        let (port, seen) = (listener.local_addr()?.port(), Arc::clone(&counts));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, counts) = (server.clone(), Arc::clone(&seen));
                // Whatever breaks, both sides see: their connection ends.
                tokio::spawn(async move { pass(client, server, &counts).await });
            }
        });
        Ok(Self { port, counts, accepting })
    }

    /// Statements and round trips so far.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (of(&self.counts.statements), of(&self.counts.round_trips))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, server: (String, u16), counts: &Counts) -> Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let talk = Mutex::new(Talk::default());
    let talk = || talk.lock().unwrap_or_else(PoisonError::into_inner);
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    // A client's first message has no kind.
    let (mut asked, mut answered) = (Kinds::headless(), Kinds::default());
    let up = carry(from_client, to_server, |bytes| {
        asked.each(bytes, |kind| talk().asks(kind, counts));
    });
    let down = carry(from_server, to_client, |bytes| {
        answered.each(bytes, |kind| talk().is_told(kind));
    });
    // What a client sends in several goes is taken in before what is answered to the first of them.
    tokio::select! {
        biased;
        done = up => done,
        done = down => done,
    }
}

/// Hands on what comes, seen before it is sent, until there is no more.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut see: impl FnMut(&[u8]),
) -> Result<()> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            count => {
                see(&buffer[..count]);
                to.write_all(&buffer[..count]).await?;
            }
        }
    }
}

/// One connection's state. That the start is answered too makes no difference.
#[derive(Debug, Default)]
struct Talk {
    /// Requests that end with an answer of their own.
    unanswered: u64,
    /// A request has begun and not ended.
    within: bool,
    /// A round trip is under way.
    busy: bool,
}

impl Talk {
    fn asks(&mut self, kind: u8, counts: &Counts) {
        // The start, a password, a farewell.
        if matches!(kind, 0 | b'p' | b'X') {
            return;
        }
        if !std::mem::replace(&mut self.busy, true) {
            counts.round_trips.fetch_add(1, Ordering::SeqCst);
        }
        // Execute, and simple queries.
        if matches!(kind, b'E' | b'Q') {
            counts.statements.fetch_add(1, Ordering::SeqCst);
        }
        // Sync, a simple query.
        let ends = matches!(kind, b'S' | b'Q');
        self.within = !ends;
        self.unanswered += u64::from(ends);
    }

    fn is_told(&mut self, kind: u8) {
        if kind == b'Z' {
            self.unanswered = self.unanswered.saturating_sub(1);
            self.busy = self.unanswered > 0 || self.within;
        }
    }
}

/// Finds the kinds of messages in a stream: a byte, a length of four, and the rest.
#[derive(Debug, Default)]
struct Kinds {
    head: [u8; 5],
    filled: usize,
    /// Bytes of the message that are still to come.
    rest: usize,
}

impl Kinds {
    /// Of a stream whose first message has a length only: its kind is 0.
    fn headless() -> Self {
        Self { filled: 1, ..Self::default() }
    }

    fn each(&mut self, mut bytes: &[u8], mut found: impl FnMut(u8)) {
        while let [first, after @ ..] = bytes {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                self.rest -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head[self.filled] = *first;
            self.filled += 1;
            bytes = after;
            if let (5, [kind, length @ ..]) = (self.filled, self.head) {
                // The length counts itself.
                self.rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
                self.filled = 0;
                found(kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::ToSql;

    use super::*;

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend((length as u32 + 4).to_be_bytes());
        bytes.resize(5 + length, b'S');
        bytes
    }

    #[test]
    fn messages_are_found_wherever_a_stream_is_cut() {
        let mut stream = message(0, 30)[1..].to_vec();
        for (kind, length) in [(b'P', 300), (b'B', 0), (b'E', 7), (b'S', 0), (b'Q', 12)] {
            stream.extend(message(kind, length));
        }
        for cut in 0..=stream.len() {
            let (mut kinds, mut found) = (Kinds::headless(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                kinds.each(part, |kind| found.push(kind));
            }
            assert_eq!(found, b"\0PBESQ", "cut at {cut}");
        }
    }

    #[test]
    fn a_round_trip_begins_when_nothing_is_outstanding() {
        let (counts, mut talk) = (Counts::default(), Talk::default());
        // A dot is the server's "ready".
        for (said, trips) in [
            ("\0p.", 0),
            ("Q.", 1),
            ("BESBES..", 2),
            // The answer to the first overtakes the end of the second.
            ("BESB.ES.", 3),
            ("PDS.BES.", 5),
            ("X", 5),
        ] {
            for kind in said.bytes() {
                match kind {
                    b'.' => talk.is_told(b'Z'),
                    kind => talk.asks(kind, &counts),
                }
            }
            assert_eq!(counts.round_trips.load(Ordering::SeqCst), trips, "{said}");
        }
        assert_eq!(counts.statements.load(Ordering::SeqCst), 6);
    }

    #[tokio::test]
    async fn what_a_client_sends_is_counted_and_passed_on() {
        let url = std::env::var("HOMING_TEST_POSTGRES").unwrap();
        let fresh = url.parse::<crate::place::Place>().unwrap().fresh().await.unwrap();
        let (relay, url) = fresh.counted().await.unwrap();
        let config: tokio_postgres::Config = url.split('?').next().unwrap().parse().unwrap();
        let (client, wire) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(wire);
        assert_eq!(relay.counted(), (0, 0));
        client.batch_execute("SELECT 1").await.unwrap();
        assert_eq!(relay.counted(), (1, 1));
        let long = client.prepare("SELECT length($1::text)").await.unwrap();
        assert_eq!(relay.counted(), (1, 2));
        let texts = ["x".repeat(1000), "x".repeat(2000), "x".to_owned()];
        let [first, second, third] = texts.each_ref().map(|text| [text as &(dyn ToSql + Sync)]);
        let (first, second, third) = tokio::join!(
            client.query_one(&long, &first),
            client.query_one(&long, &second),
            client.query_one(&long, &third),
        );
        let lengths = [first, second, third].map(|row| row.unwrap().get::<_, i32>(0));
        assert_eq!(lengths, [1000, 2000, 1]);
        assert_eq!(relay.counted(), (4, 3));
        for trip in 0..10 {
            client.query_one(&long, &[&"x"]).await.unwrap();
            assert_eq!(relay.counted(), (5 + trip, 4 + trip));
        }
    }
}
