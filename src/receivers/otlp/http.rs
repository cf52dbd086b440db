//! OTLP/HTTP: `POST /v1/{logs,traces,metrics}` with binary protobuf.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Incoming};
use prost::Message;

use super::receive::{BodyReader, Receive, Received};
use super::refusal::{Class, Refusal};
use super::reply::Reply;
use crate::otlp::Signal;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers one request.
pub(super) async fn serve(receive: &Receive, request: Request<Incoming>) -> Response<Reply> {
    let wanted = match check(receive, &request) {
        Ok(wanted) => wanted,
        Err(response) => return response,
    };
    let stored = match body(receive, request.into_body(), wanted.gzip).await {
        Ok(received) => receive.store(wanted.signal, received).await,
        Err(refusal) => Err(refusal),
    };
    match stored {
        // An empty Export…ServiceResponse has no bytes; `partial_success` unset is full success.
        Ok(()) => answer(StatusCode::OK, PROTOBUF, Vec::new()),
        Err(refusal) => refuse(&refusal),
    }
}

/// What the head of an acceptable request asks for.
struct Wanted {
    signal: Signal,
    gzip: bool,
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
fn check(receive: &Receive, request: &Request<Incoming>) -> Result<Wanted, Response<Reply>> {
    let path = request.uri().path();
    let Some(signal) = signal_of(path) else {
        let text = format!("no such path: {path}; OTLP is taken at /v1/logs, /v1/traces and /v1/metrics\n");
        return Err(answer(StatusCode::NOT_FOUND, TEXT, text));
    };
    if request.method() != Method::POST {
        let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "use POST\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Err(response);
    }
    check_content_type(request.headers())?;
    if !receive.intake.accepts(signal) {
        return Err(refuse(&Refusal::NoPipeline(signal)));
    }
    let gzip = check_encoding(request.headers())?;
    if request.body().size_hint().lower() > receive.limit as u64 {
        return Err(refuse(&receive.too_large()));
    }
    Ok(Wanted { signal, gzip })
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Response<Reply>> {
    let value = headers.get(header::CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()));
    let essence = value.as_deref().and_then(|v| v.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(PROTOBUF) {
        return Ok(());
    }
    let message = match essence {
        "" => format!("no Content-Type: send {PROTOBUF}"),
        other => format!("Content-Type {other} is not supported: send {PROTOBUF}"),
    };
    // A sender of JSON reads errors as JSON.
    let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(if essence.eq_ignore_ascii_case(JSON) {
        answer(unsupported, JSON, serde_json::json!({ "code": 3, "message": message }).to_string())
    } else {
        answer(unsupported, TEXT, message + "\n")
    })
}

/// Whether the body is gzip.
fn check_encoding(headers: &HeaderMap) -> Result<bool, Response<Reply>> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(other) => {
            let message =
                format!("Content-Encoding {} is not supported: use gzip or identity", String::from_utf8_lossy(other));
            let mut response = status(StatusCode::UNSUPPORTED_MEDIA_TYPE, tonic::Code::InvalidArgument, &message);
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, identity"));
            Err(response)
        }
    }
}

/// Reads a body whose length need not be known: memory is admitted for what is announced, then for what comes.
async fn body(receive: &Receive, body: Incoming, gzip: bool) -> Result<Received, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut permit = receive.admit(announced, gzip).await?;
    let mut bytes = Vec::with_capacity(announced);
    let mut body = BodyReader::new(body);
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
    Ok(Received { bytes, gzip, permit })
}

/// Says a refusal as the specification wants it said ("OTLP/HTTP Response", "OTLP/HTTP Throttling").
fn refuse(refusal: &Refusal) -> Response<Reply> {
    use tonic::Code;
    let message = refusal.to_string();
    match refusal.class() {
        Class::BadData => status(StatusCode::BAD_REQUEST, Code::InvalidArgument, &message),
        Class::TooLarge => status(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, &message),
        Class::NoPipeline => status(StatusCode::NOT_FOUND, Code::Unimplemented, &message),
        Class::Timeout => status(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, &message),
        Class::Full(after) | Class::Unavailable(after) => {
            let mut response = status(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, &message);
            // Whole seconds, and never 0: that would mean at once.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            response
        }
    }
}

/// A `google.rpc.Status` in protobuf, the type of every request that gets this far.
fn status(code: StatusCode, rpc: tonic::Code, message: &str) -> Response<Reply> {
    let status = tonic_types::Status { code: rpc as i32, message: message.to_owned(), details: Vec::new() };
    answer(code, PROTOBUF, status.encode_to_vec())
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<Reply> {
    let mut response = Response::new(Reply::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
