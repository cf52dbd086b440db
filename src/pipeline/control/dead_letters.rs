//! Sending dead letters again, to the exporter that parked them.
//!
//! A cursor over the dead letters, of the same name as the exporter's, knows which were sent again: each is, once,
//! however often this is asked for. A letter that is refused again stays where it is and is tried the next time.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::drains::AnySink;
use crate::exporters::{Request, SendError};
use crate::otlp::Signal;
use crate::spool::{Cursor, DeadLetter, Error, Frame, Need, Reader, Spool, Start};

/// Letters read at once, in bytes.
const BATCH: usize = 2 << 20;
/// Letters remembered, to tell those that a crash parked twice.
const MAX_REMEMBERED: usize = 1 << 20;
/// The longest wait that a backend may ask for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// After so many failures in a row the backend is taken to be away or broken.
const MAX_FAILURES: u32 = 5;

/// One run.
pub(super) struct Replay {
    pub(super) spool: Spool,
    pub(super) log: String,
    pub(super) cursor: String,
    pub(super) sink: AnySink,
}

/// What came of it, in records.
#[derive(Debug, Default)]
struct Outcome {
    sent: u64,
    refused: u64,
    /// Parked twice, sent once.
    duplicate: u64,
    left: u64,
    error: Option<String>,
    /// Failures since the last letter that was sent.
    failures: u32,
}

type Steps = mpsc::Sender<Result<Bytes, Infallible>>;

impl Replay {
    /// Begins, and answers with what it tells on the way.
    pub(super) fn start(
        self,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) -> ReceiverStream<Result<Bytes, Infallible>> {
        let (steps, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            let last = tokio::select! {
                last = self.run(&steps) => last,
                () = stopped => json!({ "error": "the agent stops" }),
            };
            tell(&steps, &last).await;
        });
        ReceiverStream::new(receiver)
    }

    async fn run(&self, steps: &Steps) -> Value {
        match self.replay(steps).await {
            Ok((oldest, outcome)) => json!({
                "sent_records": outcome.sent, "refused_records": outcome.refused,
                "duplicate_records": outcome.duplicate, "left_records": outcome.left,
                "oldest_time_unix_nanos": oldest, "error": outcome.error,
            }),
            Err(error) => json!({ "error": error.to_string() }),
        }
    }

    async fn replay(&self, steps: &Steps) -> Result<(Option<u64>, Outcome), Error> {
        let log = self.spool.existing_log(&self.log)?;
        let mut outcome = Outcome::default();
        let Some(opened) = self.open().await? else { return Ok((None, outcome)) };
        let Opened { mut cursor, last, mut seen, oldest, total } = opened;
        let mut done = 0;
        'letters: while outcome.failures < MAX_FAILURES {
            let (returned, read) = blocking(cursor, |cursor| cursor.next_batch(BATCH)).await?;
            cursor = returned;
            let Some(batch) = read? else { break };
            for frame in batch.frames {
                // What is parked meanwhile is for the next time.
                if frame.sequence > last || outcome.failures >= MAX_FAILURES {
                    break 'letters;
                }
                if self.one(&frame, &mut seen, &mut outcome).await {
                    cursor.ack(frame.sequence, frame.sequence, 0)?;
                }
                done += u64::from(frame.items);
                tell(steps, &json!({ "done_records": done, "total_records": total })).await;
            }
        }
        outcome.left = total.saturating_sub(done);
        let (_, flushed) = blocking(cursor, Cursor::flush).await?;
        log.count_replayed(&self.cursor, outcome.sent)?;
        flushed.map(|()| (oldest, outcome))
    }

    /// Opens the cursor over the dead letters, if there are any.
    async fn open(&self) -> Result<Option<Opened>, Error> {
        let (spool, log, name) = (self.spool.clone(), self.log.clone(), self.cursor.clone());
        let opened = tokio::task::spawn_blocking(move || {
            if !Reader::open(spool.directory())?.dead_letter_logs()?.contains(&log) {
                return Ok(None);
            }
            let letters = spool.existing_log(&log)?.dead_letters()?;
            let cursor = letters.cursor(&name, Start::Oldest, Need::Optional)?;
            let (oldest, seen) = sent_before(&spool, &log, &name, &cursor)?;
            let total = cursor.pending().items;
            Ok(Some(Opened { last: letters.durable_sequence(), cursor, seen, oldest, total }))
        });
        opened.await.map_err(|error| Error::invalid(error.to_string()))?
    }

    /// Sends one letter, if it is this exporter's; whether it is done.
    async fn one(&self, frame: &Frame, seen: &mut Seen, outcome: &mut Outcome) -> bool {
        if !DeadLetter::is_by(frame, &self.cursor) {
            return true;
        }
        let items = u64::from(frame.items);
        let (name, letter) = match DeadLetter::from_frame(frame) {
            Ok((epoch, letter)) => (name(epoch, &letter), letter),
            Err(error) => return outcome.refuse(items, error.to_string()),
        };
        if seen.names.contains(&name) {
            outcome.duplicate += items;
            return true;
        }
        let Some(signal) = Signal::from_tag(letter.content) else {
            return outcome.refuse(items, format!("content tag {} is no OTLP signal", letter.content));
        };
        let is_sent = self.send(Request { signal, payload: letter.payload, items }, outcome).await;
        if is_sent {
            seen.insert(name);
        }
        is_sent
    }

    async fn send(&self, request: Request, outcome: &mut Outcome) -> bool {
        let items = request.items;
        loop {
            match self.sink.send(request.clone()).await {
                Ok(taken) => {
                    let rejected = taken.rejected_items.min(items);
                    outcome.sent += items - rejected;
                    outcome.refused += rejected;
                    outcome.failures = 0;
                    return true;
                }
                Err(SendError::Retry { reason, after }) => {
                    outcome.failures += 1;
                    outcome.error = Some(reason);
                    if outcome.failures >= MAX_FAILURES {
                        return false;
                    }
                    tokio::time::sleep(after.unwrap_or(Duration::from_secs(1)).min(MAX_WAIT)).await;
                }
                Err(error @ SendError::Refused { .. }) => {
                    outcome.failures += 1;
                    return outcome.refuse(items, error.to_string());
                }
                Err(error) => return outcome.refuse(items, error.to_string()),
            }
        }
    }
}

