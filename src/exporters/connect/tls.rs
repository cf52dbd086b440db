//! How a connection is secured.

use std::path::{Path, PathBuf};

use super::SetupError;

/// How the connection is secured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// No TLS.
    pub insecure: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client key.
    pub key_file: Option<PathBuf>,
    /// The name to check the server's certificate against, instead of the endpoint's host.
    pub server_name_override: Option<String>,
}

/// What the files of a [`Tls`] hold, as PEM.
#[derive(Debug)]
pub(in crate::exporters) struct Pem {
    /// The authorities; none: the system's.
    pub(in crate::exporters) authorities: Option<Vec<u8>>,
    /// Certificate and key of the client.
    pub(in crate::exporters) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`SetupError`] for a file that cannot be read, and for half an identity.
    pub(in crate::exporters) fn read(&self) -> Result<Pem, SetupError> {
        let authorities = self.ca_file.as_deref().map(|path| pem("tls.ca_file", path)).transpose()?;
        let identity = match (&self.cert_file, &self.key_file) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((pem("tls.cert_file", cert)?, pem("tls.key_file", key)?)),
            (Some(_), None) => return Err(SetupError::HalfIdentity { missing: "tls.key_file" }),
            (None, Some(_)) => return Err(SetupError::HalfIdentity { missing: "tls.cert_file" }),
        };
        Ok(Pem { authorities, identity })
    }
}

fn pem(key: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::File { key, path: path.to_owned(), source })
}

#[cfg(feature = "agent")]
impl Pem {
    /// The settings of a client, which needs somebody to trust when it is used. Which protocols it offers is for the
    /// caller to add.
    ///
    /// # Errors
    /// [`SetupError::Tls`] when there is nothing usable in the files, or no authority to trust.
    pub(in crate::exporters) fn client(self, is_used: bool) -> Result<rustls::ClientConfig, SetupError> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let wrong = |what: &str, error: &dyn std::fmt::Display| SetupError::Tls(format!("{what}: {error}"));

        let mut roots = rustls::RootCertStore::empty();
        match self.authorities {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| wrong("ca_file", &error))?;
                    roots.add(certificate).map_err(|error| wrong("ca_file", &error))?;
                }
            }
            None => {
                // Those that cannot be read are left out: one bad file of the system's must not stop delivery.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() && is_used {
            return Err(SetupError::Tls(
                "there is no certificate of an authority to trust; name one as ca_file".into(),
            ));
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("no protocol version", &error))?
            .with_root_certificates(roots);
        let Some((certificates, key)) = self.identity else { return Ok(builder.with_no_client_auth()) };
        let certificates = CertificateDer::pem_slice_iter(&certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong("cert_file", &error))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong("key_file", &error))?;
        builder.with_client_auth_cert(certificates, key).map_err(|error| wrong("cert_file and key_file", &error))
    }
}

/// A client that the tests' servers know.
#[cfg(all(test, feature = "agent"))]
pub(in crate::exporters) mod for_tests {
    use std::path::{Path, PathBuf};

    use super::Tls;

    /// A file of the tests' authority; see `tests/certificates`.
    pub(in crate::exporters) fn pem(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
    }

    /// Shows a certificate of the authority's, and trusts it alone.
    pub(in crate::exporters) fn known_client() -> Tls {
        Tls {
            insecure: false,
            ca_file: Some(pem("ca.pem")),
            cert_file: Some(pem("client.pem")),
            key_file: Some(pem("client.key")),
            server_name_override: Some("server.test".into()),
        }
    }
}
