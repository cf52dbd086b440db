//! A backend that answers as it is told, and remembers what came.

use std::collections::HashMap;
use std::future::pending;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::Status;

use crate::support::wait_for;

/// What a slow machine under load may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer to one request.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    Take,
    Grpc(Status),
    /// Success with this message of bytes, over either protocol.
    Success(Vec<u8>),
    /// A status with these headers and no body.
    Http(u16, Vec<(&'static str, String)>),
    /// Nothing, for ever.
    Nothing,
    /// The connection ends.
    HangUp,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) connection: u64,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The message, inflated.
    pub(crate) message: Vec<u8>,
    /// Of its log records.
    pub(crate) bodies: Vec<String>,
    /// It was answered with success, and nothing else.
    pub(crate) is_taken: bool,
}

#[derive(Default)]
struct State {
    /// What is said to the first requests with this record.
    script: HashMap<&'static str, Vec<Say>>,
    /// What is said to all others.
    mood: Option<Say>,
    seen: Vec<Seen>,
    /// Requests that have no answer.
    waiting: usize,
}

/// Takes both protocols on one port. Gone, with all its connections, when it is dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

type Body = BoxBody<Bytes, std::convert::Infallible>;

impl Backend {
    pub(crate) fn start() -> Self {
        Self::on(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// On a socket that is there already: who connected before waited in it.
    pub(crate) fn on(listener: std::net::TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        runtime.spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, runtime: Some(runtime) }
    }

    /// Says these to the first requests that carry this record; it takes what comes after.
    pub(crate) fn say(&self, record: &'static str, says: impl IntoIterator<Item = Say>) {
        self.state.lock().unwrap().script.insert(record, says.into_iter().collect());
    }

    /// Says this to every request; `None`: it takes them.
    pub(crate) fn set(&self, mood: Option<Say>) {
        self.state.lock().unwrap().mood = mood;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// The bodies of the log records that it took, as they came.
    pub(crate) fn taken(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|seen| seen.is_taken).flat_map(|seen| seen.bodies.iter().cloned()).collect()
    }

    /// How many requests came.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().seen.len()
    }

    /// The next request after so many.
    pub(crate) fn after(&self, count: usize) -> Option<Seen> {
        self.state.lock().unwrap().seen.get(count).cloned()
    }

    /// The requests with this record.
    pub(crate) fn with(&self, record: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.bodies.iter().any(|body| body == record)).collect()
    }

    /// Requests that have no answer now.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting
    }

    /// Waits until this record has come so many times.
    #[track_caller]
    pub(crate) fn wait_for(&self, record: &str, times: usize) -> Vec<Seen> {
        self.comes_within(record, times, PATIENCE).unwrap_or_else(|| panic!("{record} did not come {times} times"))
    }

    /// The same, or `None` after a time.
    pub(crate) fn comes_within(&self, record: &str, times: usize, limit: Duration) -> Option<Vec<Seen>> {
        wait_for(limit, || Some(self.with(record)).filter(|seen| seen.len() >= times))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let connections = AtomicU64::new(0);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, connection) = (Arc::clone(&state), connections.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&state), connection, request));
            // A client that goes is no trouble.
            drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    connection: u64,
    request: http::Request<Incoming>,
) -> Result<Response<Body>, &'static str> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let is_grpc = header(&head.headers, "content-type").starts_with("application/grpc");
    let body = body.collect().await.map_err(|_| "the request broke off")?.to_bytes();
    let message = if is_grpc {
        unframed(&head.headers, &body)
    } else {
        inflated(header(&head.headers, "content-encoding"), &body)
    };
    let bodies = bodies(&head.headers, &message);
    let say = {
        let mut state = state.lock().unwrap();
        let named = bodies.iter().find(|body| state.script.contains_key(body.as_str()));
        let says = named.and_then(|body| state.script.get_mut(body.as_str())).filter(|says| !says.is_empty());
        let say = says.map(|says| says.remove(0)).or_else(|| state.mood.clone()).unwrap_or(Say::Take);
        state.seen.push(Seen {
            at,
            connection,
            path: head.uri.path().to_owned(),
            headers: head.headers,
            message,
            bodies,
            is_taken: matches!(say, Say::Take),
        });
        state.waiting += 1;
        say
    };
    if !matches!(say, Say::Nothing) {
        state.lock().unwrap().waiting -= 1;
    }
    match say {
        Say::Take => Ok(success(is_grpc, &[])),
        Say::Success(message) => Ok(success(is_grpc, &message)),
        Say::Grpc(status) => Ok(status.into_http::<Full<Bytes>>().map(BoxBody::new)),
        Say::Http(status, headers) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(BoxBody::new(Full::default())).unwrap())
        }
        Say::Nothing => pending().await,
        Say::HangUp => Err("told to"),
    }
}

fn success(is_grpc: bool, message: &[u8]) -> Response<Body> {
    if !is_grpc {
        let body = BoxBody::new(Full::new(Bytes::copy_from_slice(message)));
        return Response::builder().header("content-type", "application/x-protobuf").body(body).unwrap();
    }
    let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
    let body = BoxBody::new(http_body_util::StreamBody::new(tokio_stream::iter(frames)));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

fn unframed(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let encoding = if body[0] == 1 { header(headers, "grpc-encoding") } else { "" };
    inflated(encoding, &body[5..])
}

fn inflated(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "" | "identity" => bytes.to_vec(),
        "gzip" => {
            let mut out = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
            out
        }
        other => panic!("a request in {other}"),
    }
}

/// The bodies of the log records; none in a request of another signal.
fn bodies(headers: &HeaderMap, message: &[u8]) -> Vec<String> {
    let request: Option<ExportLogsServiceRequest> = if header(headers, "content-type") == "application/json" {
        serde_json::from_slice(message).ok()
    } else {
        ExportLogsServiceRequest::decode(message).ok()
    };
    let resources = request.into_iter().flat_map(|request| request.resource_logs);
    let records = resources.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records);
    let text = |value| if let Value::StringValue(text) = value { Some(text) } else { None };
    records.filter_map(|record| record.body?.value).filter_map(text).collect()
}
