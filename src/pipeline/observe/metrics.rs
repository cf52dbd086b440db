//! What a scrape of the agent's own metrics shows.
//!
//! Names that begin with `otelcol_` are the Collector's, where the meaning is the same, so that its dashboards work. They
//! have no `_total` at the end, and so no type: a counter without it is a fault to Prometheus's own linter.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::AddAssign;

use super::process::Process;
use super::{Observed, ObservedExporter};
use crate::config::Id;
use crate::exporters::Snapshot;
use crate::extensions::metrics::{Exposition, Kind};
use crate::otlp::Signal;
use crate::receivers::{Counts, Intake, Protocol, Reason};
use crate::spool::{CursorInspection, Inspection, Limit, Log, LogInspection};

/// Reads one number off what a family's samples are made from.
type Value<T> = fn(&T) -> u64;

impl Observed {
    /// Everything, as it is now.
    pub(super) fn metrics(&self) -> Exposition {
        let mut exposition = Exposition::default();
        self.receivers(&mut exposition);
        self.refusals(&mut exposition);
        self.exporters(&mut exposition);
        match self.spool.inspect() {
            Ok(inspection) => {
                self.queues(&mut exposition, &inspection);
                ledgers(&mut exposition, &inspection);
                logs(&mut exposition, &inspection);
            }
            Err(error) => tracing::error!(%error, "the logs cannot be inspected"),
        }
        self.open_logs(&mut exposition);
        Process::now().show(&mut exposition);
        exposition
    }

    fn receivers(&self, exposition: &mut Exposition) {
        let counted: Vec<(String, Option<Protocol>, Intake)> =
            self.intakes.iter().flat_map(|(id, intake)| by_transport(id, intake)).collect();
        for signal in Signal::ALL {
            let families: [(&str, &str, Value<Counts>); 3] = [
                ("accepted", "durably stored and acknowledged", Counts::accepted),
                ("refused", "refused; the sender was told, or hung up while it waited", Counts::refused),
                // Whatever goes wrong once items are counted, a log answers it. As in the Collector it is there all the
                // same: a sum without it would be empty.
                ("failed", "not stored for a fault of the receiver itself", |_| 0),
            ];
            for (what, help, count) in families {
                let name = format!("otelcol_receiver_{what}_{}", unit(signal));
                exposition.family(&name, Kind::Unknown, &format!("Items of this signal that were {help}."));
                for (receiver, transport, intake) in counted.iter().filter(|(.., intake)| intake.accepts(signal)) {
                    let transport = transport.map(|protocol| ("transport", protocol.name()));
                    let labels: Vec<_> = [("receiver", receiver.as_str())].into_iter().chain(transport).collect();
                    exposition.sample(&name, &labels, count(intake.counts(signal)));
                }
            }
        }
    }

    /// Requests, not items: of most that are refused nobody knows the items.
    fn refusals(&self, exposition: &mut Exposition) {
        let name = "tidegate_receiver_refused_requests_total";
        exposition.family(
            name,
            Kind::Counter,
            "Requests that were refused, by reason; the sender was told, or hung up.",
        );
        for (id, intake) in self.intakes.iter().filter(|(id, _)| id.kind() == "otlp") {
            let (receiver, refusals) = (id.to_string(), intake.refusals());
            for (protocol, reason) in Protocol::ALL.iter().flat_map(|p| Reason::ALL.iter().map(move |r| (*p, *r))) {
                let labels = [("receiver", &*receiver), ("protocol", protocol.name()), ("reason", reason.name())];
                exposition.sample(name, &labels, refusals.count(protocol, reason));
            }
        }
    }

