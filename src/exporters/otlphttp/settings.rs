//! The checked configuration of the exporter `otlphttp`.

use std::fmt;
use std::time::Duration;

use crate::auth::{ClientSettings, Secret};
use crate::exporters::{KeepAlive, Tls};
use crate::otlp::Signal;
use crate::url::without_secrets;

/// The checked configuration of the exporter `otlphttp`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `endpoint`, and what stands in its place for a signal.
    pub endpoints: Endpoints,
    /// `tls`; used for URLs with `https`.
    pub tls: Tls,
    /// `headers`, sent with each request.
    pub headers: Vec<(String, Secret)>,
    /// `auth`: credentials, sent with each request.
    pub auth: Option<ClientSettings>,
    /// `compression`. Default gzip.
    pub compression: Compression,
    /// `encoding`. Default protobuf.
    pub encoding: Encoding,
    /// `timeout` of one attempt; zero: none. Default 30 s.
    pub timeout: Duration,
    /// How a silent connection is looked after.
    pub keep_alive: KeepAlive,
}

/// Where requests go, as URLs with `http` or `https`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// `endpoint`: `/v1/` and the signal are added.
    pub base: Option<String>,
    /// `logs_endpoint`, used as it is.
    pub logs: Option<String>,
    /// `traces_endpoint`, used as it is.
    pub traces: Option<String>,
    /// `metrics_endpoint`, used as it is.
    pub metrics: Option<String>,
}

impl Endpoints {
    /// The URL that takes a signal; none when nothing says where it goes.
    #[must_use]
    pub fn url(&self, signal: Signal) -> Option<String> {
        let own = match signal {
            Signal::Logs => &self.logs,
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        };
        own.clone().or_else(|| self.base.as_ref().map(|base| format!("{}/v1/{signal}", base.trim_end_matches('/'))))
    }
}

impl fmt::Debug for Endpoints {
    /// Without queries, as [`fmt::Display`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, logs, traces, metrics } = self;
        let shown = |url: &Option<String>| url.as_deref().map(|url| without_secrets(url).into_owned());
        let [base, logs, traces, metrics] = [base, logs, traces, metrics].map(shown);
        let mut shown = f.debug_struct("Endpoints");
        shown.field("base", &base).field("logs", &logs).field("traces", &traces).field("metrics", &metrics).finish()
    }
}

impl fmt::Display for Endpoints {
    /// Where most goes; a query may be a token, and is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [&self.base, &self.logs, &self.traces, &self.metrics];
        f.write_str(&all.into_iter().flatten().next().map_or("nowhere".into(), |url| without_secrets(url)))
    }
}

/// How request bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// gzip.
    #[default]
    Gzip,
    /// zstd.
    Zstd,
    /// Not at all.
    None,
}

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Binary protobuf, as it stands in the log.
    #[default]
    Protobuf,
    /// OTLP JSON.
    Json,
}
