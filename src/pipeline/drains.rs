//! The ways out: one cursor and one task for each exporter of each pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::receivers::left;
use super::{StartError, Stop};
use crate::config::{Config, Exporter, ExporterSettings, Id, Pipeline};
use crate::exporters::{Sink, Status, debug, drain, file, otlp};
use crate::spool::{Cursor, Log};

/// One exporter of one pipeline at work.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) log: String,
    pub(super) cursor: String,
    pub(super) exporter: Id,
    pub(super) pipeline: String,
    pub(super) status: Arc<Status>,
    target: String,
    pending: u64,
    stop: Stop,
    task: JoinHandle<Cursor>,
}

impl Drain {
    /// The start-up line.
    pub(super) fn fact(&self) -> String {
        let Self { exporter, pipeline, target, pending, .. } = self;
        match pending {
            0 => format!("exporter {exporter} ({pipeline}): {target}"),
            n => format!("exporter {exporter} ({pipeline}): {target}, {n} records pending"),
        }
    }
}

/// Opens every cursor, then starts every drain.
pub(super) fn start(config: &Config, logs: &BTreeMap<String, Log>) -> Result<Vec<Drain>, StartError> {
    let mut ready = Vec::new();
    for pipeline in &config.pipelines {
        for id in &pipeline.exporters {
            let (Some(log), Some(exporter)) = (logs.get(&pipeline.log), config.exporters.get(id)) else { continue };
            let cursor = log.cursor(&pipeline.cursor_name(id), exporter.start, exporter.need)?;
            ready.push((pipeline, id, exporter, cursor));
        }
    }
    let mut shared = Shared::default();
    ready
        .into_iter()
        .map(|(pipeline, id, exporter, cursor)| drain(pipeline, id, exporter, cursor, &mut shared))
        .collect()
}

/// The sinks that all pipelines of an exporter write to: a file has one writer, and so has standard output.
#[derive(Default)]
struct Shared {
    files: BTreeMap<Id, file::FileSink>,
    debugs: BTreeMap<Id, debug::DebugSink>,
}

/// The sink of this exporter, opened for the first pipeline that names it.
fn shared<S: Clone, E: ToString>(
    sinks: &mut BTreeMap<Id, S>,
    id: &Id,
    open: impl FnOnce() -> Result<S, E>,
) -> Result<S, StartError> {
    if let Some(sink) = sinks.get(id) {
        return Ok(sink.clone());
    }
    let sink = open().map_err(|e| StartError::Exporter { exporter: id.to_string(), reason: e.to_string() })?;
    sinks.insert(id.clone(), sink.clone());
    Ok(sink)
}

fn drain(
    pipeline: &Pipeline,
    id: &Id,
    exporter: &Exporter,
    cursor: Cursor,
    sinks: &mut Shared,
) -> Result<Drain, StartError> {
    let failed = |reason: String| StartError::Exporter { exporter: id.to_string(), reason };
    let work = Work { cursor, settings: exporter.drain.clone(), status: Arc::default(), stop: Stop::new() };
    let (name, pending) = (work.cursor.name().to_owned(), work.cursor.pending().items);
    let (status, stop) = (Arc::clone(&work.status), work.stop.clone());
    let (target, task) = match &exporter.settings {
        ExporterSettings::Otlp(settings) => {
            let sink = otlp::Otlp::new(settings.clone()).map_err(|e| failed(e.to_string()))?;
            (settings.endpoint.clone(), work.spawn(sink))
        }
        ExporterSettings::File(settings) => {
            let sink = shared(&mut sinks.files, id, || file::FileSink::open(settings.clone()))?;
            (settings.path.display().to_string(), work.spawn(sink))
        }
        ExporterSettings::Debug(settings) => {
            let sink = shared(&mut sinks.debugs, id, || debug::DebugSink::stdout(settings))?;
            ("standard output".to_owned(), work.spawn(sink))
        }
    };
    Ok(Drain {
        log: pipeline.log.clone(),
        cursor: name,
        exporter: id.clone(),
        pipeline: pipeline.id.to_string(),
        status,
        target,
        pending,
        stop,
        task,
    })
}

/// What a drain needs besides its sink.
struct Work {
    cursor: Cursor,
    settings: drain::Settings,
    status: Arc<Status>,
    stop: Stop,
}

impl Work {
    fn spawn(self, sink: impl Sink) -> JoinHandle<Cursor> {
        let stopped = self.stop.requested();
        tokio::spawn(drain::run(self.cursor, Arc::new(sink), self.settings, self.status, stopped))
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
