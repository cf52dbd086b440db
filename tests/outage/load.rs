//! An application that sends numbered records and goes on when they are acknowledged.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

/// Records in a request.
const BATCH: u64 = 100;

pub(crate) struct Load {
    runtime: Runtime,
    client: LogsServiceClient<Channel>,
    sent: u64,
}

impl Load {
    pub(crate) fn to(agent: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(LogsServiceClient::connect(format!("http://{agent}"))).unwrap();
        Self { runtime, client, sent: 0 }
    }

    /// All that was acknowledged.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends so many more; each request must be acknowledged.
    #[track_caller]
    pub(crate) fn send(&mut self, count: u64) {
        for first in (self.sent..self.sent + count).step_by(BATCH as usize) {
            let request = request(first..first + BATCH);
            self.runtime.block_on(self.client.export(request)).expect("an outage is no business of the application's");
        }
        self.sent += count;
    }
}

fn request(numbers: std::ops::Range<u64>) -> ExportLogsServiceRequest {
    let body = |number: u64| Some(AnyValue { value: Some(Value::StringValue(number.to_string())) });
    let log_records = numbers.map(|number| LogRecord { body: body(number), ..LogRecord::default() }).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}
