//! How a connection is secured: as it is set, and as rustls wants it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};

use super::SetupError;
use crate::tls::{PemFile, TlsVersions};

/// How the connection is secured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// No TLS.
    pub insecure: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Trust the system's authorities besides those of `ca_file`.
    pub include_system_ca_certs_pool: bool,
    /// PEM file of the client certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client key.
    pub key_file: Option<PathBuf>,
    /// The name to check the server's certificate against, instead of the endpoint's host.
    pub server_name_override: Option<String>,
    /// Which versions are spoken. Default 1.2 and 1.3.
    pub versions: TlsVersions,
    /// The files are looked at before a connection is made, but not more often than this, and read again when they
    /// changed. Default zero.
    pub reload_interval: Duration,
}

impl Tls {
    /// The files that are read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten().cloned().collect()
    }

    /// Reads the files; `protocols` are offered to servers, the preferred one first (ALPN).
    ///
    /// # Errors
    /// [`SetupError`] for a file that cannot be read or used, half an identity, and when there is no authority to trust.
    pub(super) fn config(&self, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, SetupError> {
        let identity = match (&self.cert_file, &self.key_file) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert, key)),
            (Some(_), None) => return Err(SetupError::HalfIdentity { missing: "tls.key_file" }),
            (None, Some(_)) => return Err(SetupError::HalfIdentity { missing: "tls.cert_file" }),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(self.versions.of_rustls())
            .map_err(|error| SetupError::Tls(error.to_string()))?
            .with_root_certificates(self.authorities()?);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = PemFile { key: "tls.cert_file", path: cert }.certificates()?;
                let key_file = PemFile { key: "tls.key_file", path: key };
                builder
                    .with_client_auth_cert(chain, key_file.private_key()?)
                    .map_err(|error| key_file.unusable(error))?
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn authorities(&self) -> Result<RootCertStore, SetupError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca_file {
            PemFile { key: "tls.ca_file", path }.trust(&mut roots)?;
        }
        if self.ca_file.is_none() || self.include_system_ca_certs_pool {
            // Those that cannot be read are left out: one bad file of the system's must not stop delivery.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if roots.is_empty() {
            let reason = "there is no certificate of an authority to trust; name one as ca_file";
            return Err(SetupError::Tls(reason.into()));
        }
        Ok(roots)
    }
}

#[cfg(test)]
#[cfg(feature = "agent")]
mod tests {
    use super::*;
    use crate::exporters::connect::for_tests::{known_client, pem};

    #[test]
    fn the_systems_authorities_are_trusted_besides_those_of_a_file_only_when_that_is_said() {
        let count = |tls: Tls| tls.authorities().map(|roots| roots.len()).unwrap_or_default();
        let system = count(Tls::default());
        assert_eq!(count(known_client()), 1);
        assert_eq!(count(Tls { include_system_ca_certs_pool: true, ..known_client() }), system + 1);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_key() {
        let error = |tls: Tls| tls.config(&[]).unwrap_err().to_string();
        let empty = PathBuf::from("/dev/null");
        for tls in [
            Tls { ca_file: Some(empty.clone()), ..known_client() },
            Tls { ca_file: Some(empty.clone()), include_system_ca_certs_pool: true, ..known_client() },
        ] {
            assert_eq!(error(tls), "tls.ca_file /dev/null: there is no certificate in it");
        }
        let said = error(Tls { cert_file: Some(empty.clone()), ..known_client() });
        assert_eq!(said, "tls.cert_file /dev/null: there is no certificate in it");
        let said = error(Tls { key_file: Some(empty), ..known_client() });
        assert!(said.starts_with("tls.key_file /dev/null: "), "{said}");
        let said = error(Tls { key_file: Some(pem("server.key")), ..known_client() });
        assert!(said.contains("server.key: ") && said.to_lowercase().contains("mismatch"), "{said}");
    }
}
