//! The answer to one append.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::core::LogCore;
use super::{Appended, Error};

/// An append on its way to the disk: wait for it or await it.
///
/// Dropping it takes the append back only while that still waits for room, see
/// [`Log::append_when_room`](super::Log::append_when_room).
///
/// ```
/// # use tidegate::spool::{Options, Spool};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// # let log = spool.log("events")?;
/// // Any executor will do. Nothing blocks here: the log's own thread writes and syncs.
/// let first = log.append(1, "first".into(), 1)?;
/// let second = log.append(1, "second".into(), 1)?;
/// let (first, second) = (first.await?, second.await?);
/// assert!(first.sequence < second.sequence);
/// assert_eq!(log.durable_sequence(), second.sequence);
/// # Ok(())
/// # }
/// ```
#[must_use = "only a waited-for append is durable"]
#[derive(Debug)]
pub struct Ack {
    answer: Answer,
    /// Dropped after the answer: what gives up its place is known to have nobody left to answer.
    _place: Option<Place>,
}

#[derive(Debug)]
enum Answer {
    Waiting(oneshot::Receiver<Result<Appended, Error>>),
    Polled(oneshot::AsyncReceiver<Result<Appended, Error>>),
    Taken,
}

impl Ack {
    pub(crate) fn new(receiver: oneshot::Receiver<Result<Appended, Error>>, place: Option<Place>) -> Self {
        Self { answer: Answer::Waiting(receiver), _place: place }
    }

    /// Blocks until the frame is as durable as the log promises.
    ///
    /// ```
    /// # use tidegate::spool::{Options, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// # let log = spool.log("events")?;
    /// let ack = log.append(1, "one frame".into(), 1)?;
    /// // The caller may do something else meanwhile. Only after this line is the frame safe:
    /// let appended = ack.wait()?;
    /// assert_eq!(log.durable_sequence(), appended.sequence);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Full, when the disk or the log's cap refused it after all; poisoned, when a sync failed and the frame could
    /// not be written elsewhere at once (it may still be stored later); closed.
    pub fn wait(self) -> Result<Appended, Error> {
        match self.answer {
            Answer::Waiting(receiver) => receiver.recv().unwrap_or_else(|_| Err(gone())),
            Answer::Polled(receiver) => block_on(receiver).unwrap_or_else(|_| Err(gone())),
            Answer::Taken => Err(Error::invalid("the answer of this append was taken before")),
        }
    }
}

impl Future for Ack {
    type Output = Result<Appended, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer = match std::mem::replace(&mut self.answer, Answer::Taken) {
            Answer::Waiting(receiver) => Answer::Polled(receiver.into_future()),
            other => other,
        };
        match &mut self.answer {
            Answer::Polled(receiver) => Pin::new(receiver).poll(cx).map(|r| r.unwrap_or_else(|_| Err(gone()))),
            _ => Poll::Ready(Err(Error::invalid("the answer of this append was taken before"))),
        }
    }
}

/// A place in the line of those who wait for room. Leaving it frees the frame's memory at once.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) log: Arc<LogCore>,
    pub(crate) number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.log.queue.leave(self.number);
    }
}

fn gone() -> Error {
    Error::closed("(its writer ended)")
}

/// Waits for a future on this thread.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
