//! The ways out: one cursor and one task for each exporter of each pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::losses::LossesOf;
use super::receivers::left;
use super::{StartError, Stop};
use crate::config::{Config, Exporter, ExporterSettings, Id, Pipeline, SELF_LOG};
use crate::exporters::{Request, SendError, Sent, Sink, Status, debug, drain, file, otlp, otlphttp};
use crate::otlp::Signal;
use crate::spool::{Cursor, CursorOptions, Limit, Log, Need, Start};

/// One exporter of one pipeline at work.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) log: String,
    pub(super) cursor: String,
    pub(super) exporter: Id,
    pub(super) pipeline: String,
    pub(super) signal: Signal,
    /// How far its cursor may lag.
    pub(super) limit: Option<Limit>,
    pub(super) status: Arc<Status>,
    /// For what is sent beside the drain, by command.
    pub(super) sink: AnySink,
    target: String,
    pending: u64,
    stop: Stop,
    task: JoinHandle<Cursor>,
}

/// How exporters are doing, by log and cursor.
pub(super) type Statuses = BTreeMap<(String, String), Arc<Status>>;

impl Drain {
    pub(super) fn status_by_cursor(&self) -> ((String, String), Arc<Status>) {
        ((self.log.clone(), self.cursor.clone()), Arc::clone(&self.status))
    }

    /// The start-up line.
    pub(super) fn fact(&self) -> String {
        let Self { exporter, pipeline, target, pending, .. } = self;
        match pending {
            0 => format!("exporter {exporter}: {target} ({pipeline})"),
            n => format!("exporter {exporter}: {target} ({pipeline}), {n} records pending"),
        }
    }
}

/// Opens every sink and cursor, then starts every drain. Each exporter also has a cursor over `own`, the log of
/// losses, and is sent what its own pipeline lost. Counts go on from `before`.
pub(super) fn start(
    config: &Config,
    logs: &BTreeMap<String, Log>,
    own: &Log,
    before: &Statuses,
) -> Result<Vec<Drain>, StartError> {
    let sinks = open_sinks(config)?;
    let mut ready = Vec::new();
    for pipeline in &config.pipelines {
        for id in &pipeline.exporters {
            let (Some(log), Some(exporter)) = (logs.get(&pipeline.log), config.exporters.get(id)) else { continue };
            let Some(sink) = sinks.get(id) else { continue };
            let name = pipeline.cursor_name(id);
            let Exporter { start, need, max_pending, .. } = *exporter;
            let cursor = log.cursor_with(&name, CursorOptions { start, need, max_pending })?;
            let losses = own.cursor(&name, Start::Newest, Need::Optional)?;
            ready.push(Work { pipeline, id, exporter, sink, cursor, losses_of: None });
            ready.push(Work { pipeline, id, exporter, sink, cursor: losses, losses_of: Some(pipeline.log.clone()) });
        }
    }
    Ok(ready.into_iter().map(|work| work.start(before)).collect())
}

/// Where an exporter sends to. Shared by all its pipelines: a file has one writer, and so has standard output.
#[derive(Debug, Clone)]
pub(super) enum AnySink {
    Otlp(Arc<otlp::Otlp>),
    OtlpHttp(Arc<otlphttp::OtlpHttp>),
    File(Arc<file::FileSink>),
    Debug(Arc<debug::DebugSink>),
}

impl AnySink {
    pub(super) async fn send(&self, request: Request) -> Result<Sent, SendError> {
        match self {
            Self::Otlp(sink) => sink.send(request).await,
            Self::OtlpHttp(sink) => sink.send(request).await,
            Self::File(sink) => sink.send(request).await,
            Self::Debug(sink) => sink.send(request).await,
        }
    }
}

fn open_sinks(config: &Config) -> Result<BTreeMap<Id, AnySink>, StartError> {
    let open = |(id, exporter): (&Id, &Exporter)| {
        let failed = |reason: String| StartError::Exporter { exporter: id.to_string(), reason };
        let sink = match &exporter.settings {
            ExporterSettings::Otlp(settings) => {
                AnySink::Otlp(Arc::new(otlp::Otlp::new(settings.clone()).map_err(|e| failed(e.to_string()))?))
            }
            ExporterSettings::OtlpHttp(settings) => AnySink::OtlpHttp(Arc::new(
                otlphttp::OtlpHttp::new(settings.clone()).map_err(|e| failed(e.to_string()))?,
            )),
            ExporterSettings::File(settings) => {
                AnySink::File(Arc::new(file::FileSink::open(settings.clone()).map_err(|e| failed(e.to_string()))?))
            }
            ExporterSettings::Debug(settings) => {
                AnySink::Debug(Arc::new(debug::DebugSink::stdout(settings).map_err(|e| failed(e.to_string()))?))
            }
        };
        Ok((id.clone(), sink))
    };
    config.exporters.iter().map(open).collect()
}

