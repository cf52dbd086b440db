//! Keeps from tonic the answers that make it panic: status details that are no base64 (tonic 0.14.9).

use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::transport::Channel;
use tower_service::Service;

const DETAILS: &str = "grpc-status-details-bin";
/// As tonic reads them: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A channel whose answers tonic can read.
#[derive(Debug, Clone)]
pub(super) struct Guarded(pub(super) Channel);

/// The body of such an answer.
#[derive(Debug)]
pub(super) struct GuardedBody(Body);

impl Service<Request<Body>> for Guarded {
    type Response = Response<GuardedBody>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async {
            let mut answer = answer.await?;
            // An answer without a body has its status here.
            drop_unreadable(answer.headers_mut());
            Ok(answer.map(GuardedBody))
        })
    }
}

impl hyper::body::Body for GuardedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = Pin::new(&mut self.0).poll_frame(context);
        frame.map_ok(|frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                drop_unreadable(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The code and the message say enough without them.
fn drop_unreadable(headers: &mut HeaderMap) {
    let is_readable = headers.get(DETAILS).is_none_or(|details| BASE64.decode(details).is_ok());
    if !is_readable {
        headers.remove(DETAILS);
    }
}