    fn exporters(&self, exposition: &mut Exposition) {
        let shown: Vec<(&ObservedExporter, Snapshot)> =
            self.exporters.iter().map(|exporter| (exporter, exporter.status.snapshot())).collect();
        for signal in Signal::ALL {
            let families: [(&str, &str, Value<Snapshot>); 3] = [
                ("sent", "that the backend took", |s| s.sent_items),
                ("send_failed", "that the backend refused for good; they are in the dead letters", |s| s.parked_items),
                // All that a receiver accepted waits for every exporter. As `failed` above.
                ("enqueue_failed", "that did not come to wait for this exporter", |_| 0),
            ];
            for (what, help, count) in families {
                let name = format!("otelcol_exporter_{what}_{}", unit(signal));
                exposition.family(&name, Kind::Unknown, &format!("Items of this signal {help}."));
                let of_signal = shown.iter().filter(|(exporter, _)| exporter.signal == signal);
                let sums = summed(of_signal.map(|(exporter, snapshot)| (exporter.id.as_str(), count(snapshot))));
                for (id, sum) in sums {
                    exposition.sample(&name, &[("exporter", id)], sum);
                }
            }
        }
        let in_flight = shown.iter().map(|(exporter, snapshot)| (*exporter, snapshot.in_flight));
        let help = "Requests that wait for an answer.";
        collectors_gauge(exposition, "otelcol_exporter_in_flight_requests", help, in_flight);
        let families: [(&str, Kind, &str, Value<Snapshot>); 4] = [
            ("tidegate_exporter_sent_items_total", Kind::Counter, "Items that the backend took.", |s| s.sent_items),
            ("tidegate_exporter_parked_items_total", Kind::Counter, "Items put to the dead letters.", |s| {
                s.parked_items
            }),
            ("tidegate_exporter_requests_total", Kind::Counter, "Requests sent, successful or not.", |s| s.attempts),
            ("tidegate_exporter_failed_requests_total", Kind::Counter, "Requests that failed.", |s| s.failures),
        ];
        for (name, kind, help, count) in families {
            exposition.family(name, kind, help);
            for (exporter, snapshot) in &shown {
                exposition.sample(name, &exporter.labels(), count(snapshot));
            }
        }
        let name = "tidegate_exporter_last_error";
        exposition.family(name, Kind::Gauge, "When the last request failed, in seconds since 1970.");
        for (exporter, snapshot) in &shown {
            let (Some(kind), Some(at)) = (snapshot.last_error_kind, snapshot.last_error_at) else { continue };
            let [id, pipeline, log] = exporter.labels();
            // Not the error's text: each would be a series of its own, for ever.
            exposition.sample(name, &[id, pipeline, log, ("kind", kind)], at.as_second());
        }
    }

    /// What each exporter still has to deliver.
    fn queues(&self, exposition: &mut Exposition, inspection: &Inspection) {
        let cursors: Vec<(&ObservedExporter, &CursorInspection)> = self
            .exporters
            .iter()
            .filter_map(|exporter| {
                let log = inspection.logs.iter().find(|log| log.name == exporter.log)?;
                Some((exporter, log.cursors.iter().find(|cursor| cursor.name == exporter.cursor)?))
            })
            .collect();
        let sizes = cursors.iter().map(|(exporter, cursor)| match exporter.limit {
            Some(Limit::Bytes(_)) => (*exporter, cursor.pending.bytes),
            _ => (*exporter, cursor.pending.items),
        });
        let help = "What waits for this exporter, in the unit of its sizer, else in items.";
        collectors_gauge(exposition, "otelcol_exporter_queue_size", help, sizes);
        // Without a limit of its own an exporter has the disk: a share of that queue is never full.
        let limits = self
            .exporters
            .iter()
            .map(|exporter| (exporter, Capacity(exporter.limit.map(|(Limit::Items(most) | Limit::Bytes(most))| most))));
        let help = "What may wait for this exporter: +Inf where sending_queue does not limit it.";
        collectors_gauge(exposition, "otelcol_exporter_queue_capacity", help, limits);
        let families: [(&str, &str, Value<CursorInspection>); 2] = [
            ("tidegate_cursor_pending_items", "Items that the exporter still has to deliver.", |c| c.pending.items),
            ("tidegate_cursor_pending_bytes", "Bytes of them.", |c| c.pending.bytes),
        ];
        for (name, help, value) in families {
            exposition.family(name, Kind::Gauge, help);
            for (exporter, cursor) in &cursors {
                exposition.sample(name, &exporter.labels(), value(cursor));
            }
        }
        let name = "tidegate_cursor_lag_seconds";
        exposition.family(name, Kind::Gauge, "Age of the oldest item that the exporter still has to deliver.");
        for (exporter, cursor) in &cursors {
            let age = cursor.pending.oldest_age.unwrap_or_default();
            exposition.sample(name, &exporter.labels(), age.as_secs_f64());
        }
    }

    /// What only the owner of the logs knows.
    fn open_logs(&self, exposition: &mut Exposition) {
        let families: [(&str, &str, Value<Log>); 3] = [
            ("tidegate_log_durable_sequence", "Sequence up to which everything is on disk.", Log::durable_sequence),
            ("tidegate_log_refusing", "1 while the log takes nothing: it is full or poisoned.", |log| {
                u64::from(log.trouble().is_some())
            }),
            ("tidegate_log_orphaned_cursors", "Cursors without an exporter that hold data.", |log| {
                log.orphans().iter().filter(|orphan| orphan.holds).count() as u64
            }),
        ];
        for (name, help, value) in families {
            exposition.family(name, Kind::Gauge, help);
            for log in self.spool.logs() {
                exposition.sample(name, &[("log", log.name())], value(&log));
            }
        }
        let name = "tidegate_log_sync_seconds";
        exposition.family(name, Kind::Histogram, "How long the syncs of the log's open segment took.");
        for log in self.spool.logs() {
            let latency = log.sync_latency();
            let buckets = latency.buckets.iter().map(|(bound, count)| (bound.as_secs_f64(), *count));
            exposition.histogram(name, &[("log", log.name())], buckets, latency.count, latency.sum.as_secs_f64());
        }
        let name = "tidegate_age_drops_paused";
        exposition.family(name, Kind::Gauge, "1 while nothing is dropped for its age: the wall clock was set.");
        exposition.sample(name, &[], u64::from(self.spool.age_is_paused()));
    }
}

