//! Where receivers put what they received: every log that a pipeline gave them.

use bytes::Bytes;

use crate::otlp::Signal;
use crate::spool::{Ack, Error, Log};

/// The logs behind one receiver: one per pipeline that names it.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    logs: Vec<(Signal, Log)>,
}

impl Intake {
    /// An intake that writes to these logs.
    #[must_use]
    pub fn new(logs: Vec<(Signal, Log)>) -> Self {
        Self { logs }
    }

    /// Whether any pipeline takes this signal.
    #[must_use]
    pub fn accepts(&self, signal: Signal) -> bool {
        self.logs.iter().any(|(s, _)| *s == signal)
    }

    /// Hands one OTLP export request to every log of its signal. Does not wait for the disk: the returned
    /// [`Stored`] does. A log that refuses refuses the whole request; what another log already took is then
    /// stored without an ack, which a client's re-send duplicates (at least once).
    ///
    /// # Errors
    /// What [`Log::append`] answers: full, busy, poisoned, too large.
    pub fn append(&self, signal: Signal, payload: &Bytes, items: u32) -> Result<Stored, Error> {
        let mut acks = Vec::with_capacity(1);
        for (_, log) in self.logs.iter().filter(|(s, _)| *s == signal) {
            acks.push(log.append(signal.tag(), payload.clone(), items)?);
        }
        Ok(Stored { acks })
    }
}

/// A request on its way to the disk.
#[must_use = "only a waited-for request is durable"]
#[derive(Debug)]
pub struct Stored {
    acks: Vec<Ack>,
}

impl Stored {
    /// Waits until every log has the request durable.
    ///
    /// # Errors
    /// The first log's error.
    pub async fn durable(self) -> Result<(), Error> {
        for ack in self.acks {
            ack.await?;
        }
        Ok(())
    }

    /// As [`Stored::durable`], blocking the thread.
    ///
    /// # Errors
    /// The first log's error.
    pub fn wait(self) -> Result<(), Error> {
        for ack in self.acks {
            ack.wait()?;
        }
        Ok(())
    }
}
