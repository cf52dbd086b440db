//! The client against a gRPC server that answers as told.
#![cfg(feature = "agent")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message;
use tonic::codegen::Service;
use tonic::{Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::exporters::connect::for_tests::{Files, TlsServer, known_client, pem, port, rotate, shows};
use crate::exporters::{KeepAlive, Tls};

/// What the server heard: path, metadata, message.
type Heard = Arc<Mutex<Vec<(String, MetadataMap, Bytes)>>>;
type Script = Arc<dyn Fn() -> Result<Bytes, Status> + Send + Sync>;

#[derive(Clone)]
struct Server {
    script: Script,
    heard: Heard,
    path: String,
}

impl Service<tonic::Request<Bytes>> for Server {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let metadata = request.metadata().clone();
        self.heard.lock().unwrap().push((self.path.clone(), metadata, request.into_inner()));
        ready((self.script)().map(Response::new))
    }
}

/// Serves gRPC on a port of its own until the test's runtime ends.
async fn server(script: impl Fn() -> Result<Bytes, Status> + Send + Sync + 'static) -> (SocketAddr, Heard) {
    serve(script, false).await
}

/// The same, with compressed answers.
async fn compressing_server(script: impl Fn() -> Result<Bytes, Status> + Send + Sync + 'static) -> (SocketAddr, Heard) {
    serve(script, true).await
}

async fn serve(
    script: impl Fn() -> Result<Bytes, Status> + Send + Sync + 'static,
    is_compressing: bool,
) -> (SocketAddr, Heard) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let server = Server { script: Arc::new(script), heard: Arc::clone(&heard), path: String::new() };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_calls(TokioIo::new(stream), server.clone(), is_compressing));
        }
    });
    (address, heard)
}

/// Serves gRPC on one connection.
async fn answer_calls(
    connection: impl hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    server: Server,
    is_compressing: bool,
) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let service = Server { path: request.uri().path().to_owned(), ..server.clone() };
        async move {
            let mut grpc = tonic::server::Grpc::new(RawCodec)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(64 << 20);
            if is_compressing {
                grpc = grpc.send_compressed(CompressionEncoding::Gzip);
            }
            Ok::<_, Infallible>(grpc.unary(service, request).await)
        }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    drop(builder.serve_connection(connection, service).await);
}

fn settings(address: SocketAddr) -> Settings {
    Settings {
        endpoint: address.to_string(),
        tls: Tls { insecure: true, ..Tls::default() },
        headers: vec![("X-Token".into(), "secret".into())],
        auth: None,
        compression: Compression::Gzip,
        timeout: Duration::from_secs(5),
        keep_alive: KeepAlive::default(),
    }
}

fn logs(payload: impl Into<Bytes>) -> Request {
    Request { signal: Signal::Logs, payload: payload.into(), items: 10 }
}

async fn answer_to(script: impl Fn() -> Result<Bytes, Status> + Send + Sync + 'static) -> Result<Sent, SendError> {
    let (address, _) = server(script).await;
    Otlp::new(settings(address)).unwrap().send(logs("x")).await
}

#[tokio::test]
async fn bytes_arrive_as_they_were_with_headers_and_agent() {
    let (address, heard) = server(|| Ok(Bytes::new())).await;
    let payload = Bytes::from(vec![42; 3 << 20]);
    for compression in [Compression::Gzip, Compression::None] {
        let otlp = Otlp::new(Settings { compression, ..settings(address) }).unwrap();
        for signal in Signal::ALL {
            let request = Request { signal, payload: payload.clone(), items: 1 };
            assert_eq!(otlp.send(request).await, Ok(Sent::default()));
        }
    }
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 6);
    for (i, (path, metadata, message)) in heard.iter().enumerate() {
        assert_eq!(path, super::path(Signal::ALL[i % 3]));
        assert_eq!(message, &payload);
        assert_eq!(metadata.get("x-token").unwrap(), "secret");
        assert!(metadata.get("user-agent").unwrap().to_str().unwrap().starts_with("tidegate/"));
        assert_eq!(metadata.get("grpc-encoding").is_some(), i < 3);
        assert!(metadata.contains_key("grpc-timeout"));
    }
}

