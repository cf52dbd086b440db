//! OTLP/gRPC: the unary `Export` of the three services, on raw bytes.
//!
//! tonic's own server would decode a message before anything can be said about its size or the memory it takes, and
//! answers an oversized one with a retryable code; so the one length-prefixed message of a unary call is read here,
//! and tonic says the statuses.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::body::BodyReader;
use super::idle::InFlight;
use super::inflate::{self, Encoding};
use super::receive::{Expected, Format, Receive, Received};
use super::refusal::{Class, Refusal, bad_request};
use super::reply::Reply;
use crate::auth::Unknown;
use crate::otlp::Signal;
use crate::receivers::Reason;

const ENCODING: &str = "grpc-encoding";
const ACCEPTED_ENCODINGS: (&str, HeaderValue) =
    ("grpc-accept-encoding", HeaderValue::from_static(inflate::GRPC_ACCEPTED));
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

const OTHER_PROTOCOL: &str = "this port speaks OTLP over gRPC; OTLP over HTTP has a port of its own, 4318 by default\n";

/// Answers one call.
pub(super) async fn serve(receive: &Receive, request: Request<Incoming>, in_flight: InFlight) -> Response<Reply> {
    if !is_grpc(&request) {
        receive.refused(Reason::Unsupported, "it is not gRPC");
        let mut response = Response::new(Reply::new(OTHER_PROTOCOL));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match export(receive, request, &in_flight).await {
        Ok(()) => success(),
        Err((reason, status)) => {
            receive.refused(reason, status.message());
            let mut response: Response<Reply> = status.into_http();
            response.headers_mut().insert(ACCEPTED_ENCODINGS.0, ACCEPTED_ENCODINGS.1);
            response
        }
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    request.version() == Version::HTTP_2 && content_type.starts_with(b"application/grpc")
}

/// The signal whose service a path names.
fn signal_of(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        _ => None,
    }
}

async fn export(receive: &Receive, request: Request<Incoming>, in_flight: &InFlight) -> Result<(), (Reason, Status)> {
    let refused = |refusal: Refusal| (refusal.reason(), status(&refusal));
    let unsupported = |message| (Reason::Unsupported, Status::unimplemented(message));
    receive.check_head(request.headers()).map_err(refused)?;
    let path = request.uri().path();
    let signal = signal_of(path).filter(|_| request.method() == Method::POST);
    let Some(signal) = signal else {
        return Err(unsupported(format!("unknown method {path}")));
    };
    match receive.authenticate(request.headers(), in_flight).await {
        Ok(()) => {}
        Err(Unknown::Denied(denied)) => {
            return Err((Reason::Unauthenticated, Status::unauthenticated(denied.message)));
        }
        Err(Unknown::Busy) => return Err(refused(Refusal::BusyWithPasswords)),
    }
    if !receive.intake.accepts(signal) {
        return Err(refused(Refusal::NoPipeline(signal)));
    }
    let name = String::from_utf8_lossy(request.headers().get(ENCODING).map_or(&b""[..], HeaderValue::as_bytes));
    let Some(encoding) = Encoding::named(&name) else {
        let message = format!("grpc-encoding {name} is not supported: use one of {}", inflate::GRPC_ACCEPTED);
        return Err(unsupported(message));
    };
    let received = message(receive, request.into_body(), in_flight, encoding).await;
    receive.store(signal, received.map_err(refused)?, in_flight).await.map_err(refused)
}

/// Bytes before each message: one of flags, four of length.
const PREFIX: usize = 5;

/// Reads the call's one message.
async fn message(
    receive: &Receive,
    body: Incoming,
    in_flight: &InFlight,
    encoding: Encoding,
) -> Result<Received, Refusal> {
    let arrival = receive.arrive(in_flight).await?;
    let mut body = BodyReader::new(body, receive.limits.body_timeout);
    let mut head = Vec::new();
    while head.len() < PREFIX {
        match body.next(&arrival).await? {
            Some(data) => head.extend_from_slice(&data),
            None => return Err(Refusal::Framing("the call ended before its message")),
        }
    }
    let encoding = match head[0] {
        // Said for each message of a call, whatever its header promised.
        0 => Encoding::Identity,
        1 if !encoding.is_identity() => encoding,
        1 => return Err(Refusal::Framing("a compressed message without grpc-encoding")),
        _ => return Err(Refusal::Framing("unknown flags before the message")),
    };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let begun = head.split_off(PREFIX);
    let expected = Expected { announced: length, encoding, format: Format::Protobuf };
    let received = receive.collect(&mut body, &arrival, begun, expected, |bytes| match bytes > length {
        true => Err(Refusal::Framing("more than one message in a unary call")),
        false => Ok(()),
    });
    let received = received.await?;
    match received.bytes.len() == length {
        true => Ok(received),
        false => Err(Refusal::Framing("the call ended inside its message")),
    }
}

/// An empty `Export…ServiceResponse`, which has no bytes: `partial_success` unset is full success.
fn success() -> Response<Reply> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(Reply::new(&[0u8; PREFIX][..]).with_trailers(trailers));
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}

/// Says a refusal as the specification wants it said ("OTLP/gRPC Response", "OTLP/gRPC Throttling").
fn status(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal.class() {
        Class::BadData => bad_request(&message),
        // Without RetryInfo: the same request would be refused again.
        Class::TooLarge | Class::HeadTooLarge => Status::new(Code::ResourceExhausted, message),
        Class::NoPipeline => Status::new(Code::Unimplemented, message),
        Class::Busy(after) | Class::Full(after) => {
            Status::with_error_details(Code::ResourceExhausted, message, ErrorDetails::with_retry_info(Some(after)))
        }
        Class::Unavailable(after) => {
            Status::with_error_details(Code::Unavailable, message, ErrorDetails::with_retry_info(Some(after)))
        }
    }
}
