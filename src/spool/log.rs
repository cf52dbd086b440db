//! The handle of one log.

use std::sync::{Arc, Mutex, TryLockError};
use std::time::Instant;

use bytes::Bytes;

use super::ack::{Ack, Place};
use super::core::{LogCore, Opening};
use super::cursor::Cursor;
use super::error::Kind;
use super::format::frame;
use super::queue::{Caller, Frame, Queue, Queued, Turn};
use super::writer::Writer;
use super::{Appended, CursorOptions, Error, Need, Start, SyncLatency};

/// What an append is answered through.
type Answer = oneshot::Receiver<Result<Appended, Error>>;

/// Wakes the worker, when it is dropped, for what came meanwhile or did not fit.
struct WakeWorker<'a>(&'a Queue);

impl Drop for WakeWorker<'_> {
    fn drop(&mut self) {
        self.0.wake();
    }
}

fn channelled(frame: Frame) -> (Queued, Answer) {
    let (sender, answer) = oneshot::channel();
    (Queued::new(frame, Caller::Channel(sender)), answer)
}

/// One log of a spool. Cheap to clone; every clone is the same log. What it acknowledged survives as
/// [the table of promises](super#what-is-promised) says for its [`Durability`](super::Durability).
///
/// ```
/// use tidegate::spool::{Need, Options, Spool, Start};
///
/// let dir = tempfile::tempdir()?;
/// let spool = Spool::open(dir.path(), Options::default())?;
/// let log = spool.log("events")?;
/// let appended = log.append(1, "one frame".into(), 1)?.wait()?;
/// assert_eq!(log.durable_sequence(), appended.sequence);
///
/// let mut cursor = log.cursor("reader", Start::Oldest, Need::Required)?;
/// let batch = cursor.next_batch(1 << 20)?.expect("a frame is durable");
/// assert_eq!(batch.frames[0].payload, "one frame");
/// cursor.ack(appended.sequence, appended.sequence, 0)?;
/// spool.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Log(pub(crate) Arc<LogCore>, pub(crate) Arc<Mutex<Writer>>);

impl Log {
    /// Its name.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// assert_eq!(spool.log("logs/gateway")?.name(), "logs/gateway");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Hands a frame to the writer; never waits for the disk. `content` is an opaque tag of the caller's, `items` how
    /// many records the payload holds.
    ///
    /// Frames that wait together share one write and one sync. Frames of one caller keep their order.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// // Both are on their way before the first is answered, and may share one write and one sync.
    /// let first = log.append(1, "first".into(), 1)?;
    /// let second = log.append(1, "second".into(), 1)?;
    /// assert!(first.wait()?.sequence < second.wait()?.sequence);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Before a byte is written: too large (above `max_frame`); busy (16 MiB wait already); full, when a cursor has as
    /// much pending as it may; full or poisoned, as long as the log's last try failed; closed. The [`Ack`] may still
    /// answer full, poisoned or closed.
    pub fn append(&self, content: u8, payload: Bytes, items: u32) -> Result<Ack, Error> {
        let (queued, answer) = channelled(self.frame(content, payload, items)?);
        self.0.queue.push(queued)?;
        Ok(Ack::new(answer, None))
    }

    /// Appends a frame and blocks until it is as durable as the log promises: [`Log::append`] and [`Ack::wait`] in
    /// one. While nobody else commits, the calling thread itself writes and syncs, which spares two changes of
    /// thread; frames that wait by then share its sync.
    ///
    /// Not for async code: use [`Log::append`] there.
    ///
    /// ```
    /// use tidegate::spool::{Options, Spool};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// let log = spool.log("events")?;
    /// let appended = log.append_wait(1, "one frame".into(), 1)?;
    /// assert_eq!(log.durable_sequence(), appended.sequence);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Log::append`] and [`Ack::wait`].
    pub fn append_wait(&self, content: u8, payload: Bytes, items: u32) -> Result<Appended, Error> {
        let (seat, turn) = self.0.queue.join(self.frame(content, payload, items)?)?;
        if turn == Turn::Callers {
            self.commit_unless_busy();
        }
        seat.wait().unwrap_or_else(|| Err(Error::closed(&self.0.name)))
    }

