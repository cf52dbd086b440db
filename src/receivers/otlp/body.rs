//! A body that is being read.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::arrivals::{Arrival, FIRST};
use super::refusal::Refusal;

/// How much of a refused body is read on, in bytes, and for how long.
const MAX_DISCARD: usize = 64 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A body that is being read.
#[derive(Debug)]
pub(super) struct BodyReader {
    body: Incoming,
    /// How long the next [`FIRST`] bytes, or the rest, may take.
    patience: Duration,
    /// For the part that is being read. Set when its first piece is asked for.
    deadline: Option<Instant>,
    /// Bytes of that part.
    part: usize,
}

impl BodyReader {
    pub(super) fn new(body: Incoming, patience: Duration) -> Self {
        Self { body, patience, deadline: None, part: 0 }
    }

    /// The length that the sender announced; 0 when it did not.
    pub(super) fn announced(&self) -> usize {
        usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX)
    }

    /// The next piece of data; `None` at the end.
    pub(super) async fn next(&mut self, arrival: &Arrival<'_>) -> Result<Option<Bytes>, Refusal> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.patience);
        let piece = tokio::select! {
            biased;
            () = arrival.asked_to_go() => Err(Refusal::GaveWay),
            piece = timeout_at(deadline, self.piece()) => piece.unwrap_or(Err(Refusal::Slow(self.patience))),
        };
        match &piece {
            Ok(Some(data)) => {
                arrival.came(data.len());
                self.part += data.len();
                if self.part >= FIRST {
                    self.next_part();
                }
            }
            Ok(None) => {}
            // Nothing more is waited for.
            Err(_) => self.deadline = Some(Instant::now()),
        }
        piece
    }

    /// Begins to wait anew: the time in which its reader did something else is not the sender's.
    pub(super) fn next_part(&mut self) {
        (self.part, self.deadline) = (0, None);
    }

    /// Reads on and forgets, so that a sender who has not finished yet comes to read the answer: closing an HTTP/1
    /// connection in its face would often lose it.
    pub(super) async fn discard(&mut self) {
        let soon = Instant::now() + DISCARD_TIMEOUT;
        let deadline = self.deadline.map_or(soon, |deadline| deadline.min(soon));
        let mut left = MAX_DISCARD;
        while let Ok(Ok(Some(data))) = timeout_at(deadline, self.piece()).await
            && left > data.len()
        {
            left -= data.len();
        }
    }

    /// Trailers are of no use here.
    async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
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
