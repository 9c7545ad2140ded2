//! Commands from `celery inspect`, `celery control` and Flower, and the heartbeat that those see.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{Broker, Shared, consume, locked};
use crate::error::Fault;
use crate::rabbit::{Rabbit, read};
use crate::redis::Link;
use crate::wire::{Command, Event, PIDBOX, Refused};

/// Seconds between two heartbeats; Celery's own.
const BEAT: u64 = 2;
/// How long a connection that hears commands may be silent before it is taken for dead: the heartbeat's own word,
/// which comes on it too, is heard far more often.
const SILENCE: Duration = Duration::from_secs(30);
/// What a bridge hears of itself, to know that it hears.
const OWN: &str = "homing.alive";

pub(super) fn start(shared: &Arc<Shared>) {
    let own = Arc::clone(shared);
    tokio::spawn(async move {
        own.again("listening to commands", |shared| async move { commands(&shared).await }).await;
    });
    let own = Arc::clone(shared);
    tokio::spawn(async move {
        own.tell(vec![own.of_worker("worker-online")]).await;
        own.again("telling that the bridge lives", |shared| async move {
            shared.told(vec![shared.of_worker("worker-heartbeat")]).await?;
            if let Broker::Redis(link) = &shared.broker {
                let mut publish = redis::cmd("PUBLISH");
                publish.arg(link.keys.channel(OWN)).arg("");
                link.command::<()>(&publish).await?;
            }
            tokio::time::sleep(Duration::from_secs(BEAT)).await;
            Ok(())
        })
        .await;
    });
}

impl Shared {
    fn of_worker(&self, kind: &'static str) -> Event {
        let active = locked(&self.active).len();
        let processed: u64 = locked(&self.processed).values().sum();
        Event::new(
            kind,
            json!({
                "freq": BEAT,
                "active": active,
                "processed": processed,
                "loadavg": [0.0, 0.0, 0.0],
                "sw_ident": "homing",
                "sw_ver": env!("CARGO_PKG_VERSION"),
                "sw_sys": std::env::consts::OS,
            }),
        )
    }

    pub(super) async fn tell_offline(&self) {
        self.tell(vec![self.of_worker("worker-offline")]).await;
    }
}

async fn commands(shared: &Arc<Shared>) -> Result<(), Fault> {
    match &shared.broker {
        Broker::Redis(link) => over_redis(shared, link).await,
        Broker::Rabbit(rabbit) => over_rabbit(shared, rabbit).await,
    }
}

async fn over_redis(shared: &Arc<Shared>, link: &Link) -> Result<(), Fault> {
    let mut listener = link.listener().await?;
    // With a pattern, as kombu does: a prefix may hold anything.
    listener.subscribe(link.keys.channel(PIDBOX)).await?;
    listener.subscribe(link.keys.channel(OWN)).await?;
    let mut messages = listener.on_message();
    loop {
        let Ok(heard) = tokio::time::timeout(SILENCE, messages.next()).await else {
            return Err(Fault::Silent("nothing was heard on the connection for 30 s"));
        };
        let Some(message) = heard else {
            return Err(Fault::Silent("the connection that hears commands was closed"));
        };
        if !message.get_payload_bytes().is_empty() {
            heard_command(shared, Command::read(message.get_payload_bytes())).await?;
        }
    }
}

async fn over_rabbit(shared: &Arc<Shared>, rabbit: &Rabbit) -> Result<(), Fault> {
    let mut commands = rabbit.hear(PIDBOX, "").await?;
    loop {
        let delivery = commands.next().await?;
        let read = read(&delivery).and_then(|(headers, text)| Command::of(&headers, text));
        commands.acknowledge(&delivery).await?;
        heard_command(shared, read).await?;
    }
}

async fn heard_command(
    shared: &Arc<Shared>,
    read: Result<(Command, u64), Refused>,
) -> Result<(), Fault> {
    match read {
        Ok((command, clock)) => {
            shared.seen(clock);
            if command.is_for(&shared.settings.hostname) {
                obey(shared, &command).await?;
            }
        }
        Err(refused) => tracing::debug!(%refused, "a command of Celery's was not understood"),
    }
    Ok(())
}

async fn obey(shared: &Arc<Shared>, command: &Command) -> Result<(), Fault> {
    let answer = answer(shared, command).await?;
    let Some(to) = &command.reply_to else { return Ok(()) };
    let name = &shared.settings.hostname;
    let letter = command.reply(name, answer, (&to.routing_key, shared.tick()));
    shared.broker.answer(&letter).await
}

async fn answer(shared: &Arc<Shared>, command: &Command) -> Result<Value, Fault> {
    Ok(match command.method.as_str() {
        "ping" => json!({"ok": "pong"}),
        "active" => locked(&shared.active).values().cloned().collect(),
        "reserved" | "scheduled" | "revoked" => json!([]),
        "registered" | "registered_tasks" => {
            let kinds = shared.kinds().await?;
            let names = kinds.iter().map(|kind| kind.name.as_str());
            names.filter(|name| !name.starts_with("homing.")).collect()
        }
        "active_queues" => shared.settings.queues.iter().map(|queue| bound(queue)).collect(),
        "stats" => json!({
            "total": *locked(&shared.processed),
            "pid": std::process::id(),
            "clock": shared.tick().to_string(),
            "uptime": shared.started.elapsed().as_secs(),
            "pool": {"implementation": "homing"},
            "broker": {"transport": shared.broker.transport(), "hostname": shared.broker.location()},
        }),
        // A worker that starts asks for what was revoked.
        "hello" => json!({"clock": shared.tick(), "revoked": {}}),
        "conf" => {
            json!({"task_serializer": "json", "accept_content": ["json"], (crate::check::BRIDGE): env!("CARGO_PKG_VERSION")})
        }
        "revoke" => {
            let ids = command.ids();
            for id in &ids {
                revoke(shared, id).await?;
            }
            json!({"ok": format!("tasks {} flagged as revoked", ids.join(", "))})
        }
        // Never obeyed: the bridge belongs to its program.
        "shutdown" => {
            json!({"error": "homing's program stops its bridge, not Celery's `shutdown`"})
        }
        _ => json!({"error": "unknown command"}),
    })
}

/// A queue as Celery's tools show it.
fn bound(queue: &str) -> Value {
    let exchange = json!({"name": queue, "type": "direct", "durable": true});
    json!({"name": queue, "exchange": exchange, "routing_key": queue, "durable": true})
}

/// Remembers the id for a message that has not come yet, and tells the job, if there is one.
async fn revoke(shared: &Shared, id: &str) -> Result<(), Fault> {
    shared.notes.revoke(id, shared.seconds()).await?;
    let job = consume::job_of(id, 0);
    match shared.homing.signal(job, crate::entry::REVOKE, &true).await {
        Ok(_) | Err(homing::SubmitError::Store(homing::StoreError::Unknown { .. })) => Ok(()),
        Err(other) => Err(other.into()),
    }
}
