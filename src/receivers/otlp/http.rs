//! OTLP/HTTP: `POST /v1/{logs,traces,metrics}` with protobuf, binary or as JSON.

mod answer;
mod cors;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Version, header};
use hyper::body::Incoming;

use super::body::BodyReader;
use super::idle::InFlight;
use super::inflate::Encoding;
use super::receive::{Expected, Format, Receive, Received};
use super::refusal::Refusal;
use super::reply::Reply;
use super::settings::Cors;
use crate::auth::{Denied, Unknown};
use crate::otlp::Signal;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Answers one request, also that of a page of another origin.
pub(super) async fn serve(
    receive: &Receive,
    cors: Option<&Cors>,
    request: Request<Incoming>,
    in_flight: InFlight,
) -> Response<Reply> {
    let Some(cors) = cors else { return answer(receive, request, in_flight).await };
    if let Some(response) = cors::preflight(cors, request.method(), request.headers()) {
        return response;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let response = answer(receive, request, in_flight).await;
    cors::answer(cors, origin.as_ref(), response)
}

/// Answers one request, in its own format.
async fn answer(receive: &Receive, request: Request<Incoming>, in_flight: InFlight) -> Response<Reply> {
    let (head, body) = request.into_parts();
    // Who sent neither format is told in the one that a person can read.
    let format = format(&essence(&head.headers)).unwrap_or(Format::Json);
    let is_http_1 = head.version < Version::HTTP_2;
    let mut body = BodyReader::new(body, receive.limits.body_timeout);
    match export(receive, head, &mut body, &in_flight).await {
        Ok(()) => answer::success(format),
        Err(rejection) => {
            if is_http_1 {
                body.discard().await;
            }
            receive.refused(rejection.reason(), &rejection.message());
            rejection.answer(format)
        }
    }
}

async fn export(receive: &Receive, head: Parts, body: &mut BodyReader, in_flight: &InFlight) -> Result<(), Rejection> {
    receive.check_head(&head.headers)?;
    receive.authenticate(&head.headers, in_flight).await.map_err(|unknown| match unknown {
        Unknown::Denied(denied) => Rejection::Denied(denied),
        Unknown::Busy => Refusal::BusyWithPasswords.into(),
    })?;
    let wanted = check(receive, &head)?;
    // Its memory is in no count.
    drop(head);
    let received = read(receive, body, in_flight, &wanted).await?;
    Ok(receive.store(wanted.signal, received, in_flight).await?)
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

/// Reads a body whose length need not be known.
async fn read(
    receive: &Receive,
    body: &mut BodyReader,
    in_flight: &InFlight,
    wanted: &Wanted,
) -> Result<Received, Refusal> {
    let expected = Expected { announced: body.announced(), encoding: wanted.encoding, format: wanted.format };
    let arrival = receive.arrive(in_flight).await?;
    let fits = |bytes| if bytes > receive.limit { Err(receive.too_large()) } else { Ok(()) };
    receive.collect(body, &arrival, Vec::new(), expected, fits).await
}
