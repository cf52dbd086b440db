//! What health and metrics say about the running graph.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::Stop;
use super::drains::Drain;
use super::trouble::Troubles;
use crate::config::{Config, Id};
use crate::exporters::{Snapshot, State, Status};
use crate::extensions::health_check::Health;
use crate::extensions::metrics::{Exposition, Kind};
use crate::extensions::{health_check, metrics};
use crate::listen::{self, BindError};
use crate::otlp::Signal;
use crate::receivers::{Counts, Intake};
use crate::spool::{Inspection, Log, LogInspection, Spool};

/// The bound ports of health and metrics.
#[derive(Debug)]
pub(super) struct Listeners {
    health: Vec<(TcpListener, health_check::Settings)>,
    metrics: Vec<TcpListener>,
}

/// Binds them.
pub(super) fn bind(config: &Config) -> Result<Listeners, BindError> {
    let mut listeners = Listeners { health: Vec::new(), metrics: Vec::new() };
    for settings in &config.health {
        let listener = listen::listen(settings.endpoint, &settings.key)?;
        listeners.health.push((listener, settings.clone()));
    }
    for address in &config.metrics {
        let listener = listen::listen_as(*address, "service.telemetry.metrics.readers", |address| {
            let (host, port) = (address.ip(), address.port());
            format!("[{{pull: {{exporter: {{prometheus: {{host: \"{host}\", port: {port}}}}}}}}}]")
        })?;
        listeners.metrics.push(listener);
    }
    Ok(listeners)
}

impl Listeners {
    /// The start-up lines.
    pub(super) fn facts(&self) -> Vec<String> {
        // The real port, where 0 was asked for.
        let url = |listener: &TcpListener| listener.local_addr().map(|address| format!("http://{address}")).ok();
        let health = self.health.iter().filter_map(|(l, s)| Some(format!("health: {}{}", url(l)?, s.path)));
        let metrics = self.metrics.iter().filter_map(|l| Some(format!("metrics: {}/metrics", url(l)?)));
        health.chain(metrics).collect()
    }

    /// Answers on them.
    pub(super) fn serve(self, observed: &Arc<Observed>) -> io::Result<Observers> {
        let (stop, mut servers) = (Stop::new(), JoinSet::new());
        for (listener, settings) in self.health {
            let (listener, observed) = (tokio::net::TcpListener::from_std(listener)?, Arc::clone(observed));
            let stopped = stop.requested();
            servers.spawn(async move {
                health_check::serve(listener, &settings.path, Arc::new(move || observed.health()), stopped).await;
            });
        }
        for listener in self.metrics {
            let (listener, observed) = (tokio::net::TcpListener::from_std(listener)?, Arc::clone(observed));
            servers.spawn(metrics::serve(listener, Arc::new(move || observed.metrics()), stop.requested()));
        }
        Ok(Observers { stop, servers })
    }
}

/// The running servers.
#[derive(Debug)]
pub(super) struct Observers {
    stop: Stop,
    servers: JoinSet<()>,
}

impl Observers {
    /// Ends them; a scrape in flight is not worth waiting for.
    pub(super) async fn stop(mut self) {
        self.stop.now();
        self.servers.shutdown().await;
    }
}

/// Reads one number off what a family's samples are made from.
type Value<T> = fn(&T) -> u64;

/// What there is to see.
#[derive(Debug)]
pub(super) struct Observed {
    spool: Spool,
    intakes: BTreeMap<Id, Intake>,
    exporters: Vec<ObservedExporter>,
}

#[derive(Debug)]
struct ObservedExporter {
    id: String,
    pipeline: String,
    log: String,
    cursor: String,
    status: Arc<Status>,
}

impl ObservedExporter {
    /// An exporter of a pipeline drains two logs: the pipeline's, and `self`.
    fn labels(&self) -> [(&'static str, &str); 3] {
        [("exporter", &self.id), ("pipeline", &self.pipeline), ("log", &self.log)]
    }
}

impl Observed {
    pub(super) fn new(spool: Spool, intakes: &BTreeMap<Id, Intake>, drains: &[Drain]) -> Self {
        let exporter = |drain: &Drain| ObservedExporter {
            id: drain.exporter.to_string(),
            pipeline: drain.pipeline.clone(),
            log: drain.log.clone(),
            cursor: drain.cursor.clone(),
            status: Arc::clone(&drain.status),
        };
        Self { spool, intakes: intakes.clone(), exporters: drains.iter().map(exporter).collect() }
    }

