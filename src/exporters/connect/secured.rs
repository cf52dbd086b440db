//! TLS with a backend, as its files are now.

use std::sync::Arc;

use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{SetupError, Tls};
use crate::stamp::Followed;

/// What is shown to servers, and asked of them.
#[derive(Debug)]
pub(super) struct Secured {
    settings: Tls,
    protocols: &'static [&'static [u8]],
    config: Followed<Arc<ClientConfig>>,
}

impl Secured {
    /// Reads the files; `protocols` are offered to servers, the preferred one first (ALPN).
    ///
    /// # Errors
    /// [`SetupError`] for settings and files that cannot be used.
    pub(super) fn read(settings: Tls, protocols: &'static [&'static [u8]]) -> Result<Self, SetupError> {
        let config = Followed::read(settings.files(), settings.reload_interval, || settings.config(protocols))?;
        Ok(Self { settings, protocols, config })
    }

    /// The name that a server's certificate must have.
    ///
    /// # Errors
    /// [`SetupError::Tls`] when no certificate can have it.
    pub(super) fn server_name(&self, url: &Uri) -> Result<ServerName<'static>, SetupError> {
        let host = || url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = self.settings.server_name_override.clone().unwrap_or_else(host);
        name.clone().try_into().map_err(|error| SetupError::Tls(format!("{name}: {error}")))
    }

    /// Secures a connection. Files that changed are read again first; while they cannot be used, which is told, those
    /// read before go on.
    pub(super) async fn handshake(
        &self,
        name: ServerName<'static>,
        tcp: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.config.current(|| self.settings.config(self.protocols));
        TlsConnector::from(config).connect(name, tcp).await
    }
}
