use std::io::Read as _;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::*;
use crate::otlp::Signal;

fn request(events: &[&str]) -> Request {
    let log = |event: &&str| LogRecord { severity_number: 9, event_name: (*event).into(), ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: events.iter().map(log).collect(), ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    let payload = Bytes::from(ExportLogsServiceRequest { resource_logs }.encode_to_vec());
    Request { signal: Signal::Logs, payload, items: events.len() as u64 }
}

/// A sink on a pipe, and the pipe's other end.
fn piped(verbosity: Verbosity) -> (DebugSink, io::PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    (DebugSink::to(writer, &Settings { verbosity }, false).unwrap(), reader)
}

fn read(mut reader: io::PipeReader, length: usize) -> String {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn normal_is_one_line_per_record() {
    let (sink, reader) = piped(Verbosity::Normal);
    sink.send(request(&["a.b", "c.d"])).await.unwrap();
    sink.clone().send(request(&["e.f"])).await.unwrap();
    let expected = "- INFO  a.b\n- INFO  c.d\n- INFO  e.f\n";
    assert_eq!(read(reader, expected.len()), expected);
}

#[tokio::test]
async fn detailed_has_a_resource_once_for_all_records_that_share_it() {
    let (sink, reader) = piped(Verbosity::Detailed);
    let scope = |name: &str, events: &[&str]| {
        let scope = InstrumentationScope { name: name.into(), ..Default::default() };
        let log = |event: &&str| LogRecord { event_name: (*event).into(), ..Default::default() };
        ScopeLogs { scope: Some(scope), log_records: events.iter().map(log).collect(), ..Default::default() }
    };
    let resource = |host: &str, scope_logs| {
        let value = Some(AnyValue { value: Some(Value::StringValue(host.into())) });
        let attributes = vec![KeyValue { key: "host.name".into(), value, ..Default::default() }];
        let resource = Some(Resource { attributes, ..Default::default() });
        ResourceLogs { resource, scope_logs, ..Default::default() }
    };
    // So large that no more than some records beside it are decoded at once.
    let (large, long) = ("h".repeat(260_000), "l".repeat(3_000));
    let resource_logs = vec![
        resource("a", vec![scope("one", &["1", "2"]), scope("two", &[&long])]),
        resource(&large, vec![scope("", &["m"; 5_000]), scope("three", &["4"])]),
        ResourceLogs { scope_logs: vec![ScopeLogs { scope: None, ..scope("", &["5"]) }], ..Default::default() },
        // Its first record is not shown.
        resource("b", vec![scope("s", &[&"x".repeat(300_000), "6"])]),
    ];
    let payload = Bytes::from(ExportLogsServiceRequest { resource_logs }.encode_to_vec());
    let many = "- -     m\n".repeat(5_000);
    let expected = [
        &format!("resource\n    host.name=a\nscope one\n- -     1\n- -     2\nscope two\n- -     {long}\n"),
        &format!("resource\n    host.name={large}\nscope\n{many}scope three\n- -     4\n"),
        "resource\nscope\n- -     5\n",
        "- (logs: a record of 300033 bytes, too large to show)\nresource\n    host.name=b\nscope s\n- -     6\n",
    ];
    let expected = expected.concat();
    let length = expected.len();
    let reading = std::thread::spawn(move || read(reader, length));
    sink.send(Request { signal: Signal::Logs, payload, items: 5_007 }).await.unwrap();
    assert!(reading.join().unwrap() == expected);
}

#[tokio::test]
async fn basic_is_one_line_per_request() {
    let (sink, reader) = piped(Verbosity::Basic);
    let request = request(&["a.b", "c.d"]);
    let expected = format!("logs: 2 items, {} bytes\n", request.payload.len());
    sink.send(request).await.unwrap();
    assert_eq!(read(reader, expected.len()), expected);
}

#[tokio::test]
async fn a_payload_that_is_no_request_is_bad_data() {
    let (sink, _reader) = piped(Verbosity::Detailed);
    let broken = Request { payload: Bytes::from_static(b"\x0a\xff"), ..request(&[]) };
    assert!(matches!(sink.send(broken).await.unwrap_err(), SendError::BadData { .. }));
}

#[tokio::test]
async fn a_stopped_reader_gets_each_line_once_when_it_goes_on() {
    let (mut sink, reader) = piped(Verbosity::Normal);
    sink.patience = Duration::from_millis(20);
    // More than a pipe holds.
    let large = request(&["x"; 20_000]);
    for _ in 0..3 {
        let error = sink.send(large.clone()).await.unwrap_err();
        assert!(matches!(error, SendError::Retry { .. }), "{error:?}");
        assert!(error.to_string().contains("not read"), "{error}");
    }
    let expected = format!("{}- INFO  after\n", "- INFO  x\n".repeat(20_000));
    let length = expected.len();
    let reading = std::thread::spawn(move || read(reader, length));
    sink.patience = Duration::from_secs(30);
    sink.send(large).await.unwrap();
    sink.send(request(&["after"])).await.unwrap();
    assert_eq!(reading.join().unwrap(), expected);
}

#[tokio::test]
async fn when_the_reader_is_gone_requests_pass() {
    let (sink, reader) = piped(Verbosity::Normal);
    drop(reader);
    sink.send(request(&["a"])).await.unwrap();
    assert!(sink.output.lock().await.closed);
    sink.send(request(&["b"])).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_behind_standard_output_is_retried() {
    #[allow(clippy::disallowed_methods, reason = "a device that is always full")]
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let sink = DebugSink::to(Unlocked(full.into()), &Settings::default(), false).unwrap();
    let error = sink.send(request(&["a"])).await.unwrap_err();
    assert!(matches!(error, SendError::Retry { .. }), "{error:?}");
    assert!(!sink.output.lock().await.closed);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_named_and_those_beside_it_are_shown() {
    let (sink, reader) = piped(Verbosity::Normal);
    let large = "x".repeat(300_000);
    sink.send(request(&["before", &large, "after"])).await.unwrap();
    // Its name, its severity, and the lengths of both.
    let expected = "- INFO  before\n- (logs: a record of 300010 bytes, too large to show)\n- INFO  after\n";
    assert_eq!(read(reader, expected.len()), expected);
}
