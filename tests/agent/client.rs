//! Applications that send logs, and believe the agent's answers.

use std::net::SocketAddr;
use std::sync::LazyLock;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::stage::PATIENCE;

/// What every client of this program runs on.
pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// A client that keeps its connection.
pub(crate) struct Client(LogsServiceClient<Channel>);

impl Client {
    /// Connects with the first request.
    pub(crate) fn of(agent: SocketAddr) -> Self {
        let _runtime = RUNTIME.enter();
        let endpoint = Endpoint::from_shared(format!("http://{agent}")).unwrap().timeout(PATIENCE);
        Self(LogsServiceClient::new(endpoint.connect_lazy()).max_encoding_message_size(usize::MAX))
    }

    /// Sends records with these bodies in one request; Ok is the agent's promise.
    pub(crate) fn send(&mut self, bodies: &[impl AsRef<str>]) -> Result<(), Status> {
        self.send_request(request(bodies))
    }

    pub(crate) fn send_request(&mut self, request: ExportLogsServiceRequest) -> Result<(), Status> {
        let answer = RUNTIME.block_on(self.0.export(request))?.into_inner();
        assert_eq!(answer.partial_success, None, "a good request was not taken whole");
        Ok(())
    }
}

/// Sends records with these bodies, each in a request of its own, and wants every one acknowledged.
#[track_caller]
pub(crate) fn send(agent: SocketAddr, bodies: &[impl AsRef<str>]) {
    let mut client = Client::of(agent);
    for body in bodies {
        client.send(&[body]).unwrap();
    }
}

/// `count` bodies that start with `what`.
pub(crate) fn bodies(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{what} {n}")).collect()
}

pub(crate) fn request(bodies: &[impl AsRef<str>]) -> ExportLogsServiceRequest {
    let text = |body: &str| Some(AnyValue { value: Some(Value::StringValue(body.to_owned())) });
    let record = |body: &str| LogRecord { severity_number: 9, body: text(body), ..LogRecord::default() };
    let log_records = bodies.iter().map(|body| record(body.as_ref())).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

/// The text of every record.
pub(crate) fn texts(request: &ExportLogsServiceRequest) -> Vec<String> {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let bodies = scopes.flat_map(|scope| &scope.log_records).filter_map(|record| record.body.as_ref()?.value.as_ref());
    bodies.filter_map(|value| if let Value::StringValue(text) = value { Some(text.clone()) } else { None }).collect()
}
