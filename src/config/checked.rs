//! What was checked: the configuration that the pipeline runs. Every value is in its unit, every reference resolves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Id, Note, PipelineId};
use crate::exporters::{debug, drain, file, otlp as otlp_exporter, otlphttp};
use crate::extensions::health_check;
use crate::receivers::{kernel, otlp as otlp_receiver};
use crate::spool::{Limit, LogOptions, Need, Options, Start};

/// A configuration without faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the logs are.
    pub data_dir: PathBuf,
    /// How the directory is kept; each pipeline has the options of its own log.
    pub spool: Options,
    /// The receivers that a pipeline names.
    pub receivers: BTreeMap<Id, Receiver>,
    /// The exporters that a pipeline names.
    pub exporters: BTreeMap<Id, Exporter>,
    /// In the order in which they were typed.
    pub pipelines: Vec<Pipeline>,
    /// Where health answers; empty: nowhere.
    pub health: Vec<health_check::Settings>,
    /// Where the agent's own metrics are served; empty: nowhere.
    pub metrics: Vec<SocketAddr>,
    /// The agent's own messages.
    pub messages: Messages,
    /// What the operator should know: keys without effect, components without use.
    pub notes: Vec<Note>,
}

impl Config {
    /// Whether those who send to this pipeline wait when it is full: one of its exporters says so.
    #[must_use]
    pub fn waits_for_room(&self, pipeline: &Pipeline) -> bool {
        let exporters = pipeline.exporters.iter().filter_map(|id| self.exporters.get(id));
        exporters.into_iter().any(|exporter| exporter.block_on_overflow)
    }
}

/// How the agent tells about itself on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// Of this level and above. Default info.
    pub level: tracing::Level,
    /// Default text.
    pub encoding: Encoding,
    /// Which of many are left out. Default as [`Sampling`]'s; `None`: none.
    pub sampling: Option<Sampling>,
}

/// What a line of messages is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Of messages from the same place in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// Counting begins anew after this. Default 10 s.
    pub tick: Duration,
    /// So many of each tick are told. Default 10.
    pub initial: u64,
    /// Of those beyond, each so-many-th; 0: none. Default 100.
    pub thereafter: u64,
}

impl Default for Messages {
    fn default() -> Self {
        Self { level: tracing::Level::INFO, encoding: Encoding::Text, sampling: Some(Sampling::default()) }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { tick: Duration::from_secs(10), initial: 10, thereafter: 100 }
    }
}

/// A receiver and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there are a few of them, made once")]
pub enum Receiver {
    /// `kernel`.
    Kernel(kernel::Settings),
    /// `otlp`.
    Otlp(otlp_receiver::Settings),
}

/// An exporter: where to, and how its cursor is drained.
#[derive(Debug, Clone, PartialEq)]
pub struct Exporter {
    /// Where to.
    pub settings: ExporterSettings,
    /// How the cursor is drained.
    pub drain: drain::Settings,
    /// `start_at`: where a new cursor starts. Default the oldest record.
    pub start: Start,
    /// `required`: whether the cursor holds data that a full log would otherwise drop. Default true; `debug` false.
    pub need: Need,
    /// `sending_queue.queue_size` in items or bytes: how much its cursor may have pending.
    pub max_pending: Option<Limit>,
    /// `sending_queue.block_on_overflow`: who can wait does when its pipeline is full.
    pub block_on_overflow: bool,
}

/// The settings of an exporter, by type.
#[derive(Debug, Clone, PartialEq)]
pub enum ExporterSettings {
    /// `otlp`, also typed `otlp_grpc`.
    Otlp(otlp_exporter::Settings),
    /// `otlphttp`, also typed `otlp_http`.
    OtlpHttp(otlphttp::Settings),
    /// `file`.
    File(file::Settings),
    /// `debug`.
    Debug(debug::Settings),
}

/// One pipeline: receivers, one log, exporters.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Its signal and name.
    pub id: PipelineId,
    /// The name of its log, and of no other pipeline's.
    pub log: String,
    /// The options of its log.
    pub options: LogOptions,
    /// Keys of [`Config::receivers`]; never empty.
    pub receivers: Vec<Id>,
    /// Keys of [`Config::exporters`]; empty: the log is kept by `retain_size` and `retain_age` alone.
    pub exporters: Vec<Id>,
}

impl Pipeline {
    /// The name of this exporter's cursor in this pipeline's log, as `logs/kernel:file/local`: the same whichever alias
    /// of the exporter's type was typed.
    #[must_use]
    pub fn cursor_name(&self, exporter: &Id) -> String {
        super::names::cursor_name(&self.id, exporter)
    }
}
