//! The connection's bytes: the socket, TLS over it if the URL asks for that, and the [`Guard`] before the library that
//! reads frames.
//!
//! lapin takes its streams from a runtime; this one is tokio's in all but the stream.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket as AsRawFd, AsSocket as AsFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_util::Stream as Items;
use futures_util::io::{AsyncRead, AsyncWrite};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::guard::Guard;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// Connects to a server, and greets it.
pub(super) async fn connect(
    address: AMQPUri,
    tls: Option<&Arc<ClientConfig>>,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let to = (address.authority.host.as_str(), address.authority.port);
    let socket = TcpStream::connect(to).await?;
    // Frames are small, and each waits for an answer.
    socket.set_nodelay(true)?;
    let wire = match (&address.scheme, tls) {
        (AMQPScheme::AMQP, _) => Wire::Plain(socket),
        // The URL has none without one.
        (AMQPScheme::AMQPS, None) => {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        (AMQPScheme::AMQPS, Some(tls)) => {
            let host = ServerName::try_from(address.authority.host.clone())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let connector = TlsConnector::from(Arc::clone(tls));
            Wire::Tls(Box::new(Box::pin(connector.connect(host, socket)).await?))
        }
    };
    // lapin would connect again and again by itself, and not say why it cannot.
    let opened = Mutex::new(Some(Stream::new(wire)));
    let once = async move |_, _| match opened.lock().unwrap_or_else(PoisonError::into_inner).take()
    {
        Some(stream) => Ok(AsyncTcpStream::Plain(stream)),
        None => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
    };
    Connection::connector(address, Runtime::new(Kit(Tokio::current())), once, properties).await
}

/// What carries the bytes.
#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls a method of what carries the bytes.
macro_rules! wire {
    ($stream:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $stream.wire {
            Wire::Plain(socket) => Pin::new(socket).$method($($argument),*),
            Wire::Tls(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

/// A connection's bytes in both directions.
#[derive(Debug)]
pub(super) struct Stream {
    wire: Wire,
    guard: Guard,
    /// What was read and may pass, from `at` on.
    passed: Vec<u8>,
    at: usize,
    buffer: Box<[u8]>,
}

impl Stream {
    fn new(wire: Wire) -> Self {
        let buffer = vec![0; READ].into_boxed_slice();
        Self { wire, guard: Guard::default(), passed: Vec::new(), at: 0, buffer }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.at == this.passed.len() {
            this.passed.clear();
            this.at = 0;
            let mut read = ReadBuf::new(&mut this.buffer);
            ready!(wire!(this, poll_read, cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(0));
            }
            this.guard.pass(read.filled(), &mut this.passed)?;
        }
        let rest = &this.passed[this.at..];
        let taken = rest.len().min(to.len());
        to[..taken].copy_from_slice(&rest[..taken]);
        this.at += taken;
        Poll::Ready(Ok(taken))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        wire!(self.get_mut(), poll_write, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        wire!(self.get_mut(), poll_flush, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        wire!(self.get_mut(), poll_shutdown, cx)
    }
}

/// tokio's runtime, with streams of ours.
#[derive(Debug, Clone)]
pub(super) struct Kit(Tokio);

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, f: F) -> T {
        self.0.block_on(f)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        f: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(f)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        f: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(f)
    }
}

impl Reactor for Kit {
    type TcpStream = Stream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // Nothing asks for it: sockets are connected above.
        Err::<Stream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, pause: Duration) -> Self::Sleep {
        self.0.sleep(pause)
    }

    fn interval(&self, pause: Duration) -> impl Items<Item = Instant> + Send + 'static {
        self.0.interval(pause)
    }

    #[expect(clippy::manual_async_fn, reason = "the future must not hold the reactor")]
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        async move { Ok(Stream::new(Wire::Plain(TcpStream::connect(address).await?))) }
    }
}
