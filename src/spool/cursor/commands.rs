//! What the holder of a cursor waits for: frames, and what others command.

use std::future::Future;
use std::time::Duration;

use super::super::env::lock;
use super::super::view::Front;
use super::super::{Error, From, Move};
use super::Cursor;
use super::seek::How;

/// What was commanded to a cursor since its holder last looked.
///
/// ```
/// use tidegate::spool::{Commanded, From};
/// # use tidegate::spool::{Need, Options, Spool, Start};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
///
/// log.append_wait(1, "one frame".into(), 1)?;
/// log.seek("backend", From::End)?;
/// assert_eq!(cursor.take_commanded(), Some(Commanded { paused: false, moved: true }));
/// log.pause("backend")?;
/// assert_eq!(cursor.take_commanded(), Some(Commanded { paused: true, moved: false }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commanded {
    /// Whether it hands nothing out now.
    pub paused: bool,
    /// It was moved: what was handed out and is not acked is to be forgotten.
    pub moved: bool,
}

impl Cursor {
    /// Completes when a frame beyond the read position is durable, or the log is closed.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// // The future does not borrow the cursor.
    /// let readable = cursor.readable();
    /// assert!(cursor.next_batch(1 << 20)?.is_none());
    /// let ack = log.append(1, "one frame".into(), 1)?;
    /// readable.await;
    /// assert!(cursor.next_batch(1 << 20)?.is_some());
    /// # ack.await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn readable(&self) -> impl Future<Output = ()> + Send + use<> {
        self.log.view.clone().ready(self.is_readable())
    }

    /// As [`Cursor::readable`], blocking; false on time-out.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    ///
    /// assert!(!cursor.wait_readable(Duration::ZERO));
    /// let ack = log.append(1, "one frame".into(), 1)?;
    /// assert!(cursor.wait_readable(Duration::from_secs(60)));
    /// # ack.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wait_readable(&self, timeout: Duration) -> bool {
        self.log.view.wait(timeout, self.is_readable())
    }

    fn is_readable(&self) -> impl Fn(&Front) -> bool + Send + Sync + use<> {
        let next = self.held.as_ref().map_or(self.stream.wanted(), |met| met.frame.header.sequence);
        let (core, moves) = (self.core.clone(), self.moves);
        move |front| {
            let state = lock(&core.state);
            let has_frames = state.moves != moves || (front.visible.sequence >= next && state.may_read(next));
            front.closed || (has_frames && !state.slot.paused)
        }
    }

    /// Moves the cursor to the first frame at or after `to`; durable when this returns. Forward, what was not done
    /// counts as skipped. Back, what lies between is handed out again and counted as replayed, not as delivered;
    /// what was acked out of order, beyond the position, is not handed out again. Frames handed out before are
    /// forgotten: their acks count no more.
    ///
    /// A replay holds no data: when space is short, the log reclaims what was delivered once.
    ///
    /// ```
    /// use tidegate::spool::From;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    ///
    /// log.append_wait(1, "three records".into(), 3)?;
    /// cursor.next_batch(1 << 20)?;
    /// cursor.ack(1, 1, 0)?;
    ///
    /// let moved = cursor.seek(From::Oldest)?;
    /// assert_eq!((moved.from_sequence, moved.to_sequence), (2, 1));
    /// assert_eq!((moved.skipped_items, moved.replayed_items), (0, 3));
    /// assert!(cursor.next_batch(1 << 20)?.is_some(), "handed out again");
    /// assert_eq!(cursor.pending().items, 0, "it was delivered once");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// I/O.
    pub fn seek(&mut self, to: From) -> Result<Move, Error> {
        let moved = self.core.seek(&self.log, to, How::Do)?;
        self.known = self.commands();
        self.rewind();
        Ok(moved)
    }

    /// Whether it hands nothing out until it is resumed.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// log.pause("backend")?;
    /// assert!(cursor.is_paused());
    /// log.resume("backend")?;
    /// assert!(!cursor.is_paused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_paused(&self) -> bool {
        lock(&self.core.state).slot.paused
    }

    /// Completes when somebody else moved, paused or resumed the cursor, and [`Cursor::take_commanded`] says so.
    ///
    /// ```
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    /// let commanded = cursor.commanded();
    /// // By somebody else, in this process.
    /// log.pause("backend")?;
    /// commanded.await;
    /// assert!(cursor.take_commanded().is_some_and(|commanded| commanded.paused));
    /// # Ok(())
    /// # }
    /// ```
    pub fn commanded(&self) -> impl Future<Output = ()> + Send + use<> {
        let (core, (known, _)) = (self.core.clone(), self.known);
        self.log.view.clone().ready(move |_| lock(&core.state).commands != known)
    }

    /// What somebody else commanded since the last call; `None` when nothing. After a move, reading goes on from the
    /// new place, also with what was handed out from there meanwhile.
    ///
    /// ```
    /// use tidegate::spool::From;
    /// # use tidegate::spool::{Need, Options, Spool, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// # let mut cursor = log.cursor("backend", Start::Oldest, Need::Required)?;
    ///
    /// log.append_wait(1, "one frame".into(), 1)?;
    /// cursor.next_batch(1 << 20)?;
    /// assert!(cursor.take_commanded().is_none());
    ///
    /// log.seek("backend", From::End)?;
    /// // The frame in hand is to be forgotten: the move counted it as skipped.
    /// assert!(cursor.take_commanded().is_some_and(|commanded| commanded.moved));
    /// assert!(cursor.next_batch(1 << 20)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_commanded(&mut self) -> Option<Commanded> {
        let (commands, seeks) = self.commands();
        let known = std::mem::replace(&mut self.known, (commands, seeks));
        let moved = known.1 != seeks;
        if moved {
            self.rewind();
        }
        (known.0 != commands).then(|| Commanded { paused: self.is_paused(), moved })
    }

    pub(super) fn commands(&self) -> (u64, u64) {
        let state = lock(&self.core.state);
        (state.commands, state.seeks)
    }
}
