//! How many round trips an exchange makes, and of how many statements, counted on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::server::Server;
use super::talk::{TestWorker, done, new_job, set, spawn, store, unit};
use crate::core::id::JobId;
use crate::core::wait::{Condition, Wait};
use crate::store::postgres::Postgres;
use crate::store::read::Read;
use crate::store::{Abort, Claimed, Event, Reply, Store, Unit};

/// How often prepared statements were run. What is not prepared is another's: hints, and looks at who lives.
type Statements = Arc<AtomicU64>;

/// A way to a server's port on which statements are counted.
async fn counted(port: u16) -> (u16, Statements) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (own, statements) = (listener.local_addr().unwrap().port(), Statements::default());
    let all = Arc::clone(&statements);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (of_client, mut to_client) = client.into_split();
            let (mut of_server, to_server) = server.into_split();
            tokio::spawn(asked(of_client, to_server, Arc::clone(&all)));
            tokio::spawn(async move { tokio::io::copy(&mut of_server, &mut to_client).await });
        }
    });
    (own, statements)
}

/// A message with its kind; `None` at the end.
async fn message(from: &mut OwnedReadHalf, has_kind: bool) -> Option<(u8, Vec<u8>)> {
    let kind = if has_kind { from.read_u8().await.ok()? } else { 0 };
    let length = from.read_u32().await.ok()?;
    let mut body = vec![0; length as usize - 4];
    from.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

async fn pass(to: &mut OwnedWriteHalf, kind: u8, body: &[u8]) -> Option<()> {
    let mut whole = Vec::with_capacity(body.len() + 5);
    whole.extend((kind != 0).then_some(kind));
    whole.extend((body.len() as u32 + 4).to_be_bytes());
    whole.extend(body);
    to.write_all(&whole).await.ok()
}

/// What a client says.
async fn asked(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    statements: Statements,
) -> Option<()> {
    let (_, startup) = message(&mut client, false).await?;
    pass(&mut server, 0, &startup).await?;
    let mut is_prepared = false;
    loop {
        let (kind, body) = message(&mut client, true).await?;
        match kind {
            // A portal's name, and the statement's: those that are not prepared have none.
            b'B' => {
                let mut names = body.split(|byte| *byte == 0);
                is_prepared = names.nth(1).is_some_and(|name| !name.is_empty());
            }
            b'E' if is_prepared => _ = statements.fetch_add(1, Ordering::SeqCst),
            _ => {}
        }
        pass(&mut server, kind, &body).await?;
    }
}

fn parked(claimed: &Claimed) -> Event {
    let (set, ended) = (set(claimed.task), Some(1));
    let arms = vec![Condition::Set { set, ended, lost: None, succeeded: None, drained: false }];
    Event::Park {
        waits: vec![Wait { place: "all".to_owned(), seq: 1, arms, members: 0 }],
        resident: true,
    }
}

/// A worker whose store is reached over a counted way.
struct Wire<'s> {
    store: &'s Postgres,
    worker: TestWorker<'s>,
    statements: Statements,
}

impl Wire<'_> {
    /// An exchange; its reply, its round trips, and its statements.
    async fn say(&mut self, units: Vec<Arc<Unit>>, tasks: usize) -> (Reply, u64, u64) {
        let before = self.spoken().await;
        let trips = self.store.shared.trips.load(Ordering::SeqCst);
        let reply = self.worker.say(units, tasks).await;
        let trips = self.store.shared.trips.load(Ordering::SeqCst) - trips;
        (reply, trips, self.spoken().await - before - 1)
    }

    /// The statements so far, and one more: a read over the same connection, which follows a commit that nobody has waited
    /// for.
    async fn spoken(&self) -> u64 {
        self.store.last_line(JobId::named("nobody")).await.unwrap();
        self.statements.load(Ordering::SeqCst)
    }

    /// A job that waits for its only child, and the child, both claimed.
    async fn parent_and_child(&mut self, name: &str) -> (Claimed, Claimed) {
        self.store.submit(vec![new_job(name)]).await.unwrap();
        self.worker.search = true;
        let parent = self.say(Vec::new(), 1).await.0.claimed.remove(0);
        let events = vec![spawn(set(parent.task), 0, "leaf"), parked(&parent)];
        let child = self.say(vec![unit(&parent, events)], 1).await.0.claimed.remove(0);
        (parent, child)
    }
}

