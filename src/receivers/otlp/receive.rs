//! The way of a request from its body to the disk, the same for both transports.

use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::admission::{Admission, Permit};
use super::refusal::Refusal;
use crate::otlp::{self, Signal};
use crate::receivers::Intake;

/// How long a request may wait for memory before it is sent away.
const ADMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much larger than its body a compressed request is taken to be until it is inflated.
const USUAL_RATIO: usize = 8;
/// Bodies above this are checked and inflated on a thread of their own, so that others need not wait.
const LARGE: usize = 64 << 10;

/// What requests are received into, and under which limits.
#[derive(Debug, Clone)]
pub(super) struct Receive {
    pub(super) intake: Intake,
    pub(super) admission: Admission,
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

    /// Waits for the memory that a body of this size will need.
    pub(super) async fn admit(&self, bytes: usize, gzip: bool) -> Result<Permit, Refusal> {
        if bytes > self.limit {
            return Err(self.too_large());
        }
        let need = if gzip { bytes + bytes.saturating_mul(USUAL_RATIO).min(self.limit) } else { bytes };
        match timeout(ADMIT_TIMEOUT, self.admission.admit(need)).await {
            Ok(Some(permit)) => Ok(permit),
            Ok(None) | Err(_) => Err(Refusal::Busy),
        }
    }

    /// Validates a request and hands it to the logs; returns when they have it on disk. A request without items is
    /// a success that stores nothing (OTLP specification, "Full Success").
    pub(super) async fn store(&self, signal: Signal, received: Received) -> Result<(), Refusal> {
        let opened = if received.bytes.len() > LARGE {
            let receive = self.clone();
            let task = tokio::task::spawn_blocking(move || receive.open(signal, received));
            task.await.map_err(|_| Refusal::Panicked)?
        } else {
            self.open(signal, received)
        };
        let (payload, items, _permit) = opened?;
        if items > 0 {
            self.intake.append(signal, &payload, items)?.durable().await?;
        }
        Ok(())
    }

    /// Inflates and validates. Blocks for as long as that takes.
    fn open(&self, signal: Signal, received: Received) -> Result<(Bytes, u32, Permit), Refusal> {
        let Received { bytes, gzip, mut permit } = received;
        let bytes = if gzip { self.inflate(&bytes, &mut permit)? } else { bytes };
        permit.shrink(bytes.len());
        let items = otlp::validate(signal, &bytes)?;
        Ok((bytes.into(), items, permit))
    }

    /// Inflates a body, holding no more than the limit and what is admitted.
    fn inflate(&self, body: &[u8], permit: &mut Permit) -> Result<Vec<u8>, Refusal> {
        let mut decoder = MultiGzDecoder::new(body);
        let mut out = Vec::with_capacity(body.len().saturating_mul(2).min(self.limit));
        let mut chunk = [0; 16 << 10];
        loop {
            let read = decoder.read(&mut chunk).map_err(Refusal::Gzip)?;
            if read == 0 {
                return Ok(out);
            }
            if out.len() + read > self.limit {
                return Err(self.too_large());
            }
            if !permit.grow(body.len() + out.len() + read) {
                return Err(Refusal::Busy);
            }
            out.extend_from_slice(&chunk[..read]);
        }
    }
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct BodyReader {
    body: Incoming,
    deadline: tokio::time::Instant,
}

impl BodyReader {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, deadline: tokio::time::Instant::now() + BODY_TIMEOUT }
    }

    /// The next piece of data; `None` at the end. Trailers are of no use here.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let Ok(frame) = tokio::time::timeout_at(self.deadline, frame).await else {
                return Err(Refusal::Slow(BODY_TIMEOUT));
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
