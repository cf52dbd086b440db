//! Connections through proxies, to silent servers, and with TLS.
#![cfg(feature = "agent")]

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::{ProtocolVersion, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::exporters::TlsVersions;
use crate::exporters::connect::for_tests::{TlsServer, known_client, port, speaks};

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

fn proxies(proxy: SocketAddr) -> Matcher {
    Matcher::builder().all(format!("http://user:word@{proxy}")).no("direct.test").build()
}

fn http(proxy: SocketAddr) -> Connector {
    Connector::new(None, proxies(proxy), Some(&known_client()), LIMIT).unwrap()
}

fn grpc(proxy: SocketAddr, url: &'static str) -> Connector {
    Connector::new(Some(Uri::from_static(url)), proxies(proxy), Some(&known_client()), LIMIT).unwrap()
}

async fn get(connector: Connector, url: &str) {
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    assert_eq!(client.get(url.parse().unwrap()).await.unwrap().status(), 200);
}

const LIMIT: Duration = Duration::from_secs(5);
const AUTHORIZATION: &str = "proxy-authorization: Basic dXNlcjp3b3Jk";

#[tokio::test]
async fn a_proxy_is_sent_whole_urls_for_http() {
    let (address, mut heard) = proxy().await;
    let connector = http(address);
    let authorization = connector.proxy_authorization(&Uri::from_static("http://collector.test/v1/logs"));
    assert_eq!(authorization.unwrap(), "Basic dXNlcjp3b3Jk");
    get(connector, "http://collector.test:4318/v1/logs").await;
    assert!(heard.recv().await.unwrap().starts_with("GET http://collector.test:4318/v1/logs HTTP/1.1"));
}

#[tokio::test]
async fn a_proxy_passes_on_the_bytes_of_https_and_of_grpc() {
    let (address, mut heard) = proxy().await;
    let url = Uri::from_static("https://collector.test:4318/");
    assert!(http(address).proxy_authorization(&url).is_none(), "the backend would see it");
    let connecting = tokio::spawn(http(address).call(url));
    let head = heard.recv().await.unwrap();
    assert!(head.starts_with("CONNECT collector.test:4318 HTTP/1.1") && head.contains("Basic dXNlcjp3b3Jk"), "{head}");
    connecting.abort();
    get(grpc(address, "http://collector.test:4317/"), "http://collector.test:4317/path").await;
    let head = heard.recv().await.unwrap();
    assert!(head.starts_with("CONNECT collector.test:4317"), "{head}");
    assert!(head.to_lowercase().contains(&AUTHORIZATION.to_lowercase()), "{head}");
    assert!(heard.recv().await.unwrap().starts_with("GET /path"));
}

#[tokio::test]
async fn this_machine_and_no_proxy_are_reached_directly() {
    let (address, mut heard) = proxy().await;
    let (server, mut direct) = proxy().await;
    get(http(address), &format!("http://{server}/here")).await;
    assert!(direct.recv().await.unwrap().starts_with("GET /here"));
    for host in ["localhost", "127.0.0.1", "[::1]", "direct.test"] {
        let url: Uri = format!("http://{host}:4318/").parse().unwrap();
        assert!(http(address).proxies.to(&url).is_none(), "{host}");
    }
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn a_proxy_that_is_away_is_named_without_its_password() {
    let away = SocketAddr::from(([127, 0, 0, 1], 1));
    let error = refused(grpc(away, "http://collector.test/"), "http://collector.test/").await;
    assert!(error.starts_with("the proxy 127.0.0.1:1 of the environment: ") && !error.contains("word"), "{error}");
}

/// Why there is no connection.
async fn refused(mut connector: Connector, url: &str) -> String {
    let connecting = tokio::time::timeout(LIMIT, connector.call(url.parse().unwrap())).await;
    connecting.expect("it ends").err().expect("no connection").to_string()
}

#[tokio::test]
async fn who_accepts_and_is_silent_is_left_in_time() {
    let ((_server, server), (_proxy, silent_proxy), (proxy, _heard)) = (port(), port(), proxy().await);
    let soon = |connector: Connector| Connector { timeout: Duration::from_millis(200), ..connector };
    let begun = Instant::now();
    for url in [format!("https://{server}/"), "https://collector.test/".into()] {
        // The second through a proxy that passes its bytes on to nobody.
        assert_eq!(refused(soon(http(proxy)), &url).await, "no TLS handshake within 0.2 s");
    }
    let named = format!("the proxy {silent_proxy} of the environment: no connection within 0.2 s");
    assert_eq!(refused(soon(http(silent_proxy)), "https://collector.test/").await, named);
    let plain = "http://collector.test:4317/";
    assert_eq!(refused(soon(grpc(silent_proxy, plain)), plain).await, named);
    assert!(begun.elapsed() < LIMIT);
}

/// What a server that speaks these versions spoke with a client that speaks those; an error is the client's.
async fn spoken(
    server: &[&'static SupportedProtocolVersion],
    client: TlsVersions,
) -> Result<Vec<ProtocolVersion>, String> {
    let (listener, address) = port();
    let server = TlsServer::start(listener, speaks("server", "ca.pem", server), |mut stream| async move {
        // Answers, so that the client sees what the server makes of its certificate.
        stream.write_all(b"x").await.ok();
        stream.read_u8().await.ok();
    });
    let tls = Tls { versions: client, ..known_client() };
    let mut connector = Connector::new(None, Matcher::builder().build(), Some(&tls), LIMIT).unwrap();
    let stream = connector.call(format!("https://{address}/").parse().unwrap()).await;
    let stream = stream.map_err(|error| causes(&*error))?;
    assert_eq!(TokioIo::new(stream).read_u8().await.unwrap(), b'x');
    Ok(server.versions())
}

#[tokio::test]
async fn the_versions_of_tls_are_those_that_are_set() {
    use rustls::version::{TLS12, TLS13};
    let (old, new) = (Ok(vec![ProtocolVersion::TLSv1_2]), Ok(vec![ProtocolVersion::TLSv1_3]));
    assert_eq!(spoken(&[&TLS12, &TLS13], TlsVersions::Any).await, new);
    assert_eq!(spoken(&[&TLS12, &TLS13], TlsVersions::Only1_2).await, old);
    assert_eq!(spoken(&[&TLS12, &TLS13], TlsVersions::Only1_3).await, new);
    assert_eq!(spoken(&[&TLS12], TlsVersions::Any).await, old);
    let error = spoken(&[&TLS12], TlsVersions::Only1_3).await.unwrap_err();
    assert!(error.to_lowercase().contains("version"), "{error}");
    let error = spoken(&[&TLS13], TlsVersions::Only1_2).await.unwrap_err();
    assert!(error.to_lowercase().contains("version"), "{error}");
}

#[test]
fn a_name_that_no_certificate_can_have_is_told_before_anything_is_sent() {
    let tls = Tls { server_name_override: Some("no name".into()), ..known_client() };
    let connector = Connector::http(Some(&tls), LIMIT).unwrap();
    let error = connector.check(&Uri::from_static("https://collector.test/")).unwrap_err().to_string();
    assert!(error.contains("no name"), "{error}");
    connector.check(&Uri::from_static("http://collector.test/")).unwrap();
    let error = Connector::grpc(Uri::from_static("https://a..b:4317/"), &known_client_of_host(), LIMIT).unwrap_err();
    assert!(error.to_string().contains("a..b"), "{error}");
}

/// A [`known_client`] that wants the certificate of the host in the URL.
fn known_client_of_host() -> Tls {
    Tls { server_name_override: None, ..known_client() }
}
