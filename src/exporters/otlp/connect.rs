//! From settings to a connection that is made when it is needed.

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::settings::Settings;
use crate::exporters::connect::{SetupError, Tls, USER_AGENT, causes, connect_timeout};

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
        .http2_keep_alive_interval(settings.keep_alive.interval)
        .keep_alive_timeout(settings.keep_alive.timeout)
        .keep_alive_while_idle(settings.keep_alive.while_idle);
    if !secure {
        return Ok(endpoint);
    }
    endpoint.tls_config(tls(&settings.tls, host)?).map_err(|error| SetupError::Tls(causes(&error)))
}

fn tls(tls: &Tls, host: String) -> Result<ClientTlsConfig, SetupError> {
    let pem = tls.read()?;
    let config = ClientTlsConfig::new().domain_name(tls.server_name_override.clone().unwrap_or(host));
    let config = match pem.authorities {
        Some(pem) => config.ca_certificate(Certificate::from_pem(pem)),
        None => config.with_native_roots(),
    };
    Ok(match pem.identity {
        Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
        None => config,
    })
}
