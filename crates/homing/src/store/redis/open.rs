//! Opening a store: what the server is, how it is set, and which version the store has.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use super::link::connect::Link;
use super::link::fault::{Fault, Result};
use super::link::options::Durability;
use crate::store::Error;

/// The newest version of the keys. Those of version 1 were written while homing was made, with rows of another form: nothing
/// was released with it.
pub(super) const NEWEST: i64 = 2;
const VERSION: &str = "v";
const LANES: &str = "lanes";

/// The version that the store has; `None` if there is none.
pub(super) async fn version(link: &Link) -> Result<Option<i64>> {
    link.command(redis::cmd("HGET").arg(link.lane.key("meta")).arg(VERSION)).await
}

pub(super) async fn open(link: &Link, migrate: bool) -> Result<()> {
    check(link).await?;
    let mut found = version(link).await?;
    if found.is_none() {
        if !migrate || !link.options.migrate {
            return Err(Error::Missing { path: link.options.location.clone() }.into());
        }
        let mut make = redis::pipe();
        make.hset_nx(link.lane.key("meta"), VERSION, NEWEST).ignore();
        make.hset_nx(link.lane.key("meta"), LANES, 1).ignore();
        link.commands::<()>(&make).await?;
        found = version(link).await?;
    }
    match found {
        Some(found) if found > NEWEST => Err(Error::NewerSchema { found, known: NEWEST }.into()),
        Some(found) if found < NEWEST => {
            let path = link.options.location.clone();
            let reason = format!(
                "its keys have version {found}, which no released homing wrote, and this one needs {NEWEST}: take another prefix in the URL, or delete those keys"
            );
            Err(Error::NotAStore { path, reason }.into())
        }
        _ => Ok(()),
    }
}

/// How often the server's settings are read again.
const LOOK: Duration = Duration::from_mins(1);

/// Refuses a server that is too old, that may drop keys, or that keeps less than the URL asks for.
async fn check(link: &Link) -> Result<()> {
    match complaint(link).await? {
        Some(reason) => Err(refused(link, reason)),
        None => Ok(()),
    }
}

/// Why the server will not do, if it will not.
async fn complaint(link: &Link) -> Result<Option<String>> {
    let told: String = link.command(redis::cmd("INFO").arg("everything")).await?;
    let told = told.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let wanted = link.options.durability;
    let will_do = version_will_do(&told)
        .and_then(|()| mode_will_do(&told, link.is_cluster()))
        .and_then(|()| role_will_do(&told, wanted));
    if will_do.is_err() || link.options.unchecked {
        return Ok(will_do.err());
    }
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("appendonly").arg("appendfsync").arg("no-appendfsync-on-rewrite");
    let set: BTreeMap<String, String> =
        link.command(ask.arg("maxmemory-policy")).await.map_err(|fault| unreadable(link, fault))?;
    let set = set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Ok(settings_will_do(&set, wanted).err())
}

/// What an acknowledged task survives, in words, as the server is set now.
pub(super) async fn standing(link: &Link) -> Result<String> {
    if let Some(reason) = complaint(link).await? {
        return Ok(format!("less than the URL asks for: {reason}"));
    }
    if link.options.unchecked {
        return Ok("unknown: the URL says `unchecked=true`".to_owned());
    }
    Ok(match link.options.durability {
        Durability::Fsync => "kept if the server or its machine stops".to_owned(),
        Durability::Second => {
            "kept if the server is killed; the last second may be lost with its machine".to_owned()
        }
        Durability::Replicas(replicas) => {
            format!("kept if the server or its machine stops, and on {replicas} replicas")
        }
        Durability::None => "what the server's settings give: the URL asks for nothing".to_owned(),
    })
}

