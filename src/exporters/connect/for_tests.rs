//! Real servers with TLS, and certificates that are rotated on disk.
#![cfg(feature = "agent")]

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;
use crate::exporters::sink::{SendError, Sent};

/// A file of the tests' authorities; see `tests/certificates`.
pub(in crate::exporters) fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

/// Shows a certificate of the authority's, and trusts it alone.
pub(in crate::exporters) fn known_client() -> Tls {
    Tls {
        ca_file: Some(pem("ca.pem")),
        cert_file: Some(pem("client.pem")),
        key_file: Some(pem("client.key")),
        server_name_override: Some("server.test".into()),
        ..Tls::default()
    }
}

/// The files of a [`known_client`], to be rotated.
pub(in crate::exporters) struct Files(tempfile::TempDir);

impl Files {
    pub(in crate::exporters) fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for (from, to) in [("ca.pem", "ca"), ("client.pem", "cert"), ("client.key", "key")] {
            files.put(from, to);
        }
        files
    }

    pub(in crate::exporters) fn tls(&self) -> Tls {
        let at = |name| Some(self.0.path().join(name));
        Tls { ca_file: at("ca"), cert_file: at("cert"), key_file: at("key"), ..known_client() }
    }

    /// Puts another file in the place of one, as tools do: whole, under its name.
    #[allow(clippy::disallowed_methods, reason = "an operator's files")]
    pub(in crate::exporters) fn put(&self, from: &str, to: &str) {
        std::fs::copy(pem(from), self.0.path().join("new")).unwrap();
        std::fs::rename(self.0.path().join("new"), self.0.path().join(to)).unwrap();
    }
}

/// A server with TLS for clients with a certificate, until the test's runtime ends.
pub(in crate::exporters) struct TlsServer(Arc<Mutex<State>>);

struct State {
    config: Arc<ServerConfig>,
    connections: Vec<AbortHandle>,
    /// What was spoken on each connection.
    versions: Vec<ProtocolVersion>,
}

impl TlsServer {
    /// Serves connections of `listener` with `serve`.
    pub(in crate::exporters) fn start<F: Future<Output = ()> + Send + 'static>(
        listener: std::net::TcpListener,
        config: ServerConfig,
        serve: impl Fn(TlsStream<TcpStream>) -> F + Send + 'static,
    ) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let (connections, versions) = (Vec::new(), Vec::new());
        let state = Arc::new(Mutex::new(State { config: Arc::new(config), connections, versions }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&shared.lock().unwrap().config));
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let version = stream.get_ref().1.protocol_version().unwrap();
                let serving = tokio::spawn(serve(stream)).abort_handle();
                let mut state = shared.lock().unwrap();
                state.versions.push(version);
                state.connections.push(serving);
            }
        });
        Self(state)
    }

    /// From now on this one holds; who is connected is cut off.
    pub(in crate::exporters) fn rotate(&self, config: ServerConfig) {
        let mut state = self.0.lock().unwrap();
        state.config = Arc::new(config);
        state.connections.drain(..).for_each(|serving| serving.abort());
    }

    /// What was spoken on each connection so far.
    pub(in crate::exporters) fn versions(&self) -> Vec<ProtocolVersion> {
        self.0.lock().unwrap().versions.clone()
    }
}

/// A port of this machine's, with nobody who accepts yet: who connects hears nothing.
pub(in crate::exporters) fn port() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Shows this certificate, and takes clients with one of this authority's.
pub(in crate::exporters) fn shows(server: &str, authority: &str) -> ServerConfig {
    speaks(server, authority, rustls::DEFAULT_VERSIONS)
}

/// As [`shows`], in these versions.
pub(in crate::exporters) fn speaks(
    server: &str,
    authority: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem(authority)).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let chain = vec![CertificateDer::from_pem_file(pem(&format!("{server}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(pem(&format!("{server}.key"))).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Rotates authority and certificates on both sides of an exporter that has these files and sends with `send`.
pub(in crate::exporters) async fn rotate(
    files: &Files,
    server: &TlsServer,
    send: impl AsyncFn() -> Result<Sent, SendError>,
) {
    assert_eq!(send().await, Ok(Sent::default()));
    // A connection that stands is not asked again, whatever its files hold now.
    files.put("make.sh", "ca");
    assert_eq!(send().await, Ok(Sent::default()));
    assert_eq!(server.versions().len(), 1);

    server.rotate(shows("next-server", "next-ca.pem"));
    // The authority that was read before goes on in place of one that cannot be read.
    fails(&send, |reason| reason.contains("invalid peer certificate")).await;
    files.put("next-ca.pem", "ca");
    // The server is trusted now; our certificate is of the old authority's still.
    fails(&send, |reason| !reason.contains("invalid peer certificate")).await;
    // A certificate without its key is half of one.
    files.put("next-client.pem", "cert");
    fails(&send, |reason| !reason.contains("invalid peer certificate")).await;
    files.put("next-client.key", "key");
    assert_eq!(send().await, Ok(Sent::default()));
}

/// Sends until it fails in this way: a connection that was cut off may be noticed late.
async fn fails(send: impl AsyncFn() -> Result<Sent, SendError>, so: impl Fn(&str) -> bool) {
    let failing = async {
        loop {
            match send().await {
                Err(SendError::Retry { reason, .. }) if so(&reason) => return,
                Err(SendError::Retry { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), failing).await.expect("it fails in another way");
}
