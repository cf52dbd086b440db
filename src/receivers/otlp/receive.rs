//! The way of a request from its body to the disk, the same for both transports.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::{Admission, Permit};
use super::inflate::{self, Cap, Encoding};
use super::refusal::Refusal;
use super::settings::Limits;
use crate::auth::{self, Unknown};
use crate::otlp::json::{self, Unreadable};
use crate::otlp::{self, Signal};
use crate::receivers::Intake;

/// How much of a refused body is read on, in bytes, and for how long.
const MAX_DISCARD: usize = 64 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Bodies above this are checked and inflated on a thread of their own, so that others need not wait.
const LARGE: usize = 64 << 10;
/// The same for compressed ones, which may become much more.
const LARGE_COMPRESSED: usize = 4 << 10;

/// What requests are received into, and under which limits.
#[derive(Debug, Clone)]
pub(super) struct Receive {
    pub(super) intake: Intake,
    pub(super) admission: Admission,
    pub(super) auth: Option<Arc<auth::Server>>,
    pub(super) limits: Limits,
    /// The largest request in bytes, before and after inflation.
    pub(super) limit: usize,
    /// The setting of that limit.
    pub(super) limit_key: &'static str,
}

/// A request's body as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) encoding: Encoding,
    pub(super) format: Format,
    pub(super) permit: Permit,
}

/// What a body is once it is inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

impl Receive {
    /// Whether a client may send, by the headers of its request.
    pub(super) async fn authenticate(&self, headers: &http::HeaderMap) -> Result<(), Unknown> {
        match &self.auth {
            None => Ok(()),
            Some(auth) => auth.check(headers).await,
        }
    }

    /// The headers together must be within the limit: HTTP/1 is read in larger pieces than that.
    pub(super) fn check_head(&self, headers: &http::HeaderMap) -> Result<(), Refusal> {
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > self.limits.max_header_bytes as usize { Err(Refusal::Head) } else { Ok(()) }
    }

    pub(super) fn too_large(&self) -> Refusal {
        Refusal::TooLarge { limit: self.limit, key: self.limit_key }
    }

    /// Waits for the memory that a body of this size needs.
    pub(super) async fn admit(&self, bytes: usize, encoding: Encoding, format: Format) -> Result<Permit, Refusal> {
        if bytes > self.limit {
            return Err(self.too_large());
        }
        // JSON is held beside the protobuf that it becomes, as a rule no larger.
        let held = if format == Format::Json { bytes.saturating_mul(2) } else { bytes };
        if encoding.is_identity() {
            self.in_time(self.admission.admit_message(held)).await
        } else {
            self.in_time(self.admission.admit_compressed(bytes)).await
        }
    }

    async fn in_time(&self, admission: impl Future<Output = Option<Permit>>) -> Result<Permit, Refusal> {
        match timeout(self.limits.admission_timeout, admission).await {
            Ok(Some(permit)) => Ok(permit),
            Ok(None) | Err(_) => Err(Refusal::Busy),
        }
    }

    /// Validates a request and hands it to the logs; returns when they have it on disk. A request without items is
    /// a success that stores nothing (OTLP specification, "Full Success").
    pub(super) async fn store(&self, signal: Signal, received: Received) -> Result<(), Refusal> {
        // Of a compressed body the message needs memory of its own.
        let message = if received.encoding.is_identity() {
            None
        } else {
            let by_ratio = inflate::most_by_ratio(received.bytes.len(), self.limits.max_ratio);
            let claimed = received.encoding.claimed_size(&received.bytes).min(self.limit).min(by_ratio);
            let window = received.encoding.window(&received.bytes);
            Some(self.in_time(self.admission.admit_message(claimed + window)).await?)
        };
        let receive = self.clone();
        let large = if received.encoding.is_identity() { LARGE } else { LARGE_COMPRESSED };
        let is_long = received.bytes.len() > large;
        let open = move || receive.open(signal, received, message);
        let (items, message, _permit) = if is_long { self.off_the_loop(open).await? } else { open()? };
        if items > 0 {
            let until = std::time::Instant::now() + self.limits.room_timeout;
            self.intake.append_when_room(signal, &message.into(), items, until)?.durable().await?;
        }
        Ok(())
    }

    /// Runs work that takes a while on a thread where it holds up no other request.
    async fn off_the_loop<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _processor = self.admission.processor().await;
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refusal::Panicked))
    }

    /// From a body as it came to a valid request in protobuf, its items counted.
    fn open(&self, signal: Signal, received: Received, inflated: Option<Permit>) -> Result<Opened, Refusal> {
        let Received { bytes, encoding, format, permit } = received;
        let (bytes, mut permit) = match inflated {
            None => (bytes, permit),
            Some(mut inflated) => {
                let cap = Cap { size: self.limit, key: self.limit_key, ratio: self.limits.max_ratio };
                let message = encoding.inflate(&bytes, cap, &mut |length| inflated.grow(length))?;
                drop((bytes, permit));
                inflated.shrink(message.len());
                (message, inflated)
            }
        };
        let message = match format {
            Format::Protobuf => bytes,
            Format::Json => self.protobuf(signal, &bytes, &mut permit)?,
        };
        permit.shrink(message.len());
        Ok((otlp::validate(signal, &message)?, message, permit))
    }

    /// JSON as protobuf; both are held for a while.
    fn protobuf(&self, signal: Signal, text: &[u8], permit: &mut Permit) -> Result<Vec<u8>, Refusal> {
        let mut is_too_large = false;
        let read = json::read(signal, text, &mut |length| {
            is_too_large = length > self.limit;
            !is_too_large && permit.grow(text.len() + length)
        });
        read.map_err(|error| match error {
            Unreadable::Malformed(error) => Refusal::Json(error),
            Unreadable::NoRoom if is_too_large => self.too_large(),
            Unreadable::NoRoom => Refusal::Busy,
        })
    }
}

/// A request that may be stored: its items, its bytes, and the memory that they take.
type Opened = (u32, Vec<u8>, Permit);

/// A body that is being read.
#[derive(Debug)]
pub(super) struct BodyReader {
    body: Incoming,
    patience: Duration,
    /// Set when the first piece is asked for: who waits for memory before is not slow.
    deadline: Option<Instant>,
}

impl BodyReader {
    pub(super) fn new(body: Incoming, patience: Duration) -> Self {
        Self { body, patience, deadline: None }
    }

    /// The length that the sender announced; 0 when it did not.
    pub(super) fn announced(&self) -> usize {
        usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX)
    }

    /// Reads on and forgets, so that a sender who has not finished yet comes to read the answer: closing the
    /// connection in its face would often lose it.
    pub(super) async fn discard(&mut self) {
        let soon = Instant::now() + DISCARD_TIMEOUT;
        self.deadline = Some(self.deadline.map_or(soon, |deadline| deadline.min(soon)));
        let mut left = MAX_DISCARD;
        while let Ok(Some(data)) = self.next().await
            && left > data.len()
        {
            left -= data.len();
        }
    }

    /// The next piece of data; `None` at the end. Trailers are of no use here.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.patience);
            let Ok(frame) = timeout_at(deadline, frame).await else {
                return Err(Refusal::Slow(self.patience));
            };
            match frame.transpose().map_err(Refusal::Broken)? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
