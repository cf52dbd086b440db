//! OTLP/HTTP: `POST /v1/{logs,traces,metrics}` with protobuf, binary or as JSON.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use prost::Message;
use tonic::Code;

use super::inflate::{self, Encoding};
use super::receive::{BodyReader, Format, Receive, Received};
use super::refusal::{Class, Refusal};
use super::reply::Reply;
use crate::auth::{Denied, Unknown};
use crate::otlp::Signal;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers one request, in its own format.
pub(super) async fn serve(receive: &Receive, request: Request<Incoming>) -> Response<Reply> {
    let (head, body) = request.into_parts();
    let mut body = BodyReader::new(body, receive.limits.body_timeout);
    match export(receive, &head, &mut body).await {
        // An empty Export…ServiceResponse; `partial_success` unset is full success.
        Ok(Format::Protobuf) => answer(StatusCode::OK, PROTOBUF, Vec::new()),
        Ok(Format::Json) => answer(StatusCode::OK, JSON, "{}"),
        Err(rejection) => {
            body.discard().await;
            rejection.answer(format(&essence(&head.headers)).unwrap_or(Format::Protobuf))
        }
    }
}

async fn export(receive: &Receive, head: &Parts, body: &mut BodyReader) -> Result<Format, Rejection> {
    receive.authenticate(&head.headers).await.map_err(|unknown| match unknown {
        Unknown::Denied(denied) => Rejection::Denied(denied),
        Unknown::Busy => Refusal::BusyWithPasswords.into(),
    })?;
    let wanted = check(receive, head)?;
    let received = read(receive, body, &wanted).await?;
    receive.store(wanted.signal, received).await?;
    Ok(wanted.format)
}

/// Why a request is not stored, in HTTP's terms.
#[derive(Debug)]
enum Rejection {
    Grpc,
    Denied(Denied),
    Path(String),
    Method,
    ContentType(String),
    ContentEncoding(String),
    Refusal(Refusal),
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

/// What the head of an acceptable request asks for.
struct Wanted {
    signal: Signal,
    format: Format,
    encoding: Encoding,
}

fn signal_of(path: &str) -> Option<Signal> {
    match path {
        "/v1/logs" => Some(Signal::Logs),
        "/v1/traces" => Some(Signal::Traces),
        "/v1/metrics" => Some(Signal::Metrics),
        _ => None,
    }
}

/// Judges a request by its head alone.
fn check(receive: &Receive, head: &Parts) -> Result<Wanted, Rejection> {
    let essence = essence(&head.headers);
    if essence.starts_with("application/grpc") {
        return Err(Rejection::Grpc);
    }
    let path = head.uri.path();
    let signal = signal_of(path).ok_or_else(|| Rejection::Path(path.to_owned()))?;
    if head.method != Method::POST {
        return Err(Rejection::Method);
    }
    let Some(format) = format(&essence) else { return Err(Rejection::ContentType(essence)) };
    if !receive.intake.accepts(signal) {
        return Err(Refusal::NoPipeline(signal).into());
    }
    let name = text(&head.headers, header::CONTENT_ENCODING);
    let Some(encoding) = Encoding::named(name.trim()) else {
        return Err(Rejection::ContentEncoding(name.trim().to_owned()));
    };
    Ok(Wanted { signal, format, encoding })
}

/// The content type without its parameters.
fn essence(headers: &HeaderMap) -> String {
    let content_type = text(headers, header::CONTENT_TYPE);
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn format(essence: &str) -> Option<Format> {
    match essence {
        PROTOBUF => Some(Format::Protobuf),
        JSON => Some(Format::Json),
        _ => None,
    }
}

/// A header's value; empty when it is absent.
fn text(headers: &HeaderMap, name: header::HeaderName) -> std::borrow::Cow<'_, str> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default()
}

/// Reads a body whose length need not be known: memory is admitted for what is announced, then for what comes.
async fn read(receive: &Receive, body: &mut BodyReader, wanted: &Wanted) -> Result<Received, Refusal> {
    let announced = body.announced();
    let mut permit = receive.admit(announced, wanted.encoding, wanted.format).await?;
    let mut bytes = Vec::with_capacity(announced);
    while let Some(data) = body.next().await? {
        let length = bytes.len() + data.len();
        if length > receive.limit {
            return Err(receive.too_large());
        }
        if length > announced && !permit.grow(length) {
            return Err(Refusal::Busy);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes, encoding: wanted.encoding, format: wanted.format, permit })
}

impl Rejection {
    /// Says it as the specification wants it said ("OTLP/HTTP Response", "OTLP/HTTP Throttling").
    fn answer(&self, format: Format) -> Response<Reply> {
        match self {
            Self::Grpc => {
                let message = "this port speaks OTLP over HTTP; OTLP over gRPC has a port of its own, 4317 by default";
                tonic::Status::unimplemented(message).into_http()
            }
            Self::Denied(denied) => {
                let response = status(StatusCode::UNAUTHORIZED, Code::Unauthenticated, &denied.message, format);
                match denied.challenge.parse() {
                    Ok(challenge) => with(response, header::WWW_AUTHENTICATE, challenge),
                    Err(_) => response,
                }
            }
            Self::Path(path) => {
                let message = format!("no such path: {path}; OTLP is taken at /v1/logs, /v1/traces and /v1/metrics\n");
                answer(StatusCode::NOT_FOUND, TEXT, message)
            }
            Self::Method => {
                let response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "use POST\n");
                with(response, header::ALLOW, HeaderValue::from_static("POST"))
            }
            Self::ContentType(other) => {
                let message = match other.as_str() {
                    "" => format!("no Content-Type: send {PROTOBUF} or {JSON}\n"),
                    other => format!("Content-Type {other} is not supported: send {PROTOBUF} or {JSON}\n"),
                };
                answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, TEXT, message)
            }
            Self::ContentEncoding(other) => {
                let message = format!("Content-Encoding {other} is not supported: use one of {}", inflate::ACCEPTED);
                let response = status(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, &message, format);
                with(response, header::ACCEPT_ENCODING, HeaderValue::from_static(inflate::ACCEPTED))
            }
            Self::Refusal(refusal) => refuse(refusal, format),
        }
    }
}

fn refuse(refusal: &Refusal, format: Format) -> Response<Reply> {
    let message = refusal.to_string();
    match refusal.class() {
        Class::BadData => status(StatusCode::BAD_REQUEST, Code::InvalidArgument, &message, format),
        Class::TooLarge => status(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, &message, format),
        Class::NoPipeline => status(StatusCode::NOT_FOUND, Code::Unimplemented, &message, format),
        Class::Timeout => status(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, &message, format),
        Class::Full(after) | Class::Unavailable(after) => {
            // Whole seconds, and never 0: that would mean at once.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            let response = status(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, &message, format);
            with(response, header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
        }
    }
}

/// A `google.rpc.Status` in the request's format.
fn status(code: StatusCode, rpc: Code, message: &str, format: Format) -> Response<Reply> {
    match format {
        Format::Protobuf => {
            let status = tonic_types::Status { code: rpc as i32, message: message.to_owned(), details: Vec::new() };
            answer(code, PROTOBUF, status.encode_to_vec())
        }
        Format::Json => answer(code, JSON, serde_json::json!({ "code": rpc as i32, "message": message }).to_string()),
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<Reply> {
    let mut response = Response::new(Reply::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn with(mut response: Response<Reply>, name: header::HeaderName, value: HeaderValue) -> Response<Reply> {
    response.headers_mut().insert(name, value);
    response
}
