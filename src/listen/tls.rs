//! TLS for what listens: certificates that are read again when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::stamp::Followed;
use crate::tls::{PemFile, TlsFileError, TlsVersions};

/// The checked settings `tls` of what listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file of the certificate, and of what is between it and an authority.
    pub cert_file: PathBuf,
    /// PEM file of its key.
    pub key_file: PathBuf,
    /// PEM file of the authorities that clients' certificates must come from; none: clients need none.
    pub client_ca_file: Option<PathBuf>,
    /// Which versions are spoken. Default 1.2 and 1.3.
    pub versions: TlsVersions,
    /// How often the files are looked at, when connections come. Default 10 s.
    pub reload_interval: Duration,
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
    /// [`TlsFileError`] for a file that cannot be read or used.
    pub fn read(settings: ServerTls, protocols: &'static [&'static [u8]]) -> Result<Self, TlsFileError> {
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

    fn config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsFileError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (cert_file, key_file) = (
            PemFile { key: "tls.cert_file", path: &self.cert_file },
            PemFile { key: "tls.key_file", path: &self.key_file },
        );
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions.of_rustls())
            .map_err(|error| key_file.unusable(error))?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let authorities = PemFile { key: "tls.client_ca_file", path };
                let mut roots = RootCertStore::empty();
                authorities.trust(&mut roots)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| authorities.unusable(error))?)
            }
        };
        let mut config = builder
            .with_single_cert(cert_file.certificates()?, key_file.private_key()?)
            .map_err(|error| key_file.unusable(error))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}