/// Reads the server's settings again, at each new connection and every minute: they change while it runs, and another
/// server may have taken its place. What is worse than the URL asks for is said, once, as an error.
pub(super) async fn watch(link: Weak<Link>) {
    let mut known = None;
    while let Some(own) = link.upgrade() {
        // A server that is not there is told of by the verbs that need it.
        if let Ok(found) = complaint(&own).await
            && found != known
        {
            let store = &own.options.location;
            if let Some(reason) = &found {
                tracing::error!(
                    store,
                    reason,
                    "the server keeps less than it did when the store was opened"
                );
            } else {
                tracing::info!(store, "the server keeps what the URL asks for again");
            }
            known = found;
        }
        let _ = tokio::time::timeout(LOOK, own.reconnected.notified()).await;
    }
}

fn refused(link: &Link, reason: String) -> Fault {
    Error::Refused { store: link.options.location.clone(), reason }.into()
}

/// The server does not tell how it is set. Any other fault is passed on.
fn unreadable(link: &Link, fault: Fault) -> Fault {
    match fault {
        Fault::Server(error) if error.is_unrecoverable_error() || error.is_io_error() => {
            Fault::Server(error)
        }
        Fault::Server(_) => {
            let reason = "it does not let this user read its settings, so nobody knows what an \
                acknowledged task survives: allow `+config|get`, or say `unchecked=true` in the URL";
            refused(link, reason.to_owned())
        }
        other => other,
    }
}

type Settings<'s> = BTreeMap<&'s str, &'s str>;

/// Whether the scripts run there: from Redis 7.0 and Valkey 7.2 on.
fn version_will_do(told: &Settings<'_>) -> std::result::Result<(), String> {
    let (name, version, least) = match (told.get("valkey_version"), told.get("redis_version")) {
        (Some(version), _) => ("Valkey", *version, (7, 2)),
        (None, Some(version)) => ("Redis", *version, (7, 0)),
        (None, None) => return Err("it does not tell its version".to_owned()),
    };
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= least {
        return Ok(());
    }
    Err(format!("it is {name} {version}, and homing needs Redis 7.0 or Valkey 7.2, or newer"))
}

