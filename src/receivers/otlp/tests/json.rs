//! OTLP as JSON over HTTP, and the compressions.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use serde_json::json;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use super::lab::{Answer, Lab, PROTOBUF, gzip, logs, metrics, traces};
use crate::otlp::{Signal, json};
use crate::receivers::otlp::Admission;
use crate::spool::Options;

const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn line(signal: Signal, request: &impl Message) -> String {
    let mut out = String::new();
    json::write_line(signal, &request.encode_to_vec(), &mut out).unwrap();
    out
}

/// The `google.rpc.Status` in a JSON answer.
fn json_status(answer: &Answer) -> (i64, String) {
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    (status["code"].as_i64().unwrap(), status["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn json_of_the_three_signals_is_stored_as_protobuf() {
    let lab = Lab::new();
    let answer = lab.post("/v1/logs", JSON, line(Signal::Logs, &logs(3, "a")).as_bytes()).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    assert_eq!(lab.post("/v1/traces", JSON, line(Signal::Traces, &traces(2)).as_bytes()).await.status, 200);
    let body = gzip(line(Signal::Metrics, &metrics(4)).as_bytes());
    let headers = format!("{JSON}Content-Encoding: gzip\r\n");
    assert_eq!(lab.post("/v1/metrics", &headers, &body).await.status, 200);

    for (signal, bytes, items) in [
        (Signal::Logs, logs(3, "a").encode_to_vec(), 3),
        (Signal::Traces, traces(2).encode_to_vec(), 2),
        (Signal::Metrics, metrics(4).encode_to_vec(), 4),
    ] {
        let frames = lab.stored(signal);
        assert_eq!((frames.len(), frames[0].items), (1, items));
        assert_eq!(frames[0].payload, bytes, "{signal}");
    }
}

#[tokio::test]
async fn the_specifications_example_is_taken() {
    let body = json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
        "scopeLogs": [{
            "scope": {"name": "my.library", "version": "1.0.0"},
            "logRecords": [{
                "timeUnixNano": "1544712660300000000",
                "observedTimeUnixNano": "1544712660300000000",
                "severityNumber": 10,
                "severityText": "Information",
                "traceId": "5B8EFFF798038103D269B633813FC60C",
                "spanId": "EEE19B7EC3C1B174",
                "body": {"stringValue": "Example log record"},
                "attributes": [{"key": "int.attribute", "value": {"intValue": "10"}}],
            }],
        }],
    }]});
    let lab = Lab::new();
    assert_eq!(lab.post("/v1/logs", JSON, body.to_string().as_bytes()).await.status, 200);
    let stored = ExportLogsServiceRequest::decode(&lab.stored(Signal::Logs)[0].payload[..]).unwrap();
    let record = &stored.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.time_unix_nano, record.severity_number), (1_544_712_660_300_000_000, 10));
    assert_eq!((record.trace_id[0], record.span_id[7]), (0x5b, 0x74));
    let int = record.attributes[0].value.as_ref().and_then(|value| value.value.clone());
    assert_eq!(int, Some(Value::IntValue(10)));
}

#[tokio::test]
async fn errors_are_said_in_json_to_who_sends_json() {
    let lab = Lab::with(&[Signal::Logs], Options::default().log, Admission::default());
    for (body, said) in [
        ("", "EOF"),
        ("{", "EOF"),
        (r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"xyz"}]}]}]}"#, "traceId"),
        (r#"{"resourceLogs":5}"#, "resourceLogs"),
    ] {
        let answer = lab.post("/v1/logs", JSON, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}");
        let (code, message) = json_status(&answer);
        assert_eq!(code, Code::InvalidArgument as i64);
        assert!(message.contains(said) && message.contains("line 1"), "{body}: {message}");
    }
    let answer = lab.post("/v1/traces", JSON, b"{}").await;
    assert_eq!((answer.status, json_status(&answer).0), (404, Code::Unimplemented as i64));
    let answer = lab.post("/v1/logs", &format!("{JSON}Content-Encoding: br\r\n"), b"{}").await;
    assert_eq!((answer.status, json_status(&answer).0), (415, Code::InvalidArgument as i64));
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn an_empty_json_request_succeeds_and_stores_nothing() {
    let lab = Lab::new();
    for body in ["{}", "null", r#"{"resourceLogs":[]}"#, r#"{"someLaterField":{"a":[1]}}"#] {
        assert_eq!(lab.post("/v1/logs", JSON, body.as_bytes()).await.status, 200, "{body}");
    }
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn json_that_is_too_large_as_protobuf_is_refused_for_good() {
    let lab = Lab::new();
    // Two bytes each as text, eight as protobuf.
    let zeros = vec!["0"; 3 << 20].join(",");
    let point = format!(r#"{{"bucketCounts":[{zeros}]}}"#);
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{point}]}}}}]}}]}}]}}"#
    );
    let answer = lab.post("/v1/metrics", JSON, body.as_bytes()).await;
    assert_eq!((answer.status, json_status(&answer).0), (413, Code::ResourceExhausted as i64));
    assert!(json_status(&answer).1.contains("max_request_body_size"));
}

#[tokio::test]
async fn zstd_and_deflate_are_inflated() {
    use std::io::Write;
    let lab = Lab::new();
    let body = logs(100, "a").encode_to_vec();
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(&body).unwrap();
    // Frames may follow each other.
    let halves = [zstd(&body[..50]), zstd(&body[50..])].concat();
    for (name, compressed) in [("zstd", zstd(&body)), ("ZSTD", halves), ("deflate", deflate.finish().unwrap())] {
        let headers = format!("{PROTOBUF}Content-Encoding: {name}\r\n");
        assert_eq!(lab.post("/v1/logs", &headers, &compressed).await.status, 200, "{name}");
    }
    let mut client = lab.logs_client().await.send_compressed(CompressionEncoding::Zstd);
    client.export(logs(100, "a")).await.unwrap();
    let frames = lab.stored(Signal::Logs);
    assert_eq!(frames.len(), 4);
    assert!(frames.iter().all(|frame| frame.payload == body));
}

#[tokio::test]
async fn broken_zstd_is_a_client_error() {
    let lab = Lab::new();
    let headers = format!("{PROTOBUF}Content-Encoding: zstd\r\n");
    let whole = zstd(&logs(30, "abc").encode_to_vec());
    // A window of 2 GiB is asked for: more than a decoder has to give.
    let greedy = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8][..], &whole[6..]].concat();
    for body in [b"no zstd at all".to_vec(), whole[..whole.len() - 4].to_vec(), greedy] {
        let answer = lab.post("/v1/logs", &headers, &body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.rpc_status().message.contains("not valid zstd"), "{:?}", answer.rpc_status());
    }
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn a_zstd_bomb_is_refused_by_its_ratio_and_by_its_size() {
    let lab = Lab::new();
    let headers = format!("{PROTOBUF}Content-Encoding: zstd\r\n");
    let answer = lab.post("/v1/logs", &headers, &zstd(&vec![0; 10 << 20])).await;
    assert_eq!(answer.status, 413);
    assert!(answer.rpc_status().message.contains("1000 times its size"), "{:?}", answer.rpc_status());
    // Small bodies of equal bytes are no bombs.
    let small = zstd(&logs(5_000, "").encode_to_vec());
    assert_eq!(lab.post("/v1/logs", &headers, &small).await.status, 200);
}
