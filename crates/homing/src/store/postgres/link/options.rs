//! The options of a `postgres:` URL: libpq's, and a few of our own. Anything else is refused with the list.
//!
//! A password is moved into the driver's configuration at once and is in nothing that is printed.

use std::path::Path;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::limits;
use crate::store::error::OpenError;
use crate::store::postgres::link::passwords;
use crate::store::postgres::link::schema::Schema;
use crate::store::postgres::link::tls::{Mode, Tls};
use crate::store::url::Url;

const KNOWN: &str = "homing's `schema=homing`, `pool=8`, `pool_timeout=10s`, `listen=on|off`, \
    `poll=1s`, `bundle=8`, `migrate=on|off`, and libpq's `user`, `password`, `passfile`, `host`, `hostaddr`, \
    `port`, `dbname`, `application_name`, `options`, `connect_timeout`, `tcp_user_timeout`, \
    `keepalives`, `keepalives_idle`, `keepalives_interval`, `keepalives_retries`, \
    `target_session_attrs`, `load_balance_hosts`, `channel_binding`, `sslmode`, `sslnegotiation`, \
    `sslrootcert`, `sslcert`, `sslkey`";

/// Those that the driver reads itself.
const DRIVER: &[(&str, &str)] = &[
    ("user", "expected a role's name"),
    ("password", "expected a password"),
    ("host", "expected names of hosts, or the directory of a socket"),
    ("hostaddr", "expected addresses"),
    ("port", "expected numbers of ports"),
    ("dbname", "expected the name of a database"),
    ("application_name", "expected a name"),
    ("options", "expected options of the server's command line"),
    ("connect_timeout", "expected a number of seconds"),
    ("tcp_user_timeout", "expected a number of seconds"),
    ("keepalives", "expected `0` or `1`"),
    ("keepalives_idle", "expected a number of seconds"),
    ("keepalives_interval", "expected a number of seconds"),
    ("keepalives_retries", "expected a number"),
    ("target_session_attrs", "expected `any`, `read-write` or `read-only`"),
    ("load_balance_hosts", "expected `disable` or `random`"),
    ("channel_binding", "expected `disable`, `prefer` or `require`"),
    ("sslnegotiation", "expected `postgres` or `direct`"),
];

/// What a `postgres:` URL asks for.
#[derive(Debug, Clone)]
pub(in crate::store::postgres) struct Options {
    /// How the driver connects. Its `Debug` hides the password.
    pub(in crate::store::postgres) config: Config,
    /// How the connection is encrypted, and whom it trusts.
    pub(in crate::store::postgres) tls: Tls,
    /// Where the tables are.
    pub(in crate::store::postgres) schema: Schema,
    /// Connections at most, the listening one aside.
    pub(in crate::store::postgres) pool: usize,
    /// How long a verb waits for a connection, attempts to connect included.
    pub(in crate::store::postgres) pool_timeout: Duration,
    /// How long one attempt to connect may take.
    pub(in crate::store::postgres) connect_timeout: Duration,
    /// Whether to hear of other processes by `LISTEN`.
    pub(in crate::store::postgres) listen: bool,
    /// How often to look for their work where `LISTEN` does not help.
    pub(in crate::store::postgres) poll: Duration,
    /// From how many tasks on that are born together they are one row; 0: never.
    pub(in crate::store::postgres) bundle: usize,
    /// Whether an older schema is brought up to date when the store is opened.
    pub(in crate::store::postgres) migrate: bool,
    /// For messages: hosts, database and schema, no credentials.
    pub(in crate::store::postgres) location: String,
}

impl Options {
    pub(in crate::store::postgres) fn of(url: &Url<'_>) -> Result<Self, OpenError> {
        let mut options = Self {
            config: base(url)?,
            tls: Tls::default(),
            schema: Schema::default(),
            pool: limits::POSTGRES_POOL,
            pool_timeout: limits::POSTGRES_POOL_TIMEOUT,
            connect_timeout: limits::POSTGRES_CONNECT_TIMEOUT,
            listen: true,
            poll: limits::POLL,
            bundle: limits::POSTGRES_BUNDLE,
            migrate: true,
            location: String::new(),
        };
        let mut passfile = None;
        let mut driver = Vec::new();
        for &(option, raw) in &url.options {
            let value = decode(url, option, raw)?;
            if let Some(&(_, expected)) = DRIVER.iter().find(|(name, _)| *name == option) {
                let pair = format!("{option}={raw}");
                if format!("postgres://?{pair}").parse::<Config>().is_err() {
                    return Err(url.invalid_option(option, raw, expected));
                }
                driver.push(pair);
            } else if option == "passfile" {
                passfile = Some(value);
            } else {
                options.set(url, option, &value)?;
            }
        }
        options.config = parse(&format!("postgres:{}?{}", url.path, driver.join("&")), url)?;
        options.complete(passfile.as_deref());
        Ok(options)
    }

