//! Where the stores of a bench lie: a fresh one for every run, gone when the run is.
//!
//! The file that `--store` names is never opened: each run has a sibling of its own, `PATH.run1`,
//! `PATH.run2` and so on; in a PostgreSQL database each has a schema of its own, on a Redis server keys with a prefix of
//! their own. Only what was created here is ever removed.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Duration;
use tokio_postgres::NoTls;
use tokio_postgres::config::{Config, Host};

use crate::Result;
use crate::relay::Relay;

/// What a SQLite store leaves beside its file.
const BESIDE: [&str; 3] = ["-wal", "-shm", ".workers"];

/// How long a server may think about one command; what removes a large store takes long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `--store` names.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// As given, without a password.
    shown: String,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Memory,
    Sqlite(Files),
    Postgres(Server),
    Redis(KeyServer),
}

/// Where the files of a SQLite store go.
#[derive(Debug, Clone)]
struct Files {
    prefix: PathBuf,
    /// The options, with their question mark.
    query: String,
}

/// A PostgreSQL database that schemas can be made in.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// The URL up to its options.
    address: String,
    /// homing's options.
    query: String,
}

/// A Redis or Valkey server, and the number of a database.
#[derive(Debug, Clone)]
struct KeyServer {
    /// The URL up to its options.
    address: String,
    /// homing's options.
    query: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(url: &str) -> std::result::Result<Self, String> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let backend = match address.split_once(':') {
            Some(("memory", "")) if query.is_empty() => Backend::Memory,
            Some(("sqlite", path)) => {
                let unnamed = || format!("homing-bench-{}.db", std::process::id());
                let prefix = match path {
                    "" => std::env::temp_dir().join(unnamed()),
                    path => PathBuf::from(path),
                };
                let query = url[address.len()..].to_owned();
                Backend::Sqlite(Files { prefix, query })
            }
            Some(("postgres" | "postgresql", _)) => {
                Backend::Postgres(Server { address: address.to_owned(), query: query.to_owned() })
            }
            Some(("redis", _)) => {
                Backend::Redis(KeyServer { address: address.to_owned(), query: query.to_owned() })
            }
            _ => {
                return Err(format!(
                    "`{}` names no store: give `memory:`, `sqlite:PATH`, `sqlite:` for a file in the \
                     directory for temporary files, `postgres://USER@HOST:PORT/DATABASE` or \
                     `redis://HOST:PORT/DATABASE`",
                    without_password(url)
                ));
            }
        };
        let shown = match backend {
            // Its options may hold a password too.
            Backend::Postgres(_) => without_password(address),
            Backend::Redis(_) => without_password(url),
            Backend::Memory | Backend::Sqlite(_) => url.to_owned(),
        };
        Ok(Self { shown, backend })
    }
}

/// A URL that may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some((user, host)) = rest[..end].rsplit_once('@') else { return url.to_owned() };
    let user = user.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{host}{}", &rest[end..])
}

/// A URL that leads to a port of the loopback instead of its own host.
fn led(url: &str, port: u16) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let user = authority.rfind('@').map_or("", |at| &authority[..=at]);
    format!("{scheme}://{user}127.0.0.1:{port}{path}")
}

impl Place {
    /// What `--store` said, fit to be shown.
    pub(crate) fn url(&self) -> &str {
        &self.shown
    }

    /// Whether several processes can share the store, which then outlives them.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self.backend, Backend::Memory)
    }

    /// Refuses a store that lives and dies with its process.
    pub(crate) fn require_shared(&self, why: &str) -> Result<()> {
        if self.is_shared() {
            return Ok(());
        }
        Err(format!(
            "`{}` will not do: {why}; give `sqlite:PATH`, `postgres://…` or `redis://…`",
            self.shown
        )
        .into())
    }

    /// Whether a commit waits for the disk.
    pub(crate) fn is_full(&self) -> bool {
        match &self.backend {
            Backend::Memory => false,
            Backend::Sqlite(files) => !files.query.contains("synchronous=normal"),
            Backend::Postgres(_) => true,
            Backend::Redis(server) => server.durability() == "fsync",
        }
    }

    /// What a commit waits for, in the words of the store's own setting.
    pub(crate) fn durability(&self) -> &str {
        match &self.backend {
            Backend::Redis(server) => server.durability(),
            Backend::Memory | Backend::Sqlite(_) | Backend::Postgres(_) => {
                if self.is_full() {
                    "full"
                } else {
                    "normal"
                }
            }
        }
    }

    /// A store that nobody has used.
    pub(crate) async fn fresh(&self) -> Result<Fresh> {
        match &self.backend {
            Backend::Memory => Ok(Fresh { url: self.shown.clone(), at: At::Memory }),
            Backend::Sqlite(files) => files.fresh(),
            Backend::Postgres(server) => server.fresh().await,
            Backend::Redis(server) => server.fresh().await,
        }
    }
}

