//! What is taken, and stored as it came.

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tonic::codec::CompressionEncoding;

use super::lab::{Lab, PROTOBUF, gzip, logs, metrics, traces};
use crate::otlp::Signal;
use crate::receivers::Protocol;

#[tokio::test]
async fn the_three_signals_are_stored_as_they_came_over_grpc() {
    let lab = Lab::new();
    let to = || format!("http://{}", lab.grpc);
    let gzip = CompressionEncoding::Gzip;
    let answer = lab.logs_client().await.send_compressed(gzip).export(logs(3, "a")).await.unwrap();
    assert_eq!(answer.into_inner(), ExportLogsServiceResponse { partial_success: None });
    TraceServiceClient::connect(to()).await.unwrap().export(traces(2)).await.unwrap();
    MetricsServiceClient::connect(to()).await.unwrap().export(metrics(4)).await.unwrap();

    let stored = |signal, bytes: Vec<u8>, items| {
        let frames = lab.stored(signal);
        assert_eq!(frames.len(), 1);
        assert_eq!((&frames[0].payload[..], frames[0].items, frames[0].content), (&bytes[..], items, signal.tag()));
    };
    stored(Signal::Logs, logs(3, "a").encode_to_vec(), 3);
    stored(Signal::Traces, traces(2).encode_to_vec(), 2);
    stored(Signal::Metrics, metrics(4).encode_to_vec(), 4);
    assert_eq!(lab.intake.via(Protocol::Grpc).counts(Signal::Logs).accepted(), 3);
}

#[tokio::test]
async fn the_three_signals_are_stored_as_they_came_over_http() {
    let lab = Lab::new();
    let body = logs(3, "a").encode_to_vec();
    let answer = lab.post_protobuf(&body).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
    assert!(answer.head.contains("content-type: application/x-protobuf"), "{}", answer.head);
    let with_gzip = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    assert_eq!(lab.post("/v1/logs", &with_gzip, &gzip(&body)).await.status, 200);
    let with_charset = "content-type: application/x-protobuf; charset=utf-8\r\ncontent-encoding: identity\r\n";
    assert_eq!(lab.post("/v1/traces", with_charset, &traces(2).encode_to_vec()).await.status, 200);
    assert_eq!(lab.post("/v1/metrics", PROTOBUF, &metrics(1).encode_to_vec()).await.status, 200);
    assert!(lab.stored(Signal::Logs).iter().all(|frame| frame.payload == body && frame.items == 3));
    assert_eq!(lab.stored(Signal::Logs).len(), 2);
    assert_eq!(lab.stored(Signal::Traces)[0].items, 2);
    assert_eq!(lab.stored(Signal::Metrics)[0].items, 1);
}

#[tokio::test]
async fn a_chunked_body_is_taken() {
    let lab = Lab::new();
    let body = logs(500, "chunked").encode_to_vec();
    let mut request = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{PROTOBUF}").into_bytes();
    request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(700) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(lab.raw(request).await.status, 200);
    assert_eq!(lab.stored(Signal::Logs)[0].payload, body);
}

#[tokio::test]
async fn an_empty_request_succeeds_and_stores_nothing() {
    let lab = Lab::new();
    lab.logs_client().await.export(ExportLogsServiceRequest::default()).await.unwrap();
    lab.logs_client().await.export(logs(0, "")).await.unwrap();
    assert_eq!(lab.post_protobuf(b"").await.status, 200);
    assert!(lab.stored(Signal::Logs).is_empty());
}

// With the SDK, which the agent alone does not have.
#[cfg(feature = "sdk")]
#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_own_exporter_is_understood() {
    use std::time::Duration;

    use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
    use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
    let lab = Lab::new();
    let exporter = opentelemetry_otlp::LogExporter::builder()
        .with_tonic()
        .with_endpoint(format!("http://{}", lab.grpc))
        .with_timeout(Duration::from_secs(5))
        .with_metadata(tonic::metadata::MetadataMap::new())
        .build()
        .unwrap();
    let provider = opentelemetry_sdk::logs::SdkLoggerProvider::builder().with_batch_exporter(exporter).build();
    let logger = provider.logger("app");
    for _ in 0..1_000 {
        let mut record = logger.create_log_record();
        record.set_body("said".into());
        logger.emit(record);
    }
    tokio::task::spawn_blocking(move || provider.shutdown()).await.unwrap().unwrap();
    let items: u32 = lab.stored(Signal::Logs).iter().map(|frame| frame.items).sum();
    assert_eq!(items, 1_000);
}
