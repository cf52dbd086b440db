//! TCP connections, through the proxy that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
//!
//! As everywhere in this field, this machine's own addresses are reached without a proxy.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::KEEP_ALIVE;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects to the host of a URL.
#[derive(Debug, Clone)]
pub(in crate::exporters) struct Connector {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
    /// A proxy only passes bytes on; else it is sent plain HTTP requests itself.
    always_tunnels: bool,
}

impl Connector {
    /// For HTTP: a proxy is sent requests to `http` URLs, and passes the bytes of `https` on.
    #[cfg(feature = "agent")]
    pub(in crate::exporters) fn http(timeout: Duration) -> Self {
        Self::new(timeout, false)
    }

    /// For gRPC: a proxy passes the bytes on (CONNECT), with TLS and without.
    pub(in crate::exporters) fn grpc(timeout: Duration) -> Self {
        Self::new(timeout, true)
    }

    fn new(timeout: Duration, always_tunnels: bool) -> Self {
        Self::through(Matcher::from_env(), timeout, always_tunnels)
    }

    fn through(proxies: Matcher, timeout: Duration, always_tunnels: bool) -> Self {
        let mut tcp = HttpConnector::new();
        // The layers above know what TLS is.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_connect_timeout(Some(timeout));
        Self { tcp, proxies: Arc::new(proxies), always_tunnels }
    }

    /// What a proxy wants to see of who sends it a request to this URL.
    #[cfg(feature = "agent")]
    pub(in crate::exporters) fn proxy_authorization(&self, url: &Uri) -> Option<http::HeaderValue> {
        if self.tunnels(url) { None } else { self.proxy(url)?.basic_auth().cloned() }
    }

    fn tunnels(&self, url: &Uri) -> bool {
        self.always_tunnels || url.scheme_str() == Some("https")
    }

    fn proxy(&self, url: &Uri) -> Option<Intercept> {
        let host = url.host()?.trim_matches(['[', ']']);
        let is_here = host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if is_here { None } else { self.proxies.intercept(url) }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.tcp.poll_ready(cx))?;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let (mut tcp, tunnels) = (self.tcp.clone(), self.tunnels(&url));
        let proxy = self.proxy(&url);
        Box::pin(async move {
            let is_proxied = proxy.is_some() && !tunnels;
            let tcp = match proxy {
                None => tcp.call(url).await?,
                Some(proxy) => match through(&proxy, tcp, url, tunnels).await {
                    Ok(tcp) => tcp,
                    // Without its credentials.
                    Err(error) => {
                        let host = proxy
                            .uri()
                            .authority()
                            .map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
                        return Err(format!("the proxy {host} of the environment: {}", super::causes(&*error)).into());
                    }
                },
            };
            Ok(Stream { tcp, is_proxied })
        })
    }
}

async fn through(
    proxy: &Intercept,
    mut tcp: HttpConnector,
    url: Uri,
    tunnels: bool,
) -> Result<TokioIo<TcpStream>, BoxError> {
    if proxy.uri().scheme_str() != Some("http") {
        return Err("only proxies with http:// are understood".into());
    }
    if !tunnels {
        return Ok(tcp.call(proxy.uri().clone()).await?);
    }
    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
    if let Some(authorization) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    Ok(tunnel.call(url).await?)
}

/// A connection, and whether a proxy at its other end expects whole URLs.
#[derive(Debug)]
pub(in crate::exporters) struct Stream {
    tcp: TokioIo<TcpStream>,
    is_proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.tcp.connected().proxy(self.is_proxied)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, parts)
    }
}

#[cfg(test)]
#[cfg(feature = "agent")]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// A proxy that says what it was asked, then answers it as the server would.
    async fn proxy() -> (SocketAddr, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, told) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { break };
                        head.push(byte);
                    }
                    if head.is_empty() {
                        break;
                    }
                    heard.send(String::from_utf8(head).unwrap()).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            }
        });
        (address, told)
    }

    fn connector(proxy: SocketAddr, always_tunnels: bool) -> Connector {
        let proxies = Matcher::builder().all(format!("http://user:word@{proxy}")).no("direct.test").build();
        Connector::through(proxies, Duration::from_secs(5), always_tunnels)
    }

    async fn get(connector: Connector, url: &str) {
        let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
        assert_eq!(client.get(url.parse().unwrap()).await.unwrap().status(), 200);
    }

    const AUTHORIZATION: &str = "proxy-authorization: Basic dXNlcjp3b3Jk";

    #[tokio::test]
    async fn a_proxy_is_sent_whole_urls_for_http() {
        let (address, mut heard) = proxy().await;
        let connector = connector(address, false);
        let authorization = connector.proxy_authorization(&Uri::from_static("http://collector.test/v1/logs"));
        assert_eq!(authorization.unwrap(), "Basic dXNlcjp3b3Jk");
        get(connector, "http://collector.test:4318/v1/logs").await;
        assert!(heard.recv().await.unwrap().starts_with("GET http://collector.test:4318/v1/logs HTTP/1.1"));
    }

    #[tokio::test]
    async fn a_proxy_passes_on_the_bytes_of_https_and_of_grpc() {
        let (address, mut heard) = proxy().await;
        let url = Uri::from_static("https://collector.test:4318/");
        connector(address, false).call(url.clone()).await.unwrap();
        assert!(connector(address, false).proxy_authorization(&url).is_none(), "the backend would see it");
        let head = heard.recv().await.unwrap();
        assert!(
            head.starts_with("CONNECT collector.test:4318 HTTP/1.1") && head.contains("Basic dXNlcjp3b3Jk"),
            "{head}"
        );
        get(connector(address, true), "http://collector.test:4317/path").await;
        let head = heard.recv().await.unwrap();
        assert!(head.starts_with("CONNECT collector.test:4317"), "{head}");
        assert!(head.to_lowercase().contains(&AUTHORIZATION.to_lowercase()), "{head}");
        assert!(heard.recv().await.unwrap().starts_with("GET /path"));
    }

    #[tokio::test]
    async fn this_machine_and_no_proxy_are_reached_directly() {
        let (address, mut heard) = proxy().await;
        let (server, mut direct) = proxy().await;
        get(connector(address, false), &format!("http://{server}/here")).await;
        assert!(direct.recv().await.unwrap().starts_with("GET /here"));
        for host in ["localhost", "127.0.0.1", "[::1]", "direct.test"] {
            let url: Uri = format!("http://{host}:4318/").parse().unwrap();
            assert!(connector(address, false).proxy(&url).is_none(), "{host}");
        }
        assert!(heard.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_proxy_that_is_away_is_named_without_its_password() {
        let away = SocketAddr::from(([127, 0, 0, 1], 1));
        let error =
            connector(away, true).call(Uri::from_static("http://collector.test/")).await.unwrap_err().to_string();
        assert!(error.starts_with("the proxy 127.0.0.1:1 of the environment: ") && !error.contains("word"), "{error}");
    }
}
