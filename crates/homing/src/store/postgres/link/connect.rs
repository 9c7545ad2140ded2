//! Connections: made as the URL asks, kept in a pool, lent for one verb.
//!
//! A connection that broke is noticed when it is lent and replaced; while the server cannot be reached,
//! attempts follow each other with growing pauses, within the time that a verb may wait. Nothing here
//! sends a verb again: only the verb knows whether that is harmless.

use std::time::Duration;

use deadpool_postgres::{Client, Manager, ManagerConfig, RecyclingMethod, Runtime, Timeouts};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Connection, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::clock::ServerClock;
use crate::clock::monotonic;
use crate::core::time::Time;
use crate::limits;
use crate::store::Error;
use crate::store::error::OpenError;
use crate::store::postgres::link::fault::{Fault, Result};
use crate::store::postgres::link::options::Options;
use crate::store::postgres::link::tls::Mode;

/// Shortest and longest pause between two attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The protocol's side of a connection: drives it, and brings notifications.
pub(in crate::store::postgres) type Wire =
    Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Makes connections.
#[derive(Clone)]
pub(in crate::store::postgres) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    mode: SslMode,
    /// What is tried where the first mode did not lead to a connection.
    otherwise: Option<SslMode>,
    clock: ServerClock,
    timeout: Duration,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Connector {
    pub(in crate::store::postgres) fn new(
        options: &Options,
        clock: ServerClock,
    ) -> std::result::Result<Self, OpenError> {
        let (mode, otherwise) = match options.tls.mode {
            Mode::Disable => (SslMode::Disable, None),
            Mode::Allow => (SslMode::Disable, Some(SslMode::Require)),
            Mode::Prefer => (SslMode::Prefer, Some(SslMode::Disable)),
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => (SslMode::Require, None),
        };
        Ok(Self {
            config: options.config.clone(),
            tls: options.tls.connector()?,
            mode,
            otherwise,
            clock,
            timeout: options.connect_timeout,
        })
    }

    /// One connection, not driven yet, within the time it may take.
    pub(in crate::store::postgres) async fn connect(
        &self,
    ) -> Result<(tokio_postgres::Client, Wire)> {
        let connecting = tokio::time::timeout(self.timeout, self.try_modes());
        Ok(connecting.await.map_err(|_| Fault::Unreachable)??)
    }

    /// In the order of libpq: what the first way was refused, the second may be granted.
    async fn try_modes(
        &self,
    ) -> std::result::Result<(tokio_postgres::Client, Wire), tokio_postgres::Error> {
        let mut config = self.config.clone();
        let first = config.ssl_mode(self.mode).connect(self.tls.clone()).await;
        match (first, self.otherwise) {
            (Err(_), Some(mode)) => config.ssl_mode(mode).connect(self.tls.clone()).await,
            (done, _) => done,
        }
    }

    /// Sets what every session of ours has, and reads the server's clock.
    pub(in crate::store::postgres) async fn greet(
        &self,
        client: &tokio_postgres::Client,
    ) -> std::result::Result<(), tokio_postgres::Error> {
        let idle = limits::POSTGRES_IDLE.as_millis();
        let greeting = format!(
            "SELECT set_config('idle_in_transaction_session_timeout', '{idle}', false) \
             WHERE current_setting('idle_in_transaction_session_timeout') = '0'; \
             {READ_CLOCK}"
        );
        self.read_clock(client, &greeting).await
    }

    /// Reads the server's clock.
    pub(in crate::store::postgres) async fn look_at_clock(
        &self,
        client: &tokio_postgres::Client,
    ) -> std::result::Result<(), tokio_postgres::Error> {
        self.read_clock(client, READ_CLOCK).await
    }

    async fn read_clock(
        &self,
        client: &tokio_postgres::Client,
        query: &str,
    ) -> std::result::Result<(), tokio_postgres::Error> {
        let asked = monotonic();
        let messages = client.simple_query(query).await?;
        let heard = monotonic();
        let last = messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if let Some(time) = last.and_then(|text| text.parse().ok()) {
            self.clock.read(asked, heard, Time(time));
        }
        Ok(())
    }
}

const READ_CLOCK: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";

/// The pool's way to make a connection.
struct Make(Connector);

impl deadpool_postgres::Connect for Make {
    fn connect(
        &self,
        _config: &Config,
    ) -> std::pin::Pin<
        Box<
            dyn Future<
                    Output = std::result::Result<
                        (tokio_postgres::Client, JoinHandle<()>),
                        tokio_postgres::Error,
                    >,
                > + Send
                + '_,
        >,
    > {
        Box::pin(async move {
            let (client, wire) = self.0.try_modes().await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = wire.await {
                    tracing::debug!(%error, "a connection to the store ended");
                }
            });
            if let Err(error) = self.0.greet(&client).await {
                driver.abort();
                return Err(error);
            }
            Ok((client, driver))
        })
    }
}

/// The connections of one open store.
#[derive(Debug, Clone)]
pub(in crate::store::postgres) struct Pool {
    connections: deadpool_postgres::Pool,
    timeouts: Timeouts,
    location: String,
}

impl Pool {
    pub(in crate::store::postgres) fn new(
        options: &Options,
        connector: Connector,
    ) -> std::result::Result<Self, Error> {
        Self::recycling(options, connector, RecyclingMethod::Fast)
    }

    /// Connections that are tried before they are lent, for callers who cannot be asked to try again.
    pub(in crate::store::postgres) fn verified(
        options: &Options,
        connector: Connector,
    ) -> std::result::Result<Self, Error> {
        Self::recycling(options, connector, RecyclingMethod::Verified)
    }

    fn recycling(
        options: &Options,
        connector: Connector,
        recycling_method: RecyclingMethod,
    ) -> std::result::Result<Self, Error> {
        let config = ManagerConfig { recycling_method };
        let manager = Manager::from_connect(options.config.clone(), Make(connector), config);
        let connections = deadpool_postgres::Pool::builder(manager)
            .max_size(options.pool)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Failed { reason: error.to_string() })?;
        let timeouts = Timeouts {
            wait: Some(options.pool_timeout),
            create: Some(options.connect_timeout),
            recycle: Some(options.connect_timeout),
        };
        Ok(Self { connections, timeouts, location: options.location.clone() })
    }

    /// A connection, within the time a verb may wait for one.
    pub(in crate::store::postgres) async fn get(&self) -> std::result::Result<Client, Error> {
        self.lend().await.map_err(|fault| fault.told(&self.location))
    }

    /// The same, with the fault itself.
    pub(in crate::store::postgres) async fn lend(&self) -> Result<Client> {
        let patience = self.timeouts.wait.unwrap_or_default();
        let begun = monotonic();
        let mut pause = PAUSE.0;
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            let timeouts = Timeouts { wait: Some(left), ..self.timeouts };
            let fault = match self.connections.timeout_get(&timeouts).await {
                Ok(client) => return Ok(client),
                Err(error) => Fault::from(error),
            };
            let passing = fault.is_busy() && !matches!(fault, Fault::Exhausted);
            if !passing || begun.elapsed() + pause >= patience {
                return Err(fault);
            }
            tracing::debug!(%fault, ?pause, "the store cannot be reached yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Where the store is, for messages: no credentials.
    pub(in crate::store::postgres) fn location(&self) -> &str {
        &self.location
    }
}
