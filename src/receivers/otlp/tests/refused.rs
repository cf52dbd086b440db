//! What is refused, and how that is said.

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::lab::{Lab, PROTOBUF, grpc, gzip, logs, message, raw, traces};
use crate::otlp::Signal;
use crate::receivers::otlp::Admission;
use crate::receivers::{Protocol, Reason};
use crate::spool::Options;

#[tokio::test]
async fn malformed_protobuf_is_a_client_error_with_its_place() {
    let lab = Lab::new();
    let answer = lab.post_protobuf(&[0x0a, 0x05, 0x00]).await;
    assert_eq!(answer.status, 400);
    let status = answer.rpc_status();
    assert_eq!(status.code, Code::InvalidArgument as i32);
    assert_eq!(status.message, "malformed protobuf at byte 2: a field ends beyond its message");
    let details = tonic::Status::with_details(Code::InvalidArgument, "", answer.body.clone().into());
    let violations = details.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].description, status.message);
    let json = lab.post("/v1/logs", "Content-Type: application/json\r\n", b"[").await;
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["details"][0]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(json["details"][0]["fieldViolations"][0]["description"], json["message"]);

    let status = grpc(lab.grpc, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", message(&[0xff])).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("malformed protobuf at byte 0"), "{}", status.message());
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].description, status.message());
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn broken_gzip_is_a_client_error() {
    let lab = Lab::new();
    let with_gzip = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    for body in [b"no gzip at all".to_vec(), gzip(&logs(3, "a").encode_to_vec())[..20].to_vec()] {
        let answer = lab.post("/v1/logs", &with_gzip, &body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.rpc_status().message.contains("not valid gzip"), "{:?}", answer.rpc_status());
    }
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_right() {
    let lab = Lab::with(&[Signal::Logs], Options::default().log, Admission::default());
    let body = logs(1, "a").encode_to_vec();
    let answer = lab.post("/v1/log", PROTOBUF, &body).await;
    assert_eq!(answer.status, 404);
    let status = answer.rpc_status();
    assert!(status.code == Code::NotFound as i32 && status.message.contains("/v1/logs"), "{status:?}");

    let get = b"GET /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec();
    let answer = lab.raw(get).await;
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("allow: post") && answer.text().contains("use POST"), "{}", answer.head);

    for content_type in ["", "Content-Type: text/plain\r\n"] {
        let answer = lab.post("/v1/logs", content_type, &body).await;
        assert_eq!(answer.status, 415);
        let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(status["message"].as_str().unwrap().contains("application/x-protobuf"), "{status}");
    }
    let answer = lab.post("/v1/logs", &format!("{PROTOBUF}Content-Encoding: br\r\n"), &body).await;
    assert_eq!(answer.status, 415);
    assert!(answer.head.contains("accept-encoding: gzip, zstd, identity"), "{}", answer.head);

    let answer = lab.post("/v1/traces", PROTOBUF, &traces(1).encode_to_vec()).await;
    assert_eq!(answer.status, 404);
    assert!(answer.rpc_status().message.contains("no pipeline takes traces"));
    let to = format!("http://{}", lab.grpc);
    let status = TraceServiceClient::connect(to).await.unwrap().export(traces(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(lab.stored(Signal::Logs).is_empty());
}

#[tokio::test]
async fn a_client_at_the_wrong_port_is_told() {
    let lab = Lab::new();
    let body = logs(1, "a").encode_to_vec();
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{PROTOBUF}Content-Length: ");
    let request = format!("{head}{}\r\n\r\n", body.len()).into_bytes();
    let answer = raw(lab.grpc, [request, body].concat()).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("4318"), "{}", answer.text());
    let mut client = LogsServiceClient::connect(format!("http://{}", lab.http)).await.unwrap();
    let status = client.export(logs(1, "a")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("4317"), "{}", status.message());
}

#[tokio::test]
async fn broken_framing_is_refused_and_the_connection_lives_on() {
    let lab = Lab::new();
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let good = message(&logs(1, "a").encode_to_vec());
    let cases = [
        (good[..3].to_vec(), Code::InvalidArgument),
        (good[..good.len() - 1].to_vec(), Code::InvalidArgument),
        ([good.clone(), good.clone()].concat(), Code::InvalidArgument),
        ([&[7][..], &good[1..]].concat(), Code::InvalidArgument),
        (vec![], Code::InvalidArgument),
        (vec![0, 0xff, 0xff, 0xff, 0xff], Code::ResourceExhausted),
    ];
    for (body, code) in cases {
        assert_eq!(grpc(lab.grpc, path, body.clone()).await.code(), code, "{body:02x?}");
    }
    assert_eq!(
        grpc(lab.grpc, "/opentelemetry.proto.collector.logs.v1.LogsService/Import", good.clone()).await.code(),
        Code::Unimplemented
    );
    assert_eq!(grpc(lab.grpc, path, good).await.code(), Code::Ok);
    assert_eq!(lab.stored(Signal::Logs).len(), 1);
}

#[tokio::test]
async fn every_refused_request_is_counted_by_its_reason() {
    let lab = Lab::with(&[Signal::Logs], Options::default().log, Admission::default());
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    lab.post_protobuf(&[0xff]).await;
    lab.post("/v1/no", PROTOBUF, &[]).await;
    lab.post("/v1/traces", PROTOBUF, &[]).await;
    lab.post("/v1/logs", &format!("{PROTOBUF}X: {}\r\n", "x".repeat(20 << 10)), &[]).await;
    grpc(lab.grpc, path, message(&[0xff])).await;
    grpc(lab.grpc, "/no/such", vec![]).await;
    grpc(lab.grpc, path, vec![0, 0xff, 0xff, 0xff, 0xff]).await;
    raw(lab.grpc, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()).await;
    lab.post_protobuf(&logs(1, "a").encode_to_vec()).await;
    let counted = |protocol| {
        let counts = Reason::ALL.iter().map(|reason| (reason.name(), lab.intake.refusals().count(protocol, *reason)));
        counts.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    let http = [("too_large", 1), ("malformed", 1), ("no_pipeline", 1), ("unsupported", 1)];
    assert_eq!(counted(Protocol::Http), http);
    assert_eq!(counted(Protocol::Grpc), [("too_large", 1), ("malformed", 1), ("unsupported", 2)]);
}