impl Files {
    fn fresh(&self) -> Result<Fresh> {
        for number in 1_u32.. {
            let path = with(&self.prefix, &format!(".run{number}"));
            if BESIDE.iter().any(|end| with(&path, end).exists()) {
                continue;
            }
            match File::create_new(&path) {
                Ok(_) => {
                    let url = format!("sqlite:{}{}", path.display(), self.query);
                    return Ok(Fresh { url, at: At::File(path) });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(format!("cannot create {}: {error}", path.display()).into());
                }
            }
        }
        Err("every name for a fresh store is taken".into())
    }
}

impl Server {
    async fn fresh(&self) -> Result<Fresh> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("homing_bench_{}_{number}", std::process::id());
        let client = self.connect().await?;
        // Left behind by a process of the same number that was killed.
        client.batch_execute(&format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await?;
        client.batch_execute(&format!("CREATE SCHEMA {name}")).await?;
        let and = if self.query.is_empty() { "" } else { "&" };
        let url = format!("{}?{}{and}schema={name}", self.address, self.query);
        Ok(Fresh { url, at: At::Schema(Schema { server: self.clone(), name }) })
    }

    async fn connect(&self) -> Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::connect(&self.address, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl KeyServer {
    /// What the URL asks of the server; homing refuses to begin where the server does not give it.
    fn durability(&self) -> &str {
        let asked = self.query.split('&').find_map(|option| option.strip_prefix("durability="));
        asked.unwrap_or("fsync")
    }

    async fn fresh(&self) -> Result<Fresh> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("homing-bench-{}-{number}", std::process::id());
        let prefix = Prefix { server: self.clone(), name };
        // Left behind by a process of the same number that was killed.
        prefix.clear().await?;
        let and = if self.query.is_empty() { "" } else { "&" };
        let url = format!("{}?{}{and}prefix={}", self.address, self.query, prefix.name);
        Ok(Fresh { url, at: At::Prefix(prefix) })
    }
}

/// Keys on a server whose names begin alike.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    server: KeyServer,
    name: String,
}

impl Prefix {
    /// The name of a key beside those of homing. All are in one slot.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{{{}:bench}}:{name}", self.name)
    }

    pub(crate) async fn connect(&self) -> Result<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.server.address.as_str())?;
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Removes what there is, homing's keys and the others.
    async fn clear(&self) -> Result<()> {
        let mut server = self.connect().await?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{{{}:*", self.name)).arg("COUNT").arg(1000);
            let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut server).await?;
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).exec_async(&mut server).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

/// A fresh store. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Fresh {
    url: String,
    at: At,
}

/// Where a fresh store is.
#[derive(Debug)]
enum At {
    Memory,
    File(PathBuf),
    Schema(Schema),
    Prefix(Prefix),
}

/// A schema of a PostgreSQL database.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    server: Server,
    pub(crate) name: String,
}

impl Schema {
    /// A connection that finds the schema's tables by their bare names.
    pub(crate) async fn connect(&self) -> Result<tokio_postgres::Client> {
        let client = self.server.connect().await?;
        client.batch_execute(&format!("SET search_path = {}", self.name)).await?;
        Ok(client)
    }
}

