//! What the logs lost, told: a durable counter first, then a `collector.loss` record in the log `self`.
//!
//! What was told already is read back from `self` at start, so that a loss just before a crash is still told after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::MissedTickBehavior;

use crate::exporters::{Request, SendError, Sent, Sink};
use crate::otlp::record::{Record, Request as Decoded};
use crate::otlp::{self, Signal};
use crate::receivers::kernel::{LogLoss, Teller};
use crate::spool::{Error, From, Inspection, Log, LogOptions, OnFull, Reader, Spool};

/// The log that losses are told in. No pipeline's log may have this name.
pub(super) const LOG: &str = "self";
/// A loss of one kind is told at most this often.
const INTERVAL: Duration = Duration::from_secs(10);
/// `self` never takes more than this; it drops its oldest.
const MAX_SIZE: u64 = 16 << 20;

/// Opens the log `self`.
pub(super) fn open(spool: &Spool, defaults: &LogOptions) -> Result<Log, Error> {
    let options = LogOptions { max_size: Some(MAX_SIZE), on_full: OnFull::DropOldest, ..defaults.clone() };
    spool.log_with(LOG, options)
}

/// Log, cursor and reason.
type Key = (String, String, String);

/// Tells the losses of all logs until `stopped` completes.
pub(super) async fn tell(spool: Spool, log: Log, stopped: impl Future<Output = ()>) {
    let mut stopped = std::pin::pin!(stopped);
    let mut losses = Losses::read_back(spool);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = losses.tell_new(&log).await {
            tracing::error!(%error, "losses could not be told; they are counted and told later");
        }
    }
}

struct Losses {
    spool: Spool,
    teller: Teller,
    told: BTreeMap<Key, u64>,
    told_at: u64,
}

impl Losses {
    fn read_back(spool: Spool) -> Self {
        let told = match told_totals(&spool) {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%error, "what was told cannot be read back; losses may be told twice");
                BTreeMap::new()
            }
        };
        Self { spool, teller: Teller::default(), told, told_at: now() }
    }

    /// What an operator can look at.
    fn advice(&self, reason: &str) -> String {
        match reason {
            "damaged" => format!(
                ": `tidegate spool verify` names the place; the damaged bytes are in {}",
                self.spool.directory().join("damaged").display()
            ),
            _ => String::new(),
        }
    }

    async fn tell_new(&mut self, log: &Log) -> Result<(), Error> {
        let until = now();
        let losses = new_losses(&self.spool.inspect()?, &self.told, self.told_at, until);
        let Ok(items) = u32::try_from(losses.len()) else { return Ok(()) };
        if items == 0 {
            self.told_at = until;
            return Ok(());
        }
        for loss in &losses {
            let LogLoss { log, cursor, reason, count, .. } = loss;
            tracing::warn!(log, cursor, reason, count, "records lost{}", self.advice(reason));
        }
        log.append(Signal::Logs.tag(), self.teller.encode(&losses), items)?.await?;
        self.told.extend(losses.into_iter().map(|loss| ((loss.log, loss.cursor, loss.reason), loss.total)));
        self.told_at = until;
        Ok(())
    }
}

/// What the counters say beyond what was told. The losses of `self` are only counted: telling them would make more.
fn new_losses(inspection: &Inspection, told: &BTreeMap<Key, u64>, since: u64, until: u64) -> Vec<LogLoss> {
    let mut losses = Vec::new();
    for log in inspection.logs.iter().filter(|log| log.name != LOG) {
        for cursor in &log.cursors {
            for (reason, total) in &cursor.dropped_items {
                let key = (log.name.clone(), cursor.name.clone(), reason.clone());
                let count = total.saturating_sub(told.get(&key).copied().unwrap_or(0));
                let (log_name, cursor, reason) = key;
                if count > 0 {
                    losses.push(LogLoss {
                        log: log_name,
                        signal: log.content.and_then(Signal::from_tag).map(Signal::name),
                        cursor,
                        reason,
                        count,
                        total: *total,
                        since_unix_nanos: since,
                        until_unix_nanos: until,
                    });
                }
            }
        }
    }
    losses
}

/// The newest total told for each kind of loss.
fn told_totals(spool: &Spool) -> Result<BTreeMap<Key, u64>, Error> {
    let mut told = BTreeMap::new();
    let mut frames = match Reader::open(spool.directory())?.read(LOG, From::Oldest) {
        Ok(frames) => frames,
        Err(error) if error.is_not_found() => return Ok(told),
        Err(error) => return Err(error),
    };
    while let Some(frame) = frames.next()? {
        let Ok(request) = Decoded::decode(Signal::Logs, &frame.payload) else { continue };
        for record in request.records() {
            let text = |key: &str| record.text_attribute(key).map(str::to_owned);
            let key = (text("collector.loss.log"), text("collector.loss.component"), text("collector.loss.reason"));
            let total = record.int_attribute("collector.loss.total").and_then(|total| u64::try_from(total).ok());
            if let ((Some(log), Some(cursor), Some(reason)), Some(total)) = (key, total) {
                told.insert((log, cursor, reason), total);
            }
        }
    }
    Ok(told)
}

#[allow(clippy::disallowed_methods, reason = "a loss is told with the wall clock's time")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
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
        let records = decoded.records();
        let own = records.iter().filter(|record| record.text_attribute("collector.loss.log") == Some(&*self.log));
        let cut = |record: &Record<'_>| {
            let index = u32::try_from(record.index()).unwrap_or(u32::MAX);
            otlp::extract(request.signal, &request.payload, index..index.saturating_add(1))
        };
        let cuts: Vec<Bytes> = own.map(cut).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        Ok((otlp::concat(&cuts), cuts.len() as u64))
    }
}