    fn health(&self) -> Health {
        let mut reasons = Vec::new();
        for exporter in &self.exporters {
            let snapshot = exporter.status.snapshot();
            if matches!(snapshot.state, State::Refused | State::Failed) {
                let error = snapshot.last_error.unwrap_or_else(|| "no reason known".to_owned());
                reasons.push(format!("exporter {} ({}): {error}", exporter.id, exporter.pipeline));
            }
        }
        let Troubles { red, notes } = Troubles::look(&self.spool);
        reasons.extend(red);
        Health { reasons, notes }
    }

    fn metrics(&self) -> Exposition {
        let mut exposition = Exposition::default();
        self.receiver_metrics(&mut exposition);
        self.exporter_metrics(&mut exposition);
        match self.spool.inspect() {
            Ok(inspection) => {
                self.queue_metrics(&mut exposition, &inspection);
                dropped_metrics(&mut exposition, &inspection);
                log_metrics(&mut exposition, &inspection);
            }
            Err(error) => tracing::error!(%error, "the logs cannot be inspected"),
        }
        self.trouble_metrics(&mut exposition);
        exposition
    }

    fn receiver_metrics(&self, exposition: &mut Exposition) {
        for signal in Signal::ALL {
            let unit = unit(signal);
            let families: [(&str, &str, Value<Counts>); 2] = [
                ("accepted", "durably stored and acknowledged", Counts::accepted),
                ("refused", "refused; the sender was told", Counts::refused),
            ];
            for (what, help, count) in families {
                let name = format!("otelcol_receiver_{what}_{unit}");
                exposition.family(&name, Kind::Counter, &format!("Items of this signal that were {help}."));
                for (receiver, intake) in self.intakes.iter().filter(|(_, intake)| intake.accepts(signal)) {
                    exposition.sample(&name, &[("receiver", &receiver.to_string())], count(intake.counts(signal)));
                }
            }
        }
    }

    fn exporter_metrics(&self, exposition: &mut Exposition) {
        let families: [(&str, &str, Value<Snapshot>); 4] = [
            ("tidegate_exporter_sent_items", "Items that the backend took.", |s| s.sent_items),
            ("tidegate_exporter_parked_items", "Items in the dead letters.", |s| s.parked_items),
            ("tidegate_exporter_requests", "Requests sent, successful or not.", |s| s.attempts),
            ("tidegate_exporter_failed_requests", "Requests that failed.", |s| s.failures),
        ];
        for (name, help, count) in families {
            exposition.family(name, Kind::Counter, help);
            for exporter in &self.exporters {
                exposition.sample(name, &exporter.labels(), count(&exporter.status.snapshot()));
            }
        }
    }

    fn trouble_metrics(&self, exposition: &mut Exposition) {
        let families: [(&str, &str, Value<Log>); 2] = [
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
        let name = "tidegate_age_drops_paused";
        exposition.family(name, Kind::Gauge, "1 while nothing is dropped for its age: the wall clock was set.");
        exposition.sample(name, &[], u64::from(self.spool.age_is_paused()));
    }

    fn queue_metrics(&self, exposition: &mut Exposition, inspection: &Inspection) {
        let name = "tidegate_cursor_pending_items";
        exposition.family(name, Kind::Gauge, "Items that the exporter still has to deliver.");
        for exporter in &self.exporters {
            let log = inspection.logs.iter().find(|log| log.name == exporter.log);
            let cursor = log.and_then(|log| log.cursors.iter().find(|cursor| cursor.name == exporter.cursor));
            if let Some(cursor) = cursor {
                exposition.sample(name, &exporter.labels(), cursor.pending.items);
            }
        }
    }
}

/// What every cursor lost, by reason.
fn dropped_metrics(exposition: &mut Exposition, inspection: &Inspection) {
    let name = "tidegate_cursor_dropped_items";
    exposition.family(name, Kind::Counter, "Items that a cursor lost, by reason.");
    for log in &inspection.logs {
        for cursor in &log.cursors {
            for (reason, items) in &cursor.dropped_items {
                exposition.sample(name, &[("log", &log.name), ("cursor", &cursor.name), ("reason", reason)], *items);
            }
        }
    }
}

fn log_metrics(exposition: &mut Exposition, inspection: &Inspection) {
    let families: [(&str, Kind, &str, Value<LogInspection>); 5] = [
        ("tidegate_log_accepted_items", Kind::Counter, "Items appended since the log was made.", |l| l.accepted_items),
        ("tidegate_log_bytes", Kind::Gauge, "Bytes on disk.", |l| l.bytes),
        ("tidegate_log_last_sequence", Kind::Gauge, "Sequence of the newest durable frame.", |l| l.last_sequence),
        ("tidegate_log_poisoned", Kind::Gauge, "1 while a failed sync waits for its rewrite.", |l| {
            u64::from(l.poisoned)
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
