//! Commands from `celery inspect`, `celery control` and Flower, and the heartbeat that those see.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::RedisResult;
use serde_json::{Value, json};

use super::{Fault, Shared, consume, locked};
use crate::wire::{Command, Event};

/// Seconds between two heartbeats; Celery's own.
const BEAT: u64 = 2;
/// How long a connection that hears commands may be silent before it is taken for dead: the heartbeat's own word,
/// which comes on it too, is heard far more often.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a revoked id that nobody knows yet is remembered, in seconds; as long as Celery's workers do.
const REVOKED: u64 = 10_800;
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
            let mut pipe = redis::pipe();
            shared.event(&mut pipe, shared.of_worker("worker-heartbeat"));
            pipe.publish(shared.broker.keys.channel(OWN), "").ignore();
            let told: RedisResult<()> = shared.broker.commands(&pipe).await;
            told?;
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
    let mut listener = shared.broker.listener().await?;
    let keys = &shared.broker.keys;
    // With a pattern, as kombu does: a prefix may hold anything.
    listener.subscribe(keys.channel("celery.pidbox")).await?;
    listener.subscribe(keys.channel(OWN)).await?;
    let mut messages = listener.on_message();
    loop {
        let Ok(heard) = tokio::time::timeout(SILENCE, messages.next()).await else {
            return Err(Fault::Silent("nothing was heard on the connection for 30 s"));
        };
        let Some(message) = heard else {
            return Err(Fault::Silent("the connection that hears commands was closed"));
        };
        if message.get_payload_bytes().is_empty() {
            continue;
        }
        match Command::read(message.get_payload_bytes()) {
            Ok((command, clock)) => {
                shared.seen(clock);
                if command.is_for(&shared.settings.hostname) {
                    obey(shared, &command).await?;
                }
            }
            Err(refused) => tracing::debug!(%refused, "a command of Celery's was not understood"),
        }
    }
}

async fn obey(shared: &Arc<Shared>, command: &Command) -> Result<(), Fault> {
    let answer = answer(shared, command).await?;
    let Some(to) = &command.reply_to else { return Ok(()) };
    let keys = &shared.broker.keys;
    let binding = keys.binding(&to.exchange);
    let members: Vec<String> = shared.broker.command(redis::cmd("SMEMBERS").arg(binding)).await?;
    let mut pipe = redis::pipe();
    for queue in members.iter().filter_map(|member| keys.bound(member, &to.routing_key)) {
        let name = &shared.settings.hostname;
        let text = command.reply(name, answer.clone(), (&to.routing_key, shared.tick()));
        pipe.lpush(keys.queue(&queue, 0), text).ignore();
    }
    if !pipe.is_empty() {
        shared.broker.commands::<()>(&pipe).await?;
    }
    Ok(())
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
            "broker": {"transport": "redis", "hostname": shared.broker.location()},
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
    let mut remember = redis::cmd("SET");
    remember.arg(shared.broker.keys.revoked(id)).arg("1").arg("EX").arg(REVOKED);
    shared.broker.command::<()>(&remember).await?;
    let job = consume::job_of(id, 0);
    match shared.homing.signal(job, crate::entry::REVOKE, &true).await {
        Ok(_) | Err(homing::SubmitError::Store(homing::StoreError::Unknown { .. })) => Ok(()),
        Err(other) => Err(other.into()),
    }
}
