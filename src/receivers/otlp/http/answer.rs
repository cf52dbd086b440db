//! Answers as the specification wants them ("OTLP/HTTP Response", "OTLP/HTTP Throttling"): an empty
//! `Export…ServiceResponse`, or a `google.rpc.Status` whatever the fault, in the request's format.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use prost::Message;
use tonic::{Code, Status};

use super::{Format, JSON, PROTOBUF, Rejection, Reply};
use crate::receivers::Reason;
use crate::receivers::otlp::inflate;
use crate::receivers::otlp::refusal::{self, Class, Refusal};

/// `partial_success` unset is full success.
pub(super) fn success(format: Format) -> Response<Reply> {
    match format {
        Format::Protobuf => answer(StatusCode::OK, format, Vec::new()),
        Format::Json => answer(StatusCode::OK, format, "{}"),
    }
}

impl Rejection {
    /// As what it is counted.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Denied(_) => Reason::Unauthenticated,
            Self::Refusal(refusal) => refusal.reason(),
            Self::Grpc | Self::Path(_) | Self::Method | Self::ContentType(_) | Self::ContentEncoding(_) => {
                Reason::Unsupported
            }
        }
    }

    /// What is wrong, for people.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Grpc => {
                "this port speaks OTLP over HTTP; OTLP over gRPC has a port of its own, 4317 by default".to_owned()
            }
            Self::Denied(denied) => denied.message.clone(),
            Self::Path(path) => {
                format!("no such path: {path}; OTLP is taken at /v1/logs, /v1/traces and /v1/metrics")
            }
            Self::Method => "use POST".to_owned(),
            Self::ContentType(other) if other.is_empty() => format!("no Content-Type: send {PROTOBUF} or {JSON}"),
            Self::ContentType(other) => format!("Content-Type {other} is not supported: send {PROTOBUF} or {JSON}"),
            Self::ContentEncoding(other) => {
                format!("Content-Encoding {other} is not supported: use one of {}", inflate::ACCEPTED)
            }
            Self::Refusal(refusal) => refusal.to_string(),
        }
    }

    pub(super) fn answer(&self, format: Format) -> Response<Reply> {
        let message = self.message();
        let status = |code, rpc| status(code, rpc, &message, format);
        match self {
            Self::Grpc => Status::unimplemented(message).into_http(),
            Self::Denied(denied) => {
                let response = status(StatusCode::UNAUTHORIZED, Code::Unauthenticated);
                match denied.challenge.parse() {
                    Ok(challenge) => with(response, header::WWW_AUTHENTICATE, challenge),
                    Err(_) => response,
                }
            }
            Self::Path(_) => status(StatusCode::NOT_FOUND, Code::NotFound),
            Self::Method => {
                let response = status(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented);
                with(response, header::ALLOW, HeaderValue::from_static("POST"))
            }
            Self::ContentType(_) => status(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            Self::ContentEncoding(_) => {
                let response = status(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument);
                with(response, header::ACCEPT_ENCODING, HeaderValue::from_static(inflate::ACCEPTED))
            }
            Self::Refusal(refusal) => refuse(refusal, format),
        }
    }
}

fn refuse(refusal: &Refusal, format: Format) -> Response<Reply> {
    let message = refusal.to_string();
    match refusal.class() {
        Class::BadData => bad_request(&message, format),
        Class::HeadTooLarge => {
            status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::ResourceExhausted, &message, format)
        }
        Class::TooLarge => status(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, &message, format),
        Class::NoPipeline => status(StatusCode::NOT_FOUND, Code::Unimplemented, &message, format),
        Class::Busy(after) => {
            let response = status(StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, &message, format);
            retry_after(response, after)
        }
        Class::Full(after) | Class::Unavailable(after) => {
            let response = status(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, &message, format);
            retry_after(response, after)
        }
    }
}

/// "Bad Data": the details say what is bad.
fn bad_request(message: &str, format: Format) -> Response<Reply> {
    let code = StatusCode::BAD_REQUEST;
    match format {
        Format::Protobuf => {
            // The details of a gRPC status are the whole `google.rpc.Status`.
            answer(code, format, refusal::bad_request(message).details().to_vec())
        }
        Format::Json => {
            let violation = serde_json::json!({ "description": message });
            let details = serde_json::json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [violation],
            });
            let code_number = Code::InvalidArgument as i32;
            let body = serde_json::json!({ "code": code_number, "message": message, "details": [details] });
            answer(code, format, body.to_string())
        }
    }
}

fn status(code: StatusCode, rpc: Code, message: &str, format: Format) -> Response<Reply> {
    match format {
        Format::Protobuf => {
            let status = tonic_types::Status { code: rpc as i32, message: message.to_owned(), details: Vec::new() };
            answer(code, format, status.encode_to_vec())
        }
        Format::Json => {
            let body = serde_json::json!({ "code": rpc as i32, "message": message });
            answer(code, format, body.to_string())
        }
    }
}

/// Whole seconds, and never 0: that would mean at once.
fn retry_after(response: Response<Reply>, after: Duration) -> Response<Reply> {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    with(response, header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
}

fn answer(status: StatusCode, format: Format, body: impl Into<bytes::Bytes>) -> Response<Reply> {
    let content_type = match format {
        Format::Protobuf => PROTOBUF,
        Format::Json => JSON,
    };
    let mut response = Response::new(Reply::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn with(mut response: Response<Reply>, name: HeaderName, value: HeaderValue) -> Response<Reply> {
    response.headers_mut().insert(name, value);
    response
}
