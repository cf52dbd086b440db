//! The worker that commits for whoever does not commit itself, and does what is due.

use std::sync::{Arc, Mutex};

use super::super::Error;
use super::super::core::LogCore;
use super::super::queue::Signal;
use super::super::worker::Work;
use super::Writer;

/// Serves one writer until the log is closed.
#[derive(Debug)]
pub(crate) struct Serving {
    writer: Arc<Mutex<Writer>>,
    core: Arc<LogCore>,
    /// However this ends, nobody waits for it in vain.
    _end: EndGuard,
}

impl Serving {
    pub(crate) fn new(core: Arc<LogCore>, writer: Arc<Mutex<Writer>>) -> Self {
        Self { writer, _end: EndGuard(core.clone()), core }
    }

    /// `Some` at the end.
    fn act(&self, signal: Signal) -> Option<Result<(), Error>> {
        match self.writer.lock() {
            Ok(mut writer) => writer.act(signal),
            // Whoever committed last panicked: what the writer believes of its file is not to be trusted.
            Err(_) => Some(Err(Error::closed(&self.core.name))),
        }
    }
}

impl Work for Serving {
    fn run(self: Box<Self>) -> Result<(), Error> {
        loop {
            let signal = self.core.queue.wait();
            if let Some(end) = self.act(signal) {
                return end;
            }
        }
    }

    #[cfg(test)]
    fn turn(&mut self) -> Option<Result<(), Error>> {
        while let Some(signal) = self.core.queue.poll() {
            if let Some(end) = self.act(signal) {
                return Some(end);
            }
        }
        None
    }
}

/// Answers what still waits when the worker ends, even by a panic.
#[derive(Debug)]
struct EndGuard(Arc<LogCore>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.queue.end(&self.0.name);
        self.0.view.update(|front| front.closed = true);
    }
}
