//! `collector.loss` of the logs themselves: what a limit took from a cursor.

use bytes::Bytes;

use super::catalogue::Kind;
use super::clock::{self, WallOffset};
use super::collector::Reporter;
use super::encode::Encoder;
use super::host::Host;

/// What a log lost for one cursor and one reason since it was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLoss {
    /// The log's name.
    pub log: String,
    /// What the log carries, where that is known.
    pub signal: Option<&'static str>,
    /// The cursor that will not get the records; `None`: bytes of the log, whatever they held.
    pub cursor: Option<String>,
    /// Why: the log's word for the limit that took them.
    pub reason: &'static str,
    /// Records since it was last told; 0: nobody knows.
    pub count: u64,
    /// Payload bytes since it was last told; 0: nobody knows.
    pub bytes: u64,
    /// Records ever.
    pub total: u64,
    /// When the first and the last were lost, nanoseconds since 1970.
    pub times_unix_nanos: Option<(u64, u64)>,
    /// The first and the last of the log's sequences between which the records lie.
    pub sequences: Option<(u64, u64)>,
}

impl LogLoss {
    fn body(&self) -> String {
        let Self { log, reason, count, bytes, .. } = self;
        match (&self.cursor, count) {
            (None, _) => format!("{bytes} bytes of log {log} do not verify: {reason}"),
            (Some(cursor), 0) => format!("log {log}: {reason}: {cursor}"),
            (Some(cursor), 1) => format!("1 record of log {log} lost for {cursor}: {reason}"),
            (Some(cursor), _) => format!("{count} records of log {log} lost for {cursor}: {reason}"),
        }
    }
}

/// Writes losses as an OTLP export request under the scope `tidegate.agent`.
#[derive(Debug)]
pub struct Teller {
    reporter: Reporter,
    encoder: Encoder,
}

impl Default for Teller {
    fn default() -> Self {
        let host = Host::read();
        // The name goes out as an attribute too: a gateway that drops EventName must not make losses invisible.
        Self { reporter: Reporter::new(&host.boot_id), encoder: Encoder::new(host.resource(), true) }
    }
}

impl Teller {
    /// The request's bytes, one record for each loss.
    #[must_use]
    pub fn encode(&mut self, losses: &[LogLoss]) -> Bytes {
        let events = losses.iter().map(|loss| self.event(loss)).collect();
        self.encoder.encode(events, WallOffset::measure().unix_nanos(clock::boot_nanos()))
    }

    fn event(&mut self, loss: &LogLoss) -> super::event::Event {
        let mut event = self.reporter.begin(Kind::Loss);
        event.body = loss.body();
        let attributes = &mut event.attributes;
        attributes.text("collector.loss.stage", "spool".to_owned());
        attributes.text("collector.loss.reason", loss.reason.to_owned());
        attributes.nonzero("collector.loss.count", loss.count);
        attributes.nonzero("collector.loss.bytes", loss.bytes);
        attributes.text("collector.loss.signal", loss.signal.map(str::to_owned));
        attributes.text("collector.loss.component", loss.cursor.clone());
        attributes.text("collector.loss.log", loss.log.clone());
        attributes.text("collector.loss.first_time", loss.times_unix_nanos.map(|(first, _)| clock::rfc3339(first)));
        attributes.text("collector.loss.last_time", loss.times_unix_nanos.map(|(_, last)| clock::rfc3339(last)));
        attributes.some_int("collector.loss.first_sequence", loss.sequences.map(|(first, _)| first));
        attributes.some_int("collector.loss.last_sequence", loss.sequences.map(|(_, last)| last));
        attributes.nonzero("collector.loss.total", loss.total);
        event
    }
}
