//! From settings to a connection that is made when it is needed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::settings::{Settings, Tls};

/// A lost peer is noticed within this time while a request waits for its answer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time that one attempt to connect, TLS included, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// Why an exporter cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The endpoint is no `host:port` and no http or https URL.
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
    /// A TLS file cannot be read.
    #[error("{key} {}: {source}", .path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// Its value.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A client certificate without its key, or the other way round.
    #[error("tls.cert_file and tls.key_file go together: {missing} is missing")]
    HalfIdentity {
        /// The absent setting.
        missing: &'static str,
    },
    /// The TLS settings do not fit together or the files hold no usable certificate.
    #[error("tls: {0}")]
    Tls(String),
}

/// The endpoint to connect to, with TLS where it is wanted.
pub(super) fn endpoint(settings: &Settings) -> Result<Endpoint, SetupError> {
    let wrong = |reason: String| SetupError::Endpoint { endpoint: settings.endpoint.clone(), reason };
    // grpc-go's resolver prefix, in many Collector configs.
    let address = settings.endpoint.strip_prefix("dns:///").unwrap_or(&settings.endpoint);
    let (secure, url) = match address.split_once("://") {
        Some(("http", _)) => (false, address.to_owned()),
        Some(("https", _)) => (true, address.to_owned()),
        Some((scheme, _)) => return Err(wrong(format!("scheme {scheme} is not supported"))),
        None if settings.tls.insecure => (false, format!("http://{address}")),
        None => (true, format!("https://{address}")),
    };
    let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no host".to_owned()))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let endpoint = Endpoint::from_shared(url).map_err(|error| wrong(error.to_string()))?;
    let endpoint = endpoint.user_agent(USER_AGENT).map_err(|error| wrong(error.to_string()))?;
    let endpoint = endpoint
        .connect_timeout(connect_timeout(settings.timeout))
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEP_ALIVE))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    if !secure {
        return Ok(endpoint);
    }
    endpoint.tls_config(tls(&settings.tls, host)?).map_err(|error| SetupError::Tls(causes(&error)))
}

/// An attempt to connect outlives the request that began it; the next request must not inherit one that hangs.
fn connect_timeout(timeout: Duration) -> Duration {
    if timeout.is_zero() { CONNECT_TIMEOUT } else { timeout.min(CONNECT_TIMEOUT) }
}

fn tls(tls: &Tls, host: String) -> Result<ClientTlsConfig, SetupError> {
    let mut config = ClientTlsConfig::new().domain_name(tls.server_name_override.clone().unwrap_or(host));
    config = match &tls.ca_file {
        Some(path) => config.ca_certificate(Certificate::from_pem(pem("tls.ca_file", path)?)),
        None => config.with_native_roots(),
    };
    match (&tls.cert_file, &tls.key_file) {
        (None, None) => Ok(config),
        (Some(cert), Some(key)) => {
            Ok(config.identity(Identity::from_pem(pem("tls.cert_file", cert)?, pem("tls.key_file", key)?)))
        }
        (Some(_), None) => Err(SetupError::HalfIdentity { missing: "tls.key_file" }),
        (None, Some(_)) => Err(SetupError::HalfIdentity { missing: "tls.cert_file" }),
    }
}

fn pem(key: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::File { key, path: path.to_owned(), source })
}

/// The configured headers as gRPC metadata; values are kept out of debug output.
pub(super) fn metadata(headers: &[(String, String)]) -> Result<MetadataMap, SetupError> {
    let mut metadata = MetadataMap::new();
    for (name, value) in headers {
        let wrong = |reason| SetupError::Header { name: name.clone(), reason };
        let key = MetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes())
            .map_err(|_| wrong("not a header name, or one that ends in -bin"))?;
        let mut value =
            MetadataValue::try_from(value.as_str()).map_err(|_| wrong("the value is not printable ASCII"))?;
        value.set_sensitive(true);
        metadata.append(key, value);
    }
    Ok(metadata)
}

/// An error and what caused it, in one line. Parts that repeat what was said are left out.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
