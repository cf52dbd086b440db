//! The way of a request from its body to the disk, the same for both transports.

use std::future::Future;
use std::sync::Arc;

use tokio::time::timeout;

use super::admission::{Admission, Permit};
use super::arrivals::{Arrival, FIRST};
use super::body::BodyReader;
use super::idle::InFlight;
use super::inflate::{self, Cap, Encoding};
use super::refusal::Refusal;
use super::settings::Limits;
use crate::auth::{self, Unknown};
use crate::otlp::json::{self, Unreadable};
use crate::otlp::{self, Signal};
use crate::receivers::{Intake, Protocol, Reason};

/// Bodies above this are checked and inflated on a thread of their own, so that others need not wait.
const LARGE: usize = 64 << 10;
/// The same for compressed ones, which may become much more.
const LARGE_COMPRESSED: usize = 4 << 10;
/// Of a refusal so many characters are told: it may repeat what the client sent.
const MAX_TOLD: usize = 200;

/// What requests are received into, and under which limits.
#[derive(Debug, Clone)]
pub(super) struct Receive {
    /// The receiver's id, and by which protocol it receives here.
    pub(super) id: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) intake: Intake,
    pub(super) admission: Admission,
    pub(super) auth: Option<Arc<auth::Server>>,
    pub(super) limits: Limits,
    /// The largest request in bytes, before and after inflation.
    pub(super) limit: usize,
    /// The setting of that limit.
    pub(super) limit_key: &'static str,
}

/// What is known of a body before it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Its length, as far as the sender said; 0 when he did not.
    pub(super) announced: usize,
    pub(super) encoding: Encoding,
    pub(super) format: Format,
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
    pub(super) async fn authenticate(&self, headers: &http::HeaderMap, request: &InFlight) -> Result<(), Unknown> {
        let Some(auth) = &self.auth else { return Ok(()) };
        let _at_work = request.at_work();
        auth.check(headers).await
    }

    /// The headers together must be within the limit: HTTP/1 is read in larger pieces than that.
    pub(super) fn check_head(&self, headers: &http::HeaderMap) -> Result<(), Refusal> {
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > self.limits.max_header_bytes as usize { Err(Refusal::Head) } else { Ok(()) }
    }

    pub(super) fn too_large(&self) -> Refusal {
        Refusal::TooLarge { limit: self.limit, key: self.limit_key }
    }

    /// Counts a request that is refused, and tells it now and then.
    pub(super) fn refused(&self, reason: Reason, message: &str) {
        let refusals = self.intake.refusals();
        refusals.add(self.protocol, reason);
        if let Some(untold) = refusals.tell(reason, std::time::Instant::now()) {
            let (receiver, protocol, reason) = (&*self.id, self.protocol.name(), reason.name());
            let message: String = message.chars().take(MAX_TOLD).collect();
            tracing::warn!(receiver, protocol, reason, untold, "a request was refused: {message}");
        }
    }

    /// A place for a request whose body is on its way.
    pub(super) async fn arrive<'r>(&self, request: &'r InFlight) -> Result<Arrival<'r>, Refusal> {
        self.in_time(self.admission.arrive(request)).await
    }

    /// Reads a body of which `begun` was read already; `fits` judges how long it may become. Memory is admitted once the
    /// first part is there: what is only announced takes none.
    pub(super) async fn collect(
        &self,
        body: &mut BodyReader,
        arrival: &Arrival<'_>,
        begun: Vec<u8>,
        expected: Expected,
        fits: impl Fn(usize) -> Result<(), Refusal>,
    ) -> Result<Received, Refusal> {
        let Expected { announced, encoding, format } = expected;
        if announced > self.limit {
            return Err(self.too_large());
        }
        let mut bytes = begun;
        fits(bytes.len())?;
        bytes.reserve_exact(announced.min(FIRST).saturating_sub(bytes.len()));
        let mut is_whole = false;
        while !is_whole && bytes.len() < FIRST {
            match body.next(arrival).await? {
                Some(data) => {
                    fits(bytes.len() + data.len())?;
                    bytes.extend_from_slice(&data);
                }
                None => is_whole = true,
            }
        }
        let needed = if is_whole { bytes.len() } else { announced.max(bytes.len()) };
        let mut permit = arrival.hold(self.admit(needed, encoding, format)).await?;
        if !is_whole {
            bytes.reserve_exact(needed - bytes.len());
            body.next_part();
            while let Some(data) = body.next(arrival).await? {
                let length = bytes.len() + data.len();
                fits(length)?;
                if length > needed && !permit.grow(length) {
                    return Err(Refusal::Busy);
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(Received { bytes, encoding, format, permit })
    }

    /// Waits for the memory that a body of this size needs.
    async fn admit(&self, bytes: usize, encoding: Encoding, format: Format) -> Result<Permit, Refusal> {
        // JSON is held beside the protobuf that it becomes, as a rule no larger.
        let held = if format == Format::Json { bytes.saturating_mul(2) } else { bytes };
        if encoding.is_identity() {
            self.in_time(self.admission.admit_message(held)).await
        } else {
            self.in_time(self.admission.admit_compressed(bytes)).await
        }
    }

    async fn in_time<T>(&self, admission: impl Future<Output = Option<T>>) -> Result<T, Refusal> {
        match timeout(self.limits.admission_timeout, admission).await {
            Ok(Some(admitted)) => Ok(admitted),
            Ok(None) | Err(_) => Err(Refusal::Busy),
        }
    }

    /// Validates a request and hands it to the logs; returns when they have it on disk. A request without items is
    /// a success that stores nothing (OTLP specification, "Full Success"), whatever else is in it: nobody could count
    /// or deliver it.
    pub(super) async fn store(&self, signal: Signal, received: Received, request: &InFlight) -> Result<(), Refusal> {
        let _at_work = request.at_work();
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
            let stored = self.intake.append_when_room(signal, &message.into(), items, until)?;
            let mut unanswered = Unanswered(self.intake.waits(signal).then_some(self));
            let answer = stored.durable().await;
            unanswered.0 = None;
            answer?;
        }
        request.stored();
        Ok(())
    }

    /// Runs work that takes a while on a thread where it holds up no other request.
    async fn off_the_loop<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.admission.processor().await.work(work).await.unwrap_or(Err(Refusal::Panicked))
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
        Ok((otlp::validate_within(signal, &message, self.limits.max_nesting_depth)?, message, permit))
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

/// A request that may have to wait for room, while it is there: dropped with it, its sender hung up.
struct Unanswered<'r>(Option<&'r Receive>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(receive) = self.0 {
            receive.refused(Reason::Cancelled, "its sender hung up while it waited for room");
        }
    }
}

/// A request that may be stored: its items, its bytes, and the memory that they take.
type Opened = (u32, Vec<u8>, Permit);
