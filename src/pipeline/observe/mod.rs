//! What health and metrics say about the running graph.

mod metrics;
mod process;

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Stop;
use super::drains::Drain;
use super::trouble::Troubles;
use crate::config::{Config, Id};
use crate::exporters::{State, Status};
use crate::extensions::health_check::{self, Health};
use crate::extensions::metrics as prometheus;
use crate::listen::{BindError, Ports};
use crate::otlp::Signal;
use crate::receivers::Intake;
use crate::spool::{Limit, Spool};
use process::Process;

/// The bound ports of health and metrics.
#[derive(Debug)]
pub(super) struct Listeners {
    health: Vec<(TcpListener, health_check::Settings)>,
    metrics: Vec<TcpListener>,
}

/// Binds them.
pub(super) fn bind(config: &Config, ports: &mut Ports) -> Result<Listeners, BindError> {
    let mut listeners = Listeners { health: Vec::new(), metrics: Vec::new() };
    for settings in &config.health {
        let listener = ports.listen(settings.endpoint, &settings.key)?;
        listeners.health.push((listener, settings.clone()));
    }
    for address in &config.metrics {
        let listener = ports.listen_as(*address, "service.telemetry.metrics.readers", |address| {
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
        let (accepts, accepting) = mpsc::channel::<()>(1);
        let stopped = || {
            let (requested, accepts) = (stop.requested(), accepts.clone());
            async move {
                requested.await;
                drop(accepts);
            }
        };
        for (listener, settings) in self.health {
            let (listener, observed) = (tokio::net::TcpListener::from_std(listener)?, Arc::clone(observed));
            let stopped = stopped();
            servers.spawn(async move {
                let health = Arc::new(move || observed.health(settings.stuck_after));
                health_check::serve(listener, &settings.path, health, stopped).await;
            });
        }
        for listener in self.metrics {
            let (listener, observed) = (tokio::net::TcpListener::from_std(listener)?, Arc::clone(observed));
            servers.spawn(prometheus::serve(listener, Arc::new(move || observed.metrics()), stopped()));
        }
        drop(accepts);
        Ok(Observers { stop, accepting, servers })
    }
}

/// The running servers.
#[derive(Debug)]
pub(super) struct Observers {
    stop: Stop,
    /// Has its other side as long as one of them accepts connections.
    accepting: mpsc::Receiver<()>,
    servers: JoinSet<()>,
}

impl Observers {
    /// Lets what is in flight end beside what comes next.
    pub(super) async fn hand_over(mut self) {
        self.stop.now();
        while self.accepting.recv().await.is_some() {}
        tokio::spawn(async move { while self.servers.join_next().await.is_some() {} });
    }

    /// Ends them; a scrape in flight is not worth waiting for.
    pub(super) async fn stop(mut self) {
        self.stop.now();
        self.servers.shutdown().await;
    }
}

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
    signal: Signal,
    limit: Option<Limit>,
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
            signal: drain.signal,
            limit: drain.limit,
            status: Arc::clone(&drain.status),
        };
        Process::begin();
        Self { spool, intakes: intakes.clone(), exporters: drains.iter().map(exporter).collect() }
    }

    fn health(&self, stuck_after: Duration) -> Health {
        let mut reasons = Vec::new();
        for exporter in &self.exporters {
            let snapshot = exporter.status.snapshot();
            if matches!(snapshot.state, State::Refused | State::Failed) {
                let error = snapshot.last_error.unwrap_or_else(|| "no reason known".to_owned());
                reasons.push(format!("exporter {} ({}): {error}", exporter.id, exporter.pipeline));
            } else if let Some(since) = snapshot.waiting_since.filter(|since| since.elapsed() >= stuck_after) {
                reasons.push(stuck(exporter, since.elapsed(), snapshot.last_error.as_deref()));
            }
        }
        let Troubles { red, notes } = Troubles::look(&self.spool);
        reasons.extend(red);
        Health { reasons, notes }
    }
}

/// An exporter that delivers nothing although there is something to deliver.
fn stuck(exporter: &ObservedExporter, waits: Duration, last_error: Option<&str>) -> String {
    let why = last_error.unwrap_or("no reason known");
    let (id, pipeline, seconds) = (&exporter.id, &exporter.pipeline, waits.as_secs());
    format!("exporter {id} ({pipeline}): nothing was delivered for {seconds} s: {why}")
}
