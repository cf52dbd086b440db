//! Why an exporter cannot be built from its settings.

use crate::tls::TlsFileError;

/// Why an exporter cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The endpoint is none, or none of those that the exporter takes.
    #[error("endpoint {endpoint:?} cannot be used: {reason}; write host:port, or a URL with http or https")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header's name or value does not fit HTTP. The value is a secret and not shown.
    #[error("header {name:?} cannot be sent: {reason}")]
    Header {
        /// The header's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A TLS file cannot be read or used.
    #[error(transparent)]
    File(#[from] TlsFileError),
    /// A client certificate without its key, or the other way round.
    #[error("tls.cert_file and tls.key_file go together: {missing} is missing")]
    HalfIdentity {
        /// The absent setting.
        missing: &'static str,
    },
    /// There is no authority to trust, or the server's name is none.
    #[error("tls: {0}")]
    Tls(String),
}
