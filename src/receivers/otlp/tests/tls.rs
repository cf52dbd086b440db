//! TLS, and sockets in the file system.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint as To, Identity};

use super::lab::{Lab, any_port, logs};
use crate::listen::Ports;
use crate::listen::tls::ServerTls;
use crate::listen::unix::SocketMode;
use crate::otlp::Signal;
use crate::receivers::otlp::{Admission, Endpoint, GrpcSettings, Settings, bind};
use crate::spool::Options;
use crate::tls::TlsVersions;

/// A file of the tests' authority; see `tests/certificates`.
fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

fn tls(client_ca: Option<&str>) -> ServerTls {
    ServerTls {
        cert_file: pem("server.pem"),
        key_file: pem("server.key"),
        client_ca_file: client_ca.map(pem),
        versions: TlsVersions::Any,
        reload_interval: Duration::ZERO,
    }
}

fn lab(tls: &ServerTls) -> Lab {
    Lab::of_known_clients(Some(tls), None)
}

/// Sends a request over gRPC; the error as text.
async fn send(lab: &Lab, identity: Option<(&str, &str)>, authority: &str) -> Result<(), String> {
    let read = |name: &str| std::fs::read(pem(name)).unwrap();
    let mut tls =
        ClientTlsConfig::new().domain_name("server.test").ca_certificate(Certificate::from_pem(read(authority)));
    if let Some((cert, key)) = identity {
        tls = tls.identity(Identity::from_pem(read(cert), read(key)));
    }
    let to = To::from_shared(format!("https://{}", lab.grpc)).unwrap().tls_config(tls).unwrap();
    let channel = to.connect().await.map_err(|error| format!("{error:?}"))?;
    LogsServiceClient::new(channel).export(logs(1, "a")).await.map(|_| ()).map_err(|status| format!("{status:?}"))
}

#[tokio::test]
async fn grpc_is_taken_over_tls_from_clients_that_are_known() {
    let lab = lab(&tls(Some("ca.pem")));
    send(&lab, Some(("client.pem", "client.key")), "ca.pem").await.unwrap();
    send(&lab, None, "ca.pem").await.unwrap_err();
    let error = send(&lab, Some(("client.pem", "client.key")), "stranger.pem").await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    // Who speaks no TLS is not answered.
    LogsServiceClient::connect(format!("http://{}", lab.grpc)).await.unwrap().export(logs(1, "a")).await.unwrap_err();
    assert_eq!(lab.stored(Signal::Logs).len(), 1);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "an operator's files")]
async fn certificates_that_change_are_taken_and_broken_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let put = |from: &str, to: &str| {
        // As tools replace certificates: whole, under the old name.
        std::fs::copy(pem(from), at("new")).unwrap();
        std::fs::rename(at("new"), at(to)).unwrap();
    };
    put("client.pem", "cert");
    put("client.key", "key");
    let lab = lab(&ServerTls { cert_file: at("cert"), key_file: at("key"), ..tls(None) });
    let error = send(&lab, None, "ca.pem").await.unwrap_err();
    assert!(error.contains("NotValidForName"), "the client's certificate is not the server's: {error}");
    std::fs::write(at("key"), "half a key").unwrap();
    let error = send(&lab, None, "ca.pem").await.unwrap_err();
    assert!(error.contains("NotValidForName"), "the old one goes on: {error}");
    put("server.key", "key");
    put("server.pem", "cert");
    send(&lab, None, "ca.pem").await.unwrap();
}

/// What a client that speaks these versions speaks with a receiver that speaks those.
async fn spoken(
    client: &[&'static rustls::SupportedProtocolVersion],
    versions: TlsVersions,
) -> std::io::Result<Option<rustls::ProtocolVersion>> {
    let lab = lab(&ServerTls { versions, ..tls(None) });
    let mut roots = rustls::RootCertStore::empty();
    crate::tls::PemFile { key: "ca", path: &pem("ca.pem") }.trust(&mut roots).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(client)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(lab.grpc).await?;
    let name = "server.test".try_into().unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(stream.get_ref().1.protocol_version())
}

#[tokio::test]
async fn the_versions_of_tls_are_those_that_are_set() {
    use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
    use rustls::version::{TLS12, TLS13};
    assert_eq!(spoken(&[&TLS12, &TLS13], TlsVersions::Any).await.unwrap(), Some(TLSv1_3));
    assert_eq!(spoken(&[&TLS12, &TLS13], TlsVersions::Only1_2).await.unwrap(), Some(TLSv1_2));
    assert_eq!(spoken(&[&TLS12], TlsVersions::Any).await.unwrap(), Some(TLSv1_2));
    for (client, server) in [(&TLS12, TlsVersions::Only1_3), (&TLS13, TlsVersions::Only1_2)] {
        let error = spoken(&[client], server).await.unwrap_err().to_string();
        assert!(error.contains("ProtocolVersion"), "{error}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_told_at_the_start() {
    let with = |tls: ServerTls| {
        let grpc = GrpcSettings { tls: Some(tls), ..any_port().grpc.unwrap() };
        bind("otlp/a", &Settings { grpc: Some(grpc), ..Settings::default() }, &mut Ports::default())
            .unwrap_err()
            .to_string()
    };
    let error = with(ServerTls { cert_file: "/nonexistent".into(), ..tls(None) });
    assert!(error.starts_with("receiver otlp/a: protocols.grpc.tls.cert_file /nonexistent: "), "{error}");
    let error = with(ServerTls { key_file: pem("client.key"), ..tls(None) });
    assert!(error.contains("tls.key_file"), "{error}");
    let error = with(ServerTls { client_ca_file: Some(pem("client.key")), ..tls(None) });
    assert!(error.contains("tls.client_ca_file") && error.contains("no certificate"), "{error}");
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a file that must not be replaced")]
async fn a_socket_in_the_file_system_is_served_and_goes_with_the_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("otlp.sock");
    // One that somebody left is no trouble.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let grpc = GrpcSettings { endpoint: Endpoint::Unix(path.clone(), SocketMode::Group), ..GrpcSettings::default() };
    let settings = Settings { grpc: Some(grpc), ..Settings::default() };
    let lab = Lab::with_settings(&[Signal::Logs], Options::default().log, Admission::default(), settings.clone());
    let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    let error = bind("otlp", &settings, &mut Ports::default()).unwrap_err().to_string();
    assert!(error.contains("another process listens there"), "{error}");
    let file = directory.path().join("a-file");
    std::fs::write(&file, "kept").unwrap();
    let grpc = GrpcSettings { endpoint: Endpoint::Unix(file.clone(), SocketMode::User), ..GrpcSettings::default() };
    let error = bind("otlp", &Settings { grpc: Some(grpc), ..Settings::default() }, &mut Ports::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no socket") && std::fs::read(&file).unwrap() == b"kept", "{error}");
    let to = format!("unix:{}", path.display());
    LogsServiceClient::connect(to).await.unwrap().export(logs(2, "a")).await.unwrap();
    assert_eq!(lab.stored(Signal::Logs)[0].items, 2);
    drop(lab.stop);
    tokio::time::timeout(Duration::from_secs(10), lab.serving).await.unwrap().unwrap();
    assert!(!path.exists());
}
