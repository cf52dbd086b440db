//! The way of a request from its body to the disk, the same for both transports.

use std::future::{Future, poll_fn};
use std::io::Read;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::{Admission, Permit};
use super::refusal::Refusal;
use crate::otlp::{self, Signal};
use crate::receivers::Intake;

/// How long a request may take at each step of its way to the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Waiting for memory; then it is sent away.
    pub(super) admit: Duration,
    /// Arriving.
    pub(super) body: Duration,
    /// Waiting for room in a log whose senders wait (`block_on_overflow`). A sender that gives up before is noticed at
    /// once; this ends those that vanished without a word.
    pub(super) room: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { admit: Duration::from_secs(10), body: Duration::from_secs(30), room: Duration::from_secs(300) }
    }
}

/// How much of a refused body is read on, in bytes, and for how long.
const MAX_DISCARD: usize = 64 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Bodies above this are checked and inflated on a thread of their own, so that others need not wait.
const LARGE: usize = 64 << 10;

/// What requests are received into, and under which limits.
#[derive(Debug, Clone)]
pub(super) struct Receive {
    pub(super) intake: Intake,
    pub(super) admission: Admission,
    pub(super) patience: Patience,
    /// The largest request in bytes, before and after inflation.
    pub(super) limit: usize,
    /// The setting of that limit.
    pub(super) limit_key: &'static str,
}

/// A request's body as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) gzip: bool,
    pub(super) permit: Permit,
}

impl Receive {
    pub(super) fn too_large(&self) -> Refusal {
        Refusal::TooLarge { limit: self.limit, key: self.limit_key }
    }

    /// Waits for the memory that a body of this size needs.
    pub(super) async fn admit(&self, bytes: usize, gzip: bool) -> Result<Permit, Refusal> {
        if bytes > self.limit {
            return Err(self.too_large());
        }
        if gzip {
            self.in_time(self.admission.admit_compressed(bytes)).await
        } else {
            self.in_time(self.admission.admit_message(bytes)).await
        }
    }

    async fn in_time(&self, admission: impl Future<Output = Option<Permit>>) -> Result<Permit, Refusal> {
        match timeout(self.patience.admit, admission).await {
            Ok(Some(permit)) => Ok(permit),
            Ok(None) | Err(_) => Err(Refusal::Busy),
        }
    }

    /// Validates a request and hands it to the logs; returns when they have it on disk. A request without items is
    /// a success that stores nothing (OTLP specification, "Full Success").
    pub(super) async fn store(&self, signal: Signal, received: Received) -> Result<(), Refusal> {
        let opened = if received.gzip {
            let mut permit =
                self.in_time(self.admission.admit_message(claimed_size(&received.bytes).min(self.limit))).await?;
            let receive = self.clone();
            off_the_loop(received.bytes.len() > LARGE, move || {
                let message = receive.inflate(&received.bytes, &mut permit)?;
                drop(received);
                permit.shrink(message.len());
                Ok((otlp::validate(signal, &message)?, message, permit))
            })
            .await
        } else {
            let Received { bytes, permit, .. } = received;
            off_the_loop(bytes.len() > LARGE, move || Ok((otlp::validate(signal, &bytes)?, bytes, permit))).await
        };
        let (items, message, _permit) = opened?;
        if items > 0 {
            let until = std::time::Instant::now() + self.patience.room;
            self.intake.append_when_room(signal, &message.into(), items, until)?.durable().await?;
        }
        Ok(())
    }

    /// Inflates a body, holding no more than the limit and what is admitted. Members follow each other as RFC 1952
    /// allows.
    fn inflate(&self, body: &[u8], permit: &mut Permit) -> Result<Vec<u8>, Refusal> {
        let mut decoder = MultiGzDecoder::new(body);
        let mut out = Vec::with_capacity(claimed_size(body).min(self.limit));
        let mut chunk = [0; 16 << 10];
        loop {
            let read = decoder.read(&mut chunk).map_err(Refusal::Gzip)?;
            if read == 0 {
                return Ok(out);
            }
            if out.len() + read > self.limit {
                return Err(self.too_large());
            }
            if !permit.grow(out.len() + read) {
                return Err(Refusal::Busy);
            }
            out.extend_from_slice(&chunk[..read]);
        }
    }
}

/// The inflated size that a gzip body states at its end (RFC 1952, ISIZE). A hint: it is the sender's word, and with
/// several members it is that of the last.
fn claimed_size(gzip: &[u8]) -> usize {
    gzip.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize)
}

/// Runs work that takes a while on a thread where it holds up no other request.
async fn off_the_loop<T: Send + 'static>(
    is_long: bool,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if !is_long {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refusal::Panicked))
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct BodyReader {
    body: Incoming,
    patience: Duration,
    deadline: Instant,
}

impl BodyReader {
    pub(super) fn new(body: Incoming, patience: Duration) -> Self {
        Self { body, patience, deadline: Instant::now() + patience }
    }

    /// The length that the sender announced; 0 when it did not.
    pub(super) fn announced(&self) -> usize {
        usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX)
    }

    /// Reads on and forgets, so that a sender who has not finished yet comes to read the answer: closing the
    /// connection in its face would often lose it.
    pub(super) async fn discard(&mut self) {
        self.deadline = self.deadline.min(Instant::now() + DISCARD_TIMEOUT);
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
            let Ok(frame) = timeout_at(self.deadline, frame).await else {
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