    /// As [`Log::append`], but where that is full, busy or poisoned the frame waits for room, behind those who came
    /// before. Never blocks: the [`Ack`] waits. At `until`, or up to 100 ms later, it is refused after all. Dropping the
    /// `Ack` before takes the frame back.
    ///
    /// What waits is in memory, and how much that is, is the callers' business.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use tidegate::spool::{CursorOptions, Limit, Need, Options, Spool, Start};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// let log = spool.log("events")?;
    /// let limit = Some(Limit::Items(1));
    /// let options = CursorOptions { max_pending: limit, ..CursorOptions::new(Start::Oldest, Need::Required) };
    /// let mut cursor = log.cursor_with("reader", options)?;
    /// let first = log.append(1, "first".into(), 1)?.wait()?.sequence;
    /// assert!(log.append(1, "refused".into(), 1).unwrap_err().is_full());
    ///
    /// let second = log.append_when_room(1, "second".into(), 1, Instant::now() + Duration::from_secs(60))?;
    /// cursor.next_batch(1 << 20)?;
    /// cursor.ack(first, first, 0)?;
    /// assert_eq!(second.wait()?.sequence, first + 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Too large; closed; and when `until` has passed already, what [`Log::append`] answers.
    pub fn append_when_room(&self, content: u8, payload: Bytes, items: u32, until: Instant) -> Result<Ack, Error> {
        let (queued, answer) = channelled(self.frame(content, payload, items)?);
        let place = self.0.queue.push_or_wait(queued, until.saturating_duration_since(Instant::now()))?;
        Ok(Ack::new(answer, place.map(|number| Place { log: self.0.clone(), number })))
    }

