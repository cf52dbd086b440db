//! Keeps answers from tonic (0.14.9) that it makes something else of.
//!
//! - Status details that are no base64 make it panic.
//! - A message that is too large ends the call before the status is read, with the words that a server uses for a request
//!   that is too large. What became of the records is in the status: the message is left out, and the status waited for.
//! - One that inflates too far does the same, and its status is lost. So it is noted whether a status was said at all.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::Frame;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message as _;
use tonic::body::Body;
use tonic::transport::Channel;
use tower_service::Service;

const DETAILS: &str = "grpc-status-details-bin";
/// As tonic reads them: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The largest message that is read, in bytes: what the specification lets a client cap a response at.
const MAX_MESSAGE: usize = 4 << 20;
/// So much is passed over for the status behind it, in bytes.
const MAX_PASSED_OVER: usize = 64 << 20;
/// Compressed or not, and the length.
const HEAD: usize = 5;

/// A channel whose answers tonic can read.
#[derive(Debug, Clone)]
pub(super) struct Guarded {
    pub(super) channel: Channel,
    /// Whether the server said a status other than OK.
    pub(super) has_said: Arc<AtomicBool>,
}

/// The body of such an answer.
#[derive(Debug)]
pub(super) struct GuardedBody {
    body: Body,
    has_said: Arc<AtomicBool>,
    message: Message,
}

/// How far the message was read.
#[derive(Debug)]
enum Message {
    /// Its first bytes, fewer than say its length.
    Head(Vec<u8>),
    Read,
    /// It is too large; so many bytes of it came.
    PassedOver(usize),
}

impl Service<Request<Body>> for Guarded {
    type Response = Response<GuardedBody>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, has_said) = (self.channel.call(request), Arc::clone(&self.has_said));
        Box::pin(async {
            let mut answer = answer.await?;
            // An answer without a body has its status here.
            look_at(answer.headers_mut(), &has_said);
            Ok(answer.map(|body| GuardedBody { body, has_said, message: Message::Head(Vec::new()) }))
        })
    }
}

impl Message {
    /// What tonic is to see of these bytes.
    fn take(&mut self, data: Bytes) -> Result<Bytes, tonic::Status> {
        match self {
            Self::Read => Ok(data),
            Self::PassedOver(bytes) if *bytes > MAX_PASSED_OVER => {
                Err(tonic::Status::data_loss("the response does not end"))
            }
            Self::PassedOver(bytes) => {
                *bytes += data.len();
                Ok(Bytes::new())
            }
            Self::Head(head) => {
                head.extend_from_slice(&data);
                let Some(&[_, a, b, c, d]) = head.first_chunk::<HEAD>() else { return Ok(Bytes::new()) };
                let (head, length) = (std::mem::take(head), u32::from_be_bytes([a, b, c, d]));
                if length as usize > MAX_MESSAGE {
                    *self = Self::PassedOver(head.len());
                    return Ok(left_out());
                }
                *self = Self::Read;
                Ok(head.into())
            }
        }
    }
}

impl hyper::body::Body for GuardedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else { return Poll::Ready(None) };
        Poll::Ready(Some(frame.and_then(|frame| match frame.into_data() {
            Ok(data) => self.message.take(data).map(Frame::data),
            Err(frame) => Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    look_at(&mut trailers, &self.has_said);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            }),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Stands for a message that is left out: nothing was rejected, as far as anybody knows.
fn left_out() -> Bytes {
    let error_message = format!("unreadable response: more than {MAX_MESSAGE} bytes");
    let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records: 0, error_message });
    let message = ExportLogsServiceResponse { partial_success }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &message].concat().into()
}

/// Notes whether a status is said, and leaves out details that cannot be read: code and message say enough without.
fn look_at(headers: &mut HeaderMap, has_said: &AtomicBool) {
    if headers.get("grpc-status").is_some_and(|status| status != "0") {
        has_said.store(true, Ordering::Relaxed);
    }
    let is_readable = headers.get(DETAILS).is_none_or(|details| BASE64.decode(details).is_ok());
    if !is_readable {
        headers.remove(DETAILS);
    }
}
