//! Taking a port, and saying who has it when it cannot be had.

mod holder;

use std::io;
use std::net::{SocketAddr, TcpListener};

pub use holder::{Holder, holder};

/// A port could not be had.
#[derive(Debug, thiserror::Error)]
pub struct BindError {
    endpoint: SocketAddr,
    /// The configuration path of the endpoint.
    key: String,
    /// Who listens there, where that can be seen.
    holder: Option<Holder>,
    source: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, key, holder, source } = self;
        if source.kind() != io::ErrorKind::AddrInUse {
            return write!(f, "cannot listen on {endpoint}, wanted by {key}: {source}");
        }
        write!(f, "port {} is in use", endpoint.port())?;
        match holder {
            Some(holder) => write!(f, " by {holder}")?,
            None => write!(f, " (by whom cannot be seen without root)")?,
        }
        write!(f, ": {endpoint} is wanted by {key}")
    }
}

impl BindError {
    /// The endpoint that was wanted.
    #[must_use]
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// What the operator can do.
    #[must_use]
    pub fn help(&self) -> String {
        let Self { endpoint, key, .. } = self;
        let port = endpoint.port().checked_add(10_000).unwrap_or(14_317);
        let other =
            if key.ends_with(".port") { port.to_string() } else { SocketAddr::new(endpoint.ip(), port).to_string() };
        format!("stop that process, or choose another port: --set {key}={other}")
    }
}

/// Listens on `endpoint`, which the configuration names at `key`. Connections wait until somebody accepts them.
///
/// # Errors
/// [`BindError`], which names the port, its holder where known, and the `--set` that moves it.
pub fn listen(endpoint: SocketAddr, key: &str) -> Result<TcpListener, BindError> {
    let listener = TcpListener::bind(endpoint).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| BindError { endpoint, key: key.to_owned(), holder: holder(endpoint), source })
}
