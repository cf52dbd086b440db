//! The backend: an OTLP gRPC service that counts what it takes, and that can be away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::oracle::Oracle;

/// The backend, as the test steers it.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    oracle: Arc<Oracle>,
    up: AtomicBool,
    refused: AtomicU64,
    empty: AtomicU64,
}

struct Service(Arc<State>);

impl Backend {
    /// Listens on a free port, up.
    pub(crate) async fn start(oracle: Arc<Oracle>) -> Self {
        let state =
            Arc::new(State { oracle, up: AtomicBool::new(true), refused: AtomicU64::new(0), empty: AtomicU64::new(0) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = LogsServiceServer::new(Service(Arc::clone(&state)));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, state }
    }

    /// Whether it takes what comes or answers UNAVAILABLE.
    pub(crate) fn set_up(&self, up: bool) {
        self.state.up.store(up, Ordering::SeqCst);
    }

    /// Requests that were turned away.
    pub(crate) fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// Requests without a record: what the Collector sends for one that its full disk had refused.
    pub(crate) fn empty(&self) -> u64 {
        self.state.empty.load(Ordering::SeqCst)
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        if !self.0.up.load(Ordering::SeqCst) {
            self.0.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Status::unavailable("the backend is away"));
        }
        let scopes = request.get_ref().resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        if scopes.map(|scope| scope.log_records.len()).sum::<usize>() == 0 {
            self.0.empty.fetch_add(1, Ordering::SeqCst);
        }
        self.0.oracle.delivered(request.get_ref());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
