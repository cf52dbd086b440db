//! What the logs lost, told: a durable counter first, then a `collector.loss` record in the log `self`.
//!
//! Invariants:
//! - What is told is durable in its log before ([`Log::losses`]), and the record is durable in `self` before the log
//!   is told so ([`Log::told`]). A crash in between tells a loss twice, and none leaves one untold.
//! - What cannot be told is counted on and told with the next record.
//! - The losses of `self` are only counted: telling them would make more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::MissedTickBehavior;

use super::trouble::Refusing;
use crate::config::{Config, SELF_LOG};
use crate::exporters::{LOSS, Request, SendError, Sent, Sink};
use crate::otlp::record::Request as Decoded;
use crate::otlp::{self, Mark, Signal};
use crate::receivers::kernel::{LogLoss, Teller};
use crate::spool::{Error, Log, LogOptions, Loss, OnFull, Spool};

/// A loss of one kind is told at most this often.
const INTERVAL: Duration = Duration::from_secs(10);
/// `self` never takes more than this; it drops its oldest.
const MAX_SIZE: u64 = 16 << 20;

/// Opens the log `self`.
pub(super) fn open(spool: &Spool, defaults: &LogOptions) -> Result<Log, Error> {
    let options = LogOptions { max_size: Some(MAX_SIZE), on_full: OnFull::DropOldest, ..defaults.clone() };
    spool.log_with(SELF_LOG, options)
}

/// Tells the losses of all logs, and which of them refuse appends, until `stopped` completes. What is lost after that is told by the next start.
pub(super) async fn tell(mut losses: Losses, stopped: impl Future<Output = ()>) {
    let mut stopped = std::pin::pin!(stopped);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = ticks.tick() => {}
        }
        // It waits for the disk.
        let told = tokio::task::spawn_blocking(move || {
            losses.look_at_the_clock();
            losses.refusing.look(&losses.spool);
            losses.tell_new(|| {});
            losses
        });
        losses = match told.await {
            Ok(losses) => losses,
            Err(error) => return tracing::error!(%error, "losses are not told any more; they are counted"),
        };
    }
}

/// Tells what was lost since it was last told.
#[derive(Debug)]
pub(super) struct Losses {
    spool: Spool,
    own: Log,
    /// What each pipeline's log carries.
    signals: BTreeMap<String, Signal>,
    teller: Teller,
    is_age_paused: bool,
    refusing: Refusing,
}

impl Losses {
    pub(super) fn new(config: &Config, spool: Spool, own: Log) -> Self {
        let signals = config.pipelines.iter().map(|p| (p.log.clone(), p.id.signal())).collect();
        let teller = Teller::default();
        Self { spool, own, signals, teller, is_age_paused: false, refusing: Refusing::default() }
    }

    /// Says when drops by age begin and cease to pause.
    fn look_at_the_clock(&mut self) {
        let is_paused = self.spool.age_is_paused();
        match (std::mem::replace(&mut self.is_age_paused, is_paused), is_paused) {
            (false, true) => tracing::warn!("the wall clock was set: for an hour nothing is dropped for its age"),
            (true, false) => tracing::info!("max_age is obeyed again"),
            _ => {}
        }
    }

    /// `between` is called when the records are durable and no log was told so.
    fn tell_new(&mut self, between: impl FnOnce()) {
        let found = self.find();
        if found.is_empty() {
            return;
        }
        for (_, loss) in &found {
            let Loss { log, cursor, reason, items, bytes, .. } = loss;
            let cursor = cursor.as_deref().unwrap_or_default();
            tracing::warn!(target: LOSS, log, cursor, reason, items, bytes, "records lost{}", self.advice(loss));
        }
        if let Err(error) = self.append(&found) {
            tracing::error!(%error, "losses could not be told; they are counted and told later");
            return;
        }
        between();
        for (log, loss) in &found {
            if let Err(error) = log.told(loss) {
                tracing::error!(%error, log = loss.log, "a loss will be told again");
            }
        }
    }

    fn find(&self) -> Vec<(Log, Loss)> {
        let mut found = Vec::new();
        for log in self.spool.logs().into_iter().filter(|log| log.name() != SELF_LOG) {
            match log.losses() {
                Ok(losses) => found.extend(losses.into_iter().map(|loss| (log.clone(), loss))),
                Err(error) => {
                    tracing::error!(%error, log = log.name(), "what was lost cannot be read; it is told later")
                }
            }
        }
        found
    }

    fn append(&mut self, found: &[(Log, Loss)]) -> Result<(), Error> {
        let losses: Vec<LogLoss> = found.iter().map(|(_, loss)| self.record(loss)).collect();
        let items = u32::try_from(losses.len()).unwrap_or(u32::MAX);
        self.own.append(Signal::Logs.tag(), self.teller.encode(&losses), items)?.wait()?;
        Ok(())
    }

    fn record(&self, loss: &Loss) -> LogLoss {
        LogLoss {
            log: loss.log.clone(),
            signal: self.signals.get(&loss.log).map(|signal| signal.name()),
            cursor: loss.cursor.clone(),
            reason: loss.reason,
            count: loss.items,
            bytes: loss.bytes,
            total: loss.total_items,
            times_unix_nanos: loss.times_unix_nanos,
            sequences: loss.sequences,
        }
    }

    /// What an operator can look at.
    fn advice(&self, loss: &Loss) -> String {
        match loss.reason {
            "damaged" | "torn" => format!(
                ": `tidegate spool verify` names the place; the damaged bytes are in {}",
                self.spool.directory().join("damaged").display()
            ),
            "cursor_lost" => {
                ": the cursor's file was damaged; it begins at the oldest record, some are sent again".into()
            }
            _ => String::new(),
        }
    }
}

/// Passes on only the losses of one log: an exporter hears of what its own pipeline lost.
#[derive(Debug)]
pub(super) struct LossesOf<S> {
    pub(super) log: String,
    pub(super) sink: Arc<S>,
}

impl<S: Sink> Sink for LossesOf<S> {
    async fn send(&self, request: Request) -> Result<Sent, SendError> {
        let (payload, items) = self.own(&request).map_err(|reason| SendError::BadData { reason })?;
        if items == 0 {
            return Ok(Sent::default());
        }
        self.sink.send(Request { signal: request.signal, payload, items }).await
    }
}

impl<S> LossesOf<S> {
    /// The records of a request that are about this log.
    fn own(&self, request: &Request) -> Result<(Bytes, u64), String> {
        let decoded = Decoded::decode(request.signal, &request.payload).map_err(|error| error.to_string())?;
        let payload = &request.payload;
        let mut mark = Mark::first(request.signal, payload).map_err(|error| error.to_string())?;
        let mut cuts = Vec::new();
        for record in decoded.records() {
            let is_own = record.text_attribute("collector.loss.log") == Some(&*self.log);
            let passed = if is_own {
                mark.take(payload, 1).map(|cut| cuts.push(cut))
            } else {
                mark.pass(payload, 1, usize::MAX).map(drop)
            };
            passed.map_err(|error| error.to_string())?;
        }
        Ok((otlp::concat(&cuts), cuts.len() as u64))
    }
}

#[cfg(test)]
mod tests;