#[tokio::test]
async fn a_header_that_comes_twice_is_sent_twice() {
    let (address, heard) = server(|| Ok(Bytes::new())).await;
    let headers = [("X-Tenant", "a"), ("x-tenant", "b")].map(|(name, value)| (name.into(), value.into())).to_vec();
    Otlp::new(Settings { headers, ..settings(address) }).unwrap().send(logs("x")).await.unwrap();
    let (_, metadata, _) = heard.lock().unwrap().pop().unwrap();
    assert_eq!(metadata.get_all("x-tenant").iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn a_partial_success_is_told() {
    let partial = |rejected, message: &str| {
        let partial = ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: message.to_owned() };
        Bytes::from(ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec())
    };
    let cases = [
        (partial(3, "too old"), 3, Some("too old")),
        (partial(0, "a warning"), 0, Some("a warning")),
        (partial(1_000, ""), 10, None),
        (partial(-1, ""), 0, None),
    ];
    for (response, rejected_items, message) in cases {
        let sent = answer_to(move || Ok(response.clone())).await;
        assert_eq!(sent, Ok(Sent { rejected_items, message: message.map(str::to_owned) }));
    }
    let unreadable = answer_to(|| Ok(Bytes::from_static(b"\xff"))).await.unwrap();
    assert_eq!(unreadable.rejected_items, 0);
    assert!(unreadable.message.unwrap().starts_with("unreadable response"));
}

/// What is to be done about an error, without its text.
fn class(error: SendError) -> &'static str {
    match error {
        SendError::Retry { .. } => "retry",
        SendError::Refused { .. } => "refused",
        SendError::BadData { .. } => "bad data",
        SendError::TooLarge { .. } => "too large",
    }
}

#[tokio::test]
async fn every_code_has_its_consequence() {
    let expected = [
        (Code::Cancelled, "retry"),
        (Code::Unknown, "refused"),
        (Code::InvalidArgument, "bad data"),
        (Code::DeadlineExceeded, "retry"),
        (Code::NotFound, "refused"),
        (Code::AlreadyExists, "refused"),
        (Code::PermissionDenied, "refused"),
        (Code::ResourceExhausted, "refused"),
        (Code::FailedPrecondition, "refused"),
        (Code::Aborted, "retry"),
        (Code::OutOfRange, "retry"),
        (Code::Unimplemented, "refused"),
        (Code::Internal, "refused"),
        (Code::Unavailable, "retry"),
        (Code::DataLoss, "retry"),
        (Code::Unauthenticated, "refused"),
    ];
    for (code, consequence) in expected {
        let error = answer_to(move || Err(Status::new(code, "it says so"))).await.unwrap_err();
        assert!(error.to_string().ends_with(": it says so"), "{error}");
        assert_eq!(class(error), consequence, "{code:?}");
    }
}

#[tokio::test]
async fn a_delay_that_the_backend_names_is_passed_on() {
    for code in [Code::Unavailable, Code::ResourceExhausted] {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        let error = answer_to(move || Err(Status::with_error_details(code, "slow down", details.clone()))).await;
        let SendError::Retry { reason, after } = error.unwrap_err() else { panic!("not a retry") };
        assert_eq!(after, Some(Duration::from_secs(7)));
        assert!(reason.ends_with(": slow down"), "{reason}");
    }
}

#[tokio::test]
async fn too_large_is_known_by_what_the_libraries_say() {
    let texts = [
        "grpc: received message larger than max (5242880 vs. 4194304)",
        "grpc: received message after decompression larger than max (5242880 vs. 4194304)",
        "Received message larger than max (5242880 vs. 4194304)",
        "gRPC message exceeds maximum size 4194304: 5242880",
        "Received message exceeds the configured maximum message size.",
        "Error, decoded message length too large: found 5242880 bytes, the limit is: 4194304 bytes",
        "Error decompressing: size limit, of 4194304 bytes, exceeded while decompressing message",
        "the request is larger than 4194304 bytes",
    ];
    for text in texts {
        let error = answer_to(move || Err(Status::resource_exhausted(text))).await.unwrap_err();
        assert_eq!(class(error), "too large", "{text}");
    }
    let error = answer_to(move || Err(Status::out_of_range(texts[5]))).await.unwrap_err();
    assert_eq!(class(error), "too large");
    for text in ["quota exceeded", "too many requests", "data refused due to high memory usage"] {
        let error = answer_to(move || Err(Status::resource_exhausted(text))).await.unwrap_err();
        assert_eq!(class(error), "refused", "{text}");
    }
}