/// What a receiver counts by itself: as the Collector, by protocol where there is one.
fn by_transport(id: &Id, intake: &Intake) -> Vec<(String, Option<Protocol>, Intake)> {
    match id.kind() {
        "otlp" => Protocol::ALL.map(|protocol| (id.to_string(), Some(protocol), intake.via(protocol))).into(),
        _ => vec![(id.to_string(), None, intake.clone())],
    }
}

/// A gauge as the Collector labels it.
fn collectors_gauge<'a, V: Default + AddAssign + Display>(
    exposition: &mut Exposition,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a ObservedExporter, V)>,
) {
    exposition.family(name, Kind::Gauge, help);
    let values = values.map(|(exporter, value)| ((exporter.id.as_str(), exporter.signal.name()), value));
    for ((id, signal), sum) in summed(values) {
        exposition.sample(name, &[("exporter", id), ("data_type", signal)], sum);
    }
}

/// How much may wait; none: no limit.
#[derive(Debug, Clone, Copy)]
struct Capacity(Option<u64>);

impl Default for Capacity {
    fn default() -> Self {
        Self(Some(0))
    }
}

impl AddAssign for Capacity {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.zip(other.0).map(|(a, b)| a.saturating_add(b));
    }
}

impl Display for Capacity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(most) => most.fmt(f),
            None => f.write_str("+Inf"),
        }
    }
}

/// Adds up what has the same labels: an exporter of several pipelines.
fn summed<K: Ord, V: Default + AddAssign>(values: impl Iterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut sums = BTreeMap::new();
    for (key, value) in values {
        *sums.entry(key).or_default() += value;
    }
    sums
}

/// Where everything went that a cursor was given: accepted = delivered + parked + skipped + dropped + pending.
fn ledgers(exposition: &mut Exposition, inspection: &Inspection) {
    let families: [(&str, &str, Value<CursorInspection>); 5] = [
        ("accepted", "Items appended since the cursor's start.", |c| c.accepted_items),
        ("delivered", "Items that the cursor's backend took.", |c| c.delivered_items),
        ("parked", "Items that went to the dead letters.", |c| c.parked_items),
        ("skipped", "Items passed over by command.", |c| c.skipped_items),
        ("replayed", "Items handed out again by command, counted nowhere else.", |c| c.replayed_items),
    ];
    let cursors = || inspection.logs.iter().flat_map(|log| log.cursors.iter().map(move |cursor| (log, cursor)));
    for (what, help, value) in families {
        let name = format!("tidegate_cursor_{what}_items_total");
        exposition.family(&name, Kind::Counter, help);
        for (log, cursor) in cursors() {
            exposition.sample(&name, &[("log", &log.name), ("cursor", &cursor.name)], value(cursor));
        }
    }
    let name = "tidegate_cursor_dropped_items_total";
    exposition.family(name, Kind::Counter, "Items that a cursor lost, by reason.");
    for (log, cursor) in cursors() {
        for (reason, items) in &cursor.dropped_items {
            exposition.sample(name, &[("log", &log.name), ("cursor", &cursor.name), ("reason", reason)], *items);
        }
    }
}

fn logs(exposition: &mut Exposition, inspection: &Inspection) {
    let families: [(&str, Kind, &str, Value<LogInspection>); 7] = [
        ("tidegate_log_accepted_items_total", Kind::Counter, "Items appended since the log was made.", |l| {
            l.accepted_items
        }),
        ("tidegate_log_bytes", Kind::Gauge, "Bytes on disk.", |l| l.bytes),
        ("tidegate_log_max_bytes", Kind::Gauge, "Bytes that the log may have on disk.", |l| l.max_size.unwrap_or(0)),
        ("tidegate_log_segments", Kind::Gauge, "Segments on disk.", |l| l.segments.len() as u64),
        ("tidegate_log_written_sequence", Kind::Gauge, "Sequence of the newest frame.", |l| l.last_sequence),
        ("tidegate_log_poisoned", Kind::Gauge, "1 while a failed sync waits for its rewrite.", |l| {
            u64::from(l.poisoned == Some(true))
        }),
        ("tidegate_log_damaged_bytes", Kind::Gauge, "Bytes set aside as damaged.", |l| l.damaged_bytes),
    ];
    for (name, kind, help, value) in families {
        exposition.family(name, kind, help);
        for log in &inspection.logs {
            exposition.sample(name, &[("log", &log.name)], value(log));
        }
    }
}

/// The Collector's word for a signal's items.
fn unit(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "log_records",
        Signal::Traces => "spans",
        Signal::Metrics => "metric_points",
    }
}
