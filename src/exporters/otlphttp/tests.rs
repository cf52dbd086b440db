//! The client against an HTTP server that answers as told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::{HeaderName, Response, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use tokio::net::TcpListener;

use super::*;
use crate::exporters::connect::for_tests::{Files, TlsServer, known_client, pem, port, rotate, shows};
use crate::exporters::{KeepAlive, Tls};

/// What the server heard: path and query, headers, body.
type Heard = Arc<Mutex<Vec<(String, HeaderMap, Vec<u8>)>>>;
type Script = Arc<Mutex<VecDeque<Response<Full<Bytes>>>>>;

/// Serves HTTP on a port of its own until the test's runtime ends. Answers 200 when the script is at its end.
async fn server(script: impl IntoIterator<Item = Response<Full<Bytes>>>) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, script) = (Heard::default(), Arc::new(Mutex::new(script.into_iter().collect())));
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (heard, script) = (Arc::clone(&told), Arc::clone(&script));
            let service = service_fn(move |request| answer(request, Arc::clone(&heard), Arc::clone(&script)));
            tokio::spawn(async move {
                drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (address, heard)
}

async fn answer(
    request: http::Request<Incoming>,
    heard: Heard,
    script: Script,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    read(&mut body, usize::MAX, &mut bytes).await;
    let body = bytes;
    heard.lock().unwrap().push((head.uri.to_string(), head.headers, body));
    Ok(script.lock().unwrap().pop_front().unwrap_or_default())
}

fn says(status: u16, headers: &[(HeaderName, &str)], body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().extend(headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())));
    response
}

fn settings(address: SocketAddr) -> Settings {
    Settings {
        endpoints: Endpoints { base: Some(format!("http://{address}/")), ..Endpoints::default() },
        tls: Tls::default(),
        headers: vec![("X-Token".into(), "secret".into())],
        auth: None,
        compression: Compression::Gzip,
        encoding: Encoding::Protobuf,
        timeout: Duration::from_secs(5),
        keep_alive: KeepAlive::default(),
    }
}

fn logs(records: usize) -> Bytes {
    let record = LogRecord { severity_number: 9, event_name: "an.event".into(), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record; records], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
}

fn request(records: usize) -> Request {
    Request { signal: Signal::Logs, payload: logs(records), items: records as u64 }
}

#[tokio::test]
async fn requests_are_sent_in_every_encoding_and_compression() {
    let (address, heard) = server([]).await;
    // One below the size that gets a thread, one above.
    for records in [3, 10_000] {
        for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                let sink = OtlpHttp::new(Settings { compression, encoding, ..settings(address) }).unwrap();
                assert_eq!(sink.send(request(records)).await, Ok(Sent::default()));
                let (path, headers, body) = heard.lock().unwrap().pop().unwrap();
                assert_eq!(path, "/v1/logs");
                assert_eq!(headers["x-token"], "secret");
                assert!(headers["user-agent"].to_str().unwrap().starts_with("tidegate/"));
                let plain = match headers.get("content-encoding").map(|value| value.to_str().unwrap()) {
                    None => body,
                    Some("zstd") => zstd::decode_all(&body[..]).unwrap(),
                    Some("gzip") => {
                        let mut plain = Vec::new();
                        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
                        plain
                    }
                    Some(other) => panic!("{other}"),
                };
                let sent = match headers["content-type"].to_str().unwrap() {
                    "application/x-protobuf" => ExportLogsServiceRequest::decode(&plain[..]).unwrap(),
                    "application/json" => serde_json::from_slice(&plain).unwrap(),
                    other => panic!("{other}"),
                };
                assert_eq!(sent.encode_to_vec(), logs(records), "{compression:?} {encoding:?}");
            }
        }
    }
}

