//! An OTLP gRPC backend that keeps what it takes, on a thread of its own.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

/// The backend. Ends when it is dropped.
pub(crate) struct Backend {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<ResourceLogs>>>,
    _stop: oneshot::Sender<()>,
}

struct Service(Arc<Mutex<Vec<ResourceLogs>>>);

impl Backend {
    /// Listens on a free port of the loopback interface.
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::default();
        let service = Service(Arc::clone(&taken));
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            // It stands for another program: what it logs is not this one's.
            let _suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, service, stopped));
        });
        Self { address, taken, _stop: stop }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it took, request by request.
    pub(crate) fn taken(&self) -> Vec<ResourceLogs> {
        self.taken.lock().unwrap().clone()
    }

    /// The records that it took, duplicates too.
    pub(crate) fn records(&self) -> Vec<LogRecord> {
        let scopes = self.taken().into_iter().flat_map(|resource| resource.scope_logs);
        scopes.flat_map(|scope| scope.log_records).collect()
    }

    /// The values of a string attribute of all records.
    pub(crate) fn values(&self, key: &str) -> Vec<String> {
        let attributes = self.records().into_iter().flat_map(|record| record.attributes);
        let values = attributes.filter(|attribute| attribute.key == key).filter_map(|attribute| attribute.value?.value);
        values.filter_map(|value| if let Value::StringValue(text) = value { Some(text) } else { None }).collect()
    }
}

async fn serve(listener: TcpListener, service: Service, stopped: oneshot::Receiver<()>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let service = LogsServiceServer::new(service).accept_compressed(CompressionEncoding::Gzip);
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
    tokio::select! {
        served = server => served.unwrap(),
        _ = stopped => {}
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.0.lock().unwrap().extend(request.into_inner().resource_logs);
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
