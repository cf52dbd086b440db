//! Clients that announce large requests, begin them, and do not go on.

use std::net::SocketAddr;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use prost::Message as _;
use tokio::net::TcpStream;

use crate::otlp;

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// Connections, and calls at once on each.
pub(crate) const CONNECTIONS: usize = 20;
pub(crate) const CALLS: usize = 128;
/// What each call sends of the 4 MiB that it announces: as much as it may ahead of being read.
pub(crate) const SENT: usize = 60 << 10;

/// Begins all calls; what is returned holds them open.
pub(crate) async fn begin(agent: SocketAddr) -> Vec<h2::SendStream<Bytes>> {
    let announced = Bytes::from([&[0, 0, 0x40, 0, 0][..], &vec![0; SENT]].concat());
    let mut calls = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(agent).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..CALLS {
            client = client.ready().await.unwrap();
            let request = http::Request::post(format!("http://{agent}{LOGS}"));
            let request = request.header("content-type", "application/grpc").body(()).unwrap();
            let (_, mut body) = client.send_request(request, false).unwrap();
            body.send_data(announced.clone(), false).unwrap();
            calls.push(body);
        }
    }
    calls
}

/// So many healthy calls, one after the other.
pub(crate) async fn healthy_calls(agent: SocketAddr, count: usize) {
    let mut client = LogsServiceClient::connect(format!("http://{agent}")).await.unwrap();
    let request = ExportLogsServiceRequest::decode(&*otlp::samples()[0]).unwrap();
    for _ in 0..count {
        client.export(request.clone()).await.expect("a healthy client is served");
    }
}
