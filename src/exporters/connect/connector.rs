//! Connections: TCP, through a proxy where there is one, and TLS where it is wanted, all within one time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tower_service::Service;

use super::proxy::{self, Proxies};
use super::secured::Secured;
use super::{KEEP_ALIVE, SetupError, Tls, causes};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What TLS calls HTTP/2.
const H2: &[u8] = b"h2";

/// Connects to the host of a URL.
#[derive(Debug, Clone)]
pub(in crate::exporters) struct Connector {
    /// For gRPC: the backend, whatever is called for. tonic would do TLS itself, so it knows a URL without. A proxy passes
    /// the bytes on (CONNECT), with TLS and without. None, for HTTP: a proxy is sent the requests to `http` URLs.
    grpc: Option<Uri>,
    tcp: HttpConnector,
    proxies: Proxies,
    /// For `https`.
    tls: Option<Arc<Secured>>,
    timeout: Duration,
}

impl Connector {
    /// For HTTP, with TLS where a URL is `https`; without `tls` none may be.
    ///
    /// # Errors
    /// [`SetupError`] for TLS settings and files that cannot be used.
    #[cfg(feature = "agent")]
    pub(in crate::exporters) fn http(tls: Option<&Tls>, timeout: Duration) -> Result<Self, SetupError> {
        Self::new(None, Matcher::from_env(), tls, timeout)
    }

    /// For gRPC with this URL, whatever it is called with; with TLS if that is `https`.
    ///
    /// # Errors
    /// [`SetupError`] for TLS settings and files that cannot be used.
    pub(in crate::exporters) fn grpc(url: Uri, tls: &Tls, timeout: Duration) -> Result<Self, SetupError> {
        let tls = is_https(&url).then_some(tls);
        let connector = Self::new(Some(url.clone()), Matcher::from_env(), tls, timeout)?;
        connector.check(&url)?;
        Ok(connector)
    }

    fn new(grpc: Option<Uri>, proxies: Matcher, tls: Option<&Tls>, timeout: Duration) -> Result<Self, SetupError> {
        let protocols: &[&[u8]] = if grpc.is_some() { &[H2] } else { &[H2, b"http/1.1"] };
        let tls = tls.map(|tls| Secured::read(tls.clone(), protocols)).transpose()?.map(Arc::new);
        let mut tcp = HttpConnector::new();
        // What TLS is, is known here.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        // Shared among a host's addresses, so that a dead one leaves time for the next.
        tcp.set_connect_timeout(Some(timeout));
        Ok(Self { grpc, tcp, proxies: Proxies::new(proxies), tls, timeout })
    }

    /// Whether a server can have a certificate for this URL.
    ///
    /// # Errors
    /// [`SetupError::Tls`] when none can.
    pub(in crate::exporters) fn check(&self, url: &Uri) -> Result<(), SetupError> {
        self.tls.as_ref().filter(|_| is_https(url)).map_or(Ok(()), |tls| tls.server_name(url).map(drop))
    }

    /// What a proxy wants to see of who sends it a request to this URL.
    #[cfg(feature = "agent")]
    pub(in crate::exporters) fn proxy_authorization(&self, url: &Uri) -> Option<http::HeaderValue> {
        if self.tunnels(url) { None } else { self.proxies.to(url)?.basic_auth().cloned() }
    }

    fn tunnels(&self, url: &Uri) -> bool {
        self.grpc.is_some() || is_https(url)
    }

    async fn connect(self, url: Uri) -> Result<Stream, BoxError> {
        let url = self.grpc.clone().unwrap_or(url);
        let (until, tunnels, proxy) = (Instant::now() + self.timeout, self.tunnels(&url), self.proxies.to(&url));
        let tcp = match &proxy {
            None => self.within(until, "connection", self.tcp.clone().call(url.clone())).await?,
            Some(proxy) => {
                let through = proxy::through(proxy, self.tcp.clone(), url.clone(), tunnels);
                let told = |error: BoxError| {
                    format!("the proxy {} of the environment: {}", proxy::name(proxy), causes(&*error))
                };
                self.within(until, "connection", through).await.map_err(told)?
            }
        };
        if !is_https(&url) {
            return Ok(Stream { io: Box::new(tcp), is_proxied: proxy.is_some() && !tunnels, speaks_h2: false });
        }
        let tls = self.tls.as_ref().ok_or("https without TLS settings")?;
        let handshake = tls.handshake(tls.server_name(&url)?, tcp.into_inner());
        let io = self.within(until, "TLS handshake", handshake).await?;
        let speaks_h2 = io.get_ref().1.alpn_protocol() == Some(H2);
        if self.grpc.is_some() && !speaks_h2 {
            return Err("the server does not offer HTTP/2, which gRPC needs".into());
        }
        Ok(Stream { io: Box::new(TokioIo::new(io)), is_proxied: false, speaks_h2 })
    }

    /// Waits for a part of connecting.
    async fn within<T, E: Into<BoxError>>(
        &self,
        until: Instant,
        part: &str,
        done: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BoxError> {
        match tokio::time::timeout_at(until, done).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(format!("no {part} within {} s", self.timeout.as_secs_f64()).into()),
        }
    }
}

/// Whether TLS is spoken.
pub(in crate::exporters) fn is_https(url: &Uri) -> bool {
    url.scheme() == Some(&http::uri::Scheme::HTTPS)
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().connect(url))
    }
}

/// A connection, with TLS or without.
pub(in crate::exporters) struct Stream {
    io: Box<dyn Io>,
    /// A proxy at its other end expects whole URLs.
    is_proxied: bool,
    /// TLS negotiated HTTP/2.
    speaks_h2: bool,
}

trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.is_proxied);
        if self.speaks_h2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }
}

#[cfg(test)]
mod tests;