impl Fresh {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A relay that counts what goes to the store's server, and the URL of the store that leads through it.
    pub(crate) async fn counted(&self) -> Result<(Relay, String)> {
        let Some(schema) = self.schema() else {
            return Err("only what goes to a PostgreSQL server can be counted".into());
        };
        let config: Config = schema.server.address.parse()?;
        let [Host::Tcp(host)] = config.get_hosts() else {
            return Err("only what goes to one host and port can be counted".into());
        };
        let relay = Relay::to(host, config.get_ports().first().copied().unwrap_or(5432)).await?;
        let url = led(&self.url, relay.port) + "&sslmode=disable";
        Ok((relay, url))
    }

    /// Its file, for those who go around homing.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.at {
            At::File(path) => Some(path),
            At::Memory | At::Schema(_) | At::Prefix(_) => None,
        }
    }

    /// Its schema, for those who go around homing.
    pub(crate) fn schema(&self) -> Option<&Schema> {
        match &self.at {
            At::Schema(schema) => Some(schema),
            At::Memory | At::File(_) | At::Prefix(_) => None,
        }
    }

    /// Its keys, for those who go around homing.
    pub(crate) fn prefix(&self) -> Option<&Prefix> {
        match &self.at {
            At::Prefix(prefix) => Some(prefix),
            At::Memory | At::File(_) | At::Schema(_) => None,
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // What cannot be removed is left: there is nobody to tell.
        match &self.at {
            At::Memory => {}
            At::File(path) => remove(path),
            At::Schema(schema) => {
                let schema = schema.clone();
                // A runtime may be blocked in a thread of its own only.
                let _ = std::thread::spawn(move || schema.drop()).join();
            }
            At::Prefix(prefix) => {
                let prefix = prefix.clone();
                let _ = std::thread::spawn(move || alone(prefix.clear())).join();
            }
        }
    }
}

impl Schema {
    fn drop(&self) -> Result<()> {
        alone(async {
            let drop = format!("DROP SCHEMA {} CASCADE", self.name);
            Ok(self.server.connect().await?.batch_execute(&drop).await?)
        })
    }
}

/// Does something on a runtime of its own.
fn alone(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    for end in BESIDE {
        let beside = with(path, end);
        let _ = if beside.is_dir() {
            std::fs::remove_dir_all(beside)
        } else {
            std::fs::remove_file(beside)
        };
    }
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_store_is_refused() {
        for url in ["", "sqlite", "mongo:x", "memory:x", "/tmp/x"] {
            assert!(Place::from_str(url).unwrap_err().contains("names no store"), "{url}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let place: Place = "postgres://me:se:cr@et@db:5432/jobs?password=x".parse().unwrap();
        assert_eq!(place.url(), "postgres://me@db:5432/jobs");
        let place: Place = "redis://:secret@db:6379/1?durability=none".parse().unwrap();
        assert_eq!(place.url(), "redis://@db:6379/1?durability=none");
        assert_eq!((place.is_full(), place.durability()), (false, "none"));
        let error = Place::from_str("mysql://me:secret@db/jobs").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_url_is_led_elsewhere_and_else_the_same() {
        let led = |url| led(url, 7);
        assert_eq!(
            led("postgres://me:a@b@db:5/jobs?x=1@2"),
            "postgres://me:a@b@127.0.0.1:7/jobs?x=1@2"
        );
        assert_eq!(led("postgres://db?schema=s"), "postgres://127.0.0.1:7?schema=s");
    }

    #[tokio::test]
    async fn a_run_takes_no_file_that_exists_and_leaves_none_of_its_own() {
        let base = std::env::temp_dir().join(format!("homing-bench-test-{}", std::process::id()));
        let taken = with(&base, ".run1");
        std::fs::write(&taken, "mine").unwrap();
        let place: Place = format!("sqlite:{}?synchronous=normal", base.display()).parse().unwrap();
        assert!(!place.is_full());
        let fresh = place.fresh().await.unwrap();
        assert_eq!(fresh.path().unwrap(), with(&base, ".run2"));
        assert!(fresh.url().ends_with(".run2?synchronous=normal"));
        std::fs::create_dir(with(fresh.path().unwrap(), ".workers")).unwrap();
        drop(fresh);
        assert!(!with(&base, ".run2").exists() && !with(&base, ".run2.workers").exists());
        assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
        std::fs::remove_file(taken).unwrap();
    }
}
