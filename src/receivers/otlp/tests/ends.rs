//! Ports at the start and at the stop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use prost::Message;

use super::lab::{Answer, Lab, PROTOBUF, logs};
use crate::listen::Ports;
use crate::receivers::otlp::{Endpoint, GrpcSettings, ListenError, Settings, bind};

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let lab = Lab::new();
    let body = logs(1, "a").encode_to_vec();
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(lab.http).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..5]).unwrap();
    // Once a later request was answered, this one is in flight.
    assert_eq!(lab.post_protobuf(&body).await.status, 200);
    drop(lab.stop);
    let http = lab.http;
    let refused = async {
        while TcpStream::connect(http).is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("the port stays open after the stop");
    assert!(!lab.serving.is_finished());
    stream.write_all(&body[5..]).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::parse(&answer)
    });
    assert_eq!(answer.await.unwrap().status, 200);
    tokio::time::timeout(Duration::from_secs(10), lab.serving).await.expect("the receiver did not end").unwrap();
}

#[tokio::test]
async fn a_port_in_use_names_its_holder_and_the_way_out() {
    let lab = Lab::new();
    let grpc = GrpcSettings { endpoint: Endpoint::Tcp(lab.grpc), ..GrpcSettings::default() };
    let settings = Settings { grpc: Some(grpc), ..Settings::default() };
    let ListenError::Bind(error) = bind("otlp/second", &settings, &mut Ports::default()).unwrap_err() else {
        panic!("not the port")
    };
    let error = format!("{error}; {}", error.help());
    assert!(error.contains(&format!("port {}", lab.grpc.port())), "{error}");
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    assert!(error.contains("--set receivers.otlp/second.protocols.grpc.endpoint="), "{error}");
}
