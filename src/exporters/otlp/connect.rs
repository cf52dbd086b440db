//! From settings to a connection that is made when it is needed.

use http::Uri;
use tonic::transport::Endpoint;

use super::settings::Settings;
use crate::exporters::connect::{Connector, SetupError, USER_AGENT, connect_timeout};

/// The endpoint, and what connects to it.
pub(super) fn endpoint(settings: &Settings) -> Result<(Endpoint, Connector), SetupError> {
    let wrong = |reason: String| SetupError::Endpoint { endpoint: settings.endpoint.clone(), reason };
    let url = url(settings).map_err(wrong)?;
    let authority = url.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(|| wrong("no host".to_owned()))?;
    // tonic would do TLS itself for https; the connector does. Servers are told the URL as it is.
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|error| wrong(error.to_string()))?;
    let endpoint = endpoint.user_agent(USER_AGENT).map_err(|error| wrong(error.to_string()))?;
    let endpoint = endpoint
        .origin(url.clone())
        .http2_keep_alive_interval(settings.keep_alive.interval)
        .keep_alive_timeout(settings.keep_alive.timeout)
        .keep_alive_while_idle(settings.keep_alive.while_idle);
    let connector = Connector::grpc(url, &settings.tls, connect_timeout(settings.timeout))?;
    Ok((endpoint, connector))
}

fn url(settings: &Settings) -> Result<Uri, String> {
    // grpc-go's resolver prefix, in many Collector configs.
    let address = settings.endpoint.strip_prefix("dns:///").unwrap_or(&settings.endpoint);
    let url = match address.split_once("://") {
        Some(("http" | "https", _)) => address.to_owned(),
        Some((scheme, _)) => return Err(format!("scheme {scheme} is not supported")),
        None if settings.tls.insecure => format!("http://{address}"),
        None => format!("https://{address}"),
    };
    url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())
}