#[tokio::test]
async fn headers_stand_in_place_of_ours_and_a_name_that_comes_twice_is_sent_twice() {
    let (address, heard) = server([]).await;
    let headers = [("X-Tenant", "a"), ("x-tenant", "b"), ("User-Agent", "mine")];
    let headers = headers.map(|(name, value)| (name.into(), value.into())).to_vec();
    OtlpHttp::new(Settings { headers, ..settings(address) }).unwrap().send(request(1)).await.unwrap();
    let (_, headers, _) = heard.lock().unwrap().pop().unwrap();
    assert_eq!(headers.get_all("x-tenant").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(headers.get_all("user-agent").iter().collect::<Vec<_>>(), ["mine"]);
}

#[tokio::test]
async fn each_signal_has_its_path_or_its_own_url() {
    let (address, heard) = server([]).await;
    let endpoints = Endpoints {
        base: Some(format!("http://{address}/otlp")),
        metrics: Some(format!("http://{address}/insert?tenant=7")),
        ..Endpoints::default()
    };
    let sink = OtlpHttp::new(Settings { endpoints, ..settings(address) }).unwrap();
    for signal in Signal::ALL {
        sink.send(Request { signal, payload: Bytes::new(), items: 0 }).await.unwrap();
    }
    let paths: Vec<String> = heard.lock().unwrap().iter().map(|(path, ..)| path.clone()).collect();
    assert_eq!(paths, ["/otlp/v1/logs", "/otlp/v1/traces", "/insert?tenant=7"]);

    let only = Endpoints { logs: Some(format!("http://{address}/")), ..Endpoints::default() };
    let sink = OtlpHttp::new(Settings { endpoints: only, ..settings(address) }).unwrap();
    let error = sink.send(Request { signal: Signal::Traces, payload: Bytes::new(), items: 0 }).await.unwrap_err();
    assert_eq!(error, SendError::Refused { reason: "no endpoint takes traces".into() });
}

#[tokio::test]
async fn answers_are_judged_and_redirects_are_not_followed() {
    let to = "/elsewhere";
    let script = [
        says(503, &[(header::RETRY_AFTER, "3")], "later"),
        says(307, &[(header::LOCATION, to)], ""),
        says(400, &[], "bad"),
        says(200, &[(header::CONTENT_TYPE, "application/json")], r#"{"partialSuccess":{"rejectedLogRecords":"1"}}"#),
    ];
    let (address, heard) = server(script).await;
    let sink = OtlpHttp::new(settings(address)).unwrap();
    let after = Some(Duration::from_secs(3));
    assert_eq!(sink.send(request(3)).await, Err(SendError::Retry { reason: "HTTP 503: later".into(), after }));
    assert!(matches!(sink.send(request(3)).await, Err(SendError::Refused { reason }) if reason.contains(to)));
    assert_eq!(sink.send(request(3)).await, Err(SendError::BadData { reason: "HTTP 400: bad".into() }));
    assert_eq!(sink.send(request(3)).await.unwrap().rejected_items, 1);
    assert!(heard.lock().unwrap().iter().all(|(path, ..)| path == "/v1/logs"));
}

#[tokio::test]
async fn of_a_giant_error_only_the_beginning_is_read() {
    let (address, _) = server([says(500, &[], vec![b'x'; 64 << 20]), says(200, &[], vec![0xff; 64 << 20])]).await;
    let sink = OtlpHttp::new(settings(address)).unwrap();
    let Err(SendError::Refused { reason }) = sink.send(request(1)).await else { panic!("not refused") };
    assert!(reason.len() < 1100, "{}", reason.len());
    let sent = sink.send(request(1)).await.unwrap();
    assert!(sent.message.unwrap().starts_with("unreadable response"));
}

#[tokio::test]
async fn a_backend_that_is_away_hangs_or_hangs_up_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hangs = Settings { timeout: Duration::from_millis(200), ..settings(address) };
    let begun = Instant::now();
    let error = OtlpHttp::new(hangs).unwrap().send(request(1)).await.unwrap_err();
    assert_eq!(error, SendError::Retry { reason: "no answer within 0.2 s".into(), after: None });
    assert!(begun.elapsed() < Duration::from_secs(5));

    let sink = OtlpHttp::new(settings(address)).unwrap();
    let hangs_up = async {
        loop {
            drop(listener.accept().await.unwrap());
        }
    };
    tokio::select! {
        error = sink.send(request(1)) => assert!(matches!(error, Err(SendError::Retry { .. })), "{error:?}"),
        () = hangs_up => {}
    }
    drop(listener);
    let Err(SendError::Retry { reason, .. }) = sink.send(request(1)).await else { panic!("no retry") };
    assert!(reason.contains("refused"), "{reason}");
}

#[test]
fn what_cannot_be_sent_is_told_without_its_secrets() {
    let any = SocketAddr::from(([127, 0, 0, 1], 1));
    let with = |endpoint: &str| {
        let endpoints = Endpoints { base: Some(endpoint.into()), ..Endpoints::default() };
        OtlpHttp::new(Settings { endpoints, ..settings(any) }).unwrap_err().to_string()
    };
    for endpoint in ["collector:4318", "ftp://collector", "http://", "no url"] {
        assert!(with(endpoint).contains("cannot be used"), "{endpoint}: {}", with(endpoint));
    }
    let headers = vec![("a header".into(), "hush".into())];
    let error = OtlpHttp::new(Settings { headers, ..settings(any) }).unwrap_err().to_string();
    assert!(error.contains("not a header name") && !error.contains("hush"), "{error}");
    let settings = format!("{:?}", settings(any));
    assert!(settings.contains("X-Token") && !settings.contains("secret"), "{settings}");
}

/// A server with TLS and HTTP/2 that takes everything from clients that it knows; says with which protocol they came.
fn tls_server(
    listener: std::net::TcpListener,
    config: rustls::ServerConfig,
) -> (TlsServer, Arc<Mutex<Vec<http::Version>>>) {
    let versions = Arc::<Mutex<Vec<http::Version>>>::default();
    let told = Arc::clone(&versions);
    let server = TlsServer::start(listener, config, move |stream| {
        let told = Arc::clone(&told);
        let service = service_fn(move |request: http::Request<Incoming>| {
            told.lock().unwrap().push(request.version());
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        });
        async move {
            drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
        }
    });
    (server, versions)
}

fn secured(address: SocketAddr, tls: Tls) -> Settings {
    let endpoints = Endpoints { base: Some(format!("https://{address}")), ..Endpoints::default() };
    Settings { tls, endpoints, ..settings(address) }
}

#[tokio::test]
async fn tls_checks_the_server_shows_the_client_and_speaks_http_2() {
    let (listener, address) = port();
    let (_server, versions) = tls_server(listener, shows("server", "ca.pem"));
    let tls = known_client();
    let send = async |tls: Tls| OtlpHttp::new(secured(address, tls)).unwrap().send(request(1)).await;
    assert_eq!(send(tls.clone()).await, Ok(Sent::default()));
    assert_eq!(*versions.lock().unwrap(), [http::Version::HTTP_2]);

    let refused = [
        Tls { server_name_override: Some("other.test".into()), ..tls.clone() },
        Tls { ca_file: Some(pem("stranger.pem")), ..tls.clone() },
        Tls { cert_file: None, key_file: None, ..tls },
    ];
    for (tls, said) in refused.into_iter().zip(["not valid for name", "invalid peer certificate", ""]) {
        let error = send(tls).await.unwrap_err();
        assert!(matches!(&error, SendError::Retry { reason, .. } if reason.contains(said)), "{error}");
    }
    assert_eq!(versions.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_without_http_2_is_sent_http_1() {
    let (listener, address) = port();
    let mut old = shows("server", "ca.pem");
    old.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (_server, versions) = tls_server(listener, old);
    let sink = OtlpHttp::new(secured(address, known_client())).unwrap();
    assert_eq!(sink.send(request(1)).await, Ok(Sent::default()));
    assert_eq!(*versions.lock().unwrap(), [http::Version::HTTP_11]);
}

#[tokio::test]
async fn certificates_that_are_rotated_are_used_for_the_next_connection() {
    let (files, (listener, address)) = (Files::new(), port());
    let (server, _) = tls_server(listener, shows("server", "ca.pem"));
    let sink = OtlpHttp::new(secured(address, files.tls())).unwrap();
    rotate(&files, &server, async || sink.send(request(1)).await).await;
}

#[tokio::test]
async fn a_server_that_accepts_and_is_silent_is_left_in_time_and_found_when_it_speaks() {
    let (listener, address) = port();
    let timeout = Duration::from_secs(30);
    let sink = OtlpHttp::new(Settings { timeout, ..secured(address, known_client()) }).unwrap();
    let begun = Instant::now();
    let Err(SendError::Retry { reason, .. }) = sink.send(request(1)).await else { panic!("no retry") };
    assert!(reason.contains("no TLS handshake within 5 s"), "{reason}");
    assert!(begun.elapsed() < timeout / 2);
    let _server = tls_server(listener, shows("server", "ca.pem"));
    assert_eq!(sink.send(request(1)).await, Ok(Sent::default()));
}

#[test]
fn tls_files_are_not_read_where_no_url_wants_them() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let tls = Tls { ca_file: Some("/nonexistent/ca.pem".into()), ..Tls::default() };
    OtlpHttp::new(Settings { tls: tls.clone(), ..settings(address) }).unwrap();
    let logs = Some("HTTPS://collector.test/logs".into());
    let endpoints = Endpoints { logs, ..settings(address).endpoints };
    let error = OtlpHttp::new(Settings { tls, endpoints, ..settings(address) }).unwrap_err().to_string();
    assert!(error.starts_with("tls.ca_file /nonexistent/ca.pem: "), "{error}");
}
