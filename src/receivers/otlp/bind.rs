//! Ports: taken before privileges are dropped, served later.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::admission::Admission;
use super::listener::Taken;
use super::receive::Receive;
use super::server::Server;
use super::settings::{Cors, Endpoint, Limits, Settings};
use super::{grpc, http};
use crate::auth::{self, ServerSettings};
use crate::listen::tls::{Certificates, ServerTls};
use crate::listen::{BindError, Ports};
use crate::receivers::{Intake, Protocol};
use crate::tls::TlsFileError;

/// The protocols that are offered to clients, the preferred one first (ALPN).
const GRPC_PROTOCOLS: &[&[u8]] = &[b"h2"];
const HTTP_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A receiver cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A port could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Certificates cannot be used.
    #[error("receiver {receiver}: protocols.{protocol}.{error}")]
    Tls {
        /// The receiver's id.
        receiver: String,
        /// The protocol.
        protocol: &'static str,
        /// Why.
        error: TlsFileError,
    },
    /// Credentials cannot be read.
    #[error("receiver {receiver}: protocols.{protocol}.auth: {reason}")]
    Auth {
        /// The receiver's id.
        receiver: String,
        /// The protocol.
        protocol: &'static str,
        /// Why.
        reason: String,
    },
    /// A socket in the file system could not be made.
    #[error("receiver {receiver}: protocols.{protocol}.endpoint {}: {error}", .path.display())]
    Socket {
        /// The receiver's id.
        receiver: String,
        /// The protocol.
        protocol: &'static str,
        /// Its path.
        path: std::path::PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The ports of one receiver, listening but not yet answering.
#[derive(Debug)]
pub struct Bound {
    id: Arc<str>,
    grpc: Option<Port>,
    http: Option<Port>,
    /// Of HTTP.
    cors: Option<Arc<Cors>>,
    limits: Limits,
    admission: Admission,
    accepting: Option<mpsc::Sender<()>>,
}

/// One protocol's socket.
#[derive(Debug)]
struct Port {
    taken: Taken,
    tls: Option<Certificates>,
    auth: Option<auth::Server>,
    /// The largest request, and the setting that says so.
    size: (usize, &'static str),
}

/// Takes the ports of the receiver with this id (`otlp`, `otlp/name`). Connections wait until [`Bound::serve`].
///
/// # Errors
/// [`ListenError`], which names the port, its holder where known, and the `--set` that moves it.
pub fn bind(id: &str, settings: &Settings, ports: &mut Ports) -> Result<Bound, ListenError> {
    let Settings { grpc, http, limits } = settings;
    let grpc = grpc.as_ref().map(|grpc| {
        let size = (grpc.max_message_bytes, "protocols.grpc.max_recv_msg_size_mib");
        let (tls, auth) = (grpc.tls.as_ref(), grpc.auth.as_ref());
        Plan { id, protocol: "grpc", endpoint: &grpc.endpoint, tls, offered: GRPC_PROTOCOLS, auth, size }.take(ports)
    });
    let cors = http.as_ref().and_then(|http| http.cors.clone()).map(Arc::new);
    let http = http.as_ref().map(|http| {
        let size = (http.max_body_bytes, "protocols.http.max_request_body_size");
        let (tls, auth) = (http.tls.as_ref(), http.auth.as_ref());
        Plan { id, protocol: "http", endpoint: &http.endpoint, tls, offered: HTTP_PROTOCOLS, auth, size }.take(ports)
    });
    let admission = limits.max_in_flight_bytes.map(Admission::new).unwrap_or_default();
    Ok(Bound {
        id: id.into(),
        grpc: grpc.transpose()?,
        http: http.transpose()?,
        cors,
        limits: limits.clone(),
        admission,
        accepting: None,
    })
}

/// How a protocol is to listen.
struct Plan<'a> {
    id: &'a str,
    protocol: &'static str,
    endpoint: &'a Endpoint,
    tls: Option<&'a ServerTls>,
    offered: &'static [&'static [u8]],
    auth: Option<&'a ServerSettings>,
    size: (usize, &'static str),
}

impl Plan<'_> {
    fn take(self, ports: &mut Ports) -> Result<Port, ListenError> {
        let Self { id, protocol, endpoint, tls, offered, auth, size } = self;
        let receiver = || id.to_owned();
        let tls = tls.map(|tls| Certificates::read(tls.clone(), offered)).transpose();
        let tls = tls.map_err(|error| ListenError::Tls { receiver: receiver(), protocol, error })?;
        let auth = auth.map(|auth| auth::Server::new(auth.clone())).transpose();
        let auth = auth.map_err(|reason| ListenError::Auth { receiver: receiver(), protocol, reason })?;
        let key = format!("receivers.{id}.protocols.{protocol}.endpoint");
        let taken = match endpoint {
            Endpoint::Tcp(address) => Taken::Tcp(ports.listen(*address, &key)?),
            Endpoint::Tcp6(address) => Taken::Tcp(ports.listen_v6(*address, &key)?),
            Endpoint::Unix(path, mode) => {
                let socket = ports.unix(path, *mode);
                let failed = |error| ListenError::Socket { receiver: receiver(), protocol, path: path.clone(), error };
                Taken::Unix(socket.map_err(failed)?)
            }
        };
        Ok(Port { taken, tls, auth, size })
    }
}