/// What a drain needs.
struct Work<'a> {
    pipeline: &'a Pipeline,
    id: &'a Id,
    exporter: &'a Exporter,
    sink: &'a AnySink,
    cursor: Cursor,
    /// The log whose losses it passes on; `None`: it passes on everything.
    losses_of: Option<String>,
}

impl Work<'_> {
    fn start(self, before: &Statuses) -> Drain {
        let Self { pipeline, id, exporter, sink, cursor, losses_of } = self;
        let target = match &exporter.settings {
            ExporterSettings::Otlp(settings) => settings.endpoint.clone(),
            ExporterSettings::OtlpHttp(settings) => settings.endpoints.to_string(),
            ExporterSettings::File(settings) => settings.path.display().to_string(),
            ExporterSettings::Debug(_) => "standard output".to_owned(),
        };
        // The log of losses holds log records, whatever its pipeline's signal, and has no limit.
        let (log, signal, limit) = match losses_of {
            Some(_) => (SELF_LOG.to_owned(), Signal::Logs, None),
            None => (pipeline.log.clone(), pipeline.id.signal(), exporter.max_pending),
        };
        let (name, pending) = (cursor.name().to_owned(), cursor.pending().items);
        // At the level of errors, so that warnings are not without it when only those are wanted.
        let span = tracing::error_span!("exporter", %id, pipeline = %pipeline.id);
        let status = before.get(&(log.clone(), name.clone())).cloned().unwrap_or_default();
        let (mut settings, stop) = (exporter.drain.clone(), Stop::new());
        if losses_of.is_some() {
            // A loss is told when it is known, not when there are many.
            (settings.min_batch_items, settings.min_batch_bytes) = (0, 0);
        }
        let task = Task { cursor, settings, status, stop, losses_of, span };
        let (status, stop) = (Arc::clone(&task.status), task.stop.clone());
        let task = match sink {
            AnySink::Otlp(sink) => task.spawn(sink),
            AnySink::OtlpHttp(sink) => task.spawn(sink),
            AnySink::File(sink) => task.spawn(sink),
            AnySink::Debug(sink) => task.spawn(sink),
        };
        let (exporter, pipeline) = (id.clone(), pipeline.id.to_string());
        Drain {
            log,
            cursor: name,
            exporter,
            pipeline,
            signal,
            limit,
            status,
            sink: sink.clone(),
            target,
            pending,
            stop,
            task,
        }
    }
}

/// What a drain takes with it.
struct Task {
    cursor: Cursor,
    settings: drain::Settings,
    status: Arc<Status>,
    stop: Stop,
    losses_of: Option<String>,
    /// What it tells begins with whose it is.
    span: tracing::Span,
}

impl Task {
    fn spawn<S: Sink>(self, sink: &Arc<S>) -> JoinHandle<Cursor> {
        let Self { cursor, settings, status, stop, losses_of, span } = self;
        let sink = Arc::clone(sink);
        match losses_of {
            None => tokio::spawn(drain::run(cursor, sink, settings, status, stop.requested()).instrument(span)),
            Some(log) => {
                let sink = Arc::new(LossesOf { log, sink });
                tokio::spawn(drain::run(cursor, sink, settings, status, stop.requested()).instrument(span))
            }
        }
    }
}

/// Stops every drain where it is. A send in flight is cut off at the deadline: its records are sent again.
pub(super) async fn stop(drains: Vec<Drain>, deadline: Instant) {
    for drain in &drains {
        drain.stop.now();
    }
    for mut drain in drains {
        match tokio::time::timeout(left(deadline), &mut drain.task).await {
            Ok(Ok(cursor)) => drop(cursor),
            Ok(Err(error)) => tracing::error!(exporter = %drain.exporter, %error, "the drain ended badly"),
            Err(_) => {
                tracing::warn!(exporter = %drain.exporter, "a send was cut off; its records stay on disk");
                drain.task.abort();
            }
        }
    }
}