#[tokio::test]
async fn a_response_that_is_too_large_is_not_a_request_that_is_too_large() {
    // The status behind it says that the records were taken.
    let sent = answer_to(|| Ok(Bytes::from(vec![0; 5 << 20]))).await.unwrap();
    let message = Some("unreadable response: more than 4194304 bytes".into());
    assert_eq!(sent, Sent { rejected_items: 0, message });
    // One that inflates too far: nobody knows.
    let (address, _) = compressing_server(|| Ok(Bytes::from(vec![0; 5 << 20]))).await;
    let error = Otlp::new(settings(address)).unwrap().send(logs("x")).await.unwrap_err();
    assert!(error.to_string().contains("while decompressing message"), "{error}");
    assert_eq!(class(error), "retry");
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_tried_again_and_found_when_it_comes() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let otlp = Otlp::new(settings(address)).unwrap();
    let SendError::Retry { reason, after: None } = otlp.send(logs("x")).await.unwrap_err() else { panic!() };
    assert!(reason.contains("Connection refused"), "{reason}");
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    // It accepts and closes: no answer is no refusal.
    let closing = tokio::spawn(async move { drop(listener.accept().await) });
    let error = otlp.send(logs("x")).await.unwrap_err();
    assert_eq!(class(error.clone()), "retry", "{error}");
    closing.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_during_a_request_is_a_retry() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|_: http::Request<hyper::body::Incoming>| async {
                Err::<http::Response<tonic::body::Body>, _>(std::io::Error::other("reset"))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    let error = Otlp::new(settings(address)).unwrap().send(logs("x")).await.unwrap_err();
    assert_eq!(class(error.clone()), "retry", "{error}");
}

#[tokio::test]
async fn a_backend_that_hangs_is_left_after_the_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let otlp = Otlp::new(Settings { timeout: Duration::from_millis(100), ..settings(address) }).unwrap();
    let error = otlp.send(logs("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "DEADLINE_EXCEEDED: no answer within 0.1 s");
    assert_eq!(class(error), "retry");
}

#[tokio::test]
async fn a_connection_without_answers_is_left_for_a_new_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let otlp = Otlp::new(Settings { timeout: Duration::from_millis(100), ..settings(address) }).unwrap();
    // Open for as long as its client wants, and silent.
    let (first, error) = tokio::join!(listener.accept(), otlp.send(logs("x")));
    assert_eq!(class(error.unwrap_err()), "retry");
    let (second, _) = tokio::join!(listener.accept(), otlp.send(logs("x")));
    assert_ne!(first.unwrap().1, second.unwrap().1);
}

#[tokio::test]
async fn details_that_are_no_base64_are_left_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|_: http::Request<hyper::body::Incoming>| async {
                let mut response: http::Response<tonic::body::Body> = Status::unavailable("no\n\u{1b}[2J").into_http();
                response.headers_mut().insert("grpc-status-details-bin", "***".parse().unwrap());
                Ok::<_, std::convert::Infallible>(response)
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    let error = Otlp::new(settings(address)).unwrap().send(logs("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "UNAVAILABLE: no  [2J");
    assert_eq!(class(error), "retry");
}

#[tokio::test]
async fn a_giant_reason_is_cut() {
    let error = answer_to(|| Err(Status::internal("ä".repeat(3_000)))).await.unwrap_err();
    assert!(error.to_string().len() < 1100, "{}", error.to_string().len());
}

#[test]
fn settings_that_cannot_work_are_told_before_anything_is_sent() {
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(SocketAddr::from(([127, 0, 0, 1], 4317)));
        change(&mut settings);
        Otlp::new(settings).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|s| s.endpoint = "dns:///collector:4317".into()), Ok(()));
    assert_eq!(with(&|s| s.endpoint = "http://[::1]:4317".into()), Ok(()));
    let error = with(&|s| s.endpoint = "ftp://collector".into()).unwrap_err();
    assert!(error.contains("scheme ftp is not supported"), "{error}");
    let error = with(&|s| s.endpoint = ":4317".into()).unwrap_err();
    assert!(error.contains("\":4317\"") && error.contains("host:port"), "{error}");
    let error = with(&|s| s.headers = vec![("bad name".into(), "secret".into())]).unwrap_err();
    assert!(error.contains("bad name") && !error.contains("secret"), "{error}");
    let error = with(&|s| {
        s.tls = Tls { ca_file: Some("/nonexistent/ca.pem".into()), ..Tls::default() };
    });
    assert!(error.as_ref().unwrap_err().contains("tls.ca_file /nonexistent/ca.pem"), "{error:?}");
    let error = with(&|s| {
        s.tls = Tls { ca_file: Some("/dev/null".into()), cert_file: Some("/dev/null".into()), ..Tls::default() }
    });
    assert!(error.as_ref().unwrap_err().contains("tls.key_file is missing"), "{error:?}");
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let otlp = Otlp::new(settings(SocketAddr::from(([127, 0, 0, 1], 4317)))).unwrap();
    assert!(!format!("{otlp:?}").contains("secret"));
}

/// A server with TLS that takes everything from clients that it knows.
fn tls_server(listener: std::net::TcpListener, config: rustls::ServerConfig) -> TlsServer {
    let taking = Server { script: Arc::new(|| Ok(Bytes::new())), heard: Heard::default(), path: String::new() };
    TlsServer::start(listener, config, move |stream| answer_calls(TokioIo::new(stream), taking.clone(), false))
}

#[tokio::test]
async fn tls_checks_the_server_and_shows_the_client() {
    let (listener, address) = port();
    let _server = tls_server(listener, shows("server", "ca.pem"));
    let tls = known_client();
    let send = async |tls: Tls| {
        let otlp = Otlp::new(Settings { tls, ..settings(address) }).unwrap();
        otlp.send(logs("x")).await
    };
    assert_eq!(send(tls.clone()).await, Ok(Sent::default()));

    let other_name = Tls { server_name_override: Some("other.test".into()), ..tls.clone() };
    let error = send(other_name).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name \"other.test\""), "{error}");
    assert_eq!(class(error), "retry");

    let anonymous = Tls { cert_file: None, key_file: None, ..tls.clone() };
    let error = send(anonymous).await.unwrap_err();
    assert_eq!(class(error.clone()), "retry", "{error}");

    let error = send(Tls { ca_file: Some(pem("stranger.pem")), ..tls }).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_server_without_http_2_is_no_grpc_server() {
    let (listener, address) = port();
    let mut old = shows("server", "ca.pem");
    old.alpn_protocols = Vec::new();
    let _server = tls_server(listener, old);
    let otlp = Otlp::new(Settings { tls: known_client(), ..settings(address) }).unwrap();
    let error = otlp.send(logs("x")).await.unwrap_err();
    assert!(error.to_string().contains("the server does not offer HTTP/2"), "{error}");
    assert_eq!(class(error), "retry");
}

#[tokio::test]
async fn certificates_that_are_rotated_are_used_for_the_next_connection() {
    let (files, (listener, address)) = (Files::new(), port());
    let server = tls_server(listener, shows("server", "ca.pem"));
    let otlp = Otlp::new(Settings { tls: files.tls(), ..settings(address) }).unwrap();
    let send = async || otlp.send(logs("x")).await;
    rotate(&files, &server, send).await;
}

#[tokio::test]
async fn a_server_that_accepts_and_is_silent_is_left_in_time_and_found_when_it_speaks() {
    let (listener, address) = port();
    let timeout = Duration::from_secs(30);
    let otlp = Otlp::new(Settings { tls: known_client(), timeout, ..settings(address) }).unwrap();
    let begun = std::time::Instant::now();
    let error = otlp.send(logs("x")).await.unwrap_err();
    assert!(error.to_string().contains("no TLS handshake within 5 s"), "{error}");
    assert!(begun.elapsed() < timeout / 2);
    assert_eq!(class(error), "retry");
    let _server = tls_server(listener, shows("server", "ca.pem"));
    assert_eq!(otlp.send(logs("x")).await, Ok(Sent::default()));
}

/// The sink must be one that the drain may spawn.
fn _is_a_sink(otlp: &'static Otlp) -> impl Future<Output = Result<Sent, SendError>> + Send + 'static {
    otlp.send(logs(""))
}
