//! The drain against backends of every temper: decisions in virtual time, and the loop with a real log.

mod decisions;
mod gathering;
mod with_a_log;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;

/// An export request with one record per text.
fn request(texts: &[String]) -> Bytes {
    let record = |text: &String| LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue(text.clone())) }),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: texts.iter().map(record).collect(), ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
}

/// The texts of the records in an export request.
fn texts(payload: &[u8]) -> Vec<String> {
    let request = ExportLogsServiceRequest::decode(payload).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    let records = scopes.flat_map(|scope| scope.log_records);
    let text = |record: LogRecord| match record.body.and_then(|body| body.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("not one of this test's records: {other:?}"),
    };
    records.map(text).collect()
}

/// `count` texts, each with its number.
fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}-{i}")).collect()
}
