//! TLS for what listens: certificates that are read again when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

use crate::stamp::Followed;

/// The checked settings `tls` of what listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file of the certificate, and of what is between it and an authority.
    pub cert_file: PathBuf,
    /// PEM file of its key.
    pub key_file: PathBuf,
    /// PEM file of the authorities that clients' certificates must come from; none: clients need none.
    pub client_ca_file: Option<PathBuf>,
    /// Whether TLS 1.2 is taken besides 1.3. Default true.
    pub takes_1_2: bool,
    /// How often the files are looked at, when connections come. Default 10 s.
    pub reload_interval: Duration,
}

/// Certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key} {}: {reason}", .path.display())]
pub struct TlsError {
    key: &'static str,
    path: PathBuf,
    reason: String,
}

/// What is shown to clients, and asked of them.
#[derive(Debug)]
pub struct Certificates {
    settings: ServerTls,
    protocols: &'static [&'static [u8]],
    config: Followed<Arc<ServerConfig>>,
}

impl Certificates {
    /// Reads the files; `protocols` are offered to clients, the preferred one first (ALPN).
    ///
    /// # Errors
    /// [`TlsError`] for a file that cannot be read or used.
    pub fn read(settings: ServerTls, protocols: &'static [&'static [u8]]) -> Result<Self, TlsError> {
        let files = settings.files().map(Path::to_owned).collect();
        let config = Followed::read(files, settings.reload_interval, || settings.config(protocols))?;
        Ok(Self { settings, protocols, config })
    }

    /// What takes the next connection. Files that changed are read again; while they cannot be used, which is told,
    /// those read before go on.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.current(|| self.settings.config(self.protocols)))
    }
}

impl ServerTls {
    fn files(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.cert_file), Some(&self.key_file), self.client_ca_file.as_ref()].into_iter().flatten().map(|p| &**p)
    }

    fn config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key_error = |reason: String| TlsError { key: "tls.key_file", path: self.key_file.clone(), reason };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions())
            .map_err(|error| key_error(error.to_string()))?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let unusable = |reason| TlsError { key: "tls.client_ca_file", path: path.clone(), reason };
                let mut roots = RootCertStore::empty();
                for certificate in certificates("tls.client_ca_file", path)? {
                    roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(error.to_string()))?)
            }
        };
        let chain = certificates("tls.cert_file", &self.cert_file)?;
        let key = PrivateKeyDer::from_pem_file(&self.key_file).map_err(|error| key_error(error.to_string()))?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| key_error(error.to_string()))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        if self.takes_1_2 { rustls::DEFAULT_VERSIONS } else { TLS_1_3 }
    }
}

/// The certificates in a file: at least one.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |reason: String| TlsError { key, path: path.to_owned(), reason };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() { Err(unusable("there is no certificate in it".into())) } else { Ok(found) }
}
