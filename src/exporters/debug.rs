//! The exporter `debug`: one readable line per record on standard output.
//!
//! A thread of its own writes, so that a reader that has stopped (a full pipe, a held terminal) stops neither the
//! drain nor the agent: meanwhile requests are answered "retry" and stay in the log. When the reader is gone for
//! good, what would be shown is dropped.

mod show;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::{Mutex, oneshot};

use super::sink::{Request, SendError, Sent, Sink};
use show::{Fault, Show};

/// How long a reader may take before it counts as stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// The checked configuration of the exporter `debug`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// How much is printed.
    pub verbosity: Verbosity,
}

/// How much `debug` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// One line per request: how many items.
    Basic,
    /// One readable line per record.
    #[default]
    Normal,
    /// Every field of every record.
    Detailed,
}

/// Standard output as a backend. Clones write in turn: one for each pipeline that names the exporter.
#[derive(Debug, Clone)]
pub struct DebugSink {
    patience: Duration,
    output: Arc<Mutex<Output>>,
}

#[derive(Debug)]
struct Output {
    writer: SyncSender<Job>,
    /// What the writer was given and has not answered for.
    unfinished: Option<Unfinished>,
    /// Nobody reads any more.
    closed: bool,
}

#[derive(Debug)]
struct Unfinished {
    payload: Bytes,
    done: oneshot::Receiver<Result<(), Fault>>,
}

/// A request on its way to the writer.
struct Job {
    request: Request,
    done: oneshot::Sender<Result<(), Fault>>,
}

impl DebugSink {
    /// A sink on standard output, in colours when that is a terminal and `NO_COLOR` is unset.
    ///
    /// # Errors
    /// Standard output cannot be duplicated, or no thread can be started.
    pub fn stdout(settings: &Settings) -> io::Result<Self> {
        let stdout = io::stdout();
        let styled = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Self::to(Unlocked(stdout.as_fd().try_clone_to_owned()?), settings, styled)
    }

    fn to(out: impl Write + Send + 'static, settings: &Settings, styled: bool) -> io::Result<Self> {
        // One request at most is with the writer; the next waits for its answer.
        let (writer, jobs) = sync_channel(1);
        let show = Show::new(settings.verbosity, styled);
        std::thread::Builder::new().name("debug".into()).spawn(move || write_all(out, show, &jobs))?;
        Ok(Self {
            patience: PATIENCE,
            output: Arc::new(Mutex::new(Output { writer, unfinished: None, closed: false })),
        })
    }
}

impl Sink for DebugSink {
    async fn send(&self, request: Request) -> Result<Sent, SendError> {
        let mut output = self.output.lock().await;
        if let Some(payload) = output.finish(self.patience).await?
            && payload == request.payload
        {
            // Written at last, after its first attempt was answered "retry".
            return Ok(Sent::default());
        }
        if output.closed {
            return Ok(Sent::default());
        }
        let (done, answer) = oneshot::channel();
        let payload = request.payload.clone();
        if output.writer.try_send(Job { request, done }).is_err() {
            return Err(retry("the thread that writes standard output is gone"));
        }
        output.unfinished = Some(Unfinished { payload, done: answer });
        output.finish(self.patience).await?;
        Ok(Sent::default())
    }
}

impl Output {
    /// Waits for what the writer has, and gives its payload back when it was written or is dropped for good.
    async fn finish(&mut self, patience: Duration) -> Result<Option<Bytes>, SendError> {
        let Some(unfinished) = &mut self.unfinished else { return Ok(None) };
        let Ok(answer) = tokio::time::timeout(patience, &mut unfinished.done).await else {
            return Err(retry("standard output is not read, or not fast enough"));
        };
        let payload = self.unfinished.take().map(|unfinished| unfinished.payload);
        match answer {
            Ok(Ok(())) => Ok(payload),
            Ok(Err(Fault::Output(error))) if is_gone(&error) => {
                tracing::warn!(%error, "exporter debug: standard output is closed; nothing more is shown");
                self.closed = true;
                Ok(payload)
            }
            Ok(Err(Fault::Output(error))) => Err(retry(&format!("standard output: {error}"))),
            Ok(Err(Fault::Request(error))) => Err(SendError::BadData { reason: error.to_string() }),
            Err(_) => Err(retry("the thread that writes standard output is gone")),
        }
    }
}

fn retry(reason: &str) -> SendError {
    SendError::Retry { reason: reason.into(), after: None }
}

/// The reader went away and will not come back: a closed pipe, a terminal that hung up.
fn is_gone(error: &io::Error) -> bool {
    [Errno::PIPE, Errno::IO, Errno::BADF].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Standard output without the lock of `io::Stdout`: a write that has stopped would keep everybody from printing.
struct Unlocked(OwnedFd);

impl Write for Unlocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(mut out: impl Write, show: Show, jobs: &Receiver<Job>) {
    for Job { request, done } in jobs {
        // The asker may have given up; the next one asks for this answer.
        done.send(show.write(&request, &mut out)).ok();
    }
}
