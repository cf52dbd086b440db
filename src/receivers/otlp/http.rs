//! OTLP/HTTP: `POST /v1/{logs,traces,metrics}` with protobuf, binary or as JSON.

mod answer;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, header};
use hyper::body::Incoming;

use super::inflate::Encoding;
use super::receive::{BodyReader, Format, Receive, Received};
use super::refusal::Refusal;
use super::reply::Reply;
use crate::auth::{Denied, Unknown};
use crate::otlp::Signal;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Answers one request, in its own format.
pub(super) async fn serve(receive: &Receive, request: Request<Incoming>) -> Response<Reply> {
    let (head, body) = request.into_parts();
    let mut body = BodyReader::new(body, receive.limits.body_timeout);
    match export(receive, &head, &mut body).await {
        Ok(format) => answer::success(format),
        Err(rejection) => {
            body.discard().await;
            // Who sent neither format is told in the one that a person can read.
            rejection.answer(format(&essence(&head.headers)).unwrap_or(Format::Json))
        }
    }
}

async fn export(receive: &Receive, head: &Parts, body: &mut BodyReader) -> Result<Format, Rejection> {
    receive.check_head(&head.headers)?;
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
