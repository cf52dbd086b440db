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
    /// What the log carries.
    pub signal: Option<&'static str>,
    /// The cursor that will not get the records.
    pub cursor: String,
    /// Why: the log's word for the limit that took them.
    pub reason: String,
    /// Records since it was last told.
    pub count: u64,
    /// Records ever.
    pub total: u64,
    /// After this moment, nanoseconds since 1970.
    pub since_unix_nanos: u64,
    /// Up to this moment, nanoseconds since 1970.
    pub until_unix_nanos: u64,
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
        let records = if loss.count == 1 { "record" } else { "records" };
        event.body = format!("{} {records} of log {} lost for {}: {}", loss.count, loss.log, loss.cursor, loss.reason);
        let attributes = &mut event.attributes;
        attributes.text("collector.loss.stage", "spool".to_owned());
        attributes.text("collector.loss.reason", loss.reason.clone());
        attributes.int("collector.loss.count", loss.count);
        attributes.text("collector.loss.signal", loss.signal.map(str::to_owned));
        attributes.text("collector.loss.component", loss.cursor.clone());
        attributes.text("collector.loss.log", loss.log.clone());
        attributes.text("collector.loss.first_time", clock::rfc3339(loss.since_unix_nanos));
        attributes.text("collector.loss.last_time", clock::rfc3339(loss.until_unix_nanos));
        attributes.int("collector.loss.total", loss.total);
        event
    }
}