/// A round trip to lock and read, one to write and commit: whatever an exchange says, and whether it looks for work
/// or only takes what its own units have made ready.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_two_round_trips() {
    let server = Server::start();
    let (port, statements) = counted(server.port()).await;
    let store =
        store(&format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")).await;
    let worker = TestWorker::begin(&store, &["leaf", "root"]).await;
    let mut wire = Wire { store: &store, worker, statements };
    // Once, so that the statements are prepared.
    let (_, child) = wire.parent_and_child("first").await;
    wire.worker.search = false;
    let parent = wire.say(vec![unit(&child, vec![done()])], 1).await.0.claimed.remove(0);
    wire.say(vec![unit(&parent, vec![done()])], 1).await;
    wire.worker.search = true;
    wire.say(Vec::new(), 1).await;

    let (_, trips, statements) = wire.say(Vec::new(), 1).await;
    assert_eq!((trips, statements), (1, 7), "nothing to say and nothing to do");

    store.submit(vec![new_job("second")]).await.unwrap();
    let (reply, trips, statements) = wire.say(Vec::new(), 1).await;
    let parent = &reply.claimed[0];
    assert_eq!((trips, statements), (2, 9), "a claim of what somebody else has made ready");

    wire.worker.search = false;
    let events = vec![spawn(set(parent.task), 0, "leaf"), parked(parent)];
    let (reply, trips, statements) = wire.say(vec![unit(parent, events)], 1).await;
    let child = &reply.claimed[0];
    assert_eq!((trips, statements), (2, 14), "a park, and the claim of the child");

    let (reply, trips, statements) = wire.say(vec![unit(child, vec![done()])], 1).await;
    let resumed = &reply.claimed[0];
    assert_eq!(resumed.task, parent.task);
    assert_eq!((trips, statements), (2, 13), "the child's end, and the claim of the parent");

    let (reply, trips, statements) = wire.say(vec![unit(resumed, vec![done()])], 1).await;
    assert_eq!(reply.claimed, []);
    assert_eq!((trips, statements), (2, 8), "the parent's end");

    // Members of a bundle, one of which leaves it.
    store.submit(vec![new_job("third")]).await.unwrap();
    wire.worker.search = true;
    let parent = wire.say(Vec::new(), 1).await.0.claimed.remove(0);
    let mut events: Vec<_> = (0..8).map(|n| spawn(set(parent.task), n, "leaf")).collect();
    events.push(parked(&parent));
    let members = wire.say(vec![unit(&parent, events)], 8).await.0.claimed;
    let events = vec![spawn(set(members[0].task), 0, "leaf"), parked(&members[0])];
    let (reply, trips, _) = wire.say(vec![unit(&members[0], events)], 1).await;
    assert_eq!((reply.refused, trips), (Vec::new(), 2));

    // A child that has ended already is aborted.
    wire.worker.search = true;
    store.submit(vec![new_job("fourth")]).await.unwrap();
    let parent = wire.say(Vec::new(), 1).await.0.claimed.remove(0);
    let child = spawn(set(parent.task), 0, "leaf");
    let child = wire.say(vec![unit(&parent, vec![child])], 1).await.0.claimed.remove(0);
    wire.say(vec![unit(&child, vec![done()])], 0).await;
    let local = Some(child.task.local);
    let abort = Abort { set: set(parent.task), child: local, below: 0, policy: false };
    let (reply, trips, _) = wire.say(vec![unit(&parent, vec![Event::Abort(abort)])], 1).await;
    assert_eq!((reply.refused, trips), (Vec::new(), 2));
    assert_eq!(store.audit().await.unwrap(), []);
}
