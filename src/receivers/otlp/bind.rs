//! Ports: taken before privileges are dropped, served later.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};

use tokio::sync::watch;

use super::admission::Admission;
use super::receive::{Patience, Receive};
use super::{Settings, grpc, http, server};
use crate::listen::{self, BindError};
use crate::receivers::Intake;

/// The ports of one receiver, listening but not yet answering.
#[derive(Debug)]
pub struct Bound {
    grpc: Option<(TcpListener, usize)>,
    http: Option<(TcpListener, usize)>,
    admission: Admission,
    pub(super) patience: Patience,
}

/// Takes the ports of the receiver with this id (`otlp`, `otlp/name`). Connections wait until [`Bound::serve`].
///
/// # Errors
/// [`BindError`], which names the port, its holder where known, and the `--set` that moves it.
pub fn bind(id: &str, settings: &Settings) -> Result<Bound, BindError> {
    let listen = |endpoint: SocketAddr, protocol: &str| {
        listen::listen(endpoint, &format!("receivers.{id}.protocols.{protocol}.endpoint"))
    };
    let grpc = match &settings.grpc {
        Some(grpc) => Some((listen(grpc.endpoint, "grpc")?, grpc.max_message_bytes)),
        None => None,
    };
    let http = match &settings.http {
        Some(http) => Some((listen(http.endpoint, "http")?, http.max_body_bytes)),
        None => None,
    };
    Ok(Bound { grpc, http, admission: Admission::default(), patience: Patience::default() })
}

impl Bound {
    /// Shares the memory for requests in flight with other receivers.
    #[must_use]
    pub fn sharing(self, admission: Admission) -> Self {
        Self { admission, ..self }
    }

    /// Where gRPC listens; the port is the real one where 0 was asked for.
    #[must_use]
    pub fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Where HTTP listens.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    fn receive(&self, intake: &Intake, limit: usize, limit_key: &'static str) -> Receive {
        let (intake, admission) = (intake.clone(), self.admission.clone());
        Receive { intake, admission, patience: self.patience, limit, limit_key, ratio: 1_000 }
    }

    /// Answers requests until `shutdown` completes; then stops accepting, finishes what is in flight, and returns.
    /// How long that may take is for the caller to bound.
    ///
    /// # Errors
    /// When the sockets cannot be handed to the runtime.
    pub async fn serve(mut self, intake: Intake, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let (stop, stopped) = watch::channel(());
        let grpc = listener(self.grpc.take())?;
        let http = listener(self.http.take())?;
        let servers = async {
            let grpc = async {
                let Some((listener, limit)) = grpc else { return };
                let receive = self.receive(&intake, limit, "protocols.grpc.max_recv_msg_size_mib");
                let handler = move |request| {
                    let receive = receive.clone();
                    async move { grpc::serve(&receive, request).await }
                };
                server::serve(listener, handler, until(stopped.clone())).await;
            };
            let http = async {
                let Some((listener, limit)) = http else { return };
                let receive = self.receive(&intake, limit, "protocols.http.max_request_body_size");
                let handler = move |request| {
                    let receive = receive.clone();
                    async move { http::serve(&receive, request).await }
                };
                server::serve(listener, handler, until(stopped.clone())).await;
            };
            tokio::join!(grpc, http);
        };
        let stopping = async {
            shutdown.await;
            intake.stop_waiting();
            drop(stop);
        };
        tokio::join!(servers, stopping);
        Ok(())
    }
}

fn listener(socket: Option<(TcpListener, usize)>) -> io::Result<Option<(tokio::net::TcpListener, usize)>> {
    socket.map(|(listener, limit)| Ok((tokio::net::TcpListener::from_std(listener)?, limit))).transpose()
}

/// Completes when the other side is dropped.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}