impl Bound {
    /// Holds requests in flight in this memory, which others may share: other receivers, or this one before a reload.
    #[must_use]
    pub fn sharing(self, admission: Admission) -> Self {
        Self { admission, ..self }
    }

    /// Remembers passwords that were right with others: other receivers, or this one before a reload.
    #[must_use]
    pub fn remembering(self, passwords: &auth::RememberedPasswords) -> Self {
        let [grpc, http] = [self.grpc, self.http].map(|port| {
            let port = port?;
            let auth = port.auth.map(|auth| auth.remembering(passwords.clone()));
            Some(Port { auth, ..port })
        });
        Self { grpc, http, ..self }
    }

    /// Holds `accepting` until it accepts no more connections.
    #[must_use]
    pub fn telling(self, accepting: mpsc::Sender<()>) -> Self {
        Self { accepting: Some(accepting), ..self }
    }

    /// Where gRPC listens; the port is the real one where 0 was asked for. None of a socket in the file system.
    #[must_use]
    pub fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().and_then(|port| port.taken.address())
    }

    /// Where HTTP listens.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|port| port.taken.address())
    }

    /// Where it listens, as the start-up line has it: `grpc 127.0.0.1:4317, http 127.0.0.1:4318`.
    #[must_use]
    pub fn endpoints(&self) -> String {
        let shown = |protocol: &str, port: &Port| {
            let tls = if port.tls.is_some() { " (TLS)" } else { "" };
            format!("{protocol} {}{tls}", port.taken.shown())
        };
        let grpc = self.grpc.as_ref().map(|port| shown("grpc", port));
        let http = self.http.as_ref().map(|port| shown("http", port));
        grpc.into_iter().chain(http).collect::<Vec<_>>().join(", ")
    }

    /// Answers requests until `shutdown` completes; then stops accepting, finishes what is in flight, and returns.
    /// How long that may take is for the caller to bound.
    ///
    /// # Errors
    /// When the sockets cannot be handed to the runtime.
    pub async fn serve(self, intake: Intake, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Self { id, grpc, http, cors, limits, admission, accepting } = self;
        let (stop, stopped) = watch::channel(());
        let served = |port: Port, protocol| {
            let Port { taken, tls, auth, size: (limit, limit_key) } = port;
            let (intake, admission, auth) = (intake.via(protocol), admission.clone(), auth.map(Arc::new));
            let (id, limits) = (Arc::clone(&id), limits.clone());
            let server = Server { listener: taken.serve()?, tls, limits: limits.clone(), accepting: accepting.clone() };
            Ok::<_, io::Error>((Receive { id, protocol, intake, admission, auth, limits, limit, limit_key }, server))
        };
        let grpc = grpc.map(|port| served(port, Protocol::Grpc)).transpose()?;
        let http = http.map(|port| served(port, Protocol::Http)).transpose()?;
        drop(accepting);
        let grpc = async {
            let Some((receive, server)) = grpc else { return };
            let handler = move |request, in_flight| {
                let receive = receive.clone();
                async move { grpc::serve(&receive, request, in_flight).await }
            };
            server.serve(handler, until(stopped.clone())).await;
        };
        let http = async {
            let Some((receive, server)) = http else { return };
            let handler = move |request, in_flight| {
                let (receive, cors) = (receive.clone(), cors.clone());
                async move { http::serve(&receive, cors.as_deref(), request, in_flight).await }
            };
            server.serve(handler, until(stopped.clone())).await;
        };
        let stopping = async {
            shutdown.await;
            intake.stop_waiting();
            drop(stop);
        };
        tokio::join!(grpc, http, stopping);
        Ok(())
    }
}

/// Completes when the other side is dropped.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}