    /// Refuses everyone who waits for room now, as full: for a stop that must not wait for a backend.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use tidegate::spool::{CursorOptions, Limit, Need, Start};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// let limit = Some(Limit::Items(1));
    /// let options = CursorOptions { max_pending: limit, ..CursorOptions::new(Start::Oldest, Need::Required) };
    /// let _cursor = log.cursor_with("backend", options)?;
    /// log.append_wait(1, "first".into(), 1)?;
    /// let waiting = log.append_when_room(1, "second".into(), 1, Instant::now() + Duration::from_secs(3600))?;
    ///
    /// log.refuse_waiting();
    /// assert!(waiting.wait().is_err_and(|error| error.is_full()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refuse_waiting(&self) {
        self.0.queue.send_away();
    }

    pub(crate) fn commit_unless_busy(&self) {
        let writer = match self.1.try_lock() {
            // Whoever has it looks at the queue afterwards.
            Err(TryLockError::WouldBlock) => return,
            writer => writer,
        };
        // Once the writer is free again, even by a panic.
        let _wake = WakeWorker(&self.0.queue);
        if let Ok(mut writer) = writer {
            writer.commit();
        }
    }

    fn frame(&self, content: u8, payload: Bytes, items: u32) -> Result<Frame, Error> {
        let (bytes, max) = (payload.len() as u64, self.0.options.max_frame.min(frame::MAX_PAYLOAD));
        if bytes > max {
            return Err(Kind::TooLarge { log: self.0.name.clone(), bytes, max }.into());
        }
        Ok(Frame { content, items, time: self.0.env.clock.wall(), payload })
    }

    /// The highest sequence that is known to be durable; 0 when there is none.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// assert_eq!(log.durable_sequence(), 0);
    /// let appended = log.append_wait(1, "one frame".into(), 1)?;
    /// assert_eq!(log.durable_sequence(), appended.sequence);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.0.view.front().durable
    }

    /// Opens the durable cursor of this name; one handle per name at a time. A cursor that was never opened before
    /// begins at `start`; another goes on where it was. `need` may change from one time to the next.
    ///
    /// ```
    /// use tidegate::spool::{Need, Start};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// assert!(log.cursor("backend", Start::Oldest, Need::Required).is_err(), "one handle at a time");
    ///
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// cursor.next_batch(1 << 20)?;
    /// cursor.ack(1, 1, 0)?;
    /// drop(cursor);
    /// let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// assert_eq!((cursor.position(), cursor.pending().items), (2, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Invalid when the name is open already or cannot be a file name; I/O when its file cannot be made (it takes
    /// 128 KiB, once).
    pub fn cursor(&self, name: &str, start: Start, need: Need) -> Result<Cursor, Error> {
        self.cursor_with(name, CursorOptions::new(start, need))
    }

    /// As [`Log::cursor`], with a limit on what it may have pending.
    ///
    /// ```
    /// use tidegate::spool::{CursorOptions, Limit, Need, Start};
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    ///
    /// let limit = Some(Limit::Bytes(1000));
    /// let options = CursorOptions { max_pending: limit, ..CursorOptions::new(Start::Oldest, Need::Required) };
    /// let mut cursor = log.cursor_with("backend", options)?;
    /// log.append_wait(1, vec![0; 600].into(), 1)?;
    /// assert!(log.append(1, vec![0; 600].into(), 1).is_err_and(|error| error.is_full()));
    ///
    /// cursor.next_batch(1 << 20)?;
    /// cursor.ack(1, 1, 0)?;
    /// assert!(log.append_wait(1, vec![0; 600].into(), 1).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Log::cursor`].
    pub fn cursor_with(&self, name: &str, options: CursorOptions) -> Result<Cursor, Error> {
        Cursor::open(self.0.clone(), name, options)
    }

    /// What opening this log found: whether the run before stopped cleanly, what was cut.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// assert!(log.opening().clean, "there was nothing yet");
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// // Not closed, as after a crash.
    /// drop(spool);
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// assert!(!spool.log("events")?.opening().clean);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.0.opening
    }

    /// Bytes of it that did not verify, as copies of them are kept in `damaged/`.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// log.append_wait(1, vec![0; 200].into(), 1)?;
    /// // A crash; of the frame, which begins at 8192, only 100 bytes are there.
    /// drop(spool);
    /// let segment = dir.path().join("logs/events/seg-0000000000000001");
    /// std::fs::File::options().write(true).open(segment)?.set_len(8192 + 100)?;
    ///
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// let log = spool.log("events")?;
    /// assert_eq!(log.damaged_bytes()?, 100);
    /// // Nobody had it to deliver: it is a loss of the log's own.
    /// assert_eq!((log.losses()?[0].reason, &log.losses()?[0].cursor), ("torn", &None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O.
    pub fn damaged_bytes(&self) -> Result<u64, Error> {
        self.0.damaged.bytes_of(&self.0.env, &self.0.name)
    }

    /// Why appends are refused now, if they are.
    ///
    /// ```
    /// # use tidegate::spool::{LogOptions, Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let options = LogOptions { max_size: Some(1 << 20), ..LogOptions::default() };
    /// # let log = spool.log_with("events", options)?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// assert!(log.trouble().is_none());
    /// // The cursor wants everything, and the log may hold 1 MiB.
    /// while log.append_wait(1, vec![0; 64 << 10].into(), 1).is_ok() {}
    /// assert!(log.trouble().is_some_and(|error| error.is_full()));
    /// # drop(cursor);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn trouble(&self) -> Option<Error> {
        super::env::lock(&self.0.trouble).clone()
    }

    /// The log's own cap: the most that it may have on disk, in bytes.
    ///
    /// ```
    /// # use tidegate::spool::{LogOptions, Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// let options = LogOptions { max_size: Some(1 << 20), ..LogOptions::default() };
    /// assert_eq!(spool.log_with("events", options)?.max_size(), 1 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn max_size(&self) -> u64 {
        self.0.account.cap()
    }

    /// How long its syncs took since it was opened.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// assert!(log.sync_latency().count > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sync_latency(&self) -> SyncLatency {
        self.0.syncs.latency()
    }
}
