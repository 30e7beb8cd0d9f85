//! Sockets to endpoints: the one place of this module from which bytes leave.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mimawari_base::sockets::SocketRetry;
pub use mimawari_base::uplink::Uplink;
use mimawari_targets::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use tokio_rustls::client::TlsStream;

/// Receive buffer of each socket, bytes. Small on purpose: it bounds what the kernel takes from a
/// server that sends without end, and what thousands of connections cost.
const RECEIVE_BUFFER: u32 = 128 * 1024;

/// How long a connection waits for what this machine is out of.
const PATIENCE: Duration = Duration::from_secs(10);

/// A kernel connection to the endpoint. Taking an [`Endpoint`] is what keeps every dialled address
/// inside the scope: only a scope makes one.
///
/// # Errors
/// What `connect()` says, or [`io::ErrorKind::TimedOut`] after `timeout`. When this machine is out of
/// file descriptors and alike, that is waited out first.
pub async fn dial(endpoint: Endpoint, timeout: Duration, uplink: &Uplink) -> io::Result<TcpStream> {
    uplink.admit_connection(endpoint.ip()).await;
    dial_admitted(endpoint, timeout, uplink).await
}

/// The same for a connection that has been admitted before.
pub(crate) async fn dial_admitted(
    endpoint: Endpoint,
    timeout: Duration,
    uplink: &Uplink,
) -> io::Result<TcpStream> {
    let mut patience = SocketRetry::new(PATIENCE);
    loop {
        let error = match dial_once(endpoint, timeout, uplink).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        match patience.pause(&error) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(error),
        }
    }
}

async fn dial_once(
    endpoint: Endpoint,
    timeout: Duration,
    uplink: &Uplink,
) -> io::Result<TcpStream> {
    let address = endpoint.socket_addr();
    let socket = uplink.socket_to(address)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let stream = tokio::time::timeout(timeout, socket.connect(address)).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {timeout:?}"))
    })??;
    // Requests are single small writes that wait for an answer; Nagle only delays them.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Plain or TLS.
#[derive(Debug)]
pub enum HttpStream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// TLS over TCP, as servers spoke it long ago.
    Legacy(Pin<Box<SslStream<TcpStream>>>),
}

impl AsyncRead for HttpStream {
    /// A TLS peer that closes without `close_notify` counts as an ordinary end: many old servers
    /// do so after a body that only the close delimits. A body with a length or chunks is still
    /// seen to be cut short by its own framing.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => match Pin::new(s).poll_read(cx, buf) {
                Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                other => other,
            },
            // Its context is set to take such an end for an ordinary one.
            Self::Legacy(s) => s.as_mut().poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Tls(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Legacy(s) => s.as_mut().poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
            Self::Legacy(s) => s.as_mut().poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Self::Legacy(s) => s.as_mut().poll_shutdown(cx),
        }
    }
}
