//! Taking a port, and saying who has it when it cannot be had.

mod holder;
mod ports;
pub mod tls;
pub mod unix;

use std::io;
use std::net::{SocketAddr, SocketAddrV6, TcpListener};

pub use holder::{Holder, holder};
pub use ports::{Ports, SocketFile, UnixSocket};

/// Connections that wait to be accepted, as many as the standard library lets wait.
const BACKLOG: i32 = 128;

/// How a setting that names an endpoint is typed, as the value of `--set`.
pub type Typed = fn(SocketAddr) -> String;

/// A port could not be had.
#[derive(Debug, thiserror::Error)]
pub struct BindError {
    endpoint: SocketAddr,
    /// The configuration path of the endpoint.
    key: String,
    typed: Typed,
    /// Who listens there, where that can be seen.
    holder: Option<Holder>,
    source: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, key, holder, source, .. } = self;
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
        let Self { endpoint, key, typed, source, .. } = self;
        if source.kind() != io::ErrorKind::AddrInUse {
            return format!("choose another endpoint: --set {key}=…");
        }
        let set = format!("{key}={}", typed(free_beside(*endpoint)));
        // What a shell would read in its own way is quoted.
        let quote = if set.contains(['[', '{', ' ']) { "'" } else { "" };
        format!("stop that process, or choose another port: --set {quote}{set}{quote}")
    }
}

/// A port that is free now, 10,000 above if that one is: 4317 moves to 14317.
fn free_beside(endpoint: SocketAddr) -> SocketAddr {
    let above = endpoint.port().checked_add(10_000).into_iter();
    let ports = above.chain([0]).map(|port| SocketAddr::new(endpoint.ip(), port));
    ports.filter_map(|other| TcpListener::bind(other).ok()?.local_addr().ok()).next().unwrap_or(endpoint)
}

fn ready(
    bound: io::Result<TcpListener>,
    endpoint: SocketAddr,
    key: &str,
    typed: Typed,
) -> Result<TcpListener, BindError> {
    let listener = bound.and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| BindError { endpoint, key: key.to_owned(), typed, holder: holder(endpoint), source })
}

/// As the standard library binds, which cannot leave out IPv4.
fn bind_v6(endpoint: SocketAddrV6) -> io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
    let socket = rustix::net::socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &endpoint)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}