    fn set(&mut self, url: &Url<'_>, option: &str, value: &str) -> Result<(), OpenError> {
        let invalid = |expected| url.invalid_option(option, value, expected);
        let switch = |what| match what {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(invalid("expected `on` or `off`")),
        };
        let span = |from: Duration, to: Duration, expected| {
            duration(value)
                .filter(|span| (from..=to).contains(span))
                .ok_or_else(|| invalid(expected))
        };
        match option {
            "sslmode" => {
                self.tls.mode = Mode::named(value).ok_or_else(|| invalid(Mode::KNOWN))?;
            }
            "sslrootcert" => self.tls.root = Some(value.to_owned()),
            "sslcert" => self.tls.cert = Some(value.into()),
            "sslkey" => self.tls.key = Some(value.into()),
            "schema" => {
                self.schema = Schema::named(value).ok_or_else(|| {
                    invalid("expected at most 56 letters, digits or `_`, in lower case")
                })?;
            }
            "pool" => {
                let size = value.parse().ok().filter(|size| (2..=1000).contains(size));
                self.pool = size.ok_or_else(|| invalid("expected a number from 2 to 1000"))?;
            }
            "pool_timeout" => {
                self.pool_timeout = span(
                    Duration::ZERO,
                    Duration::from_hours(1),
                    "expected a duration up to an hour, such as `500ms` or `10s`",
                )?;
            }
            "poll" => {
                self.poll = span(
                    Duration::from_millis(10),
                    limits::POLL,
                    "expected a duration from `10ms` to `1s`",
                )?;
            }
            "bundle" => {
                let from = value.parse().ok().filter(|from| *from <= limits::POSTGRES_BUNDLE_MOST);
                self.bundle = from.ok_or_else(|| invalid("expected a number from 0 to 100"))?;
            }
            "listen" => self.listen = switch(value)?,
            "migrate" => self.migrate = switch(value)?,
            _ => return Err(url.unknown_option(option, KNOWN)),
        }
        Ok(())
    }

    /// What the URL leaves open: libpq's defaults, and times within which a dead server is noticed.
    fn complete(&mut self, passfile: Option<&str>) {
        let config = &mut self.config;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            let socket = Path::new("/var/run/postgresql");
            if cfg!(unix) && socket.is_dir() {
                config.host_path(socket);
            } else {
                config.host("localhost");
            }
        }
        if config.get_application_name().is_none() {
            config.application_name("homing");
        }
        if let Some(&timeout) = config.get_connect_timeout() {
            self.connect_timeout = timeout;
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(30));
        }
        if config.get_keepalives_idle() == Duration::from_hours(2) {
            config.keepalives_idle(Duration::from_secs(15));
            config.keepalives_interval(Duration::from_secs(5));
            config.keepalives_retries(3);
        }
        if config.get_password().is_none()
            && let Some(password) = passwords::find(config, passfile)
        {
            config.password(password);
        }
        self.location = location(config, &self.schema);
    }
}

/// The URL without its options, which are checked one by one.
fn base(url: &Url<'_>) -> Result<Config, OpenError> {
    if !url.path.starts_with("//") {
        return Err(invalid_url(url, "expected `postgres://USER@HOST/DATABASE`"));
    }
    // The driver would take the first `@` for the end of the password, and show the rest as a host.
    let user = url.path.rsplit_once('@').map_or("", |(user, _)| user.trim_start_matches('/'));
    if user.contains(['@', '/']) {
        return Err(invalid_url(url, ESCAPE));
    }
    let config = parse(&format!("postgres:{}", url.path), url)?;
    for host in config.get_hosts() {
        let Host::Tcp(name) = host else { continue };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:%".contains(c)) {
            return Err(invalid_url(url, ESCAPE));
        }
    }
    Ok(config)
}

const ESCAPE: &str =
    "in a user's name or password write `@` as %40, `/` as %2F, `?` as %3F and `:` as %3A";

fn parse(text: &str, url: &Url<'_>) -> Result<Config, OpenError> {
    // The driver's own words may quote the URL.
    text.parse().map_err(|_| {
        invalid_url(url, "expected `postgres://USER@HOST:PORT/DATABASE`, special characters as %XX")
    })
}

fn invalid_url(url: &Url<'_>, reason: &'static str) -> OpenError {
    OpenError::InvalidUrl { url: url.shown(), reason }
}

fn decode(url: &Url<'_>, option: &str, raw: &str) -> Result<String, OpenError> {
    let decoded = percent_decode_str(raw).decode_utf8();
    decoded.map(Into::into).map_err(|_| url.invalid_option(option, raw, "expected UTF-8"))
}

/// Hosts, database and schema.
fn location(config: &Config, schema: &Schema) -> String {
    let ports = config.get_ports();
    let port = |n: usize| ports.get(n).or_else(|| ports.last()).copied().unwrap_or(5432);
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(n, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(n)),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{}", path.display(), port(n)),
        })
        .collect();
    let hosts = if hosts.is_empty() {
        let addresses = config.get_hostaddrs().iter().enumerate();
        addresses.map(|(n, address)| format!("{address}:{}", port(n))).collect()
    } else {
        hosts
    };
    let database = config.get_dbname().unwrap_or_default();
    format!("postgres://{}/{database}?schema={}", hosts.join(","), schema.name())
}

/// A whole number of milliseconds or seconds.
fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}