impl Outcome {
    /// It stays in the dead letters.
    fn refuse(&mut self, items: u64, reason: String) -> bool {
        self.refused += items;
        self.error = Some(reason);
        false
    }
}

/// What a run begins with.
struct Opened {
    cursor: Cursor,
    /// The last letter that it takes.
    last: u64,
    seen: Seen,
    oldest: Option<u64>,
    total: u64,
}

/// Epoch, sequence and first item: they name records for ever.
type Name = (u64, u64, u32);

fn name(epoch: u64, letter: &DeadLetter) -> Name {
    (epoch, letter.sequence, letter.first_item)
}

/// Letters that were sent, the last of them.
#[derive(Debug, Default)]
struct Seen {
    names: HashSet<Name>,
    order: VecDeque<Name>,
}

impl Seen {
    fn insert(&mut self, name: Name) {
        if !self.names.insert(name) {
            return;
        }
        self.order.push_back(name);
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }
}

/// The letters of this cursor that earlier runs passed, and when the oldest letter that is there was parked.
fn sent_before(spool: &Spool, log: &str, name: &str, cursor: &Cursor) -> Result<(Option<u64>, Seen), Error> {
    let (mut oldest, mut seen) = (None, Seen::default());
    let mut frames = Reader::open(spool.directory())?.read_dead_letters(log)?;
    while let Some(frame) = frames.next()? {
        oldest.get_or_insert(frame.time_unix_nanos);
        if !cursor.has_passed(frame.sequence) {
            continue;
        }
        if DeadLetter::is_by(&frame, name)
            && let Ok((epoch, letter)) = DeadLetter::from_frame(&frame)
        {
            seen.insert(self::name(epoch, &letter));
        }
    }
    Ok((oldest, seen))
}

async fn tell(steps: &Steps, step: &Value) {
    // Who asked may be gone; what was begun goes on.
    steps.send(Ok(Bytes::from(format!("{step}\n")))).await.unwrap_or_default();
}

/// Lends the cursor to a thread that may block.
async fn blocking<R: Send + 'static>(
    mut cursor: Cursor,
    work: impl FnOnce(&mut Cursor) -> R + Send + 'static,
) -> Result<(Cursor, R), Error> {
    let lent = tokio::task::spawn_blocking(move || {
        let result = work(&mut cursor);
        (cursor, result)
    });
    lent.await.map_err(|error| Error::invalid(error.to_string()))
}
