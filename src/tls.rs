//! What both ends of a connection share of TLS: versions, and what is read from PEM files.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion};

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersions {
    /// 1.3 where the other end has it, else 1.2.
    #[default]
    Any,
    /// 1.2 alone.
    Only1_2,
    /// 1.3 alone.
    Only1_3,
}

/// A file of certificates or of a key cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[error("{key} {}: {reason}", .path.display())]
pub struct TlsFileError {
    /// The setting.
    pub key: &'static str,
    /// Its value.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The setting that names a file, and the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PemFile<'a> {
    pub(crate) key: &'static str,
    pub(crate) path: &'a Path,
}

impl TlsVersions {
    pub(crate) fn of_rustls(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static TLS_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Any => rustls::DEFAULT_VERSIONS,
            Self::Only1_2 => TLS_1_2,
            Self::Only1_3 => TLS_1_3,
        }
    }
}

impl PemFile<'_> {
    /// The certificates in it: at least one.
    pub(crate) fn certificates(self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let read = CertificateDer::pem_file_iter(self.path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let found = read.map_err(|error| self.unusable(error))?;
        if found.is_empty() { Err(self.unusable("there is no certificate in it")) } else { Ok(found) }
    }

    /// The first key in it.
    pub(crate) fn private_key(self) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        PrivateKeyDer::from_pem_file(self.path).map_err(|error| self.unusable(error))
    }

    /// Trusts the certificates in it.
    pub(crate) fn trust(self, roots: &mut RootCertStore) -> Result<(), TlsFileError> {
        self.certificates()?
            .into_iter()
            .try_for_each(|certificate| roots.add(certificate).map_err(|error| self.unusable(error)))
    }

    pub(crate) fn unusable(self, reason: impl Display) -> TlsFileError {
        TlsFileError { key: self.key, path: self.path.to_owned(), reason: reason.to_string() }
    }
}