/// Whether it is a node of a cluster exactly if the URL says so.
fn mode_will_do(told: &Settings<'_>, in_cluster: bool) -> std::result::Result<(), String> {
    match (told.get("cluster_enabled").is_some_and(|enabled| *enabled == "1"), in_cluster) {
        (true, false) => Err("it is a node of a cluster: say `redis-cluster:` or `rediss-cluster:` in the URL, and no \
             database"
            .to_owned()),
        (false, true) => {
            Err("it is no node of a cluster: say `redis:` or `rediss:` in the URL".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether it takes writes, and has as many replicas as the URL asks for.
fn role_will_do(told: &Settings<'_>, wanted: Durability) -> std::result::Result<(), String> {
    if told.get("role").is_some_and(|role| *role != "master") {
        return Err("it is a replica, which takes no writes: name the primary".to_owned());
    }
    let Durability::Replicas(wanted) = wanted else { return Ok(()) };
    let found = told.get("connected_slaves").copied().unwrap_or("0");
    if found.parse::<u8>().unwrap_or(0) >= wanted {
        return Ok(());
    }
    Err(format!(
        "it has {found} replicas, and the URL asks for {wanted}: acknowledged tasks would be lost with \
         it. Give it replicas, or say `durability=fsync` in the URL"
    ))
}

/// Whether an acknowledged commit survives what the URL asks for.
fn settings_will_do(set: &Settings<'_>, wanted: Durability) -> std::result::Result<(), String> {
    let is = |name: &str, value: &str| set.get(name) == Some(&value);
    if let Some(policy) = set.get("maxmemory-policy").filter(|policy| **policy != "noeviction") {
        return Err(format!(
            "its `maxmemory-policy` is `{policy}`, which drops jobs when memory is short: set `noeviction`"
        ));
    }
    if wanted == Durability::None {
        return Ok(());
    }
    if !is("appendonly", "yes") {
        return Err(
            "it keeps no log of what it does: acknowledged tasks are lost when it stops. Set \
             `appendonly yes` and `appendfsync always`, or say `durability=none` in the URL"
                .to_owned(),
        );
    }
    if is("appendfsync", "no") || (wanted != Durability::Second && !is("appendfsync", "always")) {
        return Err(
            "it does not sync its log at each commit: acknowledged tasks of the last second, or \
             more, may be lost with the machine. Set `appendfsync always`, or with `everysec` say \
             `durability=second` in the URL"
                .to_owned(),
        );
    }
    if wanted != Durability::Second && !is("no-appendfsync-on-rewrite", "no") {
        return Err("it does not sync its log while it rewrites it: set `no-appendfsync-on-rewrite no`, or \
             say `durability=second` in the URL"
            .to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused() {
        let told = |name, version| version_will_do(&Settings::from([(name, version)]));
        for (name, version) in [("redis_version", "7.0.15"), ("redis_version", "8.2.3")] {
            assert_eq!(told(name, version), Ok(()));
        }
        assert!(told("redis_version", "6.2.14").unwrap_err().contains("Redis 6.2.14"));
        assert!(version_will_do(&Settings::new()).is_err());
        // Valkey says of itself that it is Redis 7.2 too.
        let valkey =
            |version| Settings::from([("redis_version", "7.2.4"), ("valkey_version", version)]);
        assert!(version_will_do(&valkey("9.1.2")).is_ok());
        assert!(version_will_do(&valkey("7.0.0")).is_err());
    }

    #[test]
    fn replicas_are_counted_and_are_no_primaries() {
        let told =
            |role, replicas| Settings::from([("role", role), ("connected_slaves", replicas)]);
        assert!(
            role_will_do(&told("slave", "0"), Durability::None).unwrap_err().contains("primary")
        );
        assert!(role_will_do(&told("master", "0"), Durability::Fsync).is_ok());
        assert!(role_will_do(&told("master", "2"), Durability::Replicas(2)).is_ok());
        let few = role_will_do(&told("master", "1"), Durability::Replicas(2)).unwrap_err();
        assert!(few.contains("1 replicas") && few.contains("durability=fsync"), "{few}");
    }

    #[test]
    fn what_a_server_keeps_is_held_against_what_is_asked() {
        use Durability::{Fsync, None, Second};
        let set = |log, sync, policy| {
            Settings::from([
                ("appendonly", log),
                ("appendfsync", sync),
                ("no-appendfsync-on-rewrite", "no"),
                ("maxmemory-policy", policy),
            ])
        };
        let always = set("yes", "always", "noeviction");
        let second = set("yes", "everysec", "noeviction");
        let nothing = set("no", "everysec", "noeviction");
        for (set, fsync, per_second) in
            [(&always, true, true), (&second, false, true), (&nothing, false, false)]
        {
            assert_eq!(settings_will_do(set, Fsync).is_ok(), fsync, "{set:?}");
            assert_eq!(settings_will_do(set, Second).is_ok(), per_second, "{set:?}");
            assert_eq!(settings_will_do(set, None), Ok(()), "{set:?}");
        }
        let no = settings_will_do(&second, Fsync).unwrap_err();
        assert!(no.contains("appendfsync always") && no.contains("durability=second"), "{no}");
        assert!(settings_will_do(&always, Durability::Replicas(1)).is_ok());
        assert!(settings_will_do(&second, Durability::Replicas(1)).is_err());
        let drops = set("yes", "always", "allkeys-lru");
        assert!(settings_will_do(&drops, None).unwrap_err().contains("allkeys-lru"));
        assert!(settings_will_do(&set("yes", "no", "noeviction"), Second).is_err());
        let lazy = Settings::from([("no-appendfsync-on-rewrite", "yes")]);
        let lazy = always.into_iter().chain(lazy).collect();
        assert!(settings_will_do(&lazy, Fsync).is_err());
        assert!(settings_will_do(&lazy, Second).is_ok());
    }
}
